//! How gateway processes go about it, learned from what was seen: whether order proves anything.

use std::time::Duration;

use crate::attempts::Attempt;
use crate::event::Flow;
use crate::fitting::{Line, arrival, line};
use crate::joining::{Answer, Joined};
use crate::recent::Recent;
use crate::shapes::Shapes;
use crate::units::{Pid, Timestamp};
use crate::verdict::Join;

/// Requests that must have been passed on with their own lines before a door is known to do so.
const ENOUGH: u32 = 3;

/// For so long, and at most twice as long, a busy moment is remembered.
const SPAN: Duration = Duration::from_secs(2);

/// How one process goes about it.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// It was seen to move a request from thread to thread: goroutines, thread pools.
    pub hops: bool,
    /// It was seen to answer first and let go then: what it let go of last is another request's.
    pub late: bool,
    /// It was never seen to do otherwise, where the request line told.
    pub answers_first: bool,
    /// What it let go of right before an answer is that answer's: it has one thread. Several event
    /// loops in one process put writes off to their next turn (Envoy).
    pub orderly: bool,
    /// Whether any of this was seen yet, or needs not be.
    pub known: bool,
    /// How long it took lately.
    pub lag: Lag,
    /// Where this was asked, requests are passed on with their own lines.
    pub keeps_lines: bool,
    /// The same as `late`, as it is known when the answer is judged.
    pub turned_out_late: bool,
    /// Whether answers that look like this one come of dials that failed, only of them or never.
    pub of_dials: Option<bool>,
}

/// How long a busy process took lately, as joins by request line show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// From a request's arrival to its first try.
    pub try_after: Duration,
    /// From the failure of its last try to the answer.
    pub answer_after: Duration,
}

impl Lag {
    fn worst(self, other: Self) -> Self {
        Self {
            try_after: self.try_after.max(other.try_after),
            answer_after: self.answer_after.max(other.answer_after),
        }
    }
}

/// The worst of this span and of the one before, so that it is forgotten.
#[derive(Clone, Copy, Debug, Default)]
struct Spans {
    since: Timestamp,
    now: Lag,
    before: Lag,
}

impl Spans {
    /// As they are at this moment.
    fn at(self, at: Timestamp) -> Self {
        match at.since(self.since) {
            age if age <= SPAN => self,
            age if age <= SPAN * 2 => Self {
                since: at,
                now: Lag::default(),
                before: self.now,
            },
            _ => Self {
                since: at,
                ..Self::default()
            },
        }
    }
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            hops: false,
            late: false,
            answers_first: false,
            orderly: true,
            known: true,
            lag: Lag::default(),
            keeps_lines: false,
            turned_out_late: false,
            of_dials: None,
        }
    }
}

/// What is known of the processes that answer.
#[derive(Debug)]
pub struct Habits {
    /// Their requests change threads: goroutines, thread pools.
    hoppers: Recent<Pid, ()>,
    /// They answer first and let go then: what they let go of last is an earlier request's.
    late: Recent<Pid, ()>,
    /// They let go first.
    prompt: Recent<Pid, ()>,
    lags: Recent<Pid, Spans>,
    /// How often what was asked at a process's door was passed on with the same line.
    same: Recent<(Pid, u16), u32>,
    shapes: Shapes,
}

impl Default for Habits {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Self {
            hoppers: Recent::new(1024, hour),
            late: Recent::new(1024, hour),
            prompt: Recent::new(1024, hour),
            lags: Recent::new(1024, hour),
            same: Recent::new(1024, hour),
            shapes: Shapes::default(),
        }
    }
}

/// Where a process was asked.
fn door(answer: &Answer) -> (Pid, u16) {
    (answer.task.pid, answer.flow.local.port())
}

impl Habits {
    /// How a process of so many threads goes about it.
    #[must_use]
    pub fn of(&self, at: Timestamp, pid: Pid, threads: u8) -> Manner {
        let hops = self.hoppers.get(&pid).is_some();
        let late = self.late.get(&pid).is_some();
        let prompt = self.prompt.get(&pid).is_some();
        let orderly = threads <= 1 && !hops && !late;
        let spans = self.lags.get(&pid).map(|spans| spans.at(at));
        // An event loop of its own lets order tell.
        let busy = spans.filter(|_| !orderly);
        let lag = busy.map(|spans| spans.now.worst(spans.before));
        Manner {
            hops,
            late,
            answers_first: late && !prompt && !hops,
            orderly,
            known: hops || late || prompt || orderly,
            lag: lag.unwrap_or_default(),
            keeps_lines: false,
            turned_out_late: false,
            of_dials: None,
        }
    }

    /// What requests showed that were answered at about the same time.
    pub fn refresh(&self, answer: &mut Answer) {
        let now = self.of(answer.at, answer.task.pid, answer.flow.threads);
        answer.manner.lag = now.lag;
        answer.manner.turned_out_late = now.late;
        answer.manner.answers_first = now.answers_first;
        answer.manner.keeps_lines = self
            .same
            .get(&door(answer))
            .is_some_and(|often| *often >= ENOUGH);
        answer.manner.of_dials = self.shapes.of_dials(answer.task.pid, answer.shape);
    }

    /// A dialled connection ended: asked by one thread and given up by another.
    pub fn ended(&mut self, at: Timestamp, flow: &Flow) {
        let (Some(owner), Some(task)) = (&flow.owner, &flow.task) else {
            return;
        };
        let unanswered = flow.said > 0 && flow.heard_bytes == 0;
        if unanswered && owner.pid == task.pid && owner.tid != task.tid {
            self.hoppers.insert(at, task.pid, ());
        }
    }

    /// An answer was joined by its request line: its threads and its order are seen.
    pub fn joined(&mut self, answer: &Answer, joined: &Joined) {
        let Some(last) = joined.attempts.last() else {
            return;
        };
        self.shapes.joined(answer.at, answer, joined);
        if line(answer, last) == Line::Same {
            let door = door(answer);
            let often = self.same.get(&door).copied().unwrap_or_default();
            self.same.insert(answer.at, door, often.saturating_add(1));
        }
        let seen = match joined.by {
            Join::RequestLine => joined.rivals.is_empty(),
            Join::TaskOrder | Join::Time | Join::None => false,
        };
        if !seen {
            return;
        }
        self.took(answer, joined);
        if last.tid != answer.task.tid {
            self.hoppers.insert(answer.at, answer.task.pid, ());
        } else if last.relayed.is_none() && last.at > answer.at {
            self.late.insert(answer.at, answer.task.pid, ());
        } else if last.relayed.is_none() {
            self.prompt.insert(answer.at, answer.task.pid, ());
        }
    }

    /// A process was seen to answer first and let go then.
    pub fn answered_first(&mut self, answer: &Answer) {
        self.late.insert(answer.at, answer.task.pid, ());
    }

    fn took(&mut self, answer: &Answer, joined: &Joined) {
        let (first, last) = (joined.attempts.first(), joined.attempts.last());
        let began = first.and_then(Attempt::began);
        let tried = arrival(answer).zip(began);
        let lag = Lag {
            try_after: tried.map_or(Duration::ZERO, |(arrived, began)| began.since(arrived)),
            answer_after: last.map_or(Duration::ZERO, |last| answer.at.since(last.at)),
        };
        let (at, pid) = (answer.at, answer.task.pid);
        let known = self.lags.get(&pid).copied().unwrap_or_default();
        let mut spans = known.at(at);
        spans.now = spans.now.worst(lag);
        self.lags.insert(at, pid, spans);
    }
}
