//! Dials that fail within the gateway's own host: UNIX sockets, and calls for which it lacks something.

use super::{Judgement, inferred, proven};
use crate::attempts::Attempt;
use crate::evidence::Evidence;
use crate::unix;

/// A UNIX dial that failed.
pub(super) fn dialled(evidence: &Evidence, attempt: &Attempt) -> Option<Judgement> {
    let (cause, confidence) = unix::dial(attempt, evidence.looked.as_ref())?;
    Some(Judgement { cause, confidence })
}

/// A call of the gateway's that failed for want of something of its own.
pub(super) fn called(evidence: &Evidence) -> Option<Judgement> {
    let (_, call) = evidence.call.as_ref()?;
    let cause = unix::exhausted(call.errno)?;
    let own = evidence.answer.task.tid == call.task.tid;
    Some(if own { proven(cause) } else { inferred(cause) })
}
