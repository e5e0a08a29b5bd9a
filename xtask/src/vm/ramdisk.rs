//! A guest's first file system: busybox, the modules by which it sees this host's files, and an init.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::kernels::{Unpacked, above};
use super::quiet;
use crate::process;

const INIT: &str = include_str!("init.sh");
const MODULES: &[&str] = &["virtio_pci", "virtiofs", "overlay"];

/// Writes it and returns its path.
pub fn write(unpacked: &Unpacked) -> Result<PathBuf> {
    let root = tempfile::tempdir()?;
    let root = root.path();
    for name in [
        "bin", "modules", "proc", "sys", "dev", "host", "upper", "guest",
    ] {
        std::fs::create_dir(root.join(name))?;
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox"))?;
    let mut count = 0;
    for module in MODULES {
        for file in insertions(unpacked, module)? {
            count += 1;
            plain(&file, &root.join("modules").join(format!("{count:02}.ko")))?;
        }
    }
    std::fs::write(root.join("init"), INIT)?;
    quiet(Command::new("chmod").arg("755").arg(root.join("init")))?;
    let image = unpacked.folder.join("ramdisk.gz");
    std::fs::write(&image, packed(root)?)?;
    Ok(image)
}

/// The files that must be inserted for a module, in order; none where it is built in.
fn insertions(unpacked: &Unpacked, module: &str) -> Result<Vec<PathBuf>> {
    let base = above(&unpacked.modules)?;
    let mut ask = Command::new("/usr/sbin/modprobe");
    ask.arg("-d")
        .arg(base)
        .args(["-S", &unpacked.release, "--show-depends", module]);
    // Newer packages do not list what is built in; a guest that lacks a module says so.
    let said = process::read(&mut ask).unwrap_or_default();
    let file = |line: &str| {
        line.strip_prefix("insmod ")
            .map(|file| PathBuf::from(file.trim()))
    };
    Ok(said.lines().filter_map(file).collect())
}

/// The guest's busybox inserts what is not packed.
fn plain(from: &Path, to: &Path) -> Result<()> {
    if from.extension().is_some_and(|extension| extension == "xz") {
        let out = std::fs::File::create(to)?;
        let done = Command::new("xz")
            .arg("-dc")
            .arg(from)
            .stdout(out)
            .status()?;
        ensure!(done.success(), "xz -dc {}: {done}", from.display());
    } else {
        std::fs::copy(from, to)?;
    }
    Ok(())
}

/// As `Documentation/driver-api/early-userspace/buffer-format.rst` has it.
fn packed(root: &Path) -> Result<Vec<u8>> {
    let mut packing = Command::new("sh");
    packing
        .args(["-c", "find . | cpio --quiet -o -H newc"])
        .current_dir(root);
    let mut child = packing.stdout(Stdio::piped()).spawn()?;
    let out = child.stdout.take().context("no pipe")?;
    let mut archive = Vec::new();
    flate2::read::GzEncoder::new(out, flate2::Compression::fast()).read_to_end(&mut archive)?;
    let done = child.wait()?;
    ensure!(done.success(), "cpio: {done}");
    Ok(archive)
}
