//! Packets of which the kernel told: RSTs that this host sent, packets that were dropped, and those
//! that came to a full queue. A sequence number finds them whatever translates the addresses.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{Drop, Flow, Reset};
use crate::recent::Recent;
use crate::units::{Cookie, Netns, Timestamp};

/// How far apart two facts of one refusal lie at most: the SYN and its RST on one host.
const INSTANT: Duration = Duration::from_millis(5);
/// How long a packet explains the failure that it caused: longer than a pool holds on to a dead
/// connection before it is used.
const MEMORY: Duration = Duration::from_secs(600);
/// How far a connection's packets are followed by their sequence numbers, where its addresses are
/// translated: more than a request's bytes.
const REACH: u32 = 1 << 20;

type Place = (SocketAddr, Timestamp, u64);
/// The rest of the place is in the key.
type Numbered = Recent<(u32, Timestamp, u64), SocketAddr>;

/// A packet that reached a listener whose accept queue was full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "documented at probe502_common::Overflow")]
pub struct Overflow {
    pub netns: Netns,
    pub cookie: Cookie,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    #[serde(default)]
    pub queued: u32,
    #[serde(default)]
    pub limit: u32,
    #[serde(default)]
    pub sequence: u32,
    /// A SYN without ACK; else what comes after the handshake's second step.
    #[serde(default)]
    pub syn: bool,
}

/// Bounded memory of packets.
#[derive(Debug)]
pub struct Packets {
    /// By the address that sent them.
    resets: Recent<Place, Reset>,
    /// By the address that they were sent to.
    drops: Recent<Place, Drop>,
    /// By the listener's address that was dialled.
    overflows: Recent<Place, Overflow>,
    /// The same by the sequence number of the dialling end's packet.
    reset_numbers: Numbered,
    drop_numbers: Numbered,
    overflow_numbers: Numbered,
    /// Dropped packets by what they acknowledge: those on their way back.
    drop_acknowledged: Numbered,
    next: u64,
}

impl Default for Packets {
    fn default() -> Self {
        Self {
            resets: Recent::new(6144, MEMORY),
            drops: Recent::new(4096, MEMORY),
            overflows: Recent::new(4096, MEMORY),
            reset_numbers: Recent::new(6144, MEMORY),
            drop_numbers: Recent::new(4096, MEMORY),
            overflow_numbers: Recent::new(4096, MEMORY),
            drop_acknowledged: Recent::new(4096, MEMORY),
            next: 0,
        }
    }
}

impl Packets {
    /// This host sent a RST.
    pub fn reset(&mut self, at: Timestamp, reset: Reset) {
        let place = self.place(reset.local, at);
        note(&mut self.reset_numbers, reset.sequence, place);
        self.resets.insert(at, place, reset);
    }

    /// A packet was dropped.
    pub fn dropped(&mut self, at: Timestamp, drop: Drop) {
        let place = self.place(drop.target, at);
        note(&mut self.drop_numbers, drop.sequence, place);
        note(&mut self.drop_acknowledged, drop.acknowledges, place);
        self.drops.insert(at, place, drop);
    }

    /// A packet came to a full queue.
    pub fn overflowed(&mut self, at: Timestamp, overflow: Overflow) {
        let place = self.place(overflow.local, at);
        note(&mut self.overflow_numbers, overflow.sequence, place);
        self.overflows.insert(at, place, overflow);
    }

    fn place(&mut self, address: SocketAddr, at: Timestamp) -> Place {
        self.next += 1;
        (address, at, self.next)
    }

    /// The RST by which this host refused a SYN of this connection.
    #[must_use]
    pub fn refusal(&self, dialled: &Flow, until: Timestamp) -> Option<(Timestamp, &Reset)> {
        let from = dialled.opened_at.unwrap_or(until);
        let span = (earlier(from), until.plus(INSTANT));
        let is_refusal = |reset: &Reset| {
            matches!(reset.reason.as_deref(), Some("NO_SOCKET") | None) && reset.cookie.0 == 0
        };
        let numbered = self
            .numbered(&self.reset_numbers, (dialled.isn, 0), span)
            .filter_map(|place| Some((place.1, self.resets.get(&place)?)));
        let mut exact = numbered.filter(|(_, reset)| is_refusal(reset));
        exact.next().or_else(|| {
            within(&self.resets, dialled.remote, span).find(|(at, reset)| {
                let is_near = at.since(until) <= INSTANT && until.since(*at) <= INSTANT;
                // The kernel forgets a socket's port once its connect has failed.
                let is_ours = reset.remote == dialled.local
                    || dialled.local.port() == 0
                        && is_near
                        && (dialled.local.ip().is_unspecified()
                            || reset.remote.ip() == dialled.local.ip());
                let is_unnumbered = dialled.isn == 0 || reset.sequence == 0;
                is_refusal(reset) && is_ours && is_unnumbered
            })
        })
    }

