//! Whatever arrives, in whatever order: no panic, and at most one verdict for each answer.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::Path;

use probe502_core::correlator::{Correlator, Settings};
use probe502_core::decode::Decoder;
use probe502_core::event::{Event, Fact};
use probe502_core::story::{parse_event, write_event};
use probe502_core::units::Timestamp;
use probe502_core::verdict::Verdict;

/// SplitMix64: small, seeded, the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

fn all_events() -> Vec<Event> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let entries = std::fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut events = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(path).unwrap();
        let story = text.split_once("\n----\n").unwrap().0;
        let lines = story
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        events.extend(lines.map(|line| parse_event(line).unwrap()));
    }
    events
}

fn judge(events: &[Event], dice: &mut Dice) -> Vec<Verdict> {
    let mut correlator = Correlator::new(Settings::default());
    for event in events {
        correlator.handle_event(event.clone());
        if dice.below(4) == 0 {
            correlator.handle_timeout(event.at);
        }
    }
    while let Some(due) = correlator.poll_timeout() {
        correlator.handle_timeout(due);
    }
    while correlator.poll_wish().is_some() {}
    while correlator.poll_notice().is_some() {}
    std::iter::from_fn(|| correlator.poll_verdict()).collect()
}

fn id(event: &Event) -> Option<String> {
    // A connection's end is one where it left a client empty.
    let (Fact::Answered(flow) | Fact::Ended(flow)) = &event.fact else {
        return None;
    };
    Some(format!("{:x}-{:x}", event.at.0, flow.cookie.0))
}

/// As many verdicts as answers at most, and each attempt in one verdict only.
fn check(events: &[Event], verdicts: &[Verdict]) {
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for id in events.iter().filter_map(id) {
        *answers.entry(id).or_default() += 1;
    }
    for verdict in verdicts {
        let left = answers.get_mut(&verdict.id).unwrap();
        assert!(*left > 0, "{} was judged too often", verdict.id);
        *left -= 1;
        assert!(serde_json::to_string(verdict).is_ok());
        assert!(!verdict.sentence.is_empty() && !verdict.remedy.is_empty());
    }
}

#[test]
fn disorder_repetition_and_loss_harm_nobody() {
    let source = all_events();
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut events: Vec<Event> = Vec::new();
        for _ in 0..200 {
            let mut event = source[dice.below(source.len())].clone();
            if dice.below(8) == 0 {
                event.at = Timestamp(dice.roll() >> dice.below(64));
            }
            for _ in 0..=dice.below(2) {
                events.push(event.clone());
            }
        }
        if dice.below(2) == 0 {
            events.sort_by_key(|event| event.at);
        }
        let verdicts = judge(&events, &mut dice);
        check(&events, &verdicts);
    }
}

#[test]
fn a_story_with_a_line_missing_still_has_at_most_its_verdicts() {
    let source = all_events();
    for seed in 0..100 {
        let mut dice = Dice(seed);
        let kept: Vec<Event> = source
            .iter()
            .filter(|_| dice.below(5) != 0)
            .cloned()
            .collect();
        let verdicts = judge(&kept, &mut dice);
        check(&kept, &verdicts);
    }
}

#[test]
fn any_bytes_are_an_event_or_an_error() {
    let decoder = Decoder::default();
    let mut correlator = Correlator::new(Settings::default());
    let mut events = 0;
    for seed in 0..20_000 {
        let mut dice = Dice(seed);
        let length = dice.below(1100);
        let mut bytes: Vec<u8> = (0..length).map(|_| dice.roll().to_le_bytes()[0]).collect();
        if length > 2 {
            bytes[..2].copy_from_slice(&u16::try_from(dice.below(12)).unwrap().to_ne_bytes());
        }
        if length > 900 && dice.below(2) == 0 {
            // Closed sets and lengths, so that more than noise gets past the door.
            bytes[250..].fill(0);
        }
        if let Ok(event) = decoder.decode(&bytes) {
            assert_eq!(parse_event(&write_event(&event)).unwrap(), event);
            correlator.handle_event(event);
            events += 1;
        }
    }
    correlator.handle_timeout(Timestamp(u64::MAX));
    assert!(events > 1000, "{events}");
}
