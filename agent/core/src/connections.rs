//! What happened lately to connections: ends and answers, found by both ends' sequence numbers, or by
//! their addresses where those are not known.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::time::Duration;

use crate::event::{Flow, How};
use crate::recent::Recent;
use crate::units::{Cookie, Netns, Timestamp};

/// How far apart a FIN or RST leaves and arrives at most within one host.
const AT_ONCE: Duration = Duration::from_millis(1);
/// How long an end explains the failure that it caused: longer than any grace, and than the time
/// that a pool holds on to a dead connection before it is used.
const MEMORY: Duration = Duration::from_secs(600);

/// The dialling end's initial sequence number and the accepting end's.
type Numbers = (u32, u32);

/// What names a connection at both of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// Its initial sequence numbers, the dialling end's first: no translation changes them.
    Numbers(u32, u32),
    /// Its addresses, the dialled one first.
    Ends(SocketAddr, SocketAddr),
}

impl Name {
    /// A number in its place, where many are remembered: it takes a ninth of the room.
    #[must_use]
    pub fn short(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// The names of a connection, from its dialling end.
#[must_use]
pub fn names_of_dialled(flow: &Flow) -> [Name; 2] {
    let ends = Name::Ends(flow.remote, flow.local);
    match numbers(flow.isn, flow.peer_isn) {
        Some((one, other)) => [Name::Numbers(one, other), ends],
        None => [ends; 2],
    }
}

/// The names of a connection, from its accepting end.
#[must_use]
pub fn names_of_accepted(flow: &Flow) -> [Name; 2] {
    let ends = Name::Ends(flow.local, flow.remote);
    match numbers(flow.peer_isn, flow.isn) {
        Some((one, other)) => [Name::Numbers(one, other), ends],
        None => [ends; 2],
    }
}

fn numbers(dialled: u32, accepted: u32) -> Option<Numbers> {
    (dialled != 0 && accepted != 0).then_some((dialled, accepted))
}

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
    ends: Recent<(SocketAddr, SocketAddr, Timestamp, Cookie), Box<Flow>>,
    /// The same by their numbers.
    numbered: Recent<Numbers, (SocketAddr, SocketAddr, Timestamp, Cookie)>,
    /// Failed answers, with their sockets.
    answers: Recent<(u64, Timestamp), Cookie>,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            ends: Recent::new(4096, MEMORY),
            numbered: Recent::new(4096, MEMORY),
            answers: Recent::new(8192, Duration::from_secs(60)),
        }
    }
}

impl Connections {
    /// How many there are, and how many there may be.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        self.ends.held()
    }

    /// An accepted connection was let go.
    pub fn end(&mut self, at: Timestamp, mut flow: Box<Flow>) {
        // Only the dialling end's bytes are judged.
        (flow.said_head, flow.heard_head) = Default::default();
        let place = (flow.remote, flow.local, at, flow.cookie);
        if let Some(numbers) = numbers(flow.peer_isn, flow.isn) {
            self.numbered.insert(at, numbers, place);
        }
        self.ends.insert(at, place, flow);
    }

    /// A failed answer left.
    pub fn answered(&mut self, at: Timestamp, flow: &Flow) {
        for name in names_of_accepted(flow) {
            self.answers.insert(at, (name.short(), at), flow.cookie);
        }
    }

    /// The failed answer that an upstream gave on this connection: its moment and its socket.
    #[must_use]
    pub fn answer_of(&self, dialled: &Flow, around: Timestamp) -> Option<(Timestamp, Cookie)> {
        let from = Timestamp(around.0.saturating_sub(1_000_000_000));
        let until = around.plus(Duration::from_secs(1));
        let mut named = names_of_dialled(dialled).into_iter();
        named.find_map(|name| {
            let name = name.short();
            let mut near = self.answers.between((name, from), (name, until));
            let ((_, at), cookie) = near.next_back()?;
            Some((*at, *cookie))
        })
    }

    /// The other end of a dialled connection that was let go at `until`.
    #[must_use]
    pub fn other_end(&self, dialled: &Flow, until: Timestamp) -> Option<OtherEnd> {
        if let Some(exact) = self.other_end_by_numbers(dialled) {
            return Some(exact);
        }
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
            let fits = !contradicts(dialled, flow)
                && overlaps(dialled, until, flow, *at)
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
                    flow: (**flow).clone(),
                    translated,
                });
            }
        }
        found
    }

    fn other_end_by_numbers(&self, dialled: &Flow) -> Option<OtherEnd> {
        let place = self
            .numbered
            .get(&numbers(dialled.isn, dialled.peer_isn)?)?;
        Some(OtherEnd {
            at: place.2,
            flow: (**self.ends.get(place)?).clone(),
            translated: false,
        })
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
                    && !contradicts(dialled, flow)
                    && remote.ip() == dialled.local.ip()
                    && at.since(heard) <= AT_ONCE
                    && heard.since(*at) <= AT_ONCE
                    && same_place(dialled.netns, flow.netns, dialled.remote)
            });
        let ((_, _, at, _), flow) = near.next()?;
        let end = OtherEnd {
            at: *at,
            flow: (**flow).clone(),
            translated: true,
        };
        near.next().is_none().then_some(end)
    }
}

/// Whether both ends know their numbers, and they are two connections'.
fn contradicts(dialled: &Flow, end: &Flow) -> bool {
    let known = numbers(dialled.isn, dialled.peer_isn).zip(numbers(end.peer_isn, end.isn));
    known.is_some_and(|(one, other)| one != other)
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
