//! Cgroups that limit memory or processor time, or freeze: v1 where the controller is mounted, v2 else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::client::next_id;

/// A group that holds its members back; thawed and removed when dropped.
pub struct HoldingCgroup {
    dir: PathBuf,
    v1: bool,
}

impl HoldingCgroup {
    /// One that freezes whoever is moved in.
    ///
    /// # Errors
    /// When neither hierarchy can freeze.
    pub fn frozen() -> Result<Self> {
        let group = Self::make("freezer", "freezer.state")?;
        group.freeze(true)?;
        Ok(group)
    }

    /// One whose members share this many milliseconds of processor time in each tenth of a second.
    ///
    /// # Errors
    /// When neither hierarchy has a processor controller for us.
    pub fn throttled_to(milliseconds: u32) -> Result<Self> {
        let group = Self::make("cpu", "cpu.cfs_quota_us")?;
        let micros = milliseconds * 1000;
        let (file, words) = if group.v1 {
            ("cpu.cfs_quota_us", micros.to_string())
        } else {
            ("cpu.max", format!("{micros} 100000"))
        };
        fs::write(group.dir.join(file), words)?;
        Ok(group)
    }

    fn make(controller: &str, file: &str) -> Result<Self> {
        let name = format!("probe502-hold-{}-{}", std::process::id(), next_id());
        let v1 = Path::new("/sys/fs/cgroup").join(controller);
        let dir = v1.join(&name);
        if v1.is_dir() && fs::create_dir(&dir).is_ok() && dir.join(file).exists() {
            return Ok(Self { dir, v1: true });
        }
        let root = Path::new("/sys/fs/cgroup");
        if controller == "cpu" {
            fs::write(root.join("cgroup.subtree_control"), "+cpu").context("no cpu controller")?;
        }
        let dir = root.join(name);
        fs::create_dir_all(&dir)?;
        Ok(Self { dir, v1: false })
    }

    fn freeze(&self, hard: bool) -> Result<()> {
        let (file, words) = match (self.v1, hard) {
            (true, true) => ("freezer.state", "FROZEN"),
            (true, false) => ("freezer.state", "THAWED"),
            (false, true) => ("cgroup.freeze", "1"),
            (false, false) => ("cgroup.freeze", "0"),
        };
        Ok(fs::write(self.dir.join(file), words)?)
    }

    /// Moves a process in.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn take(&self, pid: u32) -> Result<()> {
        Ok(fs::write(self.dir.join("cgroup.procs"), pid.to_string())?)
    }
}

impl Drop for HoldingCgroup {
    fn drop(&mut self) {
        let _ = self.freeze(false);
        // A group with members stays: they go back to the root.
        let members = fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        if let Some(root) = self.dir.parent() {
            for pid in members.lines() {
                let _ = fs::write(root.join("cgroup.procs"), pid);
            }
        }
        remove(&self.dir);
    }
}

/// A member's death empties the group a moment after its exit is reaped.
fn remove(dir: &Path) {
    for _ in 0..100 {
        if fs::remove_dir(dir).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A group whose members are OOM-killed at the limit; removed when dropped.
pub struct MemoryCgroup {
    dir: PathBuf,
}

impl MemoryCgroup {
    /// Makes it.
    ///
    /// # Errors
    /// When neither hierarchy has a memory controller for us.
    pub fn limited_to(bytes: u64) -> Result<Self> {
        let name = format!("probe502-test-{}-{}", std::process::id(), next_id());
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let (root, limit) = if v1.join("memory.limit_in_bytes").exists() {
            (v1, "memory.limit_in_bytes")
        } else {
            let root = Path::new("/sys/fs/cgroup");
            fs::write(root.join("cgroup.subtree_control"), "+memory")
                .context("no memory controller")?;
            (root, "memory.max")
        };
        let dir = root.join(name);
        fs::create_dir_all(&dir)?;
        let group = Self { dir };
        fs::write(group.dir.join(limit), bytes.to_string())?;
        // Where there is swap, the limit must hold for both, or the kernel swaps instead of killing.
        for swap in ["memory.memsw.limit_in_bytes", "memory.swap.max"] {
            let path = group.dir.join(swap);
            let most = if swap.ends_with("max") { 0 } else { bytes };
            if path.exists() {
                fs::write(path, most.to_string())?;
            }
        }
        Ok(group)
    }

    /// Moves a process in; what it forks follows.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn take(&self, pid: u32) -> Result<()> {
        Ok(fs::write(self.dir.join("cgroup.procs"), pid.to_string())?)
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        remove(&self.dir);
    }
}

/// What container runtimes show of cgroups to who is not given the host's: a cgroup namespace, and what
/// it has of cgroup v2. Removed when dropped.
pub struct Contained {
    name: String,
}

impl Default for Contained {
    fn default() -> Self {
        let name = format!("probe502-alone-{}-{}", std::process::id(), next_id());
        Self { name }
    }
}

impl Contained {
    /// A command that becomes this program, in there.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let inside = "cd /sys/fs/cgroup; [ ! -d unified ] || cd unified
            mkdir $1; echo $$ >$1/cgroup.procs; shift; cd /
            exec unshare --cgroup --mount sh -c '
                umount --recursive --lazy /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup
                exec \"$0\" \"$@\"' \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", inside, "sh", &self.name]).arg(program);
        command
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        // Only one of the two is there.
        for root in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
            let dir = Path::new(root).join(&self.name);
            if dir.exists() {
                remove(&dir);
            }
        }
    }
}
