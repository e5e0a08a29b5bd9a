//! How long an answer waits for what may still come.

use std::time::Duration;

/// How long an answer waits for late facts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Every answer: the same drain may still hold its kernel facts.
    pub least: Duration,
    /// Where requests change threads, or are answered first: what failed may yet be let go of.
    pub scattered: Duration,
    /// Where the kernel log has yet to tell of an OOM kill.
    pub oom_report: Duration,
    /// Where the upstream process may yet exit: an interpreter closes 30–230 ms before it does.
    pub late_exit: Duration,
    /// Where it was asked to stop, or still wants the processor by then: on a busy host an interpreter
    /// took 880 ms.
    pub slow_exit: Duration,
    /// Where the senses were asked for a look only when the answer was due.
    pub look: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            least: Duration::from_millis(30),
            scattered: Duration::from_millis(90),
            oom_report: Duration::from_millis(80),
            late_exit: Duration::from_millis(800),
            slow_exit: Duration::from_millis(1700),
            look: Duration::from_millis(40),
        }
    }
}
