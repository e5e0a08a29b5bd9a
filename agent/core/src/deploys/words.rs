//! A deploy in words: what became of it, step by step, and what would have spared the failures.

use std::time::Duration;

use crate::amounts::{label, signal as name, span};
use crate::cause::Cause;
use crate::deploys::episode::{Episode, HUP};
use crate::deploys::steps::{sender, steps};
use crate::diagnose::died;
use crate::event::Signal;
use crate::memory::Memory;
use crate::notice::{Count, Course, DEPLOY, Deploy, Order};
use crate::processes::{Ending, Way};
use crate::units::Timestamp;
use crate::verdict::{Confidence, Who};

/// The story, where there is one: a service that stopped and harmed nobody has none.
#[must_use]
pub fn tell(episode: &Episode, memory: &Memory) -> Option<Deploy> {
    let course = course(episode)?;
    let failed = episode.failed.count();
    let new = new(episode, memory);
    let old = memory.processes.who(&episode.owner, episode.began);
    // A port that the kernel hands out again has another program behind it.
    let is_same = new.as_ref().is_none_or(|new| is_alike(&old, new));
    if failed == 0 && (course == Course::Stopped || !is_same) {
        return None;
    }
    let drain = drain(episode, course);
    let ending = ending(episode, memory);
    let mut listens: Vec<String> = episode
        .places
        .iter()
        .map(|left| left.listener.local.to_string())
        .collect();
    listens.sort();
    listens.dedup();
    Some(Deploy {
        schema: DEPLOY.to_owned(),
        id: format!("{:x}-{:x}", episode.began.0, episode.owner.pid.0),
        time: memory.clock.date(episode.began),
        course,
        order: order(episode).map(|order| told(order, memory)),
        ended: ending.as_ref().and_then(claimed),
        sentence: sentence(episode, (course, &listens), ending.as_ref(), memory),
        remedy: (failed > 0).then(|| remedy(episode, course, drain)),
        listens,
        old,
        new,
        gap_ms: episode.gap().map(millis),
        failed,
        causes: causes(episode),
        queued_reset: episode.queued.map_or(0, |(count, _)| count),
        cut_off: episode.failed.cut_off,
        cut_off_ms: (episode.failed.cut_off > 0).then(|| millis(episode.failed.oldest)),
        drain_ms: drain.map(millis),
        drain_at_least: is_at_least(episode, course) && drain.is_some(),
        steps: steps(episode, ending.as_ref(), memory),
        lost: memory.lost_within(episode.began, episode.began),
    })
}

fn course(episode: &Episode) -> Option<Course> {
    if episode.is_reload() {
        (!episode.ended.is_empty()).then_some(Course::Reloaded)
    } else if episode.is_replaced() && (episode.exit.is_some() || episode.closed().is_some()) {
        Some(Course::Restarted)
    } else {
        episode.closed().map(|_| Course::Stopped)
    }
}

fn new(episode: &Episode, memory: &Memory) -> Option<Who> {
    let opened = episode
        .places
        .iter()
        .find_map(|left| left.successor.as_ref());
    let task = opened
        .map(|open| &open.listener.task)
        .or(episode.heir.as_ref())?;
    let at = opened.map_or(episode.began, |open| open.at);
    (task.pid != episode.owner.pid).then(|| memory.processes.who(task, at))
}

fn is_alike(old: &Who, new: &Who) -> bool {
    old.comm == new.comm || old.script.is_some() && old.script == new.script
}

fn ending(episode: &Episode, memory: &Memory) -> Option<Ending> {
    episode.exit?;
    memory.processes.ending(episode.owner.pid, episode.began)
}

/// How it ended, where that is sure.
fn claimed(ending: &Ending) -> Option<Cause> {
    let judgement = died(ending);
    (judgement.confidence == Confidence::Proven).then_some(judgement.cause)
}

/// The first order to stop; else the first to reload.
fn order(episode: &Episode) -> Option<&(Timestamp, Signal)> {
    let mut stops = episode
        .orders
        .iter()
        .filter(|(_, signal)| signal.number != HUP);
    stops.next().or(episode.orders.first())
}

fn told((at, signal): &(Timestamp, Signal), memory: &Memory) -> Order {
    let by = (!signal.kernel).then_some(&signal.sender);
    Order {
        signal: name(signal.number),
        by: by.map(|task| memory.processes.who(task, *at)),
        uid: by.map(|task| task.uid),
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a span that is shown, not computed with"
)]
fn millis(span: Duration) -> f64 {
    (span.as_micros() as f64) / 1e3
}

