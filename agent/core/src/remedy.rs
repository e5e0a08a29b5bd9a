//! What to do about one incident, with its measured numbers.

use crate::amounts::{between, label, memory};
use crate::attempts::Attempt;
use crate::cause::Cause;
use crate::closing::upstream_idle;
use crate::event::OomReport;
use crate::evidence::Evidence;
use crate::listeners::Place;
use crate::processes::Way;
use crate::stalled;
use crate::units::Timestamp;
use crate::unix_words;
use crate::verdict::Who;

/// What to do about this one.
#[must_use]
pub fn remedy(evidence: &Evidence, cause: Cause, upstream: Option<&Who>) -> String {
    let way = evidence.ending.as_ref().map(|ending| &ending.way);
    match (cause, way, &evidence.place) {
        (Cause::OomCgroup, Some(Way::Oom(Some(report))), _) => raise_limit(report, upstream),
        (Cause::KilledByParent, Some(Way::Signalled { sent, signal, .. }), _) => {
            by_parent(evidence, *sent, signal.number).unwrap_or_else(|| cause.remedy().into())
        }
        (
            Cause::ListenerOtherPort,
            _,
            Some(Place::Moved(open) | Place::SameService(open) | Place::OnlyOther(open)),
        ) => {
            format!(
                "use port {} in the gateway's configuration",
                open.listener.local.port()
            )
        }
        (Cause::ListenerOtherAddress, _, Some(Place::OtherAddress(open))) => format!(
            "bind {} to 0.0.0.0 or [::] instead of {}, or dial that address",
            open.listener.task.comm,
            open.listener.local.ip()
        ),
        (Cause::KeepaliveRace, _, _) => {
            keepalive(evidence).unwrap_or_else(|| cause.remedy().into())
        }
        (Cause::ListenerAbsent, _, Some(Place::Neighbour(open))) => format!(
            "start the upstream, or correct the port in the gateway's configuration if {} on port \
             {} was meant",
            open.listener.task.comm,
            open.listener.local.port()
        ),
        (Cause::ListenerNotReady, _, Some(Place::Later(open))) => format!(
            "add a readiness check: {} was not listening yet when it got requests",
            open.listener.task.comm
        ),
        (
            Cause::AppClosedWithoutAnswer | Cause::AppClosedMidHeader | Cause::AppClosedMidBody,
            _,
            _,
        ) => match upstream {
            Some(who) => format!("look at the log of {} at that millisecond", label(who)),
            None => cause.remedy().to_owned(),
        },
        (Cause::AppStalled | Cause::ListenerNotAccepting | Cause::ListenerFdExhausted, _, _) => {
            stalled::remedy(&evidence.stall, cause).unwrap_or_else(|| cause.remedy().into())
        }
        (Cause::UnixBacklogFull, _, _) => {
            unix_words::backlog(evidence).unwrap_or_else(|| cause.remedy().into())
        }
        (Cause::RelayedUpstream, _, _) => match &evidence.inner {
            Some(id) => format!("see the upstream's own verdict {id}"),
            None => cause.remedy().to_owned(),
        },
        _ => cause.remedy().to_owned(),
    }
}

fn by_parent(evidence: &Evidence, sent: Timestamp, signal: u8) -> Option<String> {
    let began = evidence.deciding().and_then(Attempt::began);
    let age = between(began.filter(|began| *began < sent)?, sent);
    // Timeouts end a worker hard; TERM, QUIT and INT are a master's other orders too.
    Some(if [6, 9].contains(&signal) {
        format!("raise the worker timeout, or make this request faster: it had run for {age}")
    } else {
        format!(
            "see in the master's log why it stopped a worker at work: a reload, recycling, or a \
             timeout; the request had run for {age}"
        )
    })
}

fn raise_limit(report: &OomReport, upstream: Option<&Who>) -> String {
    let cgroup = report.cgroup.as_ref();
    let of = upstream
        .and_then(|who| container(who, cgroup?))
        .or_else(|| cgroup.cloned())
        .map(|whose| format!(" of {whose}"))
        .unwrap_or_default();
    let above = report
        .limit_kib
        .map(|kib| format!(" above {}", memory(kib)))
        .unwrap_or_default();
    format!("raise the memory limit{of}{above}, or run fewer workers")
}

/// Where the limit is the container's own, its names in the cluster: those its author writes.
fn container(who: &Who, cgroup: &str) -> Option<String> {
    let (id, cluster) = (who.container.as_ref()?, who.kubernetes.as_ref()?);
    let name = (cluster.container.as_ref()).filter(|_| cgroup.contains(id.as_str()))?;
    let runs = cluster.workload.as_ref().unwrap_or(&cluster.pod);
    Some(format!("container {name} of {}/{runs}", cluster.namespace))
}

fn keepalive(evidence: &Evidence) -> Option<String> {
    let end = evidence.other_end.as_ref()?;
    let idle = upstream_idle(end)?;
    Some(format!(
        "the upstream closes connections that idled for {idle}: raise its keep-alive timeout above \
         the gateway's, or lower the gateway's below {idle}"
    ))
}
