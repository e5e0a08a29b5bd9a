//! Whether an answer broke off within its body: fewer bytes came than its header announced (RFC 9112, 8).

use crate::attempts::Attempt;
use crate::ends::was_left;
use crate::event::{Flow, Framing, How};
use crate::http;
use crate::joining::Answer;
use crate::units::Head;
use crate::verdict::{Cut, Symptom};

/// Beyond, bytes said are not told apart: TCP's numbers begin again.
const COUNTED: u64 = u32::MAX as u64;
/// Who hears nothing of a body for so long may give up waiting for it: no timer in use is shorter.
const PATIENCE_MS: u32 = 500;
/// Of an answer's end and its connection's, so far apart are two things.
const IDLE_MS: u32 = 100;

/// What a holder said on its connection, where it fell short of what it had announced.
#[must_use]
pub fn said(flow: &Flow) -> Option<Cut> {
    let announced = announced(&flow.heard_head, &flow.said_head, flow.marks.framing)?;
    announced.cut(&flow.said_head, flow.said_bytes, flow.marks.framing)
}

/// What a holder heard on its connection, where it fell short of what had been announced.
#[must_use]
pub fn heard(flow: &Flow) -> Option<Cut> {
    let announced = announced(&flow.said_head, &flow.heard_head, flow.marks.framing)?;
    announced.cut(&flow.heard_head, flow.heard_bytes, flow.marks.framing)
}

/// Whether an accepted end's holder closed it, or a reset did, after the whole of a good answer: with `--silent` these are
/// told as well, and nothing failed.
#[must_use]
pub fn is_whole(flow: &Flow) -> bool {
    let announced = announced(&flow.heard_head, &flow.said_head, flow.marks.framing);
    let whole = announced.is_some_and(|one| match (one.header, one.length) {
        (Some(header), Length::Bytes(length)) => flow.said_bytes >= header + length,
        (Some(header), Length::Chunks) => flow.said_bytes > header && flow.marks.framing.ends_empty,
        (None, Length::Bytes(_) | Length::Chunks) => false,
    });
    let by = matches!(flow.how, How::Fin | How::Released);
    whole && by && flow.heard_bytes == 0 && flow.quiet_ms < IDLE_MS && !flow.dying
}

/// Whether the answer on a dialled connection surely broke off within its body: its upstream ended it, or
/// let the gateway wait until it gave up. Of what a RST overtook, the gateway may not have had all.
#[must_use]
pub fn broke(flow: &Flow) -> bool {
    let waited = flow.unread == 0 && flow.unheard_ms >= PATIENCE_MS;
    let short = heard(flow).is_some() && (was_left(flow) || waited);
    short
        || flow.reset_heard
            && announced(&flow.said_head, &flow.heard_head, flow.marks.framing).is_some()
}

/// What an answer's attempt saw.
#[must_use]
pub fn symptom(answer: &Answer, attempt: &Attempt) -> Symptom {
    if answer.cut.is_some() && attempt.relayed.is_none() && broke(&attempt.flow) {
        Symptom::Truncated
    } else {
        attempt.symptom()
    }
}

/// Whether the whole request had left, body and all; `None` where not enough of its header was kept.
#[must_use]
pub fn is_asked_whole(flow: &Flow) -> Option<bool> {
    let text = http::valid_prefix(&flow.said_head.0);
    let header = text.find("\r\n\r\n").map(|end| end + 4);
    let kept = u64::try_from(header.unwrap_or(text.len())).ok()?;
    match length(text) {
        None => (header.is_some() || is_bodiless(flow)).then_some(true),
        // Nothing looks for a request's last chunk.
        Some(Length::Chunks) => Some(false),
        Some(Length::Bytes(length)) if flow.said_bytes < kept.saturating_add(length) => Some(false),
        Some(Length::Bytes(_)) => header.map(|_| true),
    }
}

/// What such a request says in a body means nothing (RFC 9110, 9.3.1), and hardly any has one.
fn is_bodiless(flow: &Flow) -> bool {
    let line = http::request_line(&flow.said_head);
    line.is_some_and(|line| matches!(line.method, "GET" | "HEAD"))
}

/// How much the gateway passed on of an answer that broke off.
#[must_use]
pub fn passed_on(answer: &Answer) -> String {
    match answer.cut {
        Some(Cut {
            after_bytes: Some(after),
            of_bytes: Some(of_bytes),
        }) => format!("after {after} of {of_bytes} bytes of the answer's body"),
        Some(Cut {
            of_bytes: Some(of_bytes),
            ..
        }) => format!("before the end of the answer's body of {of_bytes} bytes"),
        Some(Cut { .. }) => "before the last chunk of the answer's body".to_owned(),
        None => String::new(),
    }
}

/// How an announced body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Announced {
    /// Bytes of the header, where its end was seen.
    header: Option<u64>,
    length: Length,
}

/// What ends a body (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Bytes(u64),
    /// The last chunk, behind which an empty line comes.
    Chunks,
}

impl Announced {
    /// Whether so many bytes are too few.
    fn cut(self, answer: &Head, bytes: u64, framing: Framing) -> Option<Cut> {
        let kept = u64::try_from(answer.0.len()).ok()?;
        let short = match (self.length, self.header) {
            (Length::Bytes(length), Some(header)) => bytes >= header && bytes - header < length,
            // The header is longer than what was kept of it.
            (Length::Bytes(length), None) => bytes > kept && bytes - kept <= length,
            // The header's own end is an empty line too.
            (Length::Chunks, Some(header)) => {
                bytes == header || bytes > header && framing.ends_within
            }
            (Length::Chunks, None) => false,
        };
        let (after_bytes, of_bytes) = match self.length {
            Length::Bytes(length) => {
                let after = self.header.map(|header| bytes - header.min(bytes));
                (after, Some(length))
            }
            Length::Chunks => (None, None),
        };
        short.then_some(Cut {
            after_bytes,
            of_bytes,
        })
    }
}

