//! Routes and devices of ours, to addresses that nobody has; removed when dropped.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::netns::Netns;

/// A route to one address.
pub struct Route {
    undo: Vec<Vec<String>>,
}

impl Route {
    /// A route that refuses: `unreachable`, `prohibit` or `blackhole`.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn refusing(way: &str, addr: &str) -> Result<Self> {
        let mut route = Self { undo: Vec::new() };
        route.with(&["route", "add", way, addr], &["route", "del", way, addr])?;
        Ok(route)
    }

    /// By way of a namespace that does not forward, and swallows it without a word.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn nowhere(netns: &Netns, addr: &str) -> Result<Self> {
        let mut route = Self { undo: Vec::new() };
        let router = netns.host();
        route.with(
            &["route", "add", addr, "via", &router],
            &["route", "del", addr],
        )?;
        Ok(route)
    }

    /// By way of a namespace that forwards, and has no route itself: its router says so by ICMP.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn through(netns: &Netns, addr: &str) -> Result<Self> {
        netns.run(&["sysctl", "-qw", "net.ipv4.ip_forward=1"])?;
        netns.run(&["ip", "route", "add", "unreachable", addr])?;
        Self::nowhere(netns, addr)
    }

    fn with(&mut self, make: &[&str], undo: &[&str]) -> Result<()> {
        ip(make)?;
        self.undo
            .push(undo.iter().map(|&word| word.to_owned()).collect());
        Ok(())
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        for words in &self.undo {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let _ = ip(&words);
        }
    }
}

fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(words).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {said}", words.join(" "));
    Ok(())
}
