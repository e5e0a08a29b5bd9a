//! The thread that writes: a disk that waits must not make the senses wait.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tracing::{error, info, warn};

use super::Row;
use super::store::{Store, Trouble, trouble};
use crate::clock;

/// Bytes of rows on their way to the thread: some 5,000 verdicts of a storm. Past it what comes is counted as dropped.
const ON_THE_WAY: usize = 8 << 20;
/// Loads on their way: each turn of the loop sends one.
const LOADS: usize = 1024;
/// Bytes of rows that wait while nothing can be written; past it the oldest leave, and are counted.
const WAITING: usize = 8 << 20;
/// Where so many wait, they are written before more is taken in.
const PLENTY: usize = 256;
/// So many are one transaction: it must fit into what is kept free on a full disk.
const AT_ONCE: usize = 64;
/// Verdicts are on disk so soon.
const BEAT: Duration = Duration::from_millis(200);
/// Age and size are looked at so often.
const TIDY: Duration = Duration::from_secs(60);
/// After a failure that making room did not end, the next try.
const AGAIN: Duration = Duration::from_secs(5);
const DAY: u64 = 24 * 3600;

/// What became of verdicts so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// On disk.
    pub written: AtomicU64,
    /// Never written: too many waited.
    pub dropped: AtomicU64,
    /// Deleted again by age or size.
    pub expired: AtomicU64,
}

impl Counts {
    /// Each outcome, and how often so far.
    pub fn now(&self) -> [(&'static str, u64); 3] {
        [
            ("written", &self.written),
            ("dropped", &self.dropped),
            ("expired", &self.expired),
        ]
        .map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)))
    }
}

/// The history's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes at most.
    pub bytes: u64,
    /// Days at most.
    pub days: u64,
}

enum Order {
    Keep(Vec<Row>),
    Bound(Bounds),
}

