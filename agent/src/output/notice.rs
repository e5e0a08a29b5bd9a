//! What is told besides verdicts, as text and as JSON.

use std::fmt::Write as _;

use probe502_core::notice::{Course, Deploy, NearMiss, Notice, Outcome, Warning};

use super::paint::{Paint, harmless};
use super::text;

/// As text, with its last newline.
pub fn text(notice: &Notice, paint: Paint) -> String {
    match notice {
        Notice::NearMiss(near) => near_miss(near, paint),
        Notice::Warning(warning) => warn(warning, paint),
        Notice::Deploy(deploy) => story(deploy, paint),
    }
}

/// As one line of JSON.
pub fn json(notice: &Notice) -> serde_json::Result<String> {
    let object = match notice {
        Notice::NearMiss(near) => serde_json::to_string(near),
        Notice::Warning(warning) => serde_json::to_string(warning),
        Notice::Deploy(deploy) => serde_json::to_string(deploy),
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

/// A block as a verdict's: what became of the service, step by step, and what to do.
fn story(deploy: &Deploy, paint: Paint) -> String {
    let mut out = String::new();
    let course = match deploy.course {
        Course::Restarted => "restart",
        Course::Reloaded => "reload",
        Course::Stopped => "stop",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{}  {}  {}",
        text::clock(&deploy.time),
        paint.bold(course),
        harmless(&deploy.sentence)
    );
    let counted = |one: &probe502_core::notice::Count| format!("{} {}", one.count, one.cause);
    let causes: Vec<String> = deploy.causes.iter().map(counted).collect();
    if !causes.is_empty() {
        let _ = writeln!(out, "  failed   {}", paint.red(&causes.join(", ")));
    }
    for step in &deploy.steps {
        let moment = paint.faint(&text::moment(step.at_ms));
        let _ = writeln!(out, "  {moment}  {}", harmless(&step.fact));
    }
    if deploy.lost > 0 {
        let lost = deploy.lost;
        let _ = writeln!(out, "  lost     {lost} records: more may have failed");
    }
    if let Some(remedy) = &deploy.remedy {
        let _ = writeln!(out, "  fix      {}", harmless(remedy));
    }
    out.push('\n');
    out
}
