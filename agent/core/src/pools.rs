//! The idle timers of a gateway's pool and of its upstream, for those who show them side by side.

use crate::event::Task;
use crate::memory::Memory;
use crate::near::listens;
use crate::notice::{Dialler, Pool};
use crate::timers::{Family, Measured, Place};
use crate::units::Timestamp;

/// One close alone may be of a server that leaves, or of a pool that is full.
fn sure(timer: Option<Measured>) -> Option<Measured> {
    timer.filter(|timer| timer.samples > 1)
}

/// The next pair whose timers were seen at work.
pub fn poll(memory: &mut Memory, now: Timestamp) -> Option<Pool> {
    let (pair, task) = memory.clocks.poll_fresh()?;
    Some(pool((&pair, &task), now, memory))
}

fn pool((pair, task): (&(Family, Place), &Task), now: Timestamp, memory: &Memory) -> Pool {
    let timers = memory.clocks.of(pair);
    let own = sure(timers.gateway).map(|own| own.idle);
    let address = pair.1.1;
    let served = memory.listeners.covering(pair.1.0, address);
    Pool {
        gateway: Dialler {
            who: memory.processes.who(task, now),
            tid: task.tid,
            listens: listens(task, memory),
        },
        upstream: crate::verdict::Upstream {
            addr: address.to_string(),
            real: None,
            who: served.map(|open| memory.processes.who(&open.listener.task, now)),
        },
        closes_after: sure(timers.upstream).map(|timer| timer.idle),
        // Its own timer may be another upstream's: it has used this one's after such a time.
        keeps: own.max(timers.at_least),
    }
}
