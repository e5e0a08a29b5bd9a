//! One loop's turn over the senses and the core: facts in, verdicts out.

mod counts;
mod ring;
mod tracked;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use probe502_core::asking::Wish;
use probe502_core::correlator::{Correlator, Settings};
use probe502_core::decode::Decoder;
use probe502_core::event::{Attached, Event, Fact, Lost};
use probe502_core::notice::Notice;
use probe502_core::units::{Pid, Timestamp};
use probe502_core::unix::Dialler;
use probe502_core::verdict::{Kind, Verdict};

use crate::clock;
use crate::kernel::{self, HookState, Kernel, Options};
use crate::kubernetes::{Names, News, Word};
use crate::privilege;
use crate::recording::Recorder;
use crate::senses::kmsg::{KernelLog, LogLines};
use crate::senses::looks::Looker;
use crate::senses::{Naming, sockets};
pub use counts::{Counts, Totals};

/// How often the senses are read: a fifth of the 100 ms within which a verdict must be out.
pub const TURN: Duration = Duration::from_millis(20);
/// The same while the ring fills fast: it must not become full.
const SOON: Duration = Duration::from_millis(2);

/// Answers that are judged before their verdicts are told: thousands may be due after a moment without the
/// processor, at some kilobytes each.
const AT_ONCE: usize = 64;

/// A recording that is killed misses at most this much.
const FLUSH: Duration = Duration::from_secs(1);

/// Longer than any grace: what still waits at the end is judged with what is known.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// What waits to be said of the pods' names.
const WORDS: usize = 16;

/// Its name where it is missing. It is no hook: without it only OOM kills lack their report, which
/// the core sees by itself.
const LOG: &str = "kernel-log";
/// The hook that stands in for it.
const LINES: &str = "log_line";

/// The senses at work, the core behind them, and the recording of what they say.
pub struct Live {
    kernel: Kernel,
    decoder: Decoder,
    correlator: Correlator,
    log: Option<KernelLog>,
    /// Its lines by a hook, where it cannot be read.
    lines: LogLines,
    looker: Looker,
    names: Option<Names>,
    words: Vec<Word>,
    recorder: Option<Recorder>,
    flushed: Instant,
    ring_lost: BTreeMap<&'static str, u64>,
    ring_bytes: u64,
    /// The last drain had plenty.
    plenty: bool,
    undecoded: u64,
    deaths: BTreeMap<&'static str, u64>,
    /// When the ring was last drained before this turn: what is lost was lost since.
    drained: Timestamp,
    /// Until when the turn under way judges.
    judging: Option<Timestamp>,
}

impl Live {
    /// Attaches, then reads who and what was there before, so that nothing falls in between.
    pub fn start(
        options: &Options,
        naming: Naming,
        recorder: Option<Recorder>,
    ) -> anyhow::Result<Self> {
        privilege::check()?;
        let kernel = Kernel::attach(options)?;
        let missing = missing_hooks(&kernel);
        let mut live = Self {
            decoder: Decoder::new(kernel.names()),
            kernel,
            correlator: Correlator::new(Settings::default()),
            log: KernelLog::open().ok(),
            lines: LogLines::default(),
            looker: Looker::new(naming.arguments),
            names: naming.kubernetes.then(Names::start).transpose()?,
            words: Vec::new(),
            recorder,
            flushed: Instant::now(),
            ring_lost: BTreeMap::new(),
            ring_bytes: options.ring_bytes.into(),
            plenty: false,
            undecoded: 0,
            deaths: BTreeMap::new(),
            drained: kernel::now(),
            judging: None,
        };
        let attached = Attached {
            wall: clock::wall(),
            missing,
            ordered: true,
        };
        live.feed(kernel::now(), Fact::Attached(attached))?;
        live.look_around()?;
        Ok(live)
    }

    /// How many hooks are attached, and the names of what is missing.
    pub fn senses(&self) -> (usize, Vec<String>) {
        let hooks = self.kernel.hooks().iter();
        let attached: Vec<&str> = hooks
            .filter(|hook| hook.state.is_attached())
            .map(|hook| hook.name)
            .collect();
        let untold = self.log.is_none() && !attached.contains(&LINES);
        let (count, log) = (attached.len(), untold.then(|| LOG.to_owned()));
        (
            count,
            missing_hooks(&self.kernel).into_iter().chain(log).collect(),
        )
    }

    /// Whether UNIX connections are watched: from a gateway's first dial on.
    pub fn watches_unix(&self) -> bool {
        self.kernel.watches_unix()
    }

