//! Every story in tests/scenarios: dated facts, a line, the verdicts.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};

use probe502_core::cause::Cause;
use probe502_core::correlator::{Correlator, Settings};
use probe502_core::event::Event;
use probe502_core::notice::Notice;
use probe502_core::story::{parse_event, write_event};
use probe502_core::units::Timestamp;
use probe502_core::verdict::{Kind, Verdict, Who};

fn stories() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let entries = std::fs::read_dir(&directory).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "txt"));
    paths.sort();
    paths
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn events(path: &Path, story: &str) -> Vec<Event> {
    let parse = |line: &str| {
        parse_event(line).unwrap_or_else(|error| panic!("{}: {error}: {line}", path.display()))
    };
    lines(story).map(parse).collect()
}

/// As the live loop runs it: time passes as soon as something is due.
fn judge(events: &[Event]) -> (Vec<Verdict>, Vec<Notice>) {
    let mut correlator = Correlator::new(Settings::default());
    let (mut verdicts, mut notices) = (Vec::new(), Vec::new());
    let mut pass = |correlator: &mut Correlator, until: Timestamp| {
        while let Some(due) = correlator.poll_timeout().filter(|due| *due <= until) {
            correlator.handle_timeout(due);
            verdicts.extend(std::iter::from_fn(|| correlator.poll_verdict()));
            notices.extend(std::iter::from_fn(|| correlator.poll_notice()));
        }
    };
    for event in events {
        pass(&mut correlator, event.at);
        correlator.handle_event(event.clone());
    }
    pass(&mut correlator, Timestamp(u64::MAX));
    (verdicts, notices)
}

fn word(value: impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap();
    value.as_str().unwrap().to_owned()
}

fn upstream(verdict: &Verdict) -> Option<&Who> {
    verdict.upstream.as_ref()?.who.as_ref()
}

/// A verdict in the words that the expectation uses, so that a difference shows both.
fn told(verdict: &Verdict, expected: &str) -> String {
    let got = match verdict.kind {
        Kind::Answer => verdict.status.to_string(),
        Kind::Silent => word(verdict.kind),
    };
    let mut told = format!(
        "{got} {} {} {}",
        word(verdict.symptom),
        verdict.cause,
        word(verdict.confidence)
    );
    for part in expected.split(' ').skip(4) {
        match part.split_once('=').map_or(part, |(key, _)| key) {
            "joined" => told.push_str(&format!(" joined={}", word(verdict.joined_by))),
            "attempts" => told.push_str(&format!(" attempts={}", verdict.attempts.len())),
            "path" => {
                let path = verdict.request.path.as_deref().unwrap_or("-");
                told.push_str(&format!(" path={path}"));
            }
            "pid" => told.push_str(&format!(
                " pid={}",
                upstream(verdict).map_or(0, |who| who.pid.0)
            )),
            "names" => {
                let cluster = upstream(verdict).and_then(|who| who.kubernetes.as_ref());
                let names = cluster.map(|names| {
                    let part = |part: &Option<String>| part.clone().unwrap_or_default();
                    let (workload, container) = (part(&names.workload), part(&names.container));
                    format!("{}/{}/{workload}/{container}", names.namespace, names.pod)
                });
                told.push_str(&format!(" names={}", names.unwrap_or_default()));
            }
            other => panic!("nothing is known of '{other}'"),
        }
    }
    told
}

/// A notice in the words that the expectation uses.
fn noticed(notice: &Notice) -> String {
    match notice {
        Notice::NearMiss(near) => format!(
            "near-miss {} {} {} {}",
            word(near.outcome),
            word(near.symptom),
            near.cause,
            word(near.confidence)
        ),
        Notice::Warning(warning) => format!("warning {} {}", warning.of, word(warning.confidence)),
        Notice::Deploy(deploy) => format!("deploy {} {}", word(deploy.course), deploy.failed),
    }
}

/// All that a notice says.
fn words(notice: &Notice) -> Vec<String> {
    let object = match notice {
        Notice::NearMiss(near) => serde_json::to_string(near),
        Notice::Warning(warning) => serde_json::to_string(warning),
        Notice::Deploy(deploy) => serde_json::to_string(deploy),
    };
    vec![object.unwrap()]
}

fn is_notice(line: &str) -> bool {
    ["near-miss ", "warning ", "deploy "]
        .iter()
        .any(|word| line.starts_with(word))
}

