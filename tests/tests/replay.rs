//! A recording, replayed by an ordinary user, gives the same verdicts byte for byte.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use probe502_tests::agent::binary;
use probe502_tests::nginx::Nginx;
use probe502_tests::repertoire::each;
use probe502_tests::skip::unable;
use probe502_tests::upstream::Upstream;
use probe502_tests::watch::Watch;

/// A directory that anyone may read, removed when dropped.
struct Open(PathBuf);

impl Open {
    fn make() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("probe502-replay-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        Ok(Self(dir))
    }

    fn take(&self, file: &Path, mode: u32) -> Result<PathBuf> {
        let copy = self.0.join(file.file_name().context("a file name")?);
        if copy != file {
            fs::copy(file, &copy)?;
        }
        fs::set_permissions(&copy, fs::Permissions::from_mode(mode))?;
        Ok(copy)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn replays_to_the_byte_as_nobody() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let open = Open::make()?;
    let recording = open.0.join("faults.rec");
    let upstream = Upstream::faulty(&[])?;
    let gateway = Nginx::before(&upstream.addr)?;
    let mut watch = Watch::with(
        &gateway,
        &["--record", recording.to_str().context("a plain path")?],
    )?;
    each(&gateway, &mut watch)?;
    let Some(live) = watch.end()? else {
        return Ok(());
    };
    let program = open.take(&binary()?, 0o755)?;
    let recording = open.take(&recording, 0o644)?;
    let port = gateway.port().to_string();
    let mut replay = Command::new("setpriv");
    replay
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(program);
    let output = replay
        .args(["replay", "-o", "json", "--port", &port])
        .arg(recording)
        .current_dir("/")
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "replay ended with {}: {errors}",
        output.status
    );
    let again = String::from_utf8(output.stdout)?;
    for (before, after) in live.output.lines().zip(again.lines()) {
        ensure!(before == after, "live:   {before}\nreplay: {after}");
    }
    ensure!(
        live.output == again,
        "live has {} bytes, the replay {}",
        live.output.len(),
        again.len()
    );
    Ok(())
}
