//! A root file system that a test may change: a layer over one that stays as it is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::paths::Folder;

/// The layer, unmounted and removed when dropped.
pub struct Overlay {
    folder: Folder,
    root: PathBuf,
}

impl Overlay {
    /// Lays one over this root.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn over(lower: &Path) -> Result<Self> {
        let folder = Folder::make()?;
        for name in ["upper", "work", "root"] {
            std::fs::create_dir(folder.path(name))?;
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            folder.path("upper").display(),
            folder.path("work").display()
        );
        let root = folder.path("root");
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "overlay", "-o", &options]);
        run(mount.arg(&root))?;
        Ok(Self { folder, root })
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    /// A command inside it, which sees the host's processes and kernel.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        // Its mounts are its own and go with it.
        let script = "mount -t proc proc \"$1/proc\" && mount --rbind /sys \"$1/sys\" \
                      && mount --rbind /dev \"$1/dev\" && exec chroot \"$@\"";
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation=private",
            "sh",
            "-ec",
            script,
            "sh",
        ]);
        command.arg(&self.root).args(words);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Runs one to its end, and gives what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        run(&mut self.command(words))
    }

    /// Every path in it but dpkg's own book-keeping.
    ///
    /// # Errors
    /// When it cannot be walked.
    pub fn files(&self) -> Result<BTreeSet<String>> {
        let mut find = Command::new("find");
        find.args([".", "-xdev", "("]);
        find.args(["-path", "./var/lib/dpkg", "-o", "-path", "./var/log", ")"]);
        let found = run(find
            .args(["-prune", "-o", "-print"])
            .current_dir(&self.root))?;
        Ok(found.lines().map(str::to_owned).collect())
    }

    /// A folder beside it, for what a test makes.
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg(&self.root));
    }
}

/// What it prints, where it succeeds.
///
/// # Errors
/// When it does not.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let (out, err) = (output.stdout, output.stderr);
    let (out, err) = (String::from_utf8_lossy(&out), String::from_utf8_lossy(&err));
    ensure!(output.status.success(), "{command:?}: {out}{err}");
    Ok(out.into_owned())
}
