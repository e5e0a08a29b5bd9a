//! A Debian trixie root file system under `target/`, made once: newer gateways, and a stand-in for a container.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

/// What it holds besides the least that Debian has.
const PACKAGES: &str = "nginx,haproxy";

/// Its root; made on first use, which takes a minute or two.
///
/// # Errors
/// When debootstrap is not installed, or cannot fetch its packages.
pub fn root() -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::fs::create_dir_all(&target)?;
    let target = target.canonicalize()?;
    let root = target.join("trixie");
    // dpkg's own list is complete only once all is configured.
    let whole = root.join("var/lib/probe502-whole");
    if !whole.exists() {
        make(&root)?;
        std::fs::write(&whole, PACKAGES)?;
    }
    Ok(root)
}

fn make(root: &Path) -> Result<()> {
    if root.exists() {
        std::fs::remove_dir_all(root)?;
    }
    let output = Command::new("debootstrap")
        .args(["--variant=minbase", &format!("--include={PACKAGES}")])
        .arg("trixie")
        .arg(root)
        .output()
        .context("debootstrap")?;
    ensure!(
        output.status.success(),
        "debootstrap: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
