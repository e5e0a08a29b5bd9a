//! The idle timers of pools and upstreams, as metrics show them: with and without a warning.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;

use probe502_core::correlator::{Correlator, Settings};
use probe502_core::notice::Pool;
use probe502_core::story::parse_event;
use probe502_core::units::Timestamp;

/// The pairs that a story's facts leave to be told, and what is left when they were.
fn pools(story: &str) -> (Vec<Pool>, Option<Pool>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let text = std::fs::read_to_string(path.join(story)).unwrap();
    let mut correlator = Correlator::new(Settings::default());
    let facts = text.lines().take_while(|line| *line != "----");
    for fact in facts.filter(|line| !line.starts_with('#')) {
        correlator.handle_event(parse_event(fact).unwrap());
    }
    let mut poll = || correlator.poll_pool(Timestamp(100_000_000_000));
    let told = std::iter::from_fn(&mut poll).collect();
    (told, poll())
}

fn seconds(pool: &Pool) -> (Option<u64>, Option<u64>) {
    let whole = |span: std::time::Duration| span.as_secs();
    (pool.closes_after.map(whole), pool.keeps.map(whole))
}

#[test]
fn an_upstreams_timer_stands_against_its_gateways() {
    let (told, left) = pools("warning.keepalive.txt");
    let names: Vec<(&str, &str)> = told
        .iter()
        .map(|pool| (pool.gateway.who.comm.as_str(), pool.upstream.addr.as_str()))
        .collect();
    assert_eq!(
        names,
        [("nginx", "127.0.0.1:8000"), ("nginx", "127.0.0.1:9000")]
    );
    assert_eq!(seconds(&told[0]), (Some(5), Some(60)));
    assert_eq!(seconds(&told[1]), (None, Some(60)));
    assert_eq!(told[0].gateway.listens, ["10.0.3.1:80"]);
    assert_eq!(left, None);
}

#[test]
fn a_timer_that_nobody_is_warned_of_is_told_too() {
    let (told, _) = pools("warning.not-of-a-lazy-pool.txt");
    assert_eq!(told.len(), 1);
    // That it held them says nothing of whether it would have used them.
    assert_eq!(seconds(&told[0]), (Some(5), None));
}

#[test]
fn one_close_alone_is_no_timer() {
    let (told, _) = pools("warning.not-a-stop.txt");
    assert!(
        told.iter().all(|pool| pool.closes_after.is_none()),
        "{told:?}"
    );
}
