//! A memory cgroup for the scene in which the kernel kills for memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use probe502_core::units::Pid;

/// Enough for the upstream to start, soon used up.
const LIMIT: u64 = 64 << 20;

/// A cgroup with a limit; it goes when this is dropped.
pub struct MemoryLimit {
    directory: PathBuf,
}

impl MemoryLimit {
    /// Makes one, or says why there can be none.
    pub fn make() -> anyhow::Result<Self> {
        let mounts = fs::read_to_string("/proc/mounts").context("cannot read /proc/mounts")?;
        let Some(home) = home(&mounts, |mount| {
            fs::read_to_string(mount.join("cgroup.subtree_control")).unwrap_or_default()
        }) else {
            bail!("no cgroup with a memory controller is mounted");
        };
        let directory = home
            .mount()
            .join(format!("probe502-demo-{}", std::process::id()));
        fs::create_dir(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let limit = Self { directory };
        let set = |file: &str, value: u64| fs::write(limit.directory.join(file), value.to_string());
        match home {
            Home::V1(_) => {
                set("memory.limit_in_bytes", LIMIT).context("cannot set the limit")?;
                // Without swap accounting the file is not there, and mostly neither is swap.
                let _ = set("memory.memsw.limit_in_bytes", LIMIT);
            }
            Home::V2(_) => {
                set("memory.max", LIMIT).context("cannot set the limit")?;
                let _ = set("memory.swap.max", 0);
            }
        }
        Ok(limit)
    }

    /// Puts a process under the limit.
    pub fn hold(&self, pid: Pid) -> io::Result<()> {
        fs::write(self.directory.join("cgroup.procs"), pid.0.to_string())
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // Nothing more can be done about one that stays; its name says whose it is.
        let _ = fs::remove_dir(&self.directory);
    }
}

/// Which of the two hierarchies has the memory controller.
#[derive(Debug, PartialEq, Eq)]
enum Home {
    V1(PathBuf),
    V2(PathBuf),
}

impl Home {
    fn mount(&self) -> &Path {
        match self {
            Self::V1(mount) | Self::V2(mount) => mount,
        }
    }
}

/// The first mount of /proc/mounts whose children can have a memory limit.
fn home(mounts: &str, subtree_control: impl Fn(&Path) -> String) -> Option<Home> {
    mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, mount, kind, options, ..] = fields.as_slice() else {
            return None;
        };
        let mount = PathBuf::from(mount);
        match *kind {
            "cgroup" if options.split(',').any(|option| option == "memory") => {
                Some(Home::V1(mount))
            }
            "cgroup2"
                if subtree_control(&mount)
                    .split_whitespace()
                    .any(|name| name == "memory") =>
            {
                Some(Home::V2(mount))
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";

    #[test]
    fn the_hierarchy_with_the_memory_controller_is_found() {
        let none = |_: &Path| String::new();
        assert_eq!(
            home(V1, none),
            Some(Home::V1("/sys/fs/cgroup/memory".into()))
        );
        let v2 = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        let memory = |_: &Path| "cpu memory pids\n".to_owned();
        assert_eq!(home(v2, memory), Some(Home::V2("/sys/fs/cgroup".into())));
        assert_eq!(home(v2, none), None);
        assert_eq!(home("", none), None);
    }
}
