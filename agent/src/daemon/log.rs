//! The daemon's log: lines on stderr, which journald takes with their priorities; never a flood.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Stderr, Write, stderr};
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
        out: stderr as fn() -> Stderr,
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

struct Lines<W = fn() -> Stderr> {
    out: W,
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

impl<W> Lines<W> {
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

impl<S: Subscriber, O: Write, W: Fn() -> O + 'static> Layer<S> for Lines<W> {
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
        _ = writeln!((self.out)(), "{mark}{}{more}", text.0);
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

#[cfg(test)]
mod tests {
    use tracing::{debug, error, info, warn};

    use super::*;

    /// What was written, for all who hold it.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("a lock").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The lines that this writes at this level.
    fn lines(level: Level, is_journal: bool, say: impl FnOnce()) -> Vec<String> {
        let paper = Paper::default();
        let own = paper.clone();
        let lines = Lines {
            out: move || own.clone(),
            most: Arc::new(AtomicU8::new(rank(level))),
            is_journal,
            said: Mutex::default(),
        };
        let registry = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(registry, say);
        let text = String::from_utf8(paper.0.lock().expect("a lock").clone()).expect("text");
        text.lines().map(str::to_owned).collect()
    }

    fn all() {
        error!("one");
        warn!(port = 80, "two\nthree");
        info!("four");
        debug!("five");
        info!(target: "hyper", "not ours");
    }

    #[test]
    fn the_journal_is_told_priorities_and_others_who_speaks() {
        let journal = lines(Level::Debug, true, all);
        assert_eq!(
            journal,
            ["<3>one", "<4>two three port=80", "<6>four", "<7>five"]
        );
        let stderr = lines(Level::Warn, false, all);
        assert_eq!(stderr, ["probe502: one", "probe502: two three port=80"]);
    }

    #[test]
    fn one_place_is_kept_from_flooding_and_others_speak() {
        let told = lines(Level::Info, true, || {
            for number in 0..500 {
                info!("{number}");
            }
            info!("another");
        });
        assert_eq!(told.len(), LINES as usize + 1);
        assert_eq!(told.last().map(String::as_str), Some("<6>another"));
    }

    #[test]
    fn what_was_kept_back_is_counted_when_its_place_speaks_again() {
        let lines: Lines = Lines {
            out: stderr as fn() -> Stderr,
            most: Arc::new(AtomicU8::new(7)),
            is_journal: true,
            said: Mutex::default(),
        };
        struct Place;
        impl tracing::callsite::Callsite for Place {
            fn set_interest(&self, _: tracing::subscriber::Interest) {}
            fn metadata(&self) -> &Metadata<'_> {
                &META
            }
        }
        static PLACE: Place = Place;
        static META: Metadata<'static> = tracing::metadata! {
            name: "place", target: "probe502", level: Severity::INFO,
            fields: &[], callsite: &PLACE, kind: tracing::metadata::Kind::EVENT,
        };
        let heard = (0..LINES + 7).filter(|_| lines.may_speak(&META) == Some(0));
        assert_eq!(heard.count(), LINES as usize);
        let long_ago = Instant::now().checked_sub(SPAN).expect("an uptime");
        for said in lines.said.lock().expect("a lock").values_mut() {
            said.since = long_ago;
        }
        assert_eq!(lines.may_speak(&META), Some(7));
        assert_eq!(lines.may_speak(&META), Some(0));
    }
}
