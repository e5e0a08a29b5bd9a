//! Dials that fail within the gateway's own host: UNIX sockets, and calls for which it lacks something.

use super::{Judgement, died, inferred, proven};
use crate::attempts::Attempt;
use crate::cause::Cause;
use crate::evidence::Evidence;
use crate::unix;

/// A UNIX dial that failed. No hook tells of a UNIX listener's end: that its owner's death or close
/// was that end is concluded.
pub(super) fn dialled(evidence: &Evidence, attempt: &Attempt) -> Option<Judgement> {
    let (cause, confidence) = unix::dial(attempt, evidence.looked.as_ref())?;
    let former = evidence.former.as_ref();
    Some(match former.map(|former| &former.ending) {
        Some(Some(ending)) if cause == Cause::UnixNoListener => inferred(died(ending).cause),
        Some(None) if cause == Cause::UnixNoListener => inferred(Cause::ListenerClosed),
        Some(_) | None => Judgement { cause, confidence },
    })
}

/// A call of the gateway's that failed for want of something of its own.
pub(super) fn called(evidence: &Evidence) -> Option<Judgement> {
    let (_, call) = evidence.call.as_ref()?;
    let cause = unix::exhausted(call.errno)?;
    let own = evidence.answer.task.tid == call.task.tid;
    Some(if own { proven(cause) } else { inferred(cause) })
}