fn causes(episode: &Episode) -> Vec<Count> {
    let all = episode.failed.causes.iter();
    let mut all: Vec<Count> = all
        .map(|(cause, count)| Count {
            cause: *cause,
            count: *count,
        })
        .collect();
    all.sort_by_key(|one| (std::cmp::Reverse(one.count), one.cause));
    all
}

/// How long after the order it had to serve on: until the next one listened, or as long as it was
/// asked. A crash leaves no time to drain.
fn drain(episode: &Episode, course: Course) -> Option<Duration> {
    let (ordered, _) = order(episode)?;
    let failed = &episode.failed;
    let untaken = failed.last_untaken.map(|last| match course {
        Course::Restarted => episode.succeeded().unwrap_or(last).max(last),
        Course::Reloaded | Course::Stopped => last,
    });
    let until = untaken.max(failed.cut_at)?;
    Some(until.since(*ordered))
}

fn is_at_least(episode: &Episode, course: Course) -> bool {
    episode.failed.cut_off > 0 || course == Course::Stopped
}

fn answers(count: u64) -> String {
    match count {
        0 => "no answer failed".to_owned(),
        1 => "1 answer failed".to_owned(),
        many => format!("{many} answers failed"),
    }
}

fn sentence(
    episode: &Episode,
    (course, listens): (Course, &[String]),
    ending: Option<&Ending>,
    memory: &Memory,
) -> String {
    let who = label(&memory.processes.who(&episode.owner, episode.began));
    let why = match (order(episode), ending.map(|ending| &ending.way)) {
        (Some(order), _) => {
            format!("{} by {}", name(order.1.number), sender(order, memory))
        }
        (None, Some(way)) => unasked(way),
        (None, None) => "by itself".to_owned(),
    };
    let at = listens.join(", ");
    let gap = match episode.gap() {
        Some(Duration::ZERO) => "someone listened all the time".to_owned(),
        Some(gap) => format!("nobody listened for {}", span(gap)),
        None => "nothing has listened there since".to_owned(),
    };
    let failed = answers(episode.failed.count());
    match course {
        Course::Restarted if order(episode).is_none() => {
            format!("{who} at {at} was started again {why}: {gap}, and {failed}")
        }
        Course::Restarted => format!("{who} at {at} was restarted ({why}): {gap}, and {failed}"),
        Course::Reloaded => format!(
            "{who} at {at} replaced {} workers ({why}) and kept listening: {failed}",
            episode.ended.len()
        ),
        Course::Stopped => format!("{who} at {at} stopped ({why}): {gap}, and {failed} so far"),
    }
}

/// How it ended without being asked to.
fn unasked(way: &Way) -> String {
    match way {
        Way::Oom(_) => "after the kernel's OOM killer had ended it".to_owned(),
        Way::Crash { signal, .. } => format!("after a crash ({})", name(*signal)),
        Way::Exit(status) => format!("after it had exited by itself with status {status}"),
        Way::Signalled { signal, .. } => format!("after a {}", name(signal.number)),
        Way::Killed(number) => format!("after a {}", name(*number)),
    }
}

fn remedy(episode: &Episode, course: Course, drain: Option<Duration>) -> String {
    let failed = &episode.failed;
    let mut advice = Vec::new();
    match (drain, course) {
        (None, _) => advice.push(
            "nothing can be drained here: see the verdicts for why it ended, and run a second \
             instance for the gateway to turn to"
                .to_owned(),
        ),
        (Some(drain), Course::Restarted) if failed.last_untaken.is_some() => advice.push(format!(
            "start the new one before the old one stops, and let the old one accept and answer until \
             then: a drain of {} after the signal",
            span(drain)
        )),
        (Some(drain), Course::Stopped) if failed.last_untaken.is_some() => advice.push(format!(
            "take it out of the gateway first, and let it accept and answer meanwhile: a drain of at \
             least {} after the signal (a preStop sleep)",
            span(drain)
        )),
        (Some(_), Course::Restarted | Course::Reloaded | Course::Stopped) => {}
    }
    if failed.cut_off > 0 {
        advice.push(format!(
            "let requests under way end before it does: {} had not, the oldest after {}",
            failed.cut_off,
            span(failed.oldest)
        ));
    }
    if failed.races > 0 {
        advice.push(format!(
            "let it answer with Connection: close before it closes kept connections: {} requests \
             met the close",
            failed.races
        ));
    }
    advice.join("; ")
}
