//! An agent that was held up hears of everything at once, long after it was: the verdict stays, or
//! becomes an honest unknown; never another cause.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;

use probe502_core::correlator::{Correlator, Settings};
use probe502_core::event::Event;
use probe502_core::story::parse_event;
use probe502_core::units::Timestamp;
use probe502_core::verdict::{Confidence, Verdict};

fn events(text: &str) -> Vec<Event> {
    let story = text.split_once("\n----\n").unwrap().0;
    let told = |line: &&str| !line.trim().is_empty() && !line.starts_with('#');
    let lines = story.lines().filter(told);
    lines.map(|line| parse_event(line).unwrap()).collect()
}

fn judge(events: &[Event], held_up: bool) -> Vec<Verdict> {
    let mut correlator = Correlator::new(Settings::default());
    let pass = |correlator: &mut Correlator, until: Timestamp| {
        while let Some(due) = correlator.poll_timeout().filter(|due| *due <= until) {
            correlator.handle_timeout(due);
        }
    };
    for event in events {
        if !held_up {
            pass(&mut correlator, event.at);
        }
        correlator.handle_event(event.clone());
    }
    pass(&mut correlator, Timestamp(u64::MAX));
    std::iter::from_fn(|| correlator.poll_verdict()).collect()
}

#[test]
fn who_hears_late_says_nothing_else() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let events = events(&std::fs::read_to_string(&path).unwrap());
        let soon = judge(&events, false);
        for late in judge(&events, true) {
            let same = |one: &&Verdict| one.id == late.id;
            let cause = soon.iter().find(same).map(|one| one.cause);
            if late.confidence != Confidence::Unknown && cause != Some(late.cause) {
                let name = path.file_name().unwrap().display();
                wrong.push(format!("{name}: {}, not {cause:?}", late.cause));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
