//! What happened lately to connections: ends, resets, drops and answers, found by their two ends.

use std::net::SocketAddr;
use std::time::Duration;

use crate::event::{Drop, Flow, How, Reset};
use crate::recent::Recent;
use crate::units::{Cookie, Netns, Timestamp};

/// How far apart two facts of one refusal lie at most: the SYN and its RST on one host.
const INSTANT: Duration = Duration::from_millis(5);
/// How far apart a FIN or RST leaves and arrives at most within one host.
const AT_ONCE: Duration = Duration::from_millis(1);
/// How long an end explains the failure that it caused: longer than any grace, and than the time
/// that a pool holds on to a dead connection before it is used.
const MEMORY: Duration = Duration::from_secs(600);

type Ends = (SocketAddr, SocketAddr);

/// The other end of a connection that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct OtherEnd {
    /// When it was let go.
    pub at: Timestamp,
    /// As its holder left it.
    pub flow: Flow,
    /// Found by less than both addresses: a translation lies between, or the kernel had forgotten
    /// the dialling port.
    pub translated: bool,
}

/// Bounded memory of connections.
#[derive(Debug)]
pub struct Connections {
    /// By (remote, local): translation changes only the second as the upstream sees it.
    ends: Recent<(SocketAddr, SocketAddr, Timestamp, Cookie), Flow>,
    resets: Recent<(SocketAddr, Timestamp, u64), Reset>,
    drops: Recent<(SocketAddr, Timestamp, u64), Drop>,
    /// Failed answers by (local, remote), with their sockets.
    answers: Recent<(SocketAddr, SocketAddr, Timestamp), Cookie>,
    next: u64,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            ends: Recent::new(4096, MEMORY),
            resets: Recent::new(6144, MEMORY),
            drops: Recent::new(4096, MEMORY),
            answers: Recent::new(4096, Duration::from_secs(60)),
            next: 0,
        }
    }
}

impl Connections {
    /// An accepted connection was let go.
    pub fn end(&mut self, at: Timestamp, mut flow: Flow) {
        // Only the dialling end's bytes are judged.
        (flow.said_head, flow.heard_head) = Default::default();
        self.ends
            .insert(at, (flow.remote, flow.local, at, flow.cookie), flow);
    }

    /// This host sent a RST.
    pub fn reset(&mut self, at: Timestamp, reset: Reset) {
        self.next += 1;
        self.resets.insert(at, (reset.local, at, self.next), reset);
    }

    /// A firewall dropped a packet.
    pub fn dropped(&mut self, at: Timestamp, drop: Drop) {
        self.next += 1;
        self.drops.insert(at, (drop.target, at, self.next), drop);
    }

    /// A failed answer left.
    pub fn answered(&mut self, at: Timestamp, (local, remote): Ends, cookie: Cookie) {
        self.answers.insert(at, (local, remote, at), cookie);
    }

    /// The failed answer that an upstream gave on this connection: its moment and its socket.
    #[must_use]
    pub fn answer_of(&self, dialled: &Flow, around: Timestamp) -> Option<(Timestamp, Cookie)> {
        let key = |at| (dialled.remote, dialled.local, at);
        let from = Timestamp(around.0.saturating_sub(1_000_000_000));
        let until = around.plus(Duration::from_secs(1));
        self.answers
            .between(key(from), key(until))
            .next_back()
            .map(|((_, _, at), cookie)| (*at, *cookie))
    }

