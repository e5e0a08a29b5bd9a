//! What lay between the gateway and its upstream: full queues, firewalls, routes, silence.

use std::time::Duration;

use crate::amounts::{between, errno, span};
use crate::attempts::Attempt;
use crate::cause::Cause;
use crate::connections::OtherEnd;
use crate::diagnose::{Judgement, inferred, proven};
use crate::event::{Drop, Flow, How};
use crate::evidence::{Complete, Evidence};
use crate::packets::Overflow;
use crate::units::Errno;
use crate::verdict::Symptom;

/// Before any packet of a dial (`net/tcp_states.h`).
const CLOSE: u8 = 7;
const EACCES: u16 = 13;
const EINVAL: u16 = 22;
const EADDRNOTAVAIL: u16 = 99;
const ENETUNREACH: u16 = 101;
const EHOSTUNREACH: u16 = 113;

/// A dropped packet's reason where its next hop did not answer (`net/core/neighbour.c`).
const NO_NEIGHBOUR: &str = "NEIGH_FAILED";

/// The shortest idle limit that middleboxes are known to have by default (AWS Application Load
/// Balancer: 60 s; Network Load Balancer: 350 s; Azure: 4 min).
const MIDDLEBOX: Duration = Duration::from_secs(60);

/// Why a connection was not made.
#[must_use]
pub fn unconnected(evidence: &Evidence, attempt: &Attempt) -> Option<Judgement> {
    let flow = &attempt.flow;
    let error = dialled(evidence, attempt).0;
    if flow.state == CLOSE {
        let is_route = [ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL].contains(&error);
        return is_route.then_some(proven(Cause::UnreachableRoute));
    }
    if error == EADDRNOTAVAIL && flow.isn == 0 {
        return Some(proven(Cause::PortsExhausted));
    }
    let timed_out = evidence.symptom == Symptom::ConnectTimeout;
    match (&evidence.drop, &evidence.overflow) {
        (Some((_, drop)), _) if drop.reason == NO_NEIGHBOUR => Some(proven(Cause::UnreachableHost)),
        // Rejected with an ICMP error, or dropped in silence.
        (Some(_), _) if timed_out => Some(proven(Cause::FilteredDrop)),
        (Some(_), _) => Some(proven(Cause::FilteredReject)),
        (None, _) if flow.icmp_origin != 0 => Some(proven(Cause::UnreachableIcmp)),
        (None, Some((_, overflow))) if timed_out => {
            let is_own = is_its_own(overflow, flow);
            let cause = Cause::BacklogFull;
            Some(if is_own {
                proven(cause)
            } else {
                inferred(cause)
            })
        }
        (None, None) if timed_out && told_before(evidence, attempt).is_some() => {
            Some(inferred(Cause::UnreachableIcmp))
        }
        (None, None) if timed_out && flow.retransmits > 0 => Some(inferred(Cause::Lost)),
        (None, _) => None,
    }
}

/// An earlier try of the same request at the same place that the network answered with an error: routers
/// limit how many they send (RFC 1812, 4.3.2.8), so the next try may hear nothing.
fn told_before<'a>(evidence: &'a Evidence, attempt: &Attempt) -> Option<&'a Flow> {
    let earlier = evidence.joined.attempts.iter().map(|one| &*one.flow);
    let told = |flow: &&Flow| flow.icmp_origin != 0 && flow.target() == attempt.flow.target();
    earlier.rev().find(told)
}

/// Why a request on an established connection came to nothing.
#[must_use]
pub fn unanswered(evidence: &Evidence, attempt: &Attempt) -> Option<Judgement> {
    let flow = &attempt.flow;
    let is_stuck = flow.unacked > 0;
    match (&evidence.drop, &evidence.overflow) {
        (Some((_, drop)), _) if is_stuck && drop.reason == NO_NEIGHBOUR => {
            Some(proven(Cause::UnreachableHost))
        }
        // What was lost once and came the second time explains nothing.
        (Some((_, drop)), _) if is_stuck || is_on_its_way_back(drop, flow) => {
            Some(proven(Cause::FilteredDrop))
        }
        (_, Some((_, overflow))) if is_stuck && is_its_own(overflow, flow) && !overflow.syn => {
            Some(proven(Cause::BacklogFull))
        }
        (_, _) if is_stuck && flow.icmp_origin != 0 => Some(proven(Cause::UnreachableIcmp)),
        (_, _) if is_stuck && flow.retransmits > 0 => Some(inferred(lost(evidence, attempt))),
        (_, _) => None,
    }
}

