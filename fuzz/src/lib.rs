//! What is asked of the core, whatever arrives: no panic, what it writes it reads again, and no answer is
//! judged twice. The targets run these under libFuzzer, and an ordinary test runs them over the corpus.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use probe502_common::kind;
use probe502_core::correlator::{Correlator, Settings};
use probe502_core::decode::Decoder;
use probe502_core::event::{Event, Fact, Flow};
use probe502_core::story::{parse_event, write_event};
use probe502_core::units::{Head, Timestamp};

/// A record is no longer than this.
const RECORD: usize = 2048;

/// A failed answer, the attempt that it rests on, and that attempt's other end.
const STORY: &str = include_str!("story.txt");

/// Records, each behind its length in two bytes.
pub fn decode(mut bytes: &[u8]) {
    let decoder = Decoder::default();
    let mut events = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)) % RECORD;
        let (record, rest) = rest.split_at(length.min(rest.len()));
        events.extend(decoder.decode(record));
        bytes = rest;
    }
    events.iter().for_each(reads_again);
    judge(events);
}

/// Lines; those that are no events are errors, and no more than that.
pub fn replay(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut events = Vec::new();
    for event in text.lines().flat_map(parse_event) {
        // A line may spell out what is left out when it is written: a signal 0 is none.
        let line = write_event(&event);
        let written = parse_event(&line);
        assert!(written.is_ok(), "{line}\nis read as\n{written:?}");
        events.extend(written);
    }
    events.iter().for_each(reads_again);
    judge(events);
}

/// Four messages, each behind its length in one byte, in place of the story's own.
pub fn heads(mut bytes: &[u8]) {
    let mut events: Vec<Event> = STORY.lines().flat_map(parse_event).collect();
    for event in &mut events {
        let Some(flow) = flow_of(&mut event.fact) else {
            continue;
        };
        for head in [&mut flow.heard_head, &mut flow.said_head] {
            let Some((length, rest)) = bytes.split_first() else {
                break;
            };
            let (said, rest) = rest.split_at(usize::from(*length).min(rest.len()));
            *head = Head(said.to_vec());
            bytes = rest;
        }
    }
    events.iter().for_each(reads_again);
    judge(events);
}

/// What the kernel kept of a question to a name server.
pub fn lookup(bytes: &[u8]) {
    let record = [&kind::LOOKUP.to_ne_bytes(), bytes, &[0; RECORD]].concat();
    let event = Decoder::default().decode(&record);
    event.iter().for_each(reads_again);
    judge(event.into_iter().collect());
}

/// Each three bytes choose one of the scenarios' events, and whether it comes late, early or twice.
pub fn order(bytes: &[u8]) {
    let known = scenarios();
    let mut events = Vec::new();
    for choice in bytes.chunks_exact(3) {
        let number = usize::from(u16::from_le_bytes([choice[0], choice[1]]));
        let Some(event) = known.get(number % known.len().max(1)) else {
            return;
        };
        let mut event = event.clone();
        let shift = u64::from(choice[2] & 0x3f) << 20;
        event.at = Timestamp(event.at.0.wrapping_add(shift));
        if choice[2] & 0x40 != 0 {
            events.push(event.clone());
        }
        events.push(event);
    }
    judge(events);
}

fn scenarios() -> &'static [Event] {
    static EVENTS: OnceLock<Vec<Event>> = OnceLock::new();
    EVENTS.get_or_init(|| {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let directory = directory.map(|above| above.join("tests/scenarios"));
        let Some(directory) = directory.into_iter().find(|found| found.is_dir()) else {
            return Vec::new();
        };
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        let texts = paths.into_iter().flat_map(std::fs::read_to_string);
        texts
            .flat_map(|text| text.lines().flat_map(parse_event).collect::<Vec<_>>())
            .collect()
    })
}

fn flow_of(fact: &mut Fact) -> Option<&mut Flow> {
    if let Fact::Answered(flow) | Fact::Ended(flow) = fact {
        return Some(flow);
    }
    None
}

fn reads_again(event: &Event) {
    let line = write_event(event);
    let again = parse_event(&line);
    assert!(
        again.as_ref().is_ok_and(|again| again == event),
        "{line}\nis read as\n{again:?}\nand was\n{event:?}"
    );
}

/// As many verdicts as answers at most.
fn judge(events: Vec<Event>) {
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let mut correlator = Correlator::new(Settings::default());
    for event in events {
        if let Fact::Answered(flow) | Fact::Ended(flow) = &event.fact {
            let id = format!("{:x}-{:x}", event.at.0, flow.cookie.0);
            *answers.entry(id).or_default() += 1;
        }
        let at = event.at;
        correlator.handle_event(event);
        correlator.handle_timeout(at);
        while correlator.poll_wish().is_some() {}
    }
    correlator.handle_end();
    while let Some(verdict) = correlator.poll_verdict() {
        let left = answers.get_mut(&verdict.id);
        assert!(left.as_ref().is_some_and(|left| **left > 0), "{verdict:?}");
        left.into_iter().for_each(|left| *left -= 1);
        assert!(serde_json::to_string(&verdict).is_ok(), "{verdict:?}");
        assert!(!verdict.sentence.is_empty() && !verdict.remedy.is_empty());
    }
    while correlator.poll_notice().is_some() {}
}
