//! How late timers strike on this machine, as a thread that only sleeps sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::Seen;

const NAP: Duration = Duration::from_millis(10);

/// Sleeps over and over until it is dropped.
pub struct Lateness {
    over: Arc<AtomicBool>,
    worst_us: Arc<AtomicU64>,
}

impl Lateness {
    /// From now on.
    #[must_use]
    pub fn watch() -> Self {
        let (over, worst_us) = <(Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        let (end, worst) = (over.clone(), worst_us.clone());
        std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let began = Instant::now();
                std::thread::sleep(NAP);
                let late = began.elapsed().saturating_sub(NAP).as_micros();
                worst.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self { over, worst_us }
    }

    /// The worst so far.
    #[must_use]
    pub fn worst(&self) -> Duration {
        Duration::from_micros(self.worst_us.load(Ordering::Relaxed))
    }

    /// A measured timer lies within a tenth of the configured one; it strikes late, and is seen late,
    /// where sleepers wake late.
    ///
    /// # Errors
    /// When it does not, or there is none.
    pub fn is_near(&self, told: &Seen, pointer: &str, configured: Duration) -> Result<()> {
        let measured = told.verdict.pointer(pointer).and_then(Value::as_u64);
        let measured = measured.with_context(|| format!("no {pointer}: {}", told.line))?;
        let worst = self.worst();
        let (least, most) = (configured * 9 / 10, configured * 11 / 10 + 2 * worst);
        ensure!(
            (least..=most).contains(&Duration::from_millis(measured)),
            "{pointer} is not {configured:?}, on a machine that was {worst:?} late: {}",
            told.line
        );
        Ok(())
    }
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
