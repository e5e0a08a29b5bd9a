//! Processor time and memory of processes, from /proc.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// Time on a processor of a process and its children, to the nanosecond.
pub fn of_family(pid: u32) -> Result<Duration> {
    family(pid)?.into_iter().map(of_process).sum()
}

/// A process and its children.
pub fn family(pid: u32) -> Result<Vec<u32>> {
    let mut family = vec![pid];
    for entry in Path::new("/proc").read_dir()? {
        let name = entry?.file_name();
        if let Some(child) = name.to_str().and_then(|name| name.parse().ok())
            && parent(child) == Some(pid)
        {
            family.push(child);
        }
    }
    Ok(family)
}

/// Time on a processor of all threads of a process. Those that have ended are not in it.
pub fn of_process(pid: u32) -> Result<Duration> {
    let tasks = format!("/proc/{pid}/task");
    let mut sum = Duration::ZERO;
    for task in Path::new(&tasks)
        .read_dir()
        .with_context(|| format!("cannot read {tasks}"))?
    {
        // A thread may end while we look.
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        let nanos = text
            .split_whitespace()
            .next()
            .and_then(|number| number.parse().ok());
        sum += Duration::from_nanos(nanos.context("schedstat has no number")?);
    }
    Ok(sum)
}

/// Memory that is resident now, and the most that ever was, in bytes.
pub fn memory(pid: u32) -> Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let now = field(&status, "VmRSS:").context("no VmRSS")?;
    let most = field(&status, "VmHWM:").context("no VmHWM")?;
    Ok((now * 1024, most * 1024))
}

fn parent(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field(&status, "PPid:")?.try_into().ok()
}

fn field(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_time_and_memory() {
        assert!(of_process(std::process::id()).unwrap() > Duration::ZERO);
        let (now, most) = memory(std::process::id()).unwrap();
        assert!(0 < now && now <= most);
    }

    #[test]
    fn a_field_of_status_is_its_number() {
        assert_eq!(field("Name:\ta\nPPid:\t502\n", "PPid:"), Some(502));
    }
}
