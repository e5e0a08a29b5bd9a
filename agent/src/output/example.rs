//! The verdict that tests tell.

use probe502_core::cause::Cause;
use probe502_core::notice::{Dialler, NEAR_MISS, NearMiss, Outcome};
use probe502_core::units::{Pid, Timestamp};
use probe502_core::verdict::{
    Attempt, Confidence, Fact, Gateway, Join, Kind, Request, SCHEMA, Symptom, Upstream, Verdict,
    Who,
};

const SENTENCE: &str =
    "reset: the worker was OOM-killed at its cgroup limit (256 MiB) 1.9 ms before it could answer";

/// One with everything in it.
pub fn verdict() -> Verdict {
    let who = |pid, comm: &str| Who {
        pid: Pid(pid),
        comm: comm.into(),
        ..Who::default()
    };
    Verdict {
        schema: SCHEMA.to_owned(),
        id: "1f-2a".to_owned(),
        time: "2026-11-21T14:03:07.412345Z".to_owned(),
        answered_at: Timestamp(7_000_000_000),
        kind: Kind::Answer,
        cut: None,
        status: 502,
        symptom: Symptom::Reset,
        cause: Cause::OomCgroup,
        confidence: Confidence::Proven,
        sentence: SENTENCE.to_owned(),
        remedy: "raise memory.max above 256 MiB".to_owned(),
        gateway_says: Vec::new(),
        gateway: Gateway {
            who: who(812, "nginx"),
            tid: 812,
            listen: "10.0.3.1:80".to_owned(),
        },
        client: "10.0.3.9:51422".to_owned(),
        request: Request {
            method: Some("POST".to_owned()),
            path: Some("/orders".to_owned()),
            host: None,
            outstanding_ms: Some(4810.0),
        },
        upstream: Some(Upstream {
            real: None,
            addr: "10.4.1.7:8000".to_owned(),
            who: Some(Who {
                script: Some("gunicorn".to_owned()),
                container: Some("3fa9c1d2e4b5a697".to_owned()),
                ..who(4127, "python3")
            }),
        }),
        joined_by: Join::TaskOrder,
        attempts: vec![attempt()],
        timers: None,
        failures: Vec::new(),
        evidence: evidence(),
        lost: 0,
    }
}

/// The same failure, hidden by a retry.
pub fn near_miss() -> NearMiss {
    let told = verdict();
    NearMiss {
        schema: NEAR_MISS.to_owned(),
        id: told.id,
        time: told.time,
        outcome: Outcome::Rescued,
        symptom: told.symptom,
        cause: told.cause,
        confidence: told.confidence,
        sentence: told.sentence,
        remedy: told.remedy,
        gateway: Dialler {
            who: told.gateway.who,
            tid: told.gateway.tid,
            listens: vec![told.gateway.listen],
        },
        request: told.request,
        upstream: told.upstream.expect("one with everything in it"),
        attempt: attempt(),
        rescue: None,
        evidence: told.evidence,
        lost: told.lost,
    }
}

fn evidence() -> Vec<Fact> {
    vec![
        Fact {
            at_ms: -2.3,
            fact: "SIGKILL by the kernel's OOM killer".to_owned(),
        },
        Fact {
            at_ms: -4810.0,
            fact: "the request arrived".to_owned(),
        },
    ]
}

fn attempt() -> Attempt {
    Attempt {
        addr: "10.4.1.7:8000".to_owned(),
        symptom: Symptom::Reset,
        reused: false,
        began_ms: -4810.0,
        ended_ms: -0.2,
    }
}
