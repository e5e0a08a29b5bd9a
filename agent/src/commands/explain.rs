//! `explain`: a stored event with its cause's page, or a cause's page alone, or how gateways word it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use probe502_core::cause::Cause;
use probe502_core::says::{Sight, sights};

use super::says;
use crate::exit::Ending;
use crate::history::{PLACE, Reader};
use crate::output::page;
use crate::output::paint::Paint;
use crate::output::{Form, Output};

/// Explain a cause, or one failed answer of the agent's history: what happened, how it is known, what
/// to do
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The cause's id, as `watch` says it, or the id of an event in the agent's history; without it,
    /// all causes are listed
    #[arg(value_name = "CAUSE|EVENT")]
    pub cause: Option<String>,
    /// How this gateway words it in its own log: nginx, haproxy, envoy, apache, caddy, traefik, alb
    /// or gcp; without a value, all of them
    #[arg(long, value_name = "GATEWAY", num_args = 0..=1, default_missing_value = "all",
          value_parser = says::products)]
    pub says: Option<says::Products>,
    /// The agent's history, where events are looked up
    #[arg(long, value_name = "FILE", default_value = PLACE, env = "PROBE502_HISTORY")]
    pub history: PathBuf,
}

/// Every page under docs/causes by its name.
const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Below this likeness (Jaro and Winkler's, 0 to 1) a suggestion would only confuse.
const ALIKE: f64 = 0.7;

/// Prints the page, or the list.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Some(id) = &arguments.cause else {
        return match &arguments.says {
            Some(products) => print(&says::text(&Sight::ALL, products)),
            None => list(),
        };
    };
    if is_event(id) {
        return event(id, &arguments.history);
    }
    let cause = Cause::from_str(id).map_err(|error| match nearest(id) {
        Some(near) => Ending::NotFound(format!("{error}; did you mean '{near}'?")),
        None => Ending::NotFound(format!("{error}; `probe502 explain` lists them")),
    })?;
    if let Some(products) = &arguments.says {
        return print(&says::text(sights(cause), products));
    }
    let text = page(cause).ok_or_else(|| Ending::NotFound(format!("'{cause}' has no page")))?;
    print(&page::render(text, Paint::stdout()))
}

/// Events are two hexadecimal numbers (`Verdict::id`); no cause has a dash between two numbers.
fn is_event(text: &str) -> bool {
    let hexadecimal =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split_once('-')
        .is_some_and(|(moment, socket)| hexadecimal(moment) && hexadecimal(socket))
}

fn event(id: &str, history: &Path) -> anyhow::Result<()> {
    let absent = |error: anyhow::Error| Ending::NotFound(format!("{error:#}"));
    let reader = Reader::open(history).map_err(absent)?;
    let Some(stored) = reader.find(id)? else {
        let place = history.display();
        return Err(Ending::NotFound(format!("no event {id} is in {place}")).into());
    };
    let verdict = stored.verdict()?;
    let mut output = Output::stdout(Form::Text);
    output.tell(&verdict)?;
    output.flush()?;
    let text = page(verdict.cause).unwrap_or_default();
    print(&format!("\n{}", page::render(text, Paint::stdout())))
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn list() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for cause in Cause::ALL {
        let summary = page(*cause).and_then(page::summary).unwrap_or_default();
        writeln!(out, "{:<29}{summary}", cause.id())?;
    }
    Ok(())
}

/// A cause's page as plain text.
pub fn text_of(id: &str) -> Option<String> {
    let text = page(Cause::from_str(id).ok()?)?;
    Some(page::render(text, Paint::Plain))
}

fn page(cause: Cause) -> Option<&'static str> {
    PAGES
        .iter()
        .find(|(id, _)| *id == cause.id())
        .map(|(_, text)| *text)
}

/// A cause that holds what was typed, else the one that is spelled most alike.
fn nearest(typed: &str) -> Option<&'static str> {
    let typed = typed.to_lowercase();
    let ids = || Cause::ALL.iter().map(|cause| cause.id());
    if let Some(holder) = ids().find(|id| typed.len() > 2 && id.contains(&typed)) {
        return Some(holder);
    }
    let likeness = |id: &str| {
        let last = id.rsplit('.').next().unwrap_or(id);
        strsim::jaro_winkler(id, &typed).max(strsim::jaro_winkler(last, &typed))
    };
    let best = ids().max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(best) >= ALIKE).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_its_page() {
        let without: Vec<_> = Cause::ALL
            .iter()
            .filter(|cause| page(**cause).is_none())
            .collect();
        assert!(without.is_empty(), "no docs/causes page for {without:?}");
    }

    #[test]
    fn every_page_has_its_cause_and_says_what_it_is() {
        for (id, text) in PAGES {
            assert!(
                Cause::from_str(id).is_ok(),
                "docs/causes/{id}.md is no cause's"
            );
            assert!(
                text.starts_with(&format!("# {id}\n")),
                "docs/causes/{id}.md is not titled"
            );
            assert!(
                page::summary(text).is_some(),
                "docs/causes/{id}.md has no first paragraph"
            );
        }
    }

    #[test]
    fn an_events_id_is_no_causes() {
        assert!(is_event("a9cedc46f6d-561f3"));
        assert!(!is_event("app.closed-mid-header") && !is_event("abc-"));
        assert!(Cause::ALL.iter().all(|cause| !is_event(cause.id())));
    }

    #[test]
    fn a_mistyped_cause_is_guessed() {
        assert_eq!(nearest("process.oom"), Some("process.oom.cgroup"));
        assert_eq!(nearest("listener.absnt"), Some("listener.absent"));
        assert_eq!(nearest("keepalive-race"), Some("keepalive.race"));
        assert_eq!(nearest("OOM"), Some("process.oom.cgroup"));
        assert_eq!(nearest("zzz"), None);
    }
}
