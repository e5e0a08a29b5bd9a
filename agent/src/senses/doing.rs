//! What a process is doing right now: its threads' states and calls, and what its cgroup allows it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use probe502_core::looks::{Descriptors, Doing};
use probe502_core::units::Pid;

use super::{calls, limits, proc};

/// Threads that are looked at; what hangs shows in fewer.
const THREADS: usize = 128;

/// `PF_EXITING` (`linux/sched.h`), as field 9 of proc_pid_stat(5) shows it.
const EXITING: u64 = 4;

/// One thread.
struct Thread {
    state: char,
    exiting: bool,
    call: Option<calls::Call>,
}

/// What a process is doing; `None` once it has gone.
pub fn doing(pid: Pid) -> Option<Doing> {
    let threads = threads(pid);
    let telling = threads.iter().max_by_key(|thread| weight(thread.state))?;
    let count = |state| {
        threads
            .iter()
            .filter(|thread| thread.state == state)
            .count()
    };
    let status = read(proc::path(pid, "status"));
    let limits = limits::of(pid);
    Some(Doing {
        pid,
        state: telling.state,
        threads: u32::try_from(threads.len()).unwrap_or(u32::MAX),
        running: u32::try_from(count('R')).unwrap_or(u32::MAX),
        blocked: u32::try_from(count('D')).unwrap_or(u32::MAX),
        calls: calls_of(&threads),
        on: on(pid, &threads),
        frozen: limits.frozen,
        dumping: field(&status, "CoreDumping:") == Some(1),
        exiting: threads
            .iter()
            .all(|thread| thread.exiting || thread.state == 'Z'),
        tracer: Pid(field(&status, "TracerPid:").unwrap_or(0)),
        allowed: limits.allowed,
        throttled: limits.throttled,
    })
}

/// How many files a process has open; `None` once it has gone.
pub fn descriptors(pid: Pid) -> Option<Descriptors> {
    let open = fs::read_dir(proc::path(pid, "fd")).ok()?.count();
    Some(Descriptors {
        pid,
        open: u32::try_from(open).unwrap_or(u32::MAX),
        most: most(&read(proc::path(pid, "limits")))?,
    })
}

/// What is stopped says more than what is blocked, and that more than what runs or sleeps.
fn weight(state: char) -> u8 {
    match state {
        'T' | 't' => 4,
        'D' => 3,
        'R' => 2,
        'S' | 'I' => 1,
        _ => 0,
    }
}

fn threads(pid: Pid) -> Vec<Thread> {
    let Ok(entries) = fs::read_dir(proc::path(pid, "task")) else {
        return Vec::new();
    };
    let paths = entries.flatten().map(|entry| entry.path()).take(THREADS);
    paths.filter_map(|path| thread(&path)).collect()
}

fn thread(path: &std::path::Path) -> Option<Thread> {
    let (state, exiting) = state(&read(path.join("stat")))?;
    Some(Thread {
        state,
        exiting,
        call: calls::call(&read(path.join("syscall"))),
    })
}

/// From proc_pid_stat(5): `pid (comm) state … flags …`.
fn state(stat: &str) -> Option<(char, bool)> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    Some((state, flags & EXITING != 0))
}

/// `5 futex`, `1 epoll_wait`: the most frequent first.
fn calls_of(threads: &[Thread]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for call in threads.iter().filter_map(|thread| thread.call.as_ref()) {
        *counts.entry(&call.name).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let told = |(name, count)| format!("{count} {name}");
    counts.into_iter().map(told).take(4).collect()
}

/// What the only call on a descriptor works on.
fn on(pid: Pid, threads: &[Thread]) -> Option<String> {
    let calls = threads.iter().filter_map(|thread| thread.call.as_ref());
    let mut descriptors = calls.filter_map(|call| call.descriptor);
    let descriptor = descriptors.next()?;
    if descriptors.next().is_some() {
        return None;
    }
    let link = fs::read_link(proc::path(pid, &format!("fd/{descriptor}"))).ok()?;
    let link = link.to_string_lossy();
    match proc::bracketed(&link, "socket:") {
        Some(inode) => remote(pid, inode),
        None => Some(link.into_owned()),
    }
}

/// Whom a socket of a process is connected with.
fn remote(pid: Pid, inode: u64) -> Option<String> {
    let lines = |file| read(proc::path(pid, file));
    let (v4, v6) = (lines("net/tcp"), lines("net/tcp6"));
    let mut all = v4.lines().chain(v6.lines());
    let found = all.find_map(|line| super::sockets::connected(line, inode));
    found.map(|address| address.to_string())
}

/// A number of proc_pid_status(5).
fn field(status: &str, name: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

/// The soft limit of `Max open files  SOFT  HARD  files` (proc_pid_limits(5)).
fn most(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn read(path: PathBuf) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_state_and_flags_are_read_behind_its_name() {
        let stat = "812 (a) (b c) D 7 812 812 0 -1 4194564 1 2";
        assert_eq!(state(stat), Some(('D', true)));
        assert_eq!(
            state("812 (a) S 7 812 812 0 -1 4194560 1 2"),
            Some(('S', false))
        );
        assert_eq!(state("812 ) ("), None);
    }

    #[test]
    fn limits_and_fields_are_read() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            16                   4096                 files\n";
        assert_eq!(most(limits), Some(16));
        assert_eq!(most("Max open files unlimited unlimited files"), None);
        assert_eq!(field("TracerPid:\t7\nx", "TracerPid:"), Some(7));
    }

    #[test]
    fn this_process_sleeps_in_a_call_on_its_own_pipe() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut child = std::process::Command::new("cat")
            .stdin(reader)
            .spawn()
            .expect("cat");
        let pid = Pid(child.id());
        let seen = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(2));
            doing(pid).filter(|doing| doing.state == 'S' && !doing.calls.is_empty())
        });
        let seen = seen.expect("it sleeps");
        assert_eq!(
            (seen.threads, seen.calls.as_slice()),
            (1, &["1 read".to_owned()][..])
        );
        assert!(
            seen.on.is_some_and(|on| on.starts_with("pipe:")),
            "its pipe"
        );
        assert!(descriptors(pid).expect("alive").open >= 3);
        drop(writer);
        child.wait().expect("ended");
        assert_eq!(doing(pid), None);
    }
}