/// The length that an answer announced to this request: to HEAD, with 204 and with 304 no body follows,
/// and chunks count before a length (RFC 9112, 6.3).
fn announced(asked: &Head, answer: &Head, framing: Framing) -> Option<Announced> {
    let method = http::request_line(asked)?.method;
    let status = http::status(answer)?;
    let bodiless = matches!(method, "HEAD" | "CONNECT")
        || matches!(status, 0..200 | 204 | 304)
        || http::fault(answer).is_some();
    if bodiless {
        return None;
    }
    let text = http::valid_prefix(&answer.0);
    let ends = text.find("\r\n\r\n").map(|end| end + 4);
    let header = ends.and_then(|end| u64::try_from(end).ok());
    let (header, length) = match header {
        Some(_) => (header, length(text)?),
        None if framing.header_bytes > 0 => (Some(framing.header_bytes.into()), looked(framing)?),
        None => (None, length(text)?),
    };
    let sound = match length {
        Length::Bytes(bytes) => bytes < COUNTED,
        Length::Chunks => true,
    };
    sound.then_some(Announced { header, length })
}

/// As the first bytes say it.
fn length(text: &str) -> Option<Length> {
    // A line that is not whole may lack digits.
    let whole = &text[..text.rfind('\n')? + 1];
    match http::field(whole, "transfer-encoding") {
        Some(coding) => coding
            .eq_ignore_ascii_case("chunked")
            .then_some(Length::Chunks),
        None => Some(Length::Bytes(
            http::field(whole, "content-length")?.parse().ok()?,
        )),
    }
}

/// As the kernel programs found it behind them.
fn looked(framing: Framing) -> Option<Length> {
    match framing.chunked {
        true => Some(Length::Chunks),
        false => framing.announced.map(Length::Bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        Head(text.as_bytes().to_vec())
    }

    fn found(asked: &str, answer: &str, bytes: u64, framing: Framing) -> Option<Cut> {
        let (asked, answer) = (head(&format!("{asked} HTTP/1.1\r\n")), head(answer));
        announced(&asked, &answer, framing)?.cut(&answer, bytes, framing)
    }

    fn short(asked: &str, answer: &str, bytes: u64) -> Option<(Option<u64>, u64)> {
        let found = found(asked, answer, bytes, Framing::default())?;
        Some((found.after_bytes, found.of_bytes?))
    }

    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";

    #[test]
    fn an_answer_is_cut_where_fewer_bytes_came_than_it_announced() {
        let header = u64::try_from(ANSWER.len()).unwrap();
        for (body, cut) in [(0, true), (99, true), (100, false), (101, false)] {
            let found = short("GET /a", ANSWER, header + body);
            assert_eq!(found, cut.then_some((Some(body), 100)), "{body}");
        }
    }

    #[test]
    fn what_has_no_body_is_never_cut() {
        let not_modified = ANSWER.replace("200 OK", "304 Not Modified");
        let chunked = ANSWER.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (asked, answer) in [
            ("HEAD /a", ANSWER),
            ("GET /a", not_modified.as_str()),
            ("GET /a", chunked.as_str()),
            ("GET /a", "HTTP/1.1 200 OK\r\n\r\n"),
            (
                "GET /a",
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            ),
            ("GET /a", "HTTP/1.1 200 OK\r\nContent-Length: 1"),
            ("GET /a", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
        ] {
            assert_eq!(short(asked, answer, 60), None, "{asked} {answer}");
        }
    }

    #[test]
    fn behind_a_header_whose_end_was_not_kept_only_what_is_certain_counts() {
        let begun = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nX: ";
        let kept = u64::try_from(begun.len()).unwrap();
        assert_eq!(short("GET /a", begun, kept + 1000), Some((None, 1000)));
        assert_eq!(short("GET /a", begun, kept + 1001), None);
    }
    #[test]
    fn a_body_in_chunks_is_cut_where_no_empty_line_ends_it() {
        const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let header = u64::try_from(CHUNKED.len()).unwrap();
        let (empty, within) = (true, true);
        for (more, ends_empty, ends_within, cut) in [
            (0, empty, false, true),
            (900, empty, false, false),
            (900, false, within, true),
            // Not seen.
            (900, false, false, false),
        ] {
            let framing = Framing {
                ends_empty,
                ends_within,
                ..Framing::default()
            };
            let found = found("GET /a", CHUNKED, header + more, framing);
            assert_eq!(found.is_some(), cut, "{more} {framing:?}");
            assert_eq!(found.and_then(|cut| cut.of_bytes), None);
        }
        let gzip = CHUNKED.replace("chunked", "gzip");
        let framing = Framing {
            ends_within: true,
            ..Framing::default()
        };
        assert_eq!(found("GET /a", &gzip, header + 900, framing), None);
    }

    #[test]
    fn a_long_header_was_looked_at_by_the_kernel_programs() {
        let begun = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX: ";
        let looked = |announced, chunked| Framing {
            header_bytes: 600,
            announced,
            chunked,
            ends_within: true,
            ..Framing::default()
        };
        let cut = |bytes, framing| found("GET /a", begun, bytes, framing);
        assert!(cut(1599, looked(Some(1000), false)).is_some());
        assert_eq!(cut(1600, looked(Some(1000), false)), None);
        assert!(cut(1600, looked(None, true)).is_some());
        // Another coding: what ends it shows in nothing.
        assert_eq!(cut(1000, looked(None, false)), None);
    }
}
