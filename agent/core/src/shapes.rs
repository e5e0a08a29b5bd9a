//! What an answer's own look tells of its reason: Envoy and Traefik word a refused dial otherwise than a
//! broken connection, HAProxy gives it another status.

use std::time::Duration;

use crate::fitting::{Line, line};
use crate::http::field;
use crate::joining::{Answer, Joined};
use crate::recent::Recent;
use crate::units::{Head, Pid, Timestamp};
use crate::verdict::Join;

/// Answers that must be seen before a look tells anything.
const ENOUGH: u32 = 3;
/// One that was joined wrongly among so many changes nothing.
const FEW: u32 = 10;

/// How a gateway's own answer looks: its status, and the length that its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    status: u16,
    length: Option<u64>,
}

impl Shape {
    /// Of an answer that begins so.
    #[must_use]
    pub fn of(status: u16, head: &Head) -> Self {
        let text = head.text();
        let length = field(&text, "content-length").and_then(|value| value.parse().ok());
        Self { status, length }
    }

    /// Both say a length, and not the same.
    #[must_use]
    pub fn differs_in_length(self, other: Self) -> bool {
        self.length
            .zip(other.length)
            .is_some_and(|(own, other)| own != other)
    }

    const FIRST: Self = Self {
        status: 0,
        length: None,
    };
    const LAST: Self = Self {
        status: u16::MAX,
        length: Some(u64::MAX),
    };
}

/// What answers of one look came of.
#[derive(Clone, Copy, Debug, Default)]
struct Reasons {
    /// Dials that never became a connection.
    dials: u32,
    /// Connections that had been asked the same request.
    asked: u32,
}

/// What the answers of each process came of, by their look.
#[derive(Debug)]
pub struct Shapes {
    seen: Recent<(Pid, Shape), Reasons>,
}

impl Default for Shapes {
    fn default() -> Self {
        Self {
            seen: Recent::new(4096, Duration::from_secs(3600)),
        }
    }
}

impl Shapes {
    /// An answer was joined.
    pub fn joined(&mut self, at: Timestamp, answer: &Answer, joined: &Joined) {
        let Some(last) = joined.attempts.last().filter(|one| one.relayed.is_none()) else {
            return;
        };
        let key = (answer.task.pid, answer.shape);
        let mut reasons = self.seen.get(&key).copied().unwrap_or_default();
        match (last.is_unconnected(), line(answer, last)) {
            (true, _) if joined.by != Join::Time || !joined.ambiguous => reasons.dials += 1,
            (false, Line::Same) if joined.rivals.is_empty() => reasons.asked += 1,
            (_, Line::Same | Line::Differs | Line::Unseen) => return,
        }
        self.seen.insert(at, key, reasons);
    }

    /// Whether answers that look so come of dials that failed: only of them, or never; `None` where
    /// their look does not tell.
    #[must_use]
    pub fn of_dials(&self, pid: Pid, shape: Shape) -> Option<bool> {
        let own = self.seen.get(&(pid, shape)).copied().unwrap_or_default();
        let all = self.seen.between((pid, Shape::FIRST), (pid, Shape::LAST));
        let dials: u32 = all.map(|(_, reasons)| reasons.dials).sum();
        let never = own.asked >= ENOUGH && dials >= ENOUGH && own.dials * FEW < dials;
        let only = own.asked == 0 && own.dials >= ENOUGH;
        (never || only).then_some(only)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_part_of_the_look() {
        let head = |text: &str| Head(text.as_bytes().to_vec());
        let one = Shape::of(503, &head("HTTP/1.1 503 No\r\nContent-Length: 98\r\n\r\n"));
        assert_eq!((one.status, one.length), (503, Some(98)));
        let other = Shape::of(503, &head("HTTP/1.1 503 No\r\nDate: xxx\r\n\r\n"));
        assert_eq!(other.length, None);
        assert!(Shape::FIRST < other && other < one && one < Shape::LAST);
    }
}
