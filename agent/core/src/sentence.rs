//! One sentence for people, and what to do, with this incident's numbers in them.

use crate::amounts::{bare, between, errno, label, limit, signal, symptom};
use crate::attempts::Attempt;
use crate::body;
use crate::cause::Cause;
use crate::closing;
use crate::ends::was_left;
use crate::event::{Flow, Signal, Task};
use crate::evidence::{Complete, Evidence};
use crate::listeners::{Open, Place};
use crate::memory::Memory;
use crate::network;
use crate::processes::{By, Ending, Way};
use crate::stalled;
use crate::unattempted::without_attempt;
use crate::unix_words;
use crate::verdict::Symptom;

pub mod protocol;

/// What happened, after the symptom's word.
#[must_use]
pub fn sentence(evidence: &Evidence, cause: Cause, memory: &Memory) -> String {
    let word = symptom(evidence.symptom);
    let between = evidence
        .deciding()
        .and_then(|attempt| network::sentence(evidence, attempt, cause));
    if let Some(said) = between {
        return format!("{word}: {said}");
    }
    let former = evidence.former.as_ref();
    let closed = former.filter(|_| cause == Cause::ListenerClosed);
    let said = match (evidence.deciding(), &evidence.ending) {
        (Some(attempt), _) if closed.is_some() => unix_words::closed(attempt, closed, memory),
        _ if unix_words::is_ours(cause) => unix_words::sentence(evidence, cause),
        (None, _) => without_attempt(evidence, cause),
        (Some(attempt), Some(ending)) if is_death(cause) => {
            death(evidence, attempt, (ending, memory))
        }
        (Some(attempt), _) if evidence.stall.explains(cause) => {
            stalled::sentence(evidence, attempt, memory)
        }
        (Some(attempt), _) if is_unknown(cause) => unclaimed(evidence, attempt),
        (Some(attempt), _) => match evidence.symptom {
            Symptom::Refused => refusal(evidence, attempt, (cause, memory)),
            Symptom::Unreachable
            | Symptom::ConnectTimeout
            | Symptom::ConnectError
            | Symptom::Eof
            | Symptom::Reset
            | Symptom::NoAnswer
            | Symptom::BadAnswer
            | Symptom::TlsFailure
            | Symptom::NoAttempt
            | Symptom::Relayed
            | Symptom::Truncated => failure(evidence, attempt, (cause, memory)),
        },
    };
    if evidence.answer.cut.is_some() {
        let gateway = bare(&evidence.answer.task);
        let passed = body::passed_on(&evidence.answer);
        return format!("{word}: {gateway} closed on its client {passed}: {said}");
    }
    format!("{word}: {said}")
}

const fn is_unknown(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::UnknownEvidenceLost
            | Cause::UnknownAttachedLate
            | Cause::UnknownHookMissing
            | Cause::UnknownUnexplained
    )
}

/// Only what the gateway's socket saw, and what is missing.
fn unclaimed(evidence: &Evidence, attempt: &Attempt) -> String {
    let address = attempt.flow.target();
    let seen = match (evidence.symptom, &evidence.place) {
        (Symptom::Refused, None) => format!("{address} refused, and no probe502 sees its host"),
        (Symptom::Refused, Some(Place::Taken)) => {
            format!("{address} refused although something listens there")
        }
        _ => plain(evidence.symptom, attempt),
    };
    let dying = evidence.other_end.as_ref().filter(|end| end.flow.dying);
    let dying = match dying.and_then(|end| end.flow.task.as_ref()) {
        Some(task) => format!("; {} was dying, and how it ended was not seen", bare(task)),
        None => String::new(),
    };
    format!("{seen}{dying}{}", gap(evidence))
}

const fn is_death(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::OomCgroup
            | Cause::OomHost
            | Cause::OomUserspace
            | Cause::Crash
            | Cause::Exit
            | Cause::KilledByParent
            | Cause::KilledByRuntime
            | Cause::KilledByUser
            | Cause::Killed
    )
}