    /// The other end of a dialled connection that was let go at `until`.
    #[must_use]
    pub fn other_end(&self, dialled: &Flow, until: Timestamp) -> Option<OtherEnd> {
        if dialled.local.port() == 0 {
            return self.other_end_by_time(dialled, until);
        }
        let lowest = SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0);
        let from = (dialled.local, lowest, Timestamp(0), Cookie(0));
        let candidates = self
            .ends
            .range(from..)
            .take_while(|((remote, ..), _)| *remote == dialled.local);
        let mut found: Option<OtherEnd> = None;
        for ((_, local, at, _), flow) in candidates {
            let translated = *local != dialled.remote;
            let is_same_host = same_place(dialled.netns, flow.netns, dialled.remote);
            let fits = overlaps(dialled, until, flow, *at)
                && if translated {
                    began_together(dialled, flow)
                } else {
                    is_same_host
                };
            // The exact address wins over a translated one, the later over the earlier.
            let better = found.as_ref().is_none_or(|best| {
                (best.translated, translated) != (false, true)
                    && (best.translated != translated || best.at <= *at)
            });
            if fits && better {
                found = Some(OtherEnd {
                    at: *at,
                    flow: flow.clone(),
                    translated,
                });
            }
        }
        found
    }

    /// The only end on that address that was let go as the dialling end heard of it.
    fn other_end_by_time(&self, dialled: &Flow, until: Timestamp) -> Option<OtherEnd> {
        let heard = [dialled.fin_at, dialled.reset_at]
            .into_iter()
            .flatten()
            .min();
        let heard = heard.unwrap_or(until);
        let mut near = self
            .ends
            .range(..)
            .filter(|((remote, local, at, _), flow)| {
                *local == dialled.remote
                    && remote.ip() == dialled.local.ip()
                    && at.since(heard) <= AT_ONCE
                    && heard.since(*at) <= AT_ONCE
                    && same_place(dialled.netns, flow.netns, dialled.remote)
            });
        let ((_, _, at, _), flow) = near.next()?;
        let end = OtherEnd {
            at: *at,
            flow: flow.clone(),
            translated: true,
        };
        near.next().is_none().then_some(end)
    }

    /// The RST by which this host refused a SYN of this connection.
    #[must_use]
    pub fn refusal(&self, dialled: &Flow, until: Timestamp) -> Option<(Timestamp, &Reset)> {
        let from = dialled.opened_at.unwrap_or(until);
        let from = Timestamp(from.0.saturating_sub(1_000_000));
        self.resets_from(dialled.remote, from, until.plus(INSTANT))
            .find(|(at, reset)| {
                let is_near = at.since(until) <= INSTANT && until.since(*at) <= INSTANT;
                let is_refusal = matches!(reset.reason.as_deref(), Some("NO_SOCKET") | None);
                // The kernel forgets a socket's port once its connect has failed.
                let is_ours = reset.remote == dialled.local
                    || dialled.local.port() == 0
                        && is_near
                        && (dialled.local.ip().is_unspecified()
                            || reset.remote.ip() == dialled.local.ip());
                is_refusal && is_ours && reset.cookie.0 == 0
            })
    }

    /// The RST that this host sent to an established connection's dialling end.
    #[must_use]
    pub fn reset_to(&self, dialled: &Flow, until: Timestamp) -> Option<(Timestamp, &Reset)> {
        let from = dialled
            .established_at
            .or(dialled.opened_at)
            .unwrap_or_default();
        let resets = self.resets_from(dialled.remote, from, until.plus(INSTANT));
        resets
            .filter(|(_, reset)| reset.remote == dialled.local)
            .last()
    }

    /// The packet of this connection that a firewall dropped, in either direction.
    #[must_use]
    pub fn dropped_of(&self, dialled: &Flow, until: Timestamp) -> Option<(Timestamp, &Drop)> {
        let from = dialled.opened_at.or(dialled.said_at).unwrap_or(until);
        let from = Timestamp(from.0.saturating_sub(1_000_000));
        let between = |target| {
            let last = (target, until.plus(INSTANT), u64::MAX);
            self.drops
                .between((target, from, 0), last)
                .map(|((_, at, _), drop)| (*at, drop))
        };
        let out = between(dialled.remote).find(|(at, drop)| {
            drop.source == dialled.local
                || dialled.local.port() == 0
                    && drop.syn
                    && drop.netns == dialled.netns
                    && until.since(*at) <= INSTANT
        });
        out.or_else(|| between(dialled.local).find(|(_, drop)| drop.source == dialled.remote))
    }

    fn resets_from(
        &self,
        local: SocketAddr,
        from: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = (Timestamp, &Reset)> {
        let last = (local, until, u64::MAX);
        self.resets
            .between((local, from, 0), last)
            .map(|((_, at, _), reset)| (*at, reset))
    }
}

/// Loopback addresses mean something only within one namespace; others name one host.
fn same_place(one: Netns, other: Netns, address: SocketAddr) -> bool {
    !address.ip().is_loopback() || one == other || one.0 == 0 || other.0 == 0
}

/// Whether two sockets can have been one connection's ends: ports are used again.
fn overlaps(dialled: &Flow, until: Timestamp, end: &Flow, ended: Timestamp) -> bool {
    let slack = Duration::from_millis(2);
    let began = dialled.opened_at.or(dialled.established_at);
    let alive = began.is_none_or(|began| ended.plus(slack) >= began);
    let before = end
        .opened_at
        .or(end.established_at)
        .is_none_or(|opened| opened <= until.plus(slack));
    let queued = end.how == How::Queued;
    alive
        && before
        && (queued || end.established_at.is_none() || began_together_or_unknown(dialled, end))
}

fn began_together(dialled: &Flow, end: &Flow) -> bool {
    dialled.established_at.is_some() && end.established_at.is_some() && together(dialled, end)
}

fn began_together_or_unknown(dialled: &Flow, end: &Flow) -> bool {
    dialled.established_at.is_none() || end.established_at.is_none() || together(dialled, end)
}

/// The handshake's last two steps lie a round trip apart, or the time until data came.
fn together(dialled: &Flow, end: &Flow) -> bool {
    let (one, other) = (dialled.established_at, end.established_at);
    one.zip(other).is_some_and(|(one, other)| {
        one.since(other) <= Duration::from_secs(1) && other.since(one) <= Duration::from_secs(1)
    })
}
