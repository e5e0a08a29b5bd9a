//! Name servers: what a process heard from them within one request, and nothing else.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::diagnose::{Judgement, inferred, unknown};
use crate::evidence::Evidence;
use crate::fitting::arrival;
use crate::joining::Answer;
use crate::memory::Memory;
use crate::units::{Pid, Timestamp};

/// Resolvers wait a second at least before they ask again (Go, c-ares and glibc wait five).
const PATIENCE: Duration = Duration::from_secs(1);

/// What a process heard from its name servers, as `probe502_common::Lookup` says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "documented at probe502_common::Lookup")]
pub struct Lookup {
    pub pid: Pid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
    #[serde(default)]
    pub code: u16,
    /// The name that failed; letters that no host name has are replaced.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// How a name was not resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// There is no such name.
    Absent,
    /// The name server failed or refused.
    Failed,
    /// No name server answered.
    Silent,
}

/// What went wrong between a request's arrival and its answer. A good answer after the failure
/// takes it back: search lists ask for names that are not there before the one that is.
#[must_use]
pub fn unresolved(
    lookup: &Lookup,
    arrived: Timestamp,
    answered: Timestamp,
) -> Option<(Timestamp, Unresolved)> {
    let within = |moment: Option<Timestamp>| {
        moment.filter(|moment| *moment >= arrived && *moment <= answered)
    };
    if let Some(failed) = within(lookup.failed_at).filter(|failed| lookup.good_at < Some(*failed)) {
        let how = if lookup.code == NO_SUCH_NAME {
            Unresolved::Absent
        } else {
            Unresolved::Failed
        };
        return Some((failed, how));
    }
    let asked = within(lookup.asked_at).filter(|asked| lookup.heard_at < Some(*asked))?;
    (answered.since(asked) >= PATIENCE).then_some((asked, Unresolved::Silent))
}

/// NXDOMAIN (RFC 1035, 4.1.1).
const NO_SUCH_NAME: u16 = 3;

/// Joined by time: nothing ties a question to a request.
#[must_use]
pub fn judged(evidence: &Evidence) -> Judgement {
    match evidence.unresolved.as_ref().map(|(_, how, _)| *how) {
        Some(Unresolved::Absent) => inferred(Cause::DnsNxdomain),
        Some(Unresolved::Failed) => inferred(Cause::DnsServfail),
        Some(Unresolved::Silent) => inferred(Cause::DnsTimeout),
        None => unknown(Cause::UnknownUnexplained),
    }
}

/// A name as a DNS message has it, in the usual form; what is no letter of a host name becomes `?`.
#[must_use]
pub fn readable(mut labels: &[u8]) -> String {
    let mut name = String::new();
    while let Some((length, rest)) = labels.split_first() {
        let length = usize::from(*length);
        if length == 0 {
            return name;
        }
        let (label, after) = rest.split_at(length.min(rest.len()));
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(*byte),
            _ => '?',
        }));
        labels = after;
    }
    // Cut off: its end was not kept.
    name.push('…');
    name
}

/// How a name failed within an answer's request, which one, and when.
#[must_use]
pub fn failed(answer: &Answer, memory: &Memory) -> Option<(Timestamp, Unresolved, String)> {
    let lookup = memory.lookups.get(&answer.task.pid)?;
    let arrived = arrival(answer)?;
    let (at, how) = unresolved(lookup, arrived, answer.at)?;
    Some((at, how, lookup.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(moments: [u64; 4]) -> Lookup {
        let moment = |at: u64| (at > 0).then_some(Timestamp(at * 1_000_000));
        Lookup {
            pid: Pid(1),
            asked_at: moment(moments[0]),
            heard_at: moment(moments[1]),
            good_at: moment(moments[2]),
            failed_at: moment(moments[3]),
            code: 3,
            name: String::new(),
        }
    }

    #[test]
    fn only_what_failed_within_the_request_counts() {
        use Unresolved::{Absent, Silent};
        for (moments, expected) in [
            ([0, 20, 0, 20], Some(Absent)),
            // Before it, after it, taken back by a good answer.
            ([0, 9, 0, 9], None),
            ([0, 3000, 0, 3000], None),
            ([0, 30, 30, 20], None),
            ([0, 20, 10, 20], Some(Absent)),
            // Asked and never heard, asked and heard, asked too late to be waited for.
            ([20, 0, 0, 0], Some(Silent)),
            ([20, 5, 5, 0], Some(Silent)),
            ([20, 30, 30, 0], None),
            ([1990, 0, 0, 0], None),
            ([5, 0, 0, 0], None),
        ] {
            let (arrived, answered) = (Timestamp(10_000_000), Timestamp(2_000_000_000));
            let found = unresolved(&lookup(moments), arrived, answered);
            assert_eq!(found.map(|(_, how)| how), expected, "{moments:?}");
        }
    }

    #[test]
    fn names_are_harmless_and_whole_or_marked() {
        assert_eq!(readable(b"\x03app\x04test\0"), "app.test");
        assert_eq!(readable(b"\x04a\x1b[m\0"), "a??m");
        assert_eq!(readable(b"\x09abc"), "abc…");
        assert_eq!(readable(b"\0"), "");
    }
}