/// How the process ended, as the end of a sentence about the other end or about a listener.
fn death(evidence: &Evidence, attempt: &Attempt, (ending, memory): (&Ending, &Memory)) -> String {
    let who = label(&memory.processes.who(&ending.task, ending.at));
    let how = manner(ending);
    if evidence.other_end.is_none() {
        let since = between(ending.at, attempt.at);
        return format!(
            "{who}, which listened on {}, {how} {since} earlier",
            attempt.flow.target()
        );
    }
    if let Some(end) = evidence.other_end.as_ref().filter(|end| !end.flow.dying)
        && ending.at > end.at
    {
        let later = between(end.at, ending.at);
        return format!("{who} closed the connection, and {how} {later} later");
    }
    match attempt.began().filter(|began| *began < ending.at) {
        Some(began) => {
            format!("{who} {how} {} into the request", between(began, ending.at))
        }
        None if attempt.began().is_none() => format!("{who} {how}"),
        None => format!("{who} {how} before the request reached it"),
    }
}

fn manner(ending: &Ending) -> String {
    match &ending.way {
        Way::Oom(Some(report)) if report.by_cgroup => {
            format!("was OOM-killed at its {}", limit(report))
        }
        Way::Oom(Some(_)) => "was OOM-killed, as the host had no memory left,".to_owned(),
        Way::Oom(None) => "was ended by the kernel's OOM killer".to_owned(),
        Way::Crash {
            signal: number,
            core,
        } => {
            format!(
                "crashed ({}{})",
                signal(*number),
                if *core { ", core dumped" } else { "" }
            )
        }
        Way::Exit(status) => format!("called exit({status})"),
        Way::Signalled {
            by,
            signal: sent,
            status,
            order,
            ..
        } => {
            let is_masters = *by == By::Parent || order.is_some();
            let whose = if is_masters { "its master " } else { "" };
            let told = order
                .as_ref()
                .map(|(_, order)| told(order))
                .unwrap_or_default();
            let left = status
                .map(|n| format!(" and exited with status {n}"))
                .unwrap_or_default();
            format!(
                "got {} from {whose}{}{told}{left}",
                signal(sent.number),
                bare(&sent.sender)
            )
        }
        Way::Killed(number) => format!("was ended by {}", signal(*number)),
    }
}

/// Who had told the master.
fn told(order: &Signal) -> String {
    let by = if order.kernel {
        "the terminal's Ctrl-C or the kernel".to_owned()
    } else {
        bare(&order.sender)
    };
    format!(", which {by} had told to stop ({}),", signal(order.number))
}

fn refusal(evidence: &Evidence, attempt: &Attempt, (cause, memory): (Cause, &Memory)) -> String {
    let address = attempt.flow.target();
    let owner = |task: &Task| label(&memory.processes.who(task, attempt.at));
    let named = |open: &Open| owner(&open.listener.task);
    if cause == Cause::FilteredReject {
        return format!("a firewall rejected the connection to {address}");
    }
    match &evidence.place {
        Some(Place::Later(open)) => format!(
            "nothing listened on {address} yet; {} began {} later",
            named(open),
            between(attempt.at, open.at)
        ),
        Some(Place::Closed(closed)) => format!(
            "{} closed its listener on {address} {} earlier",
            owner(&closed.listener.task),
            between(closed.at, attempt.at)
        ),
        Some(Place::OtherAddress(open)) => {
            format!(
                "{} listens on {}, which is not {address}",
                named(open),
                open.listener.local
            )
        }
        Some(Place::SameService(open) | Place::Moved(open)) => format!(
            "the service that listened on {address} now listens on {}: {}",
            open.listener.local,
            named(open)
        ),
        Some(Place::OnlyOther(open) | Place::Neighbour(open)) => format!(
            "nothing listens on {address}; the only other service there, {}, listens on {}",
            named(open),
            open.listener.local
        ),
        Some(Place::Nothing) => {
            format!("nothing has listened on {address} since probe502 started")
        }
        Some(Place::Taken) | None => plain(evidence.symptom, attempt),
    }
}

/// Who held the other end.
fn closer(evidence: &Evidence, attempt: &Attempt, memory: &Memory) -> String {
    let end = evidence.other_end.as_ref();
    let task = end.and_then(|end| end.flow.task.as_ref());
    task.map_or_else(
        || format!("the upstream {}", attempt.flow.target()),
        |task| label(&memory.processes.who(task, attempt.at)),
    )
}

