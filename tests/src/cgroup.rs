//! A memory cgroup with a hard limit: v1 where its controller is mounted, v2 else.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::client::next_id;

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
        // A member's death empties the group a moment after its exit is reaped.
        for _ in 0..100 {
            if fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