/// Hands rows to the thread; dropping it writes what waits and ends the thread.
pub struct Writer {
    orders: Option<SyncSender<Order>>,
    on_the_way: Arc<AtomicUsize>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Opens the history; one that is broken is moved aside, and said so.
    pub fn start(path: PathBuf, bounds: Bounds) -> anyhow::Result<Self> {
        let store = match open(&path) {
            Ok(store) => Some(store),
            Err(error) if trouble(&error) == Trouble::Full => {
                warn!("the disk is full ({error}); the history begins when there is room");
                None
            }
            Err(error) => {
                let problem = format!("cannot keep the history in {}", path.display());
                return Err(anyhow::Error::new(error).context(problem));
            }
        };
        let (orders, inbox) = sync_channel(LOADS);
        let on_the_way = Arc::new(AtomicUsize::new(0));
        let counts = Arc::new(Counts::default());
        let work = Work {
            path,
            store,
            bounds,
            counts: Arc::clone(&counts),
            on_the_way: Arc::clone(&on_the_way),
            waiting: VecDeque::new(),
            held: 0,
            tidied: Instant::now(),
            rests_until: None,
        };
        let thread = std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || work.run(&inbox))
            .context("cannot start the thread that writes the history")?;
        Ok(Self {
            orders: Some(orders),
            on_the_way,
            counts,
            thread: Some(thread),
        })
    }

    /// Keeps rows, soon. Never waits: where the thread is too far behind, they are counted as dropped.
    /// All of a turn go at once: each sending wakes the thread, which costs more than a row.
    pub fn keep(&self, rows: Vec<Row>) {
        let (count, bytes) = (rows.len(), bytes(&rows));
        if count == 0 {
            return;
        }
        let ahead = self.on_the_way.fetch_add(bytes, Ordering::Relaxed);
        let orders = self.orders.as_ref().filter(|_| ahead < ON_THE_WAY);
        let sent = orders.map(|orders| orders.try_send(Order::Keep(rows)));
        if !matches!(sent, Some(Ok(()))) {
            self.on_the_way.fetch_sub(bytes, Ordering::Relaxed);
            let count = count as u64;
            self.counts.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Holds other bounds from now on; never waits, so it may fail where the thread is too far behind.
    pub fn rebound(&self, bounds: Bounds) {
        let orders = self.orders.as_ref();
        if orders.is_some_and(|orders| orders.try_send(Order::Bound(bounds)).is_err()) {
            warn!("the history is too far behind to take other bounds; send SIGHUP again");
        }
    }

    /// What became of verdicts so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

fn bytes(rows: &[Row]) -> usize {
    rows.iter().map(Row::bytes).sum()
}

fn open(path: &Path) -> rusqlite::Result<Store> {
    let opened = Store::open(path);
    match opened {
        Err(error) if trouble(&error) == Trouble::Broken => {
            move_aside(path, &error);
            Store::open(path)
        }
        other => other,
    }
}

fn move_aside(path: &Path, error: &rusqlite::Error) {
    match Store::move_aside(path, &clock::wall().to_string()) {
        Ok(aside) => warn!(
            "the history is broken ({error}); it is kept as {}, a new one begins",
            aside.display()
        ),
        Err(problem) => error!("the history is broken ({error}) and cannot be moved: {problem}"),
    }
}

struct Work {
    path: PathBuf,
    store: Option<Store>,
    bounds: Bounds,
    counts: Arc<Counts>,
    on_the_way: Arc<AtomicUsize>,
    waiting: VecDeque<Row>,
    /// Bytes of those that wait.
    held: usize,
    tidied: Instant,
    rests_until: Option<Instant>,
}

impl Work {
    fn run(mut self, inbox: &Receiver<Order>) {
        loop {
            let ended = self.listen(inbox);
            if ended {
                // There is no later.
                self.rests_until = None;
            }
            self.write();
            if self.tidied.elapsed() >= TIDY {
                self.tidy();
            }
            if ended {
                if !self.waiting.is_empty() {
                    warn!("{} verdicts are not in the history", self.waiting.len());
                }
                return;
            }
        }
    }

    /// Takes orders for a beat, or until many wait; whether no more will come.
    fn listen(&mut self, inbox: &Receiver<Order>) -> bool {
        let end = Instant::now() + BEAT;
        loop {
            if self.waiting.len() >= PLENTY && self.rests_until.is_none() {
                return false;
            }
            match inbox.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Order::Keep(rows)) => self.put(rows),
                Ok(Order::Bound(bounds)) => {
                    self.bounds = bounds;
                    self.tidy();
                }
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }

    fn put(&mut self, rows: Vec<Row>) {
        let more = bytes(&rows);
        self.on_the_way.fetch_sub(more, Ordering::Relaxed);
        self.held += more;
        self.waiting.extend(rows);
        while self.held > WAITING
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.held -= oldest.bytes();
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&mut self) {
        let rests = self.rests_until.is_some_and(|until| Instant::now() < until);
        if rests {
            return;
        }
        while !self.waiting.is_empty() {
            let written = self.write_some();
            if let Err(error) = written.or_else(|error| self.mend(error)) {
                return self.rest(&error);
            }
        }
    }

    /// Writes the oldest of those that wait.
    fn write_some(&mut self) -> rusqlite::Result<()> {
        let store = match &mut self.store {
            Some(store) => store,
            None => self.store.insert(open(&self.path)?),
        };
        let count = self.waiting.len().min(AT_ONCE);
        store.write(&self.waiting.make_contiguous()[..count])?;
        self.held -= self
            .waiting
            .drain(..count)
            .map(|row| row.bytes())
            .sum::<usize>();
        self.counts
            .written
            .fetch_add(count as u64, Ordering::Relaxed);
        if self.rests_until.take().is_some() {
            info!("the history is written again");
        }
        Ok(())
    }

    /// Does what can be done about a failure, and tries again: newer verdicts are worth more than older
    /// ones, and than a file that is broken.
    fn mend(&mut self, error: rusqlite::Error) -> rusqlite::Result<()> {
        match (trouble(&error), &mut self.store) {
            (Trouble::Full, Some(store)) => {
                let dropped = store.make_room()? as u64;
                self.counts.expired.fetch_add(dropped, Ordering::Relaxed);
                self.write_some()?;
                warn!("the disk is full: {dropped} old verdicts made room for new ones");
                if let Some(store) = &self.store {
                    // What cannot be kept free now may be at the next failure.
                    _ = store.reserve();
                }
                Ok(())
            }
            (Trouble::Broken, _) => {
                self.store = None;
                move_aside(&self.path, &error);
                self.write_some()
            }
            (Trouble::Full | Trouble::Other, _) => Err(error),
        }
    }

    fn rest(&mut self, error: &rusqlite::Error) {
        if self.rests_until.is_none() {
            error!("the history cannot be written ({error}); the newest verdicts wait");
        }
        self.rests_until = Some(Instant::now() + AGAIN);
    }

    fn tidy(&mut self) {
        self.tidied = Instant::now();
        let Some(store) = &mut self.store else {
            return;
        };
        let oldest = clock::ago(Duration::from_secs(self.bounds.days * DAY));
        let expired = store
            .expire(&oldest)
            .and_then(|aged| Ok(aged + store.fit(self.bounds.bytes)?));
        match expired {
            Ok(count) => {
                _ = self
                    .counts
                    .expired
                    .fetch_add(count as u64, Ordering::Relaxed)
            }
            // It would grow without bound; the next verdict begins a new one.
            Err(error) if trouble(&error) == Trouble::Broken => {
                self.store = None;
                move_aside(&self.path, &error);
            }
            Err(error) => warn!("the history cannot be shortened: {error}"),
        }
    }
}

#[cfg(test)]
mod tests;
