//! Which failed answers a service's stop was the reason of.

use crate::attempts::Attempt;
use crate::cause::Cause;
use crate::connections::OtherEnd;
use crate::deploys::episode::{Episode, Left};
use crate::event::How;
use crate::evidence::Evidence;
use crate::listeners::Place;
use crate::seeking::Refusal;
use crate::units::Timestamp;
use crate::verdict::Symptom;

/// Counts a failed answer where this stop was its reason; whether it was.
pub fn take(episode: &mut Episode, evidence: &Evidence, cause: Cause) -> bool {
    let answered = evidence.answer.at;
    let Some(attempt) = evidence.deciding() else {
        // The gateway answered at once, for what had failed before.
        let failed = &episode.failed;
        let follows = evidence.failures.iter().any(|one| failed.has(one.at));
        if follows {
            episode.failed.add((answered, answered), cause);
        }
        return follows;
    };
    let how = match evidence.symptom {
        Symptom::Refused => refused(episode, evidence, attempt),
        Symptom::Eof
        | Symptom::Reset
        | Symptom::TlsFailure
        | Symptom::BadAnswer
        | Symptom::Truncated => broken(episode, evidence, attempt),
        Symptom::ConnectTimeout | Symptom::NoAnswer => untaken(episode, attempt, cause),
        Symptom::Unreachable | Symptom::ConnectError | Symptom::NoAttempt | Symptom::Relayed => {
            None
        }
    };
    let Some(how) = how else { return false };
    episode.failed.add((attempt.at, answered), cause);
    count(episode, (how, attempt), cause);
    true
}

/// How a stop met a request.
enum Met {
    /// Nobody took the connection.
    Untaken,
    /// It was being served.
    Serving,
}

fn count(episode: &mut Episode, (how, attempt): (Met, &Attempt), cause: Cause) {
    let failed = &mut episode.failed;
    match how {
        Met::Untaken => failed.last_untaken = failed.last_untaken.max(Some(attempt.at)),
        Met::Serving if cause == Cause::KeepaliveRace => failed.races += 1,
        Met::Serving => {
            failed.cut_off += 1;
            failed.cut_at = failed.cut_at.max(Some(attempt.at));
            let began = attempt.began().unwrap_or(attempt.at);
            failed.oldest = failed.oldest.max(attempt.at.since(began));
        }
    }
}

fn refused(episode: &Episode, evidence: &Evidence, attempt: &Attempt) -> Option<Met> {
    let refusal = Refusal::of(attempt, evidence.reset.as_ref());
    let left = |left: &&Left| left.was_empty(refusal);
    let known = |left: &Left| match &evidence.place {
        Some(Place::Closed(closed)) => {
            let place = (closed.listener.netns, closed.listener.local);
            place == (left.listener.netns, left.listener.local)
                && left.closed.as_ref().is_some_and(|(at, _)| *at == closed.at)
        }
        Some(_) | None => dialled(left, evidence, attempt),
    };
    let mut places = episode.places.iter().filter(left);
    places.any(known).then_some(Met::Untaken)
}

fn broken(episode: &Episode, evidence: &Evidence, attempt: &Attempt) -> Option<Met> {
    let Some(OtherEnd { at, flow, .. }) = &evidence.other_end else {
        return unseen(episode, evidence, attempt);
    };
    let task = flow.task.as_ref()?;
    if !episode.is_old(task) || !episode.is_within(*at) {
        return None;
    }
    Some(match flow.how {
        How::Queued => Met::Untaken,
        How::Open | How::Fin | How::Unread | How::Linger | How::Released => Met::Serving,
    })
}

/// The close itself was not told of: the connection was older than the end of its listener.
fn unseen(episode: &Episode, evidence: &Evidence, attempt: &Attempt) -> Option<Met> {
    let opened = attempt.flow.opened_at?;
    let gone = |left: &Left| {
        let closed = left.closed.as_ref().map(|(at, _)| *at).or(episode.exit);
        closed.is_some_and(|closed| opened <= closed)
    };
    // Its gateway may let go of it long after.
    let heard = [attempt.flow.fin_at, attempt.flow.reset_at];
    let at = heard.into_iter().flatten().min().unwrap_or(attempt.at);
    let met = at >= episode.began && is_before_successor(episode, at);
    let mut places = episode.places.iter();
    let fits = met && places.any(|left| gone(left) && dialled(left, evidence, attempt));
    fits.then_some(Met::Serving)
}

/// Nobody accepted any more, and the gateway gave up before the listener closed.
fn untaken(episode: &Episode, attempt: &Attempt, cause: Cause) -> Option<Met> {
    let waits = [Cause::ListenerNotAccepting, Cause::BacklogFull].contains(&cause);
    let within = attempt.at >= episode.began && is_before_successor(episode, attempt.at);
    let (netns, remote) = (attempt.flow.netns, attempt.flow.remote);
    let mut places = episode.places.iter();
    (waits && within && !episode.is_reload() && places.any(|left| left.covers(netns, remote)))
        .then_some(Met::Untaken)
}

fn dialled(left: &Left, evidence: &Evidence, attempt: &Attempt) -> bool {
    let address = evidence.real.unwrap_or(attempt.flow.remote);
    left.covers(attempt.flow.netns, address)
}

fn is_before_successor(episode: &Episode, at: Timestamp) -> bool {
    episode.succeeded().is_none_or(|opened| at <= opened)
}