    /// The RST that this host sent to an established connection's dialling end.
    #[must_use]
    pub fn reset_to(&self, dialled: &Flow, until: Timestamp) -> Option<(Timestamp, &Reset)> {
        let from = dialled.established_at.or(dialled.opened_at);
        let span = (from.unwrap_or_default(), until.plus(INSTANT));
        let here = within(&self.resets, dialled.remote, span)
            .filter(|(_, reset)| reset.remote == dialled.local)
            .last();
        here.or_else(|| {
            let numbered = self.numbered(&self.reset_numbers, (dialled.isn, REACH), span);
            numbered
                .filter_map(|place| Some((place.1, self.resets.get(&place)?)))
                .filter(|(_, reset)| reset.remote == dialled.local)
                .max_by_key(|(at, _)| *at)
        })
    }

    /// The packet of this connection's last request, or of its dial, that was dropped, in either
    /// direction.
    #[must_use]
    pub fn dropped_of(&self, dialled: &Flow, until: Timestamp) -> Option<(Timestamp, &Drop)> {
        let began = dialled.said_at.or(dialled.opened_at).unwrap_or(until);
        let span = (earlier(began), until.plus(INSTANT));
        let get = |place: Place| Some((place.1, self.drops.get(&place)?));
        let syn = self.numbered(&self.drop_numbers, (dialled.isn, 0), span);
        let syn = syn.filter_map(get).find(|(_, drop)| drop.syn);
        let there = || {
            within(&self.drops, dialled.remote, span).find(|(at, drop)| {
                let is_unnumbered = dialled.isn == 0 || drop.sequence == 0;
                drop.source == dialled.local && (is_unnumbered || !drop.syn)
                    || dialled.local.port() == 0
                        && is_unnumbered
                        && drop.syn
                        && drop.netns == dialled.netns
                        && until.since(*at) <= INSTANT
            })
        };
        let back = || {
            within(&self.drops, dialled.local, span).find(|(_, drop)| drop.source == dialled.remote)
        };
        // A translation lies between: the dialling end's address and its numbers stay.
        let out = || {
            let numbered = self.numbered(&self.drop_numbers, (dialled.isn, REACH), span);
            numbered
                .filter_map(get)
                .find(|(_, drop)| drop.source == dialled.local)
        };
        let answers = || {
            let numbered = self.numbered(&self.drop_acknowledged, (dialled.isn, REACH), span);
            numbered
                .filter_map(get)
                .find(|(_, drop)| drop.target == dialled.local)
        };
        syn.or_else(there)
            .or_else(back)
            .or_else(out)
            .or_else(answers)
    }

    /// The packet of this connection's handshake, or what followed it, that came to a full queue; for
    /// a connection that was not made, another's at the same address meanwhile: not all of a flooded
    /// queue's are told of.
    #[must_use]
    pub fn overflow(&self, dialled: &Flow, until: Timestamp) -> Option<(Timestamp, Overflow)> {
        let from = dialled.opened_at.unwrap_or(until);
        let span = (earlier(from), until.plus(INSTANT));
        let own = self
            .numbered(&self.overflow_numbers, (dialled.isn, 1), span)
            .find_map(|place| Some((place.1, self.overflows.get(&place)?)));
        let near = || {
            let met = within(&self.overflows, dialled.remote, (from, until));
            met.last().filter(|_| !dialled.established)
        };
        let found = own.or_else(near);
        found.map(|(at, overflow)| (at, overflow.clone()))
    }

    /// Packets numbered from a connection's first number up to so many more, where that is known.
    fn numbered(
        &self,
        numbers: &Numbered,
        (first, reach): (u32, u32),
        (from, until): (Timestamp, Timestamp),
    ) -> impl Iterator<Item = Place> {
        let last = first.wrapping_add(reach);
        // Numbers begin again after the last.
        let (one, other) = if last < first {
            ((first, u32::MAX), (0, last))
        } else {
            ((first, last), (1, 0))
        };
        let range = |(low, high): (u32, u32)| {
            numbers.between(
                (low, Timestamp(0), 0),
                (high, Timestamp(u64::MAX), u64::MAX),
            )
        };
        let found: Vec<Place> = range(one)
            .chain(range(other))
            .map(|((_, at, number), address)| (*address, *at, *number))
            .filter(|(_, at, _)| first != 0 && *at >= from && *at <= until)
            .collect();
        found.into_iter()
    }
}

/// A number of 0 is none.
fn note(numbers: &mut Numbered, number: u32, place: Place) {
    if number != 0 {
        numbers.insert(place.1, (number, place.1, place.2), place.0);
    }
}

fn within<V>(
    all: &Recent<Place, V>,
    address: SocketAddr,
    (from, until): (Timestamp, Timestamp),
) -> impl Iterator<Item = (Timestamp, &V)> {
    all.between((address, from, 0), (address, until, u64::MAX))
        .map(|((_, at, _), value)| (*at, value))
}

/// Two hooks on two processors.
fn earlier(moment: Timestamp) -> Timestamp {
    Timestamp(moment.0.saturating_sub(1_000_000))
}