fn relayed(evidence: &Evidence, attempt: &Attempt) -> String {
    let status = attempt.relayed.unwrap_or(evidence.answer.status);
    let address = attempt.flow.target();
    format!("the upstream {address} itself answered {status}")
}

fn rejected(flow: &Flow) -> String {
    let address = flow.target();
    format!("a firewall rejected packets between here and {address}")
}

/// What happened to an established connection, or the symptom in words.
fn failure(evidence: &Evidence, attempt: &Attempt, (cause, memory): (Cause, &Memory)) -> String {
    let flow = &attempt.flow;
    let who = &closer(evidence, attempt, memory);
    let told: [(Cause, &dyn Fn() -> String); 10] = [
        (Cause::RelayedUpstream, &|| relayed(evidence, attempt)),
        (Cause::FilteredReject, &|| rejected(flow)),
        (Cause::HeaderTooBig, &|| protocol::header_too_big(flow)),
        (Cause::Malformed, &|| protocol::malformed(flow)),
        (Cause::NotHttp, &|| protocol::not_http(flow)),
        (Cause::PlainToTls, &|| protocol::plain_to_tls(flow, who)),
        (Cause::TlsToPlain, &|| protocol::tls_to_plain(flow, who)),
        (Cause::TlsAlert, &|| protocol::tls_alert(flow)),
        (Cause::TlsDistrust, &|| protocol::tls_distrust(flow)),
        (Cause::TlsClosed, &|| {
            format!("{who} closed the connection during the TLS handshake")
        }),
    ];
    let told = told.iter().find(|(own, _)| *own == cause);
    told.map_or_else(
        || closing::closed(evidence, attempt, (cause, who)),
        |(_, words)| words(),
    )
}

/// The symptom in words, where no cause is claimed.
#[must_use]
pub fn plain(symptom: Symptom, attempt: &Attempt) -> String {
    let flow = &attempt.flow;
    let address = flow.target();
    let waited = attempt
        .began()
        .map_or_else(String::new, |began| between(began, attempt.at));
    match symptom {
        Symptom::Unreachable => format!("{address} cannot be reached ({})", errno_of(attempt)),
        Symptom::ConnectTimeout => format!("no answer to the connection to {address} in {waited}"),
        Symptom::ConnectError => {
            format!(
                "the connection to {address} failed with {}",
                errno_of(attempt)
            )
        }
        Symptom::Eof => format!("{address} ended the connection before a whole header"),
        Symptom::Reset => format!("{address} reset the connection before a whole header"),
        Symptom::NoAnswer => {
            format!("{address} had not answered when the gateway gave up, {waited} in")
        }
        Symptom::BadAnswer => {
            format!(
                "the gateway did not accept the {} bytes that {address} sent",
                flow.heard_bytes
            )
        }
        Symptom::TlsFailure => format!("the TLS handshake with {address} failed"),
        Symptom::Refused => format!("{address} refused"),
        Symptom::NoAttempt => "no attempt was seen".to_owned(),
        Symptom::Relayed => format!("{address} gave the error itself"),
        Symptom::Truncated if was_left(flow) => format!("{address} ended within the answer's body"),
        Symptom::Truncated => {
            format!("the gateway waited for more of {address}'s answer and gave up")
        }
    }
}

fn errno_of(attempt: &Attempt) -> String {
    let (hard, soft) = (attempt.flow.error, attempt.flow.soft_error);
    errno(if hard.0 == 0 { soft } else { hard })
}

/// Why nothing more is claimed.
#[must_use]
pub fn gap(evidence: &Evidence) -> String {
    match &evidence.complete {
        Complete::Lost(count) => format!("; {count} records were lost around this answer"),
        Complete::Late => "; the connection is older than probe502".to_owned(),
        Complete::Missing(hooks) => format!("; this kernel lacks {}", hooks.join(", ")),
        Complete::Yes if evidence.joined.ambiguous || evidence.joined.divided => {
            "; several attempts fit this answer, and they failed differently".to_owned()
        }
        Complete::Yes if evidence.may_be_check => {
            "; it may be a health check's dial, as another before, and the answer a rule's"
                .to_owned()
        }
        Complete::Yes => String::new(),
    }
}
