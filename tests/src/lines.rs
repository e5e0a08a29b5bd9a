//! A child's output, line by line, each with the moment of its arrival.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A line and when it came.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its arrival here.
    pub at: Instant,
    /// Without its line end.
    pub text: String,
}

#[derive(Default)]
struct Shared {
    lines: Mutex<(Vec<Line>, bool)>,
    grew: Condvar,
}

/// All lines so far, filled by a thread that ends with the stream.
#[derive(Clone, Default)]
pub struct Lines(Arc<Shared>);

impl Lines {
    /// Begins to read.
    #[must_use]
    pub fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let filled = lines.clone();
        std::thread::spawn(move || filled.fill(stream));
        lines
    }

    fn fill(&self, stream: impl Read) {
        for text in BufReader::new(stream).lines().map_while(Result::ok) {
            self.lock().0.push(Line {
                at: Instant::now(),
                text,
            });
            self.0.grew.notify_all();
        }
        self.lock().1 = true;
        self.0.grew.notify_all();
    }

    /// The first line that fits, waiting for it as long as the stream lives and patience lasts.
    #[must_use]
    pub fn wait(&self, patience: Duration, fits: impl Fn(&str) -> bool) -> Option<Line> {
        self.wait_behind(0, patience, fits)
    }

    /// The same among the lines behind the first so many.
    #[must_use]
    pub fn wait_behind(
        &self,
        count: usize,
        patience: Duration,
        fits: impl Fn(&str) -> bool,
    ) -> Option<Line> {
        let deadline = Instant::now() + patience;
        let mut looked = count;
        let mut held = self.lock();
        loop {
            if let Some(line) = held.0.iter().skip(looked).find(|line| fits(&line.text)) {
                return Some(line.clone());
            }
            looked = looked.max(held.0.len());
            let left = deadline.saturating_duration_since(Instant::now());
            if held.1 || left.is_zero() {
                return None;
            }
            held = self
                .0
                .grew
                .wait_timeout(held, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits until the stream has ended, bounded.
    pub fn wait_end(&self, patience: Duration) {
        let held = self.lock();
        let ended = self
            .0
            .grew
            .wait_timeout_while(held, patience, |lines| !lines.1);
        drop(ended);
    }

    /// How many came so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().0.len()
    }

    /// What came so far.
    #[must_use]
    pub fn all(&self) -> Vec<Line> {
        self.lock().0.clone()
    }

    /// What came so far, as one text.
    #[must_use]
    pub fn text(&self) -> String {
        self.all()
            .into_iter()
            .map(|line| line.text + "\n")
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, (Vec<Line>, bool)> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
