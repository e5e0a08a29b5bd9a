//! Where programs attach that belong to a cgroup: the root of the unified hierarchy.

use std::fs::{self, File};
use std::os::fd::AsFd as _;

use anyhow::Context as _;
use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// The root of the unified hierarchy, wherever it is mounted (hybrid hosts have it elsewhere); a
/// mount of our own, that nobody else sees, where it is not (`ip netns exec` hides /sys).
pub fn root() -> anyhow::Result<File> {
    let mounts =
        fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    if let Some(root) = unified(&mounts) {
        return File::open(&root).with_context(|| format!("cannot open {root}"));
    }
    own_mount().context(
        "no cgroup2 file system is mounted, and none could be: \
         mount -t cgroup2 none /sys/fs/cgroup/unified",
    )
}

fn own_mount() -> rustix::io::Result<File> {
    let context = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(openat(mount, ".", flags, Mode::empty())?))
}

/// The mount point of cgroup2, its octal escapes undone (proc_pid_mounts(5)).
fn unified(mounts: &str) -> Option<String> {
    let mut fields = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let found = fields.find(|fields| fields.get(2) == Some(&"cgroup2"))?;
    Some(found.get(1)?.replace("\\040", " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_on_hybrid_hosts() {
        let mounts = "cgroup /sys/fs/cgroup/memory cgroup rw 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(unified(mounts).as_deref(), Some("/sys/fs/cgroup/unified"));
        assert_eq!(unified("proc /proc proc rw 0 0\n"), None);
    }
}
