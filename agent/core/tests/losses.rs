//! Whatever record the ring loses, and says so: the verdict stays, or becomes an honest unknown or a
//! shallower word; never another cause.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use probe502_core::cause::Cause;
use probe502_core::correlator::{Correlator, Settings};
use probe502_core::event::{Event, Fact, Lost};
use probe502_core::story::parse_event;
use probe502_core::units::Timestamp;
use probe502_core::verdict::{Confidence, Verdict};

/// Random subsets of each story's records.
const SUBSETS: u64 = 24;

fn stories() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let entries = std::fs::read_dir(&directory).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn events(path: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(path).unwrap();
    let story = text.split_once("\n----\n").unwrap().0;
    let told = |line: &&str| !line.trim().is_empty() && !line.starts_with('#');
    let lines = story.lines().filter(told);
    lines.map(|line| parse_event(line).unwrap()).collect()
}

fn judge(events: &[Event]) -> Vec<Verdict> {
    let mut correlator = Correlator::new(Settings::default());
    let mut verdicts = Vec::new();
    let mut pass = |correlator: &mut Correlator, until: Timestamp| {
        while let Some(due) = correlator.poll_timeout().filter(|due| *due <= until) {
            correlator.handle_timeout(due);
            verdicts.extend(std::iter::from_fn(|| correlator.poll_verdict()));
        }
    };
    for event in events {
        pass(&mut correlator, event.at);
        correlator.handle_event(event.clone());
    }
    pass(&mut correlator, Timestamp(u64::MAX));
    verdicts
}

/// Whether the kernel's programs tell it through the ring, and not a look of the agent's own.
fn is_lossy(fact: &Fact) -> bool {
    match fact {
        Fact::Answered(_)
        | Fact::Ended(_)
        | Fact::Heard(_)
        | Fact::Reset(_)
        | Fact::Listened(_)
        | Fact::Death(_)
        | Fact::Signal(_)
        | Fact::Victim(_)
        | Fact::Drop(_)
        | Fact::Overflow(_)
        | Fact::Lookup(_)
        | Fact::Call(_) => true,
        Fact::Dialler(dialler) => !dialler.before,
        Fact::Listens(listener) => !listener.before,
        Fact::UnixListens(listener) => !listener.before,
        Fact::OomReport(_)
        | Fact::Process(_)
        | Fact::Pod(_)
        | Fact::Peer(_)
        | Fact::Queue(_)
        | Fact::Doing(_)
        | Fact::Descriptors(_)
        | Fact::Ports(_)
        | Fact::Looked(_)
        | Fact::Lost(_)
        | Fact::Attached(_)
        | Fact::Tick => false,
    }
}

/// As the kernel's counts call it.
fn kind(fact: &Fact) -> String {
    let tagged = serde_json::to_value(fact).unwrap();
    match tagged["fact"].as_str().unwrap() {
        "dialler" => "unix-dialler".to_owned(),
        "unix-listens" => "unix-listener".to_owned(),
        same => same.to_owned(),
    }
}

/// The story without these records, and the kernel's word that they are lost.
fn without(events: &[Event], lost: &dyn Fn(usize) -> bool) -> Vec<Event> {
    let replace = |(index, event): (usize, &Event)| {
        if !lost(index) || !is_lossy(&event.fact) {
            return event.clone();
        }
        let lost = Lost {
            kind: Some(kind(&event.fact)),
            stage: "ring".to_owned(),
            count: 1,
            since_at: Some(event.at),
        };
        Event {
            at: event.at,
            fact: Fact::Lost(lost),
        }
    };
    events.iter().enumerate().map(replace).collect()
}

/// Less than the cause, and true as well: the same end without its deeper reason.
fn is_shallower(cause: Cause, than: Cause) -> bool {
    let [cause, than] = [cause.id(), than.id()];
    than.strip_prefix(cause)
        .is_some_and(|rest| rest.starts_with('.'))
}

fn compare(whole: &[Verdict], partial: &[Verdict]) -> Vec<String> {
    let by_id: BTreeMap<&str, &Verdict> = whole.iter().map(|one| (one.id.as_str(), one)).collect();
    let mut wrong = Vec::new();
    for verdict in partial {
        let Some(true_one) = by_id.get(verdict.id.as_str()) else {
            if verdict.confidence != Confidence::Unknown {
                wrong.push(format!(
                    "{} was nothing before: {}",
                    verdict.cause, verdict.sentence
                ));
            }
            continue;
        };
        let honest = verdict.confidence == Confidence::Unknown
            || verdict.cause == true_one.cause
            || is_shallower(verdict.cause, true_one.cause);
        if !honest {
            wrong.push(format!(
                "{} {:?}, not {} {:?}",
                verdict.cause, verdict.confidence, true_one.cause, true_one.confidence
            ));
        }
    }
    wrong
}

/// Whether the record of this number is lost.
type Subset = Box<dyn Fn(usize) -> bool>;

fn check(lost: &dyn Fn(&Path, &[Event]) -> Vec<Subset>) {
    let mut wrong = Vec::new();
    for path in stories() {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let events = events(&path);
        let whole = judge(&events);
        for subset in lost(&path, &events) {
            let partial = without(&events, subset.as_ref());
            for complaint in compare(&whole, &judge(&partial)) {
                let gone: Vec<String> = (0..events.len())
                    .filter(|index| subset(*index) && is_lossy(&events[*index].fact))
                    .map(|index| index.to_string())
                    .collect();
                wrong.push(format!("{name} without {}: {complaint}", gone.join(",")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn any_one_record_lost_makes_no_verdict_wrong() {
    check(&|_, events| {
        let one = |lost: usize| Box::new(move |index| index == lost) as Subset;
        (0..events.len()).map(one).collect()
    });
}

#[test]
fn any_records_lost_make_no_verdict_wrong() {
    check(&|path, _| {
        let name: u64 = path.to_string_lossy().bytes().map(u64::from).sum();
        let some = |seed: u64| -> Subset {
            let mixed = (name * SUBSETS + seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mask = mixed ^ mixed >> 29;
            Box::new(move |index: usize| mask >> (index % 60) & 1 == 1)
        };
        (0..SUBSETS).map(some).collect()
    });
}