/// Whose RST it was that reached the gateway, where its upstream sent none.
#[must_use]
pub fn reset_by_another(evidence: &Evidence, attempt: &Attempt) -> Option<Judgement> {
    let flow = &attempt.flow;
    if let Some((_, overflow)) = &evidence.overflow
        && is_its_own(overflow, flow)
        && !overflow.syn
        && flow.unacked > 0
    {
        return Some(proven(Cause::BacklogFull));
    }
    let is_foreign = flow.reset_heard
        && evidence
            .other_end
            .as_ref()
            .is_none_or(|end| outlived(end, flow))
        && evidence.reset.is_none()
        && evidence.is_peer_here
        && evidence.complete == Complete::Yes;
    let forgotten = attempt.reused() && idle(flow) >= MIDDLEBOX;
    let cause = if forgotten {
        Cause::KeepaliveMiddlebox
    } else {
        Cause::ResetByMiddlebox
    };
    is_foreign.then_some(inferred(cause))
}

/// Whether the upstream's end was still there as the RST came, and went by what the gateway's host answered.
fn outlived(end: &OtherEnd, flow: &Flow) -> bool {
    let is_kernels = matches!(end.flow.how, How::Open | How::Released);
    is_kernels && flow.reset_at.is_some_and(|heard| end.at > heard)
}

/// Packets that nothing here dropped, and that nobody acknowledged.
fn lost(evidence: &Evidence, attempt: &Attempt) -> Cause {
    let is_forgotten = attempt.reused()
        && idle(&attempt.flow) >= MIDDLEBOX
        && evidence.is_peer_here
        && evidence.complete == Complete::Yes;
    if is_forgotten {
        Cause::KeepaliveMiddlebox
    } else {
        Cause::Lost
    }
}

/// For how long the connection had idled when the request went out on it.
fn idle(flow: &Flow) -> Duration {
    let idle = flow.heard_before_at.zip(flow.said_at);
    idle.map_or(Duration::ZERO, |(heard, said)| said.since(heard))
}

/// Its SYN, or what came right after it.
fn is_its_own(overflow: &Overflow, flow: &Flow) -> bool {
    flow.isn != 0 && overflow.sequence.wrapping_sub(flow.isn) <= 1
}

fn is_on_its_way_back(drop: &Drop, flow: &Flow) -> bool {
    drop.target == flow.local
}

fn either(flow: &Flow) -> Errno {
    if flow.error.0 == 0 {
        flow.soft_error
    } else {
        flow.error
    }
}

type Words = fn(&Evidence, &Attempt) -> String;

/// What happened, for the causes of this file.
const WORDS: [(Cause, Words); 9] = [
    (Cause::BacklogFull, full),
    (Cause::FilteredDrop, filtered),
    (Cause::UnreachableRoute, unrouted),
    (Cause::UnreachableHost, unheard),
    (Cause::UnreachableIcmp, icmp),
    (Cause::Lost, unacknowledged),
    (Cause::ResetByMiddlebox, forged),
    (Cause::KeepaliveMiddlebox, forgotten),
    (Cause::PortsExhausted, exhausted),
];

/// What happened; `None` for other files' causes.
#[must_use]
pub fn sentence(evidence: &Evidence, attempt: &Attempt, cause: Cause) -> Option<String> {
    let words = WORDS.iter().find(|(own, _)| *own == cause);
    words.map(|(_, words)| words(evidence, attempt))
}

fn filtered(evidence: &Evidence, attempt: &Attempt) -> String {
    let reason = evidence.drop.as_ref().map(|(_, drop)| drop.reason.as_str());
    let what = match reason {
        Some("NETFILTER_DROP") | None => "a firewall",
        Some("IP_RPFILTER") => "the reverse path filter",
        Some(_) => "a filter",
    };
    let address = attempt.flow.remote;
    format!("{what} on this host dropped packets between here and {address}")
}

fn unrouted(evidence: &Evidence, attempt: &Attempt) -> String {
    let (address, why) = (attempt.flow.remote, route(evidence, attempt));
    format!("this host has no way to {address}: {why}")
}

