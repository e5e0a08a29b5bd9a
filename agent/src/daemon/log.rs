//! The daemon's log: lines on stderr, which journald takes with their priorities; never a flood.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tracing::field::{Field, Visit};
use tracing::{Event, Level as Severity, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::settings::Level;

/// One place of the code tells so many lines in [`SPAN`]; the rest is counted.
const LINES: u32 = 20;
const SPAN: Duration = Duration::from_secs(10);

/// Changes how much is told.
#[derive(Clone)]
pub struct Handle(Arc<AtomicU8>);

impl Handle {
    /// From now on.
    pub fn tell(&self, level: Level) {
        self.0.store(rank(level), Ordering::Relaxed);
    }
}

/// Sends what the agent says about itself to stderr.
pub fn start(level: Level) -> anyhow::Result<Handle> {
    let most = Arc::new(AtomicU8::new(rank(level)));
    let lines = Lines {
        most: Arc::clone(&most),
        is_journal: std::env::var_os("JOURNAL_STREAM").is_some(),
        said: Mutex::default(),
    };
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines))
        .context("a log was started before")?;
    Ok(Handle(most))
}

fn rank(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug => 7,
    }
}

/// The priorities of syslog(3); other crates' details are not for operators.
fn priority(metadata: &Metadata<'_>) -> u8 {
    let own = metadata.target().starts_with("probe502");
    match *metadata.level() {
        Severity::ERROR => 3,
        Severity::WARN => 4,
        Severity::INFO if own => 6,
        Severity::DEBUG if own => 7,
        _ => u8::MAX,
    }
}

struct Lines {
    most: Arc<AtomicU8>,
    is_journal: bool,
    said: Mutex<BTreeMap<(&'static str, u32), Said>>,
}

/// What one place said in its current span.
struct Said {
    since: Instant,
    lines: u32,
    kept_back: u32,
}

impl Lines {
    /// Whether this place may speak, and how many of its lines were kept back before.
    fn may_speak(&self, metadata: &Metadata<'static>) -> Option<u32> {
        let place = (metadata.file().unwrap_or(""), metadata.line().unwrap_or(0));
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = said.entry(place).or_insert_with(|| Said {
            since: Instant::now(),
            lines: 0,
            kept_back: 0,
        });
        if said.since.elapsed() >= SPAN {
            (said.since, said.lines) = (Instant::now(), 0);
        }
        said.lines += 1;
        if said.lines > LINES {
            said.kept_back += 1;
            return None;
        }
        Some(std::mem::take(&mut said.kept_back))
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let priority = priority(event.metadata());
        if priority > self.most.load(Ordering::Relaxed) {
            return;
        }
        let Some(kept_back) = self.may_speak(event.metadata()) else {
            return;
        };
        let mut text = Text::default();
        event.record(&mut text);
        let mark = if self.is_journal {
            format!("<{priority}>")
        } else {
            "probe502: ".to_owned()
        };
        let more = match kept_back {
            0 => String::new(),
            more => format!(" ({more} like it were kept back)"),
        };
        // A log that cannot be written is no reason to stop.
        _ = writeln!(std::io::stderr(), "{mark}{}{more}", text.0);
    }
}

/// A message and its fields on one line, whatever they hold.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let value = format!("{value:?}");
        let value: String = value
            .chars()
            .map(|one| if one.is_control() { ' ' } else { one })
            .collect();
        _ = match field.name() {
            "message" => write!(self.0, "{value}"),
            name => write!(self.0, " {name}={value}"),
        };
    }
}
