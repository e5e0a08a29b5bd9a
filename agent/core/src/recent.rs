//! The recent past, bounded in size and in age; the oldest leaves first.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeBounds;
use std::time::Duration;

use crate::units::Timestamp;

/// What was seen lately, in the order of its keys.
#[derive(Debug)]
pub struct Recent<K, V> {
    entries: BTreeMap<K, (u64, V)>,
    /// Oldest first; an entry that was replaced leaves its old place behind until it is passed.
    order: VecDeque<(Timestamp, u64, K)>,
    next: u64,
    bound: usize,
    age: Duration,
}

impl<K: Ord + Clone, V> Recent<K, V> {
    /// At most `bound` entries, none much older than `age`.
    #[must_use]
    pub fn new(bound: usize, age: Duration) -> Self {
        Self {
            entries: BTreeMap::new(),
            order: VecDeque::new(),
            next: 0,
            bound,
            age,
        }
    }

    /// Remembers, in place of what the key held before.
    pub fn insert(&mut self, at: Timestamp, key: K, value: V) {
        self.next += 1;
        self.entries.insert(key.clone(), (self.next, value));
        // Before it takes its place: a queue with one place too many takes twice the room.
        self.shrink(at);
        self.order.push_back((at, self.next, key));
    }

    /// What the key holds.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// What the key holds, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    /// Forgets the key and gives what it held.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|(_, value)| value)
    }

    /// Entries whose keys lie in the range, in the keys' order.
    pub fn range<R: RangeBounds<K>>(&self, range: R) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.entries
            .range(range)
            .map(|(key, (_, value))| (key, value))
    }

    /// Entries whose keys lie between the two, both included; none where they are in the wrong order.
    pub fn between(&self, from: K, until: K) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let range = (from <= until).then(|| self.entries.range(from..=until));
        range
            .into_iter()
            .flatten()
            .map(|(key, (_, value))| (key, value))
    }

    /// How many entries there are, and how many there may be.
    pub fn held(&self) -> (usize, usize) {
        (self.entries.len(), self.bound)
    }

    fn shrink(&mut self, now: Timestamp) {
        while let Some((at, number, key)) = self.order.front() {
            let live = self
                .entries
                .get(key)
                .is_some_and(|(current, _)| current == number);
            let old = now.since(*at) > self.age || self.entries.len() > self.bound;
            if live && !old {
                break;
            }
            if live {
                self.entries.remove(key);
            }
            self.order.pop_front();
        }
        if self.order.len() > 2 * self.bound + 16 {
            let entries = &self.entries;
            self.order.retain(|(_, number, key)| {
                entries
                    .get(key)
                    .is_some_and(|(current, _)| current == number)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(recent: &Recent<u32, u32>) -> Vec<u32> {
        recent.range(..).map(|(key, _)| *key).collect()
    }

    #[test]
    fn the_oldest_leaves_when_it_is_full() {
        let mut recent = Recent::new(2, Duration::MAX);
        for key in [3, 1, 2] {
            recent.insert(Timestamp(1), key, 0);
        }
        assert_eq!(keys(&recent), [1, 2]);
    }

    #[test]
    fn the_old_leave_and_the_renewed_stay() {
        let mut recent = Recent::new(9, Duration::from_nanos(10));
        recent.insert(Timestamp(0), 1, 0);
        recent.insert(Timestamp(1), 2, 0);
        recent.insert(Timestamp(9), 1, 7);
        recent.insert(Timestamp(15), 3, 0);
        assert_eq!(keys(&recent), [1, 3]);
        assert_eq!(recent.get(&1), Some(&7));
    }

    #[test]
    fn a_full_one_takes_no_more_room() {
        let mut recent = Recent::new(64, Duration::MAX);
        for key in 0..1000 {
            recent.insert(Timestamp(0), key, 0);
        }
        assert_eq!((recent.held().0, recent.order.capacity()), (64, 64));
    }

    #[test]
    fn renewing_one_key_forever_takes_no_memory() {
        let mut recent = Recent::new(2, Duration::MAX);
        recent.insert(Timestamp(0), 0, 0);
        for number in 0..1000 {
            recent.insert(Timestamp(0), 1, number);
        }
        assert_eq!((keys(&recent), recent.order.len() < 30), (vec![0, 1], true));
    }
}
