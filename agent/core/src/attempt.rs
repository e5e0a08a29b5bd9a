//! One attempt of a gateway at an upstream, and what its socket saw.

use std::time::Duration;

use crate::ends::was_left;
use crate::event::{Flow, How};
use crate::http;
use crate::tls;
use crate::units::{Errno, Pid, Timestamp};
use crate::verdict::Symptom;

const ECONNREFUSED: u16 = 111;
const ETIMEDOUT: u16 = 110;
const UNREACHABLE: [u16; 2] = [101, 113];
const RESET: [u16; 2] = [104, 32];

/// The shortest connect timeout that someone would configure.
const PATIENCE: Duration = Duration::from_millis(50);

/// Where a header's end is found in what so many bytes hold, and eight of before, is not told.
const LOOK: u64 = 1024 + 8;

/// Envoy takes headers of so many bytes (`max_response_headers_kb`, 60), more than others of its kind.
const HUGE: u64 = 60 * 1024;

/// One attempt: a dialled connection that failed, or on which a failed answer came.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// In the order of arrival.
    pub number: u64,
    /// When it was let go, or when the answer was heard.
    pub at: Timestamp,
    /// The gateway process.
    pub pid: Pid,
    /// The thread that let go, or that had sent the request.
    pub tid: u32,
    /// The dialled socket.
    pub flow: Box<Flow>,
    /// The status that was heard on it, where a watched one was.
    pub relayed: Option<u16>,
    /// What was asked on it, to be compared.
    pub asked: Option<u64>,
    /// An answer counts it among its tries by order alone; another's it may be.
    pub claimed: bool,
    /// Read once: each failed answer looks at all attempts that are under way.
    seen: Seen,
}

/// What an attempt's bytes and flags come to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    symptom: Symptom,
    weak: bool,
    began: Option<Timestamp>,
    greeted: bool,
    glimpse: bool,
}

const NOTHING: Seen = Seen {
    symptom: Symptom::NoAttempt,
    weak: false,
    began: None,
    greeted: false,
    glimpse: false,
};

impl Attempt {
    /// One that nobody has claimed yet.
    #[must_use]
    pub fn new(
        number: u64,
        (at, pid, tid): (Timestamp, Pid, u32),
        flow: Box<Flow>,
        relayed: Option<u16>,
    ) -> Self {
        let mut attempt = Self {
            number,
            at,
            pid,
            tid,
            asked: http::asked(&flow.said_head),
            flow,
            relayed,
            claimed: false,
            seen: NOTHING,
        };
        attempt.read();
        attempt
    }

    /// Its dial failed so, as is known now.
    pub fn fail(&mut self, errno: Errno) {
        self.flow.error = errno;
        self.read();
    }

    fn read(&mut self) {
        let flow = &self.flow;
        self.seen = Seen {
            symptom: self.saw(),
            weak: self.went_well(),
            began: if flow.said > 0 {
                flow.said_at
            } else {
                flow.opened_at
            },
            greeted: flow.established && flow.said == 0 && flow.heard_bytes > 0,
            glimpse: self.relayed.is_none() && is_glimpse(flow),
        };
    }

    /// When this request began on it: a pooled connection is older than the request.
    #[must_use]
    pub const fn began(&self) -> Option<Timestamp> {
        self.seen.began
    }

    /// Whether the connection had served a request before.
    #[must_use]
    pub fn reused(&self) -> bool {
        self.flow.said > 1 && is_http(&self.flow)
    }

    /// Whether it never became a connection.
    #[must_use]
    pub fn is_unconnected(&self) -> bool {
        !self.flow.established
    }

    /// Whether the upstream spoke first, and the gateway hung up before it asked: as Go does with what
    /// it did not ask for, and as a health check does.
    #[must_use]
    pub const fn was_greeted(&self) -> bool {
        self.seen.greeted
    }

    /// Whether it looks as if nothing went wrong: it counts only where nothing else explains.
    #[must_use]
    pub const fn is_weak(&self) -> bool {
        self.seen.weak
    }

    fn went_well(&self) -> bool {
        let flow = &self.flow;
        self.relayed.is_none()
            && self.flow.established
            && flow.heard_bytes > 0
            && !self.failed_in_handshake()
            && (!is_http(flow)
                || http::fault(&flow.heard_head).is_none()
                    && is_header_complete(flow).unwrap_or(flow.unread == 0)
                    && !is_header_huge(flow))
    }

    /// What the gateway's socket saw.
    #[must_use]
    pub const fn symptom(&self) -> Symptom {
        self.seen.symptom
    }

