//! Where programs attach that belong to a cgroup: the root of the unified hierarchy.

use std::fs::{self, File};
use std::os::fd::AsFd as _;

use anyhow::{Context as _, bail};
use rustix::fs::{Mode, OFlags, fstat, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// The root of the unified hierarchy, wherever it is mounted (hybrid hosts have it elsewhere, pods may
/// have two); a mount of our own, that nobody else sees, where it is not (`ip netns exec` hides /sys).
pub fn root() -> anyhow::Result<File> {
    let mounts =
        fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    let mut parts = 0;
    for root in unified(&mounts).filter_map(|place| File::open(place).ok()) {
        if is_whole(&root) {
            return Ok(root);
        }
        parts += 1;
    }
    match own_mount() {
        Ok(root) if is_whole(&root) => Ok(root),
        Ok(_) => bail!(PART),
        Err(_) if parts > 0 => bail!(PART),
        Err(error) => Err(error).context(
            "no cgroup2 file system is mounted, and none could be: \
             mount -t cgroup2 none /sys/fs/cgroup/unified",
        ),
    }
}

/// Programs attached there would see this one container alone, and say nothing of it.
const PART: &str = "only this container's own cgroup is to be seen, not the host's: mount the host's \
                    /sys/fs/cgroup into it, read-only (a hostPath volume; docker run \
                    -v /sys/fs/cgroup:/sys/fs/cgroup:ro --cgroupns=host)";

/// A hierarchy's root is the first that its file system made (`kernfs_create_root`).
fn is_whole(root: &File) -> bool {
    fstat(root).is_ok_and(|status| status.st_ino == 1)
}

fn own_mount() -> rustix::io::Result<File> {
    let context = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(openat(mount, ".", flags, Mode::empty())?))
}

/// The mount points of cgroup2, their octal escapes undone (proc_pid_mounts(5)).
fn unified(mounts: &str) -> impl Iterator<Item = String> {
    let fields = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let found = fields.filter(|fields| fields.get(2) == Some(&"cgroup2"));
    found.filter_map(|fields| Some(fields.get(1)?.replace("\\040", " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_on_hybrid_hosts() {
        let mounts = "cgroup /sys/fs/cgroup/memory cgroup rw 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found: Vec<_> = unified(mounts).collect();
        assert_eq!(found, ["/sys/fs/cgroup/unified"]);
        assert_eq!(unified("proc /proc proc rw 0 0\n").count(), 0);
    }
}
