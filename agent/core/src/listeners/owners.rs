//! Whose a listener is, and who holds it after its owner.

use super::{Listeners, Open, covers};
use crate::event::{Listener, Task};
use crate::looks::Queue;
use crate::processes::Processes;
use crate::units::{Cookie, Pid};

impl Listeners {
    /// The open listeners of a process.
    pub fn owned_by(&self, pid: Pid) -> impl Iterator<Item = &Open> {
        let all = self.open.values().flatten();
        all.filter(move |open| open.listener.task.pid == pid)
    }

    /// Who opened a listener that is about to be forgotten.
    #[must_use]
    pub fn owner(&self, listener: &Listener) -> Option<&Open> {
        let port = listener.local.port();
        let all = self
            .open
            .range((listener.netns, 0)..=(listener.netns, u16::MAX));
        let mut here = all.flat_map(|(_, open)| open);
        let is_it = |open: &&Open| {
            let place = port == 0 || open.listener.local == listener.local;
            let cookie = open.listener.cookie;
            place && (cookie == listener.cookie || cookie == Cookie(0) && port != 0)
        };
        here.find(is_it)
    }

    /// Other listeners that take the same connections: of `SO_REUSEPORT`, or of another address.
    pub fn beside<'a>(&'a self, left: &'a Listener) -> impl Iterator<Item = &'a Open> {
        let place = (left.netns, left.local.port());
        let here = self.open.get(&place).into_iter().flatten();
        here.filter(|open| open.listener.cookie != left.cookie && is_alike(&open.listener, left))
    }

    /// A look showed who holds a listener: where its owner is gone, one of those is its owner now.
    pub fn inherit(&mut self, queue: &Queue, processes: &Processes) {
        let place = (queue.netns, queue.local.port());
        let here = self.open.get_mut(&place).into_iter().flatten();
        for open in here.filter(|open| open.listener.local == queue.local) {
            let listener = &mut open.listener;
            let gone = processes.ending(listener.task.pid, open.at).is_some();
            if gone && let Some(heir) = heir(&queue.holders, processes) {
                listener.task = heir;
            }
        }
    }
}

/// The holder whose parent does not hold it too; the eldest where that is not known.
#[must_use]
pub fn heir(holders: &[Pid], processes: &Processes) -> Option<Task> {
    let mut tasks: Vec<Task> = holders.iter().map(|pid| processes.task(*pid)).collect();
    tasks.sort_by_key(|task| task.pid);
    let is_worker = |task: &&Task| !holders.contains(&task.parent);
    tasks.iter().find(is_worker).or(tasks.first()).cloned()
}

/// Whether one listener takes what another took.
#[must_use]
pub fn is_alike(one: &Listener, other: &Listener) -> bool {
    one.local.port() == other.local.port()
        && (covers(one, other.local.ip()) || covers(other, one.local.ip()))
}
