//! Chance that a seed repeats: delays, sizes and ports.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::net;

/// A small generator (xorshift64*): good enough to vary a fault, and the same everywhere.
pub struct Luck(u64);

impl Luck {
    /// The chance of one cell: the same seed and name give the same luck.
    #[must_use]
    pub fn of(seed: u64, name: &str) -> Self {
        // FNV-1a.
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325 ^ seed.rotate_left(17), mix);
        let mut luck = Self(hash | 1);
        luck.next();
        luck
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// At least the first, less than the second.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least)
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, many: &[T]) -> T {
        many[self.next() as usize % many.len()]
    }

    /// Another order.
    pub fn shuffle<T>(&mut self, many: &mut [T]) {
        for last in (1..many.len()).rev() {
            many.swap(last, self.next() as usize % (last + 1));
        }
    }

    /// A pause of so many milliseconds.
    pub fn pause(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }

    /// A port below those that the kernel hands out, that nobody listens on and no other cell drew.
    pub fn port(&mut self) -> u16 {
        static DRAWN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
        loop {
            let port = 10_000 + (self.next() % 20_000) as u16;
            let mut drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
            if !is_taken(port) && drawn.insert(port) {
                return port;
            }
            if drawn.len() > 15_000 {
                drawn.clear();
            }
        }
    }
}

/// Whether a socket of this host has the port. A listener for a moment would be a fact that the agent
/// tells of.
fn is_taken(port: u16) -> bool {
    let bound = || -> rustix::io::Result<()> {
        let socket = net::socket(net::AddressFamily::INET, net::SocketType::STREAM, None)?;
        net::sockopt::set_socket_reuseaddr(&socket, true)?;
        net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))
    };
    bound().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let drawn = |seed, name| {
            let mut luck = Luck::of(seed, name);
            (0..8).map(|_| luck.between(0, 1 << 40)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1, "a/b"), drawn(1, "a/b"));
        assert_ne!(drawn(1, "a/b"), drawn(2, "a/b"));
        assert_ne!(drawn(1, "a/b"), drawn(1, "a/c"));
    }
}
