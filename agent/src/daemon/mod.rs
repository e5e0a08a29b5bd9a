//! The daemon: one loop over the senses that counts, stores and shows what they came to.

mod feed;
mod file;
mod flags;
mod labels;
mod log;
mod metrics;
mod serve;
pub mod settings;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use probe502_core::notice::Notice;
use probe502_core::verdict::Verdict;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tracing::{debug, error, info, warn};

use crate::filter::Filter;
use crate::history::{self, Writer};
use crate::kernel;
use crate::live::{Live, TURN};
use crate::stop;
use feed::{Feed, Question};
use metrics::Metrics;
use serve::Server;
use settings::Settings;

/// Counters of others are read so often: a scrape every few seconds sees them move.
const COUNTED: Duration = Duration::from_secs(1);

/// Reads the settings anew: the flags and the environment are as they were, the file may differ.
pub type Reread<'a> = &'a dyn Fn() -> anyhow::Result<Settings>;

/// Runs until SIGTERM or Ctrl-C.
pub async fn run(settings: Settings, reread: Reread<'_>) -> anyhow::Result<()> {
    let log = log::start(settings.log.value)?;
    let stop = stop::asked(None)?;
    let reload = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let live = Live::start(&settings.options(), settings.naming(), None)?;
    let mut daemon = Daemon::start(settings, live, log).await?;
    daemon.greet()?;
    notify(&[NotifyState::Ready]);
    let ran = daemon.until(stop, reload, reread).await;
    notify(&[NotifyState::Stopping]);
    ran?;
    daemon.finish().await
}

struct Daemon {
    settings: Settings,
    filter: Filter,
    live: Live,
    metrics: Metrics,
    feed: Feed,
    server: Server,
    history: Option<Writer>,
    log: log::Handle,
    counted: Instant,
    told: u64,
}

impl Daemon {
    async fn start(settings: Settings, live: Live, log: log::Handle) -> anyhow::Result<Self> {
        let (_, missing) = live.senses();
        if settings.strict.value && !missing.is_empty() {
            bail!(
                "{} missing, and `strict` is set; `probe502 doctor` says what is lost without them",
                missing.join(", ")
            );
        }
        let metrics = Metrics::new(upstreams(&settings))?;
        let feed = Feed::new();
        let server = Server::start(settings.listen.value, feed.doors(), metrics.registry()).await?;
        let history = settings.history.value.clone();
        let history = history.map(|path| Writer::start(path, bounds(&settings)));
        Ok(Self {
            filter: settings.filter(),
            settings,
            live,
            metrics,
            feed,
            server,
            history: history.transpose()?,
            log,
            counted: Instant::now(),
            told: 0,
        })
    }

    fn greet(&mut self) -> anyhow::Result<()> {
        let (attached, missing) = self.live.senses();
        info!(
            "{attached} hooks attached; serving on http://{}",
            self.server.address
        );
        if !missing.is_empty() {
            warn!(
                "degraded, missing: {} (see `probe502 doctor`)",
                missing.join(", ")
            );
        }
        self.count();
        Ok(())
    }

