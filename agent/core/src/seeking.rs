//! Where a refused connection was sent to, and who else may have been meant.

use std::time::Duration;

use crate::attempts::Attempt;
use crate::event::{Reset, Task};
use crate::evidence::is_here;
use crate::listeners::Place;
use crate::memory::Memory;
use crate::units::Timestamp;

/// `listen(2)` tells of itself before the kernel finds the listener, and a close after it was last found
/// (`inet_csk_listen_start`, `tcp_set_state`): microseconds, but for a task that loses its processor.
const UNFOUND: Duration = Duration::from_millis(20);

/// When an address refused.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// When.
    pub at: Timestamp,
    /// So long a listener may have been told of that the kernel did not find: zero where its word is missing.
    pub unfound: Duration,
}

impl Refusal {
    /// The moment that this host refused, else that its dialler heard so, else that it let go.
    #[must_use]
    pub fn of(attempt: &Attempt, reset: Option<&(Timestamp, Reset)>) -> Self {
        match reset {
            Some((at, _)) => Self {
                at: *at,
                unfound: UNFOUND,
            },
            None => Self {
                at: attempt.flow.reset_at.unwrap_or(attempt.at),
                unfound: Duration::ZERO,
            },
        }
    }
}

/// Where a refused connection went, seen from the namespace that refused it.
#[must_use]
pub fn sought(
    attempt: &Attempt,
    reset: Option<&(Timestamp, Reset)>,
    memory: &Memory,
) -> Option<Place> {
    let flow = &attempt.flow;
    let is_here = is_here(flow, memory);
    let netns = match reset {
        Some((_, reset)) if reset.netns.0 != 0 => reset.netns,
        Some(_) => flow.netns,
        None if is_here => flow.netns,
        None => return None,
    };
    let refusal = Refusal::of(attempt, reset);
    // As the refusing host saw it: a translation may lie between.
    let address = reset.map_or(flow.remote, |(_, reset)| reset.local);
    let gateway = flow
        .task
        .clone()
        .or_else(|| flow.owner.clone())
        .unwrap_or_default();
    let place = memory
        .listeners
        .place((netns, address, refusal), &gateway, &memory.processes);
    Some(match place {
        Place::OnlyOther(open) => {
            let port = open.listener.local.port();
            let is_own = memory.is_dialled(flow.netns, port, &gateway);
            let pods = (pod(&gateway, memory), pod(&open.listener.task, memory));
            let shares_pod = matches!(pods, (Some(one), Some(other)) if one == other);
            match (is_own, netns != flow.netns || shares_pod) {
                (true, _) => Place::Nothing,
                // A container's or a pod's only service is the one that was meant.
                (false, true) => Place::OnlyOther(open),
                (false, false) => Place::Neighbour(open),
            }
        }
        Place::Taken
        | Place::Later(_)
        | Place::Closed(_)
        | Place::OtherAddress(_)
        | Place::SameService(_)
        | Place::Moved(_)
        | Place::Neighbour(_)
        | Place::Nothing => place,
    })
}

fn pod<'a>(task: &Task, memory: &'a Memory) -> Option<&'a str> {
    memory.processes.known(task.pid)?.pod.as_deref()
}
