//! What is told besides verdicts, as text and as JSON.

use probe502_core::notice::{NearMiss, Notice, Outcome, Warning};

use super::paint::{Paint, harmless};
use super::text;

/// As text, with its last newline.
pub fn text(notice: &Notice, paint: Paint) -> String {
    match notice {
        Notice::NearMiss(near) => near_miss(near, paint),
        Notice::Warning(warning) => warn(warning, paint),
    }
}

/// As one line of JSON.
pub fn json(notice: &Notice) -> serde_json::Result<String> {
    let object = match notice {
        Notice::NearMiss(near) => serde_json::to_string(near),
        Notice::Warning(warning) => serde_json::to_string(warning),
    };
    object.map(|object| object + "\n")
}

fn near_miss(near: &NearMiss, paint: Paint) -> String {
    let outcome = match (near.outcome, &near.rescue) {
        (Outcome::Rescued, Some(rescue)) => {
            format!(
                "rescued by {}, which answered {}",
                rescue.addr, rescue.status
            )
        }
        (Outcome::Rescued, None) => "rescued".to_owned(),
        (Outcome::Unseen, _) => "no failed answer was seen".to_owned(),
    };
    format!(
        "{}  near miss  {} {}  {}[{}] → {}  {}  {}; {}\n",
        text::clock(&near.time),
        near.cause.id(),
        paint.confidence(near.confidence, text::confidence(near.confidence)),
        harmless(&near.gateway.who.comm),
        near.gateway.who.pid.0,
        harmless(&near.attempt.addr),
        text::request(&near.request),
        harmless(&near.sentence),
        outcome,
    )
}

fn warn(warning: &Warning, paint: Paint) -> String {
    format!(
        "{}  warning  {} {}  {}\n  fix      {}\n",
        text::clock(&warning.time),
        paint.bold(warning.of.id()),
        paint.confidence(warning.confidence, text::confidence(warning.confidence)),
        harmless(&warning.sentence),
        harmless(&warning.remedy),
    )
}
