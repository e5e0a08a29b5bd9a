//! Clients on this host: they dial and hear failed answers as gateways do, and pass none on.

use std::collections::VecDeque;

use crate::attempts::Attempts;
use crate::memory::Memory;
use crate::near;
use crate::recent::Recent;
use crate::units::Pid;

/// Attempts that are kept whoever's they are: a gateway has answered, or is known to listen, before so many
/// more come. A judgement of ours.
const KEPT: usize = 1024;

/// The newest attempts, by process and number.
#[derive(Debug, Default)]
pub struct Strangers {
    newest: VecDeque<(Pid, u64)>,
}

impl Strangers {
    /// One came.
    pub fn add(&mut self, pid: Pid, number: u64) {
        self.newest.push_back((pid, number));
    }

    fn poll(&mut self) -> Option<(Pid, u64)> {
        let is_full = self.newest.len() > KEPT;
        is_full.then(|| self.newest.pop_front()).flatten()
    }
}

/// Forgets what is no longer new and whose process neither gave a failed answer nor listens nor has a
/// gateway's name: else each that a client hears would take its room for minutes.
pub fn forget(attempts: &mut Attempts, gateways: &Recent<Pid, ()>, memory: &Memory) {
    while let Some((pid, number)) = attempts.strange.poll() {
        if gateways.get(&pid).is_some() {
            continue;
        }
        let Some(attempt) = attempts.unspent(pid, number) else {
            continue;
        };
        let flow = &attempt.flow;
        let task = flow.task.as_ref().or(flow.owner.as_ref());
        // Whose listener was made before the agent came, elsewhere, is known by its name alone.
        let passes_on = |task| near::is_known(task) || memory.listeners.of(task).next().is_some();
        if !task.is_none_or(passes_on) {
            attempts.spend(pid, number);
        }
    }
}
