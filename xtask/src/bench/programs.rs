//! Time inside each of our kernel programs, by the kernel's own count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::agent::Watching;
use super::load::Load;
use super::nginx::Servers;
use crate::process;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// What one program ran and took during a load, on the whole host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    pub name: String,
    pub runs: u64,
    pub nanos: u64,
}

/// The programs of one load, with the requests that they ran for.
pub struct Costs {
    pub programs: Vec<Program>,
    pub requests: u64,
}

/// A run of its own: the count itself costs, so it is off while the gateway is measured.
pub fn measure(load: Load, servers: &Servers, agent: &Path, duration: Duration) -> Result<Costs> {
    let _counting = Counting::start()?;
    let watching = Watching::start(agent, servers.gateway.port())?;
    let own = programs_of(watching.pid())?;
    let before = counts(&own)?;
    let sample = load.run(servers, duration)?;
    let after = counts(&own)?;
    watching.stop()?;
    let programs = after.into_iter().map(|(id, after)| {
        let before = before.get(&id).cloned().unwrap_or_default();
        Program {
            name: after.name,
            runs: after.runs - before.runs,
            nanos: after.nanos - before.nanos,
        }
    });
    Ok(Costs {
        programs: programs.collect(),
        requests: sample.requests,
    })
}

/// The kernel counts while this lives; then its switch is as before.
struct Counting(String);

impl Counting {
    fn start() -> Result<Self> {
        let before = std::fs::read_to_string(SWITCH).context(SWITCH)?;
        std::fs::write(SWITCH, "1").context(SWITCH)?;
        Ok(Self(before))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(SWITCH, self.0.trim()) {
            eprintln!("{SWITCH} stays on: {error}");
        }
    }
}

/// The ids of all programs that a process holds.
fn programs_of(pid: u32) -> Result<BTreeSet<u64>> {
    let mut ids = BTreeSet::new();
    for entry in Path::new(&format!("/proc/{pid}/fdinfo")).read_dir()? {
        // A descriptor may close while we look.
        let text = std::fs::read_to_string(entry?.path()).unwrap_or_default();
        ids.extend(text.lines().filter_map(program_id));
    }
    Ok(ids)
}

fn program_id(line: &str) -> Option<u64> {
    line.strip_prefix("prog_id:")?.trim().parse().ok()
}

fn counts(own: &BTreeSet<u64>) -> Result<BTreeMap<u64, Program>> {
    let bpftool = ["/usr/sbin/bpftool", "/usr/bin/bpftool"]
        .into_iter()
        .find(|at| Path::new(at).exists());
    let said =
        process::read(Command::new(bpftool.unwrap_or("bpftool")).args(["-j", "prog", "show"]))?;
    let all: Vec<Value> = serde_json::from_str(&said).context("bpftool said no list")?;
    let counts = all.iter().filter_map(count);
    Ok(counts.filter(|(id, _)| own.contains(id)).collect())
}

fn count(program: &Value) -> Option<(u64, Program)> {
    let number = |name: &str| program.get(name).and_then(Value::as_u64).unwrap_or(0);
    let name = program
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or("unnamed")
        .to_owned();
    let id = program.get("id")?.as_u64()?;
    Some((
        id,
        Program {
            name,
            runs: number("run_cnt"),
            nanos: number("run_time_ns"),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_says_its_program() {
        assert_eq!(program_id("prog_id:\t502"), Some(502));
        assert_eq!(program_id("map_id:\t502"), None);
    }

    #[test]
    fn a_program_that_never_ran_has_no_counts() {
        let (id, program) = count(&serde_json::json!({"id": 7, "name": "sent"})).unwrap();
        assert_eq!(
            (id, program),
            (
                7,
                Program {
                    name: "sent".into(),
                    runs: 0,
                    nanos: 0
                }
            )
        );
    }
}
