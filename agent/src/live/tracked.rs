//! What the core knows besides verdicts, for the metrics.

use probe502_core::notice::Pool;

use super::Live;
use crate::kernel;

impl Live {
    /// What the core remembers, and how much it may.
    pub fn tracked(&self) -> Vec<(&'static str, (usize, usize))> {
        self.correlator.tracked()
    }

    /// The pairs of a gateway and an upstream whose idle timers were seen at work since this was asked.
    pub fn pools(&mut self) -> Vec<Pool> {
        let now = kernel::now();
        std::iter::from_fn(|| self.correlator.poll_pool(now)).collect()
    }
}
