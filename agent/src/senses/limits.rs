//! What a process's cgroups let it do: frozen or not, how much processor time, how often held back.

use std::fs;
use std::path::{Path, PathBuf};

use probe502_core::units::Pid;

use super::proc;

/// Read from cgroup v2's files, or v1's where that controller is mounted so.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub frozen: bool,
    /// Thousandths of one processor; 0 no limit.
    pub allowed: u32,
    /// Periods in a hundred that it was held back in.
    pub throttled: u32,
}

/// What holds for a process.
pub fn of(pid: Pid) -> Limits {
    let memberships = read(&proc::path(pid, "cgroup"));
    let mounts = read(Path::new("/proc/mounts"));
    let folder = |controller: &str| folder(&mounts, &memberships, controller);
    let (unified, cpu, freezer) = (folder(""), folder("cpu"), folder("freezer"));
    let mut limits = Limits::default();
    if let Some(unified) = &unified {
        limits.frozen = value(&read(&unified.join("cgroup.events")), "frozen") == Some(1);
        limits.allowed = allowed_v2(&read(&unified.join("cpu.max")));
        limits.throttled = throttled(&read(&unified.join("cpu.stat")));
    }
    if let Some(freezer) = freezer {
        limits.frozen |= read(&freezer.join("freezer.state")).trim() == "FROZEN";
    }
    if let Some(cpu) = cpu {
        let number = |file| read(&cpu.join(file)).trim().parse::<i64>().ok();
        limits.allowed = share(number("cpu.cfs_quota_us"), number("cpu.cfs_period_us"));
        limits.throttled = throttled(&read(&cpu.join("cpu.stat")));
    }
    if limits.allowed == 0 {
        limits.throttled = 0;
    }
    limits
}

/// The folder of a process's cgroup: a v1 controller's, or v2's where the name is empty.
fn folder(mounts: &str, memberships: &str, controller: &str) -> Option<PathBuf> {
    let of = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?;
        let path = fields.next()?.to_owned();
        controllers
            .split(',')
            .any(|one| one == controller)
            .then_some(path)
    };
    let path = memberships.lines().find_map(of)?;
    let mount = mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let (point, kind, options) = (fields.get(1)?, fields.get(2)?, fields.get(3)?);
        let fits = match (controller, *kind) {
            ("", kind) => kind == "cgroup2",
            (name, kind) => kind == "cgroup" && options.split(',').any(|one| one == name),
        };
        fits.then(|| PathBuf::from(point))
    })?;
    Some(mount.join(path.trim_start_matches('/')))
}

/// `QUOTA PERIOD`, microseconds, or `max PERIOD`.
fn allowed_v2(text: &str) -> u32 {
    let mut words = text.split_whitespace().map(|word| word.parse().ok());
    share(words.next().flatten(), words.next().flatten())
}

fn share(quota: Option<i64>, period: Option<i64>) -> u32 {
    let (Some(quota @ 1..), Some(period @ 1..)) = (quota, period) else {
        return 0;
    };
    u32::try_from(quota.saturating_mul(1000) / period).unwrap_or(u32::MAX)
}

/// `nr_throttled` in a hundred of `nr_periods`.
fn throttled(stat: &str) -> u32 {
    let (periods, held) = (value(stat, "nr_periods"), value(stat, "nr_throttled"));
    let percent = held
        .unwrap_or(0)
        .saturating_mul(100)
        .checked_div(periods.unwrap_or(0));
    u32::try_from(percent.unwrap_or(0)).unwrap_or(0)
}

fn value(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controllers_folder_is_found_on_all_layouts() {
        let hybrid = "cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let member = "2:cpu,cpuacct:/a\n6:freezer:/b\n0::/c\n";
        let found = |controller| folder(hybrid, member, controller);
        assert_eq!(found("cpu"), Some("/sys/fs/cgroup/cpu/a".into()));
        assert_eq!(found(""), Some("/sys/fs/cgroup/unified/c".into()));
        assert_eq!(found("freezer"), None);
    }

    #[test]
    fn limits_are_thousandths_of_a_processor() {
        assert_eq!(allowed_v2("5000 100000\n"), 50);
        assert_eq!(allowed_v2("max 100000\n"), 0);
        assert_eq!(share(Some(-1), Some(100_000)), 0);
        assert_eq!(share(Some(250_000), Some(100_000)), 2500);
        assert_eq!(
            throttled("nr_periods 200\nnr_throttled 190\nthrottled_time 1\n"),
            95
        );
        assert_eq!(throttled("nr_periods 0\nnr_throttled 0\n"), 0);
        assert_eq!(value("populated 1\nfrozen 1\n", "frozen"), Some(1));
    }
}