    async fn until(
        &mut self,
        stop: impl Future<Output = ()>,
        mut reload: Signal,
        reread: Reread<'_>,
    ) -> anyhow::Result<()> {
        let mut stop = std::pin::pin!(stop);
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                _ = turns.tick() => {
                    self.turn()?;
                    turns.reset_after(self.live.pause());
                }
                Some(question) = self.feed.question() => self.answer(question),
                _ = reload.recv() => self.reload(reread).await,
            }
        }
    }

    fn turn(&mut self) -> anyhow::Result<()> {
        self.live.begin_turn()?;
        while let Some(verdicts) = self.live.judged()? {
            self.tell(&verdicts);
        }
        for notice in self.live.notices() {
            self.notice(&notice);
        }
        for word in self.live.words() {
            self.metrics.kubernetes(word.well);
            match word.well {
                true => info!("{}", word.text),
                false => warn!("{}", word.text),
            }
        }
        if self.counted.elapsed() >= COUNTED {
            self.counted = Instant::now();
            self.count();
            notify(&[NotifyState::Watchdog]);
        }
        Ok(())
    }

    fn tell(&mut self, verdicts: &[Verdict]) {
        let now = kernel::now();
        let mut rows = Vec::new();
        for verdict in verdicts {
            if !self.filter.passes(verdict) {
                continue;
            }
            let after = now.0.saturating_sub(verdict.answered_at.0);
            self.metrics
                .verdict(verdict, Duration::from_nanos(after).as_secs_f64());
            self.told += 1;
            debug!("{} {} {}", verdict.status, verdict.cause, verdict.sentence);
            match history::Row::of(verdict) {
                Ok(row) => {
                    self.feed.verdict(verdict, row.json());
                    rows.extend(self.history.is_some().then_some(row));
                }
                // Its fields are numbers and text: there is nothing in it that JSON cannot hold.
                Err(problem) => error!("a verdict cannot be written as JSON: {problem}"),
            }
        }
        if let Some(history) = &self.history {
            history.keep(rows);
        }
    }

    fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::NearMiss(near) if self.filter.passes_near(near) => self.metrics.near_miss(near),
            Notice::Warning(warning) if self.filter.passes_warning(warning) => {
                warn!("{}; {}", warning.sentence, warning.remedy);
            }
            Notice::Deploy(deploy) if self.filter.passes_deploy(deploy) => match deploy.failed {
                0 => debug!("{}", deploy.sentence),
                _ => warn!("{}", deploy.sentence),
            },
            Notice::NearMiss(_) | Notice::Warning(_) | Notice::Deploy(_) => {}
        }
    }

    /// Raises the metrics to what others counted.
    fn count(&mut self) {
        for (hook, attached) in self.live.hooks() {
            self.metrics.hook(hook, attached);
        }
        let counts = self.live.counts();
        for (kind, count) in &counts.events {
            self.metrics.events(kind, *count);
        }
        for (stage, count) in &counts.lost {
            self.metrics.lost(stage, *count);
        }
        for (how, count) in counts.deaths {
            self.metrics.deaths(how, *count);
        }
        for pool in self.live.pools() {
            if self.filter.passes_pair(&pool.gateway, &pool.upstream) {
                self.metrics.pool(&pool);
            }
        }
        for (what, held) in self.live.tracked() {
            self.metrics.tracked(what, held);
        }
        self.metrics.tracked("upstream names", self.metrics.names());
        if let Some(history) = &self.history {
            for (outcome, count) in history.counts().now() {
                self.metrics.history(outcome, count);
            }
        }
    }

    fn answer(&self, question: Question) {
        let (_, missing) = self.live.senses();
        let lost = self.live.counts().lost.iter().map(|(_, count)| count).sum();
        self.feed.answer(question, kernel::now(), (missing, lost));
    }

    /// The senses stay as they are, so that no failure is missed meanwhile.
    async fn reload(&mut self, reread: Reread<'_>) {
        notify(&[NotifyState::Reloading]);
        match reread() {
            Ok(settings) => self.become_as(settings).await,
            Err(problem) => error!("the settings stay as they are: {problem:#}"),
        }
        notify(&[NotifyState::Ready]);
    }

    async fn become_as(&mut self, mut settings: Settings) {
        for name in self.settings.fixed_that_differ(&settings) {
            warn!("`{name}` changes at the next start");
        }
        if settings.listen.value != self.settings.listen.value
            && let Err(problem) = self.move_to(settings.listen.value).await
        {
            error!("still serving on {}: {problem:#}", self.server.address);
            // The next time it is read it is tried again.
            settings.listen = self.settings.listen.clone();
        }
        if let Some(history) = &self.history {
            history.rebound(bounds(&settings));
        }
        self.metrics.rebound(upstreams(&settings));
        self.log.tell(settings.log.value);
        self.filter = settings.filter();
        self.settings = settings;
        self.count();
        info!("the settings were read again");
    }

    async fn serve_on(&self, address: SocketAddr) -> anyhow::Result<Server> {
        Server::start(address, self.feed.doors(), self.metrics.registry()).await
    }

    /// Serves there from now on, or where it did.
    async fn move_to(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let here = self.server.address;
        let mut moved = self.serve_on(address).await;
        // Of two addresses with one port the one can be in the other's way.
        if moved.is_err() && address.port() == here.port() {
            self.server.end().await;
            moved = self.serve_on(address).await;
            if moved.is_err() {
                self.server = self.serve_on(here).await?;
            }
        }
        self.server = moved?;
        Ok(())
    }

    async fn finish(mut self) -> anyhow::Result<()> {
        let last = self.live.last_turns().await?;
        self.tell(&last);
        let told = self.told;
        // Writes what waits.
        drop(self.history);
        let totals = self.live.finish()?;
        info!("ended; {told} failed answers, {} records lost", totals.lost);
        Ok(())
    }
}

fn upstreams(settings: &Settings) -> usize {
    usize::try_from(settings.upstreams.value).unwrap_or(usize::MAX)
}

fn bounds(settings: &Settings) -> history::Bounds {
    history::Bounds {
        bytes: settings.history_mb.value.saturating_mul(1 << 20),
        days: settings.history_days.value,
    }
}

/// Tells systemd, where it is there.
fn notify(states: &[NotifyState<'_>]) {
    _ = sd_notify::notify(states);
}
