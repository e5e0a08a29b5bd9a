//! Storms: no answer's work grows with how many requests are under way beside it, nor a turn's memory with
//! how many are due.

use super::{Correlator, Settings};
use crate::event::{Event, Fact};
use crate::http::READ;
use crate::story::parse_event;
use crate::units::Timestamp;
use crate::verdict::{Symptom, Verdict};

/// So many requests that come at once and fail at once, behind a gateway of several threads that answers
/// first, each with a line of its own or all with one.
fn storm(requests: usize, identical: bool) -> Vec<Event> {
    let mut lines = vec!["1.0 attached wall=1795000000000000000 ordered=true".to_owned()];
    for number in 0..requests {
        let path = if identical { 0 } else { number };
        let (at, port) = (14_000_000 + 100 * number, 1024 + number);
        let common = |at: usize, more: &str| {
            format!(
                "14.{:06} {more} task=haproxy[500/{}]<1:0 held=true established=true threads=4",
                at - 14_000_000,
                501 + number % 4,
            )
        };
        lines.push(common(at, &format!(
            "answered netns=1 cookie={} local=10.0.3.1:80 remote=10.0.3.9:{port} role=accepted heard_at=9.0 said_at=14.{:06} said=1 heard=1 status=502 heard_head=\"GET /{path} HTTP/1.1\\r\\n\" said_head=\"HTTP/1.1 502 Bad Gateway\\r\\n\"",
            2 * number + 1,
            at - 14_000_000,
        )));
        lines.push(common(at + 50, &format!(
            "ended netns=1 cookie={} local=10.0.3.1:{port} remote=10.9.0.1:80 role=dialled how=fin fin_heard=true fin_at=14.0 owner=haproxy[500/{}]<1:0 opened_at=9.0001 established_at=9.0002 said_at=9.0003 said_bytes=180 said=1 heard_bytes=9 answered_at=14.{:06} said_head=\"GET /{path} HTTP/1.1\\r\\n\" heard_head=\"HTTP/1.1 2\"",
            2 * number + 2,
            501 + number % 4,
            at - 14_000_000,
        )));
    }
    lines
        .iter()
        .map(|line| parse_event(line).unwrap())
        .collect()
}

/// The heads that were read to judge them.
fn read_for(requests: usize, identical: bool) -> usize {
    let events = storm(requests, identical);
    READ.set(0);
    let mut correlator = Correlator::new(Settings::default());
    for event in events {
        correlator.handle_event(event);
    }
    correlator.handle_end();
    let verdicts = std::iter::from_fn(|| correlator.poll_verdict()).count();
    assert_eq!(verdicts, requests);
    READ.get()
}

#[test]
fn an_answer_among_many_reads_no_more_heads_than_one_among_few() {
    for identical in [false, true] {
        let (few, many) = (read_for(100, identical), read_for(400, identical));
        assert!(
            many < few * 5,
            "{few} heads for 100 answers, {many} for 400"
        );
    }
}

#[test]
fn what_is_judged_in_parts_is_what_is_judged_at_once() {
    let judge = |at_most| -> Vec<Vec<Verdict>> {
        let mut correlator = Correlator::new(Settings::default());
        for event in storm(50, true) {
            correlator.handle_event(event);
        }
        let late = Timestamp(60_000_000_000);
        let (mut parts, mut more) = (Vec::new(), true);
        while more {
            more = correlator.handle_some(late, at_most);
            parts.push(std::iter::from_fn(|| correlator.poll_verdict()).collect());
        }
        parts
    };
    let (parts, at_once) = (judge(20), judge(usize::MAX));
    assert!(parts.len() >= 3 && parts.iter().all(|part| part.len() <= 20));
    assert_eq!(at_once.len(), 1);
    assert_eq!(parts.concat(), at_once.concat());
}

#[test]
fn an_answers_own_attempt_is_found_behind_thousands() {
    let mut correlator = Correlator::new(Settings::default());
    let mut answers = 0;
    for event in storm(4500, false) {
        answers += usize::from(matches!(event.fact, Fact::Answered(_)));
        if answers <= 1 || matches!(event.fact, Fact::Ended(_)) {
            correlator.handle_event(event);
        }
    }
    correlator.handle_end();
    let verdict = correlator.poll_verdict().unwrap();
    assert_eq!(verdict.symptom, Symptom::Eof);
}
