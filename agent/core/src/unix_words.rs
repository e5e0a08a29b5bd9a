//! The words for UNIX upstreams and for calls of the gateway that failed.

use crate::amounts::{bare, errno, label};
use crate::attempts::Attempt;
use crate::cause::Cause;
use crate::evidence::Evidence;
use crate::memory::Memory;
use crate::units::Timestamp;
use crate::unix::{Looked, Standing, Which};
use crate::unix_listeners::Former;

/// Whether this file has the cause's sentence.
pub const fn is_ours(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::FdExhausted
            | Cause::NoMemory
            | Cause::ProxyDenied
            | Cause::UnixMissing
            | Cause::UnixNoListener
            | Cause::UnixBacklogFull
            | Cause::UnixDenied
    )
}

/// What happened.
pub fn sentence(evidence: &Evidence, cause: Cause) -> String {
    let target = evidence.deciding().map(|attempt| attempt.flow.target());
    let path = target.map(|target| target.to_string()).unwrap_or_default();
    if cause == Cause::UnixMissing {
        return format!("there is no {path}");
    }
    if cause == Cause::UnixNoListener {
        return format!("nothing listens on {path}; the file is left over");
    }
    if cause == Cause::UnixDenied {
        return format!("{} may not write to {path}", bare(&evidence.answer.task));
    }
    if cause != Cause::UnixBacklogFull {
        return failed(evidence).unwrap_or_else(|| cause.title().to_owned());
    }
    match depth(evidence) {
        Some((queued, limit)) => {
            format!(
                "{queued} connections wait to be accepted on {path}, where the limit is {limit}"
            )
        }
        None => format!("the queue of {path} is full"),
    }
}

/// Who listened there lives, and nobody does any more.
pub fn closed(attempt: &Attempt, former: Option<&Former>, memory: &Memory) -> String {
    let pid = former.map(|former| former.pid).unwrap_or_default();
    let task = memory.processes.task(pid);
    format!(
        "{} listened on {}, still runs, and no longer listens there",
        label(&memory.processes.who(&task, attempt.at)),
        attempt.flow.target()
    )
}

/// The call that failed, and how.
fn failed(evidence: &Evidence) -> Option<String> {
    if let Some((_, call)) = &evidence.call {
        let which = match call.which {
            Which::Socket => "socket(2)",
            Which::Connect => "connect(2)",
            Which::Accept => "accept(2)",
        };
        let target = call.remote.map(|remote| format!(" to {remote}"));
        return Some(format!(
            "{which}{} by {} failed with {}",
            target.unwrap_or_default(),
            bare(&call.task),
            errno(call.errno)
        ));
    }
    let flow = &evidence.deciding()?.flow;
    (flow.error.0 != 0).then(|| {
        format!(
            "connect(2) to {} failed with {}",
            flow.target(),
            errno(flow.error)
        )
    })
}

/// Connections that waited, and the limit: as it was looked at, right after.
fn depth(evidence: &Evidence) -> Option<(u32, u32)> {
    let (_, looked) = evidence.looked.as_ref()?;
    (looked.standing == Standing::Full).then_some((looked.queued, looked.limit))
}

/// What to do about a full queue, with its limit.
pub fn backlog(evidence: &Evidence) -> Option<String> {
    let (_, limit) = depth(evidence)?;
    Some(format!(
        "add workers, or raise the service's backlog and net.core.somaxconn above {limit}"
    ))
}

/// The dated lines.
pub fn facts(evidence: &Evidence, lines: &mut Vec<(Timestamp, String)>) {
    if let Some((at, looked)) = &evidence.looked {
        lines.push((*at, look(looked)));
    }
    if let Some((at, _)) = &evidence.call
        && let Some(how) = failed(evidence)
    {
        lines.push((*at, how));
    }
}

fn look(looked: &Looked) -> String {
    let path = &looked.path;
    match looked.standing {
        Standing::Missing => format!("probe502 looked: there is no {path}"),
        Standing::Denied => format!("probe502 looked: the mode of {path} forbids the gateway"),
        Standing::Stale => format!("probe502 looked: nothing listens on {path}"),
        Standing::Full | Standing::Open => format!(
            "probe502 looked: {} connections wait on {path}, limit {}",
            looked.queued, looked.limit
        ),
    }
}