    /// Reads every sense once and judges what is due.
    pub fn turn(&mut self) -> anyhow::Result<Vec<Verdict>> {
        self.begin_turn()?;
        let mut all = Vec::new();
        while let Some(verdicts) = self.judged()? {
            all.extend(verdicts);
        }
        Ok(all)
    }

    /// Reads every sense once; what is due is judged as it is asked for.
    pub fn begin_turn(&mut self) -> anyhow::Result<()> {
        // Taken before the drain: all that happened until then is in the ring.
        let now = kernel::now();
        self.drain_ring(now)?;
        self.drain_log()?;
        self.hear_names()?;
        self.answer_wishes()?;
        self.judging = Some(now);
        Ok(())
    }

    /// The turn's next verdicts, as many as take little memory; none, and the turn is over.
    pub fn judged(&mut self) -> anyhow::Result<Option<Vec<Verdict>>> {
        let Some(now) = self.judging else {
            return Ok(None);
        };
        let more = self.correlator.handle_some(now, AT_ONCE);
        let verdicts = std::iter::from_fn(|| self.correlator.poll_verdict()).collect();
        if !more {
            self.judging = None;
            self.end_turn(now)?;
        }
        Ok(Some(verdicts))
    }

    fn end_turn(&mut self, now: Timestamp) -> anyhow::Result<()> {
        self.remember_judging(now)?;
        self.answer_wishes()?;
        self.kernel.rest(Instant::now())?;
        if self.flushed.elapsed() >= FLUSH {
            self.flushed = Instant::now();
            if let Some(recorder) = &mut self.recorder {
                recorder.flush().context("cannot write the recording")?;
            }
        }
        Ok(())
    }

    /// The same, but only verdicts on answers that left.
    pub fn answers(&mut self) -> anyhow::Result<Vec<Verdict>> {
        let mut verdicts = self.turn()?;
        verdicts.retain(|verdict| verdict.kind == Kind::Answer);
        Ok(verdicts)
    }

    /// When the next turn is due, from the last one's end on.
    pub fn pause(&self) -> Duration {
        if self.plenty { SOON } else { TURN }
    }

