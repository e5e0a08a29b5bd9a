//! What the live page shows: the newest verdicts, and the causes of the last hour.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use probe502_core::cause::Cause;
use probe502_core::units::Timestamp;
use probe502_core::verdict::Verdict;
use serde::Serialize;
use tokio::sync::{broadcast, mpsc, oneshot};

/// Verdicts that the page shows when it is opened.
const NEWEST: usize = 200;
/// A browser that falls so far behind misses the oldest, and is told.
const BEHIND: usize = 1024;
/// Questions of browsers that wait for the loop's next turn.
const QUESTIONS: usize = 64;
const MINUTES: usize = 60;
const MINUTE: u64 = 60_000_000_000;

/// The agent's state, as the page and the probes of its supervisor see it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Causes of the last hour, most frequent first.
    pub causes: Vec<(&'static str, u64)>,
    /// Failed answers of the last hour, a number for each minute, oldest first.
    pub minutes: Vec<u64>,
    /// Hooks or senses that are missing.
    pub missing: Vec<String>,
    /// Records lost since the start.
    pub lost: u64,
}

/// What a browser may ask the loop.
pub enum Question {
    /// The newest verdicts as JSON, oldest first.
    Newest(oneshot::Sender<Vec<Arc<str>>>),
    /// How it is.
    Summary(oneshot::Sender<Summary>),
}

/// The doors to the loop, for those who serve.
#[derive(Clone)]
pub struct Doors {
    /// For questions.
    pub questions: mpsc::Sender<Question>,
    /// Each verdict as it comes.
    pub verdicts: broadcast::Sender<Arc<str>>,
}

/// The loop's side.
pub struct Feed {
    doors: Doors,
    inbox: mpsc::Receiver<Question>,
    newest: VecDeque<Arc<str>>,
    /// By the minute since the start of the monotonic clock.
    minutes: VecDeque<(u64, BTreeMap<Cause, u64>)>,
}

impl Feed {
    /// Empty.
    pub fn new() -> Self {
        let (questions, inbox) = mpsc::channel(QUESTIONS);
        let (verdicts, _) = broadcast::channel(BEHIND);
        Self {
            doors: Doors {
                questions,
                verdicts,
            },
            inbox,
            newest: VecDeque::new(),
            minutes: VecDeque::new(),
        }
    }

    /// The doors.
    pub fn doors(&self) -> Doors {
        self.doors.clone()
    }

    /// Takes in a verdict and its JSON.
    pub fn verdict(&mut self, verdict: &Verdict, json: Arc<str>) {
        let minute = verdict.answered_at.0 / MINUTE;
        if self.minutes.back().is_none_or(|(last, _)| *last < minute) {
            self.minutes.push_back((minute, BTreeMap::new()));
        }
        if let Some((_, causes)) = self.minutes.back_mut() {
            *causes.entry(verdict.cause).or_default() += 1;
        }
        if self.minutes.len() > MINUTES {
            self.minutes.pop_front();
        }
        if self.newest.len() == NEWEST {
            self.newest.pop_front();
        }
        self.newest.push_back(Arc::clone(&json));
        // Nobody may be listening.
        _ = self.doors.verdicts.send(json);
    }

    /// The next question, when one comes.
    pub async fn question(&mut self) -> Option<Question> {
        self.inbox.recv().await
    }

    /// Answers a question.
    pub fn answer(&self, question: Question, now: Timestamp, (missing, lost): (Vec<String>, u64)) {
        // Who asked may have gone.
        match question {
            Question::Newest(to) => _ = to.send(self.newest.iter().cloned().collect()),
            Question::Summary(to) => {
                let (causes, minutes) = self.last_hour(now);
                _ = to.send(Summary {
                    causes,
                    minutes,
                    missing,
                    lost,
                });
            }
        }
    }

    fn last_hour(&self, now: Timestamp) -> (Vec<(&'static str, u64)>, Vec<u64>) {
        let this = now.0 / MINUTE;
        let mut causes: BTreeMap<Cause, u64> = BTreeMap::new();
        let mut minutes = vec![0; MINUTES];
        for (minute, counts) in &self.minutes {
            let Ok(age) = usize::try_from(this.saturating_sub(*minute)) else {
                continue;
            };
            let Some(place) = (MINUTES - 1).checked_sub(age) else {
                continue;
            };
            for (cause, count) in counts {
                *causes.entry(*cause).or_default() += count;
                minutes[place] += count;
            }
        }
        let mut ranked: Vec<(&'static str, u64)> = causes
            .into_iter()
            .map(|(cause, count)| (cause.id(), count))
            .collect();
        ranked.sort_by_key(|(id, count)| (std::cmp::Reverse(*count), *id));
        (ranked, minutes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::example;

    fn at(minute: u64, cause: Cause) -> Verdict {
        Verdict {
            answered_at: Timestamp(minute * MINUTE),
            cause,
            ..example::verdict()
        }
    }

    #[test]
    fn the_last_hour_is_ranked_and_older_is_forgotten() {
        let mut feed = Feed::new();
        for (minute, cause) in [
            (1, Cause::Crash),
            (100, Cause::ListenerAbsent),
            (130, Cause::OomCgroup),
            (130, Cause::OomCgroup),
        ] {
            feed.verdict(&at(minute, cause), "{}".into());
        }
        let (causes, minutes) = feed.last_hour(Timestamp(131 * MINUTE));
        assert_eq!(causes, [("process.oom.cgroup", 2), ("listener.absent", 1)]);
        assert_eq!((minutes[58], minutes[28], minutes.len()), (2, 1, 60));
    }

    #[test]
    fn only_the_newest_are_held() {
        let mut feed = Feed::new();
        for number in 0..NEWEST + 5 {
            feed.verdict(&at(1, Cause::Crash), number.to_string().into());
        }
        assert_eq!(feed.newest.len(), NEWEST);
        assert_eq!(feed.newest.front().map(AsRef::as_ref), Some("5"));
    }
}