fn unheard(_: &Evidence, attempt: &Attempt) -> String {
    let address = attempt.flow.remote;
    format!("no host on the local network answered for the way to {address}")
}

fn icmp(evidence: &Evidence, attempt: &Attempt) -> String {
    let own = Some(&*attempt.flow).filter(|flow| flow.icmp_origin != 0);
    let told = own.or_else(|| told_before(evidence, attempt));
    let flow = told.unwrap_or(&attempt.flow);
    let version = if flow.icmp_origin == 3 { "v6" } else { "" };
    format!(
        "the network answered the {} to {} with an ICMP{version} error (type {}, code {}): {}",
        sent(flow),
        flow.remote,
        flow.icmp_type,
        flow.icmp_code,
        errno(either(flow))
    )
}

fn unacknowledged(_: &Evidence, attempt: &Attempt) -> String {
    let flow = &attempt.flow;
    let began = attempt.began().unwrap_or(attempt.at);
    format!(
        "nobody acknowledged the {} to {}, sent {} times in {}, and nothing on this host was seen \
         to drop it",
        sent(flow),
        flow.remote,
        flow.retransmits.saturating_add(1),
        between(began, attempt.at)
    )
}

fn forged(_: &Evidence, attempt: &Attempt) -> String {
    let address = attempt.flow.remote;
    format!("a RST came in the name of {address}, whose TCP had sent none")
}

fn forgotten(_: &Evidence, attempt: &Attempt) -> String {
    let (address, idle) = (attempt.flow.remote, span(idle(&attempt.flow)));
    format!(
        "something between here and {address} had forgotten the pooled connection, which had \
         idled for {idle}"
    )
}

fn exhausted(_: &Evidence, attempt: &Attempt) -> String {
    let address = attempt.flow.remote;
    format!("this host has no free local port left towards {address}")
}

fn full(evidence: &Evidence, attempt: &Attempt) -> String {
    let Some((_, overflow)) = &evidence.overflow else {
        return format!("the accept queue of {} was full", attempt.flow.remote);
    };
    format!(
        "the accept queue of the listener on {} was full: {} connections waited, its limit is {}",
        overflow.local, overflow.queued, overflow.limit
    )
}

fn sent(flow: &Flow) -> &'static str {
    if flow.established { "request" } else { "SYN" }
}

/// A dial's errno, as its socket or its call has it: a call that security refuses has no attempt, so one
/// of an attempt before any packet is its route's.
fn dialled(evidence: &Evidence, attempt: &Attempt) -> Errno {
    let own = either(&attempt.flow);
    let call = evidence.call.as_ref().map(|(_, call)| call.errno);
    let is_call = own.0 == 0 && attempt.flow.state == CLOSE;
    call.filter(|errno| is_call && errno.0 == EACCES)
        .unwrap_or(own)
}

fn route(evidence: &Evidence, attempt: &Attempt) -> &'static str {
    match dialled(evidence, attempt).0 {
        EACCES => "its route prohibits it (EACCES)",
        EINVAL => "its route is a blackhole (EINVAL)",
        EHOSTUNREACH => "its route is marked unreachable (EHOSTUNREACH)",
        _ => "no route matches (ENETUNREACH)",
    }
}

/// A dropped packet as a line of the evidence.
#[must_use]
pub fn dropped(drop: &Drop) -> String {
    let what = if drop.syn { "SYN" } else { "packet" };
    let way = if drop.arrived {
        "on its way in"
    } else {
        "on its way out"
    };
    let (source, target, reason) = (drop.source, drop.target, &drop.reason);
    match reason.as_str() {
        NO_NEIGHBOUR => format!(
            "the {what} {source} → {target} was dropped: no neighbour answered for its next hop"
        ),
        "NETFILTER_DROP" => {
            format!("a firewall dropped the {what} {source} → {target} {way}: {reason}")
        }
        _ => format!("the kernel dropped the {what} {source} → {target} {way}: {reason}"),
    }
}

/// A packet at a full queue as a line of the evidence.
#[must_use]
pub fn overflowed(overflow: &Overflow) -> String {
    let what = if overflow.syn {
        "a SYN"
    } else {
        "the handshake's last packet"
    };
    format!(
        "{what} came to the listener on {} with {} connections in its accept queue, limit {}",
        overflow.local, overflow.queued, overflow.limit
    )
}
