//! What clients on the host hear is forgotten soon; what gateways hear is not.
#![allow(clippy::unwrap_used, reason = "a test")]

use probe502_core::correlator::{Correlator, Settings};
use probe502_core::story::parse_event;

const HEARD: usize = 3000;

/// How many attempts are remembered once a process, which listens or not, has heard that many failed answers.
fn remembered(listens: bool) -> usize {
    let mut correlator = Correlator::new(Settings::default());
    if listens {
        let line =
            "1.000000 listens netns=1 cookie=9 local=0.0.0.0:80 task=shop[7/7]<1:0 limit=511";
        correlator.handle_event(parse_event(line).unwrap());
    }
    for number in 1..=HEARD {
        let line = format!(
            "2.{number:06} heard netns=1 cookie={} local=127.0.0.1:40000 remote=127.0.0.1:8000 role=dialled how=open owner=shop[7/7]<1:0 opened_at=1.500000 established_at=1.500000 said_at=1.600000 heard_at=1.700000 heard_bytes=40 said=1 heard=1 status=502 state=1 held=true established=true said_head=\"GET /{number} HTTP/1\\r\\n\" heard_head=\"HTTP/1.1 502 Bad Gateway\\r\\n\\r\\n\"",
            100 + number
        );
        correlator.handle_event(parse_event(&line).unwrap());
    }
    let tracked = correlator.tracked();
    let held = tracked.iter().find(|(what, _)| *what == "attempts");
    held.unwrap().1.0
}

#[test]
fn a_client_is_remembered_for_less_than_a_gateway() {
    assert_eq!(remembered(false), 1024);
    assert_eq!(remembered(true), HEARD);
}