    /// What there is to tell besides the verdicts.
    pub fn notices(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.correlator.poll_notice()).collect()
    }

    /// What there is to say of the pods' names.
    pub fn words(&mut self) -> Vec<Word> {
        std::mem::take(&mut self.words)
    }

    /// Waits out the grace of what still waits, and judges it.
    pub async fn last_turns(&mut self) -> anyhow::Result<Vec<Verdict>> {
        let end = Instant::now() + LAST_GRACE;
        let mut verdicts = self.turn()?;
        let last = kernel::now().plus(LAST_GRACE);
        let waits = |live: &Self| {
            live.correlator
                .poll_timeout()
                .is_some_and(|due| due <= last)
        };
        while waits(self) && Instant::now() < end {
            tokio::time::sleep(TURN).await;
            verdicts.extend(self.turn()?);
        }
        let after = kernel::now().plus(LAST_GRACE);
        self.correlator.handle_timeout(after);
        self.remember_judging(after)?;
        self.correlator.handle_end();
        verdicts.extend(std::iter::from_fn(|| self.correlator.poll_verdict()));
        Ok(verdicts)
    }

    /// Each hook's name, and whether it is attached or would be when needed.
    pub fn hooks(&self) -> Vec<(&'static str, bool)> {
        let ready = |state: &HookState| matches!(state, HookState::Attached | HookState::OnCall);
        let chosen = |hook: &&kernel::Hook| !matches!(hook.state, HookState::NotChosen(_));
        let hooks = self.kernel.hooks().iter().filter(chosen);
        hooks.map(|hook| (hook.name, ready(&hook.state))).collect()
    }

    /// What was counted since the start.
    pub fn counts(&self) -> Counts<'_> {
        Counts {
            events: self.kernel.emitted(),
            lost: counts::by_stage(&self.ring_lost, self.undecoded),
            deaths: &self.deaths,
        }
    }

    /// Lets go of the kernel and ends the recording.
    pub fn finish(self) -> anyhow::Result<Totals> {
        let recorded = self.recorder.map(Recorder::finish).transpose();
        let lost = self.kernel.lost();
        Ok(Totals {
            events: self.kernel.emitted(),
            lost: lost.values().sum::<u64>() + self.undecoded,
            lost_answers: lost.get("answered").copied().unwrap_or_default(),
            recorded: recorded.context("cannot write the recording")?,
        })
    }

    fn feed(&mut self, at: Timestamp, fact: Fact) -> anyhow::Result<()> {
        self.take_in(Event { at, fact })
    }

    fn take_in(&mut self, event: Event) -> anyhow::Result<()> {
        // Its own door is no upstream that somebody might have meant.
        if let Fact::Listens(listener) | Fact::Listened(listener) = &event.fact
            && listener.task.pid.0 == std::process::id()
        {
            return Ok(());
        }
        if let Some(recorder) = &mut self.recorder {
            recorder
                .write(&event)
                .context("cannot write the recording")?;
        }
        if let Fact::Death(death) = &event.fact {
            *self.deaths.entry(counts::manner(death)).or_default() += 1;
        }
        self.correlator.handle_event(event);
        Ok(())
    }

    fn look_around(&mut self) -> anyhow::Result<()> {
        let listeners = sockets::listeners();
        let owners: BTreeSet<Pid> = listeners.iter().map(|listener| listener.task.pid).collect();
        for pid in owners {
            let Some(process) = self.looker.identify(pid) else {
                continue;
            };
            self.feed(kernel::now(), Fact::Process(process))?;
        }
        for listener in listeners {
            self.feed(kernel::now(), Fact::Listens(listener))?;
        }
        for pid in self.look_at_paths()? {
            let before = true;
            self.feed(kernel::now(), Fact::Dialler(Dialler { pid, before }))?;
        }
        Ok(())
    }

    /// Who listens on UNIX paths; returns who holds connections to such.
    fn look_at_paths(&mut self) -> anyhow::Result<BTreeSet<Pid>> {
        let unix = sockets::unix_sockets();
        for listener in unix.listeners {
            self.feed(kernel::now(), Fact::UnixListens(listener))?;
        }
        Ok(unix.diallers)
    }

    fn drain_log(&mut self) -> anyhow::Result<()> {
        let mut facts = Vec::new();
        let drained = self
            .log
            .as_mut()
            .map(|log| log.drain(|fact| facts.push(fact)));
        if let Some(Err(_)) = drained {
            // A log that fails once fails always; from here on OOM kills have no report.
            self.log = None;
            facts.push(Fact::Lost(Lost {
                kind: None,
                since_at: None,
                stage: "log".to_owned(),
                count: 1,
            }));
        }
        for fact in facts {
            self.feed(kernel::now(), fact)?;
        }
        Ok(())
    }

    fn hear_names(&mut self) -> anyhow::Result<()> {
        let news = self.names.as_ref().map(Names::poll).unwrap_or_default();
        for news in news {
            match news {
                News::Pods(pods) => (pods.into_iter())
                    .try_for_each(|pod| self.feed(kernel::now(), Fact::Pod(pod)))?,
                // Who does not ask for them hears the first few.
                News::Word(word) if self.words.len() < WORDS => self.words.push(word),
                News::Word(_) => {}
            }
        }
        Ok(())
    }

    /// What was seen is dated when it was seen: after all that this turn drained.
    fn answer_wishes(&mut self) -> anyhow::Result<()> {
        while let Some(wish) = self.correlator.poll_wish() {
            if wish == Wish::Unix {
                if self.kernel.watch_unix()? {
                    // Whoever was dialled before that shows in no dial.
                    self.look_at_paths()?;
                }
            } else if wish == Wish::Calls {
                self.kernel.watch_calls(Instant::now())?;
            }
            let now = kernel::now();
            if let Some(fact) = self.looker.answer(wish, now) {
                self.feed(now, fact)?;
            }
        }
        Ok(())
    }

    /// A turn that decided something or raised a question is an event of its own: a replay judges
    /// at the same moments.
    fn remember_judging(&mut self, now: Timestamp) -> anyhow::Result<()> {
        let acted = self.correlator.has_acted() || self.correlator.is_wishing();
        if let Some(recorder) = self.recorder.as_mut().filter(|_| acted) {
            let tick = Event {
                at: now,
                fact: Fact::Tick,
            };
            recorder
                .write(&tick)
                .context("cannot write the recording")?;
        }
        Ok(())
    }
}

fn missing_hooks(kernel: &Kernel) -> Vec<String> {
    let missing = |state: &HookState| matches!(state, HookState::Missing(_));
    let hooks = kernel.hooks().iter().filter(|hook| missing(&hook.state));
    hooks.map(|hook| hook.name.to_owned()).collect()
}