/// An expected line, and the words that must be in what it stands for.
type Expected<'a> = (&'a str, Vec<&'a str>);

fn expectations(ending: &str) -> (Vec<Expected<'_>>, Vec<Expected<'_>>) {
    let mut all: Vec<Expected> = Vec::new();
    for line in lines(ending).filter(|line| *line != "nothing") {
        match line.strip_prefix("says ") {
            Some(words) => all.last_mut().unwrap().1.push(words),
            None => all.push((line, Vec::new())),
        }
    }
    all.into_iter().partition(|(line, _)| is_notice(line))
}

/// Whether what was found is what was expected, and says what it must.
fn compare(found: &[(String, Vec<String>)], expected: &[Expected]) -> Result<(), String> {
    let told: Vec<&str> = found.iter().map(|(told, _)| told.as_str()).collect();
    let wanted: Vec<&str> = expected.iter().map(|(line, _)| *line).collect();
    if told != wanted {
        return Err(format!("{told:?}, not {wanted:?}: {found:#?}"));
    }
    for ((_, all), (_, says)) in found.iter().zip(expected) {
        for words in says {
            if !all.iter().any(|text| text.contains(words)) {
                return Err(format!("'{words}' is not in {all:#?}"));
            }
        }
    }
    Ok(())
}

/// What is wrong with a story, if anything.
fn check(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy();
    let (story, ending) = text
        .split_once("\n----\n")
        .unwrap_or_else(|| panic!("{name}: no ----"));
    let (verdicts, notices) = judge(&events(path, story));
    let (besides, expected) = expectations(ending);
    let found: Vec<_> = verdicts
        .iter()
        .enumerate()
        .map(|(index, verdict)| {
            let line = expected.get(index).map_or("", |(line, _)| *line);
            let mut all = vec![verdict.sentence.clone(), verdict.remedy.clone()];
            all.extend(verdict.evidence.iter().map(|fact| fact.fact.clone()));
            (told(verdict, line), all)
        })
        .collect();
    // Many a fault is a stop as well; only the stories about stops say so.
    let is_asked =
        |notice: &&Notice| name.starts_with("deploy.") || !matches!(notice, Notice::Deploy(_));
    let noticed: Vec<_> = notices
        .iter()
        .filter(is_asked)
        .map(|one| (noticed(one), words(one)))
        .collect();
    for (found, expected) in [(&found, &expected), (&noticed, &besides)] {
        if let Err(wrong) = compare(found, expected) {
            return Some(format!("{name}: {wrong}"));
        }
    }
    let sorted = |verdict: &Verdict| verdict.evidence.is_sorted_by_key(|fact| fact.at_ms);
    (!verdicts.iter().all(sorted)).then(|| format!("{name}: its evidence is out of order"))
}

#[test]
fn every_story_has_its_verdict() {
    let wrong: Vec<String> = stories().iter().filter_map(|path| check(path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_cause_has_its_story() {
    let paths = stories();
    for cause in Cause::ALL {
        let name = format!("{cause}.txt");
        let path = paths.iter().find(|path| path.ends_with(&name));
        let path = path.unwrap_or_else(|| panic!("tests/scenarios/{name} is missing"));
        let text = std::fs::read_to_string(path).unwrap();
        let ending = text.split_once("\n----\n").unwrap().1;
        let told = lines(ending).any(|line| line.contains(&format!(" {cause} ")));
        assert!(told, "{name} does not end in its cause");
    }
}

#[test]
fn what_is_written_is_what_was_read() {
    for path in stories() {
        let text = std::fs::read_to_string(&path).unwrap();
        let story = text.split_once("\n----\n").unwrap().0;
        for event in events(&path, story) {
            assert_eq!(parse_event(&write_event(&event)).unwrap(), event);
        }
    }
}

#[test]
fn the_same_story_is_told_in_the_same_words() {
    for path in stories() {
        let text = std::fs::read_to_string(&path).unwrap();
        let events = events(&path, text.split_once("\n----\n").unwrap().0);
        let tell = || {
            let (verdicts, notices) = judge(&events);
            let notices: Vec<_> = notices.iter().flat_map(words).collect();
            (serde_json::to_string(&verdicts).unwrap(), notices)
        };
        assert_eq!(tell(), tell(), "{}", path.display());
    }
}
