//! Requests that wait for a connection together fail together: Envoy fails all that wait by the first
//! dial that fails.

use std::time::Duration;

use crate::attempts::{Attempt, Attempts};
use crate::fitting::{arrival, nearness};
use crate::joining::{Answer, Joined};
use crate::recent::Recent;
use crate::units::Pid;
use crate::verdict::Join;

/// Dials that failed and that answers took, for the answers that failed by them as well.
#[derive(Debug)]
pub struct Dials {
    taken: Recent<(Pid, u32, u64), Box<Attempt>>,
}

impl Default for Dials {
    fn default() -> Self {
        Self {
            taken: Recent::new(1024, Duration::from_secs(10)),
        }
    }
}

impl Dials {
    /// An answer took it.
    pub fn keep(&mut self, dial: &Attempt) {
        let key = (dial.pid, dial.tid, dial.number);
        self.taken.insert(dial.at, key, Box::new(dial.clone()));
    }

    /// Those of a thread, the newest first.
    fn of(&self, pid: Pid, tid: u32) -> impl Iterator<Item = &Attempt> {
        let all = self.taken.between((pid, tid, 0), (pid, tid, u64::MAX));
        all.rev().map(|(_, dial)| &**dial).take(SHARED)
    }
}

/// What an answer took may be another's too.
pub fn remember(answer: &Answer, attempts: &mut Attempts, taken: &Attempt, rivalled: bool) {
    // Who is in doubt now stays in doubt for the next answer with this line.
    if answer.manner.hops || rivalled {
        attempts.doubt(taken);
    }
    if taken.is_unconnected() && !answer.manner.orderly {
        attempts.dials.keep(taken);
    }
}

/// Dials of one thread that are looked through for an answer.
const SHARED: usize = 256;

/// The dial by which an answer failed together with others: where it looks as only answers do that come
/// of such dials, its thread has several dials under way at once, and all that failed meanwhile
/// failed alike.
#[must_use]
pub fn shared(answer: &Answer, attempts: &Attempts) -> Option<Joined> {
    let manner = &answer.manner;
    if manner.hops || manner.orderly || manner.of_dials != Some(true) {
        return None;
    }
    let arrived = arrival(answer)?;
    let (pid, tid) = (answer.task.pid, answer.task.tid);
    let waiting = attempts.of(pid).filter(|one| one.tid == tid);
    let all: Vec<&Attempt> = attempts.dials.of(pid, tid).chain(waiting).collect();
    let dials = || all.iter().filter(|one| one.is_unconnected());
    let failed = |dial: &&&Attempt| {
        dial.at >= arrived && dial.at <= answer.at && answer.at.since(dial.at) <= nearness(answer)
    };
    let last = dials().filter(failed).max_by_key(|dial| dial.at)?;
    let beside = |dial: &&Attempt| {
        dial.number != last.number && dial.began() < Some(last.at) && Some(dial.at) > last.began()
    };
    let is_one_of_many = dials().any(beside);
    let alike = dials().filter(failed).all(|dial| dial.is_like(last));
    (is_one_of_many && alike).then(|| Joined {
        attempts: vec![(*last).clone()],
        ..Joined::by(Join::Time)
    })
}