    fn saw(&self) -> Symptom {
        let flow = &self.flow;
        let either = |errnos: &[u16]| {
            errnos.contains(&flow.error.0)
                || flow.error.0 == 0 && errnos.contains(&flow.soft_error.0)
        };
        if self.relayed.is_some() {
            return Symptom::Relayed;
        }
        if !flow.established {
            return match () {
                () if either(&[ECONNREFUSED]) || flow.reset_heard => Symptom::Refused,
                () if either(&UNREACHABLE) => Symptom::Unreachable,
                () if either(&[ETIMEDOUT]) || self.was_given_up() => Symptom::ConnectTimeout,
                () => Symptom::ConnectError,
            };
        }
        if self.failed_in_handshake() {
            return Symptom::TlsFailure;
        }
        let is_reset = flow.reset_heard || RESET.contains(&flow.error.0);
        let readable = is_http(flow);
        let is_bad = readable && http::fault(&flow.heard_head).is_some();
        let complete = readable && is_header_complete(flow) == Some(true);
        // Who leaves bytes unread has not come to the end that follows them.
        let gave_up = flow.heard_bytes > 0 && flow.unread > 0;
        let ended = is_reset || flow.fin_heard;
        if tls::heard_farewell(flow) && !is_reset {
            return Symptom::Eof;
        }
        match (
            flow.heard_bytes > 0,
            is_bad && (!ended || http::is_foreign(&flow.heard_head)) || complete || gave_up,
        ) {
            (true, true) => Symptom::BadAnswer,
            (false, _) | (true, false) if is_reset => Symptom::Reset,
            (false, _) | (true, false) if flow.fin_heard => Symptom::Eof,
            (false, _) => Symptom::NoAnswer,
            (true, false) => Symptom::BadAnswer,
        }
    }

    /// Let go without an error, after a time that someone may have waited: `connect(2)` that fails
    /// at once leaves no error on the socket either.
    fn was_given_up(&self) -> bool {
        let flow = &self.flow;
        let opened = flow.opened_at.unwrap_or(self.at);
        flow.error.0 == 0 && flow.soft_error.0 == 0 && self.at.since(opened) >= PATIENCE
    }

    /// Whether it still waits for an answer, as one moment showed: it explains what its gateway
    /// answered at that moment, and nothing later.
    #[must_use]
    pub const fn is_glimpse(&self) -> bool {
        self.seen.glimpse
    }

    /// Whether two attempts failed alike, so that taking one for the other misleads nobody.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.flow.target() == other.flow.target() && self.symptom() == other.symptom()
    }
}

/// Nothing tells of the end of a UNIX connection that its dialler gives up: it is told of as it waits.
#[must_use]
pub fn is_glimpse(flow: &Flow) -> bool {
    let asked_only = flow.said > 0 && flow.heard_bytes == 0;
    flow.path.is_some() && flow.how == How::Open && asked_only && !was_left(flow)
}

/// Whether HTTP/1 in clear was spoken, as far as was seen. FastCGI, uwsgi, TLS and HTTP/2 have other
/// messages: nothing in them is a status line, and their number counts no requests.
#[must_use]
pub fn is_http(flow: &Flow) -> bool {
    if flow.said == 0 && flow.late {
        return false;
    }
    flow.said_head.0.is_empty() || http::request_line(&flow.said_head).is_some()
}

/// Whether the whole header of the heard answer was seen; `None` where not all was looked at.
#[must_use]
pub fn is_header_complete(flow: &Flow) -> Option<bool> {
    if http::ends_within(&flow.heard_head) {
        return Some(true);
    }
    if flow.header_end_heard {
        return Some(!ends_unread(flow));
    }
    let all_kept = flow.heard_bytes <= u64::try_from(flow.heard_head.0.len()).unwrap_or(u64::MAX);
    let none_within = flow.header_scanned && flow.heard_bytes <= u64::from(flow.scanned);
    (all_kept || none_within).then_some(false)
}

/// The header ended, beyond what a common gateway takes by default.
#[must_use]
pub fn is_header_huge(flow: &Flow) -> bool {
    let ended = flow.header_end_heard && is_header_complete(flow) == Some(true);
    ended && u64::from(flow.scanned) >= HUGE + LOOK
}

/// The bytes that the gateway left unread held the header's end.
fn ends_unread(flow: &Flow) -> bool {
    let read = flow.heard_bytes.saturating_sub(flow.unread.into());
    flow.unread > 0 && read + LOOK < u64::from(flow.scanned)
}
