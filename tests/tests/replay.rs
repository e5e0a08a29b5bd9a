//! A recording, replayed by an ordinary user, gives the same verdicts byte for byte.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

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
        static MADE: AtomicU32 = AtomicU32::new(0);
        let (own, number) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(format!("probe502-replay-{own}-{number}"));
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

/// What a second look showed of a stalled upstream, after an answer that was joined late.
const STALLED: &str = r#"14.000000 answered netns=1 cookie=10 local=10.0.3.1:80 remote=10.0.3.9:51422 role=accepted task=haproxy[812/812]<1:33 heard_at=9.000000 said_at=14.000000 said=1 heard=1 status=504 held=true established=true threads=4 heard_head="GET /one HTTP/1.1\r\nHost: shop\r\n" said_head="HTTP/1.1 504 Bad\r\n"
14.000200 ended netns=1 cookie=20 local=127.0.0.1:40000 remote=127.0.0.1:8000 role=dialled how=linger task=haproxy[812/812]<1:33 owner=haproxy[812/812]<1:33 opened_at=9.000000 established_at=9.000000 said_at=9.000000 said_bytes=180 said=1 established=true held=true threads=4 said_head="GET /one HTTP/1.1\r\nHost: shop\r\n"
14.108000 tick
14.109000 peer netns=1 local=127.0.0.1:8000 remote=127.0.0.1:40000 state=8 received=181 heard_at=9.001000 unread=180
14.109200 queue netns=1 remote=127.0.0.1:8000 local=127.0.0.1:8000 queued=3 limit=5 holders=4120
14.122000 descriptors pid=4120 open=16 most=16
14.122200 doing pid=4120 state=S threads=1
14.168000 tick
"#;

#[test]
fn what_a_long_recording_asked_for_before_keeps_no_later_look_out() -> Result<()> {
    let open = Open::make()?;
    let mut events = vec!["1.000000 attached wall=1795000000000000000".to_owned()];
    // Each of them was asked who it is.
    events.extend((0..1200).map(|number| {
        let pid = 10_000 + number;
        format!("2.000000 signal sender=sh[{pid}/{pid}]<1:0 target=sh[{pid}/{pid}]<1:0 number=15")
    }));
    events.extend(STALLED.lines().map(str::to_owned));
    let file = open.0.join("long.rec");
    let text = events.join("\n");
    let count = events.len();
    fs::write(
        &file,
        format!("probe502 recording 1\n{text}\nend {count}\n"),
    )?;
    let mut replay = Command::new(binary()?);
    let output = replay
        .args(["replay", "-o", "json", "--status", "504"])
        .arg(&file)
        .output()?;
    let told = String::from_utf8(output.stdout)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        told.contains(r#""cause":"listener.fd-exhausted""#),
        "{told}{errors}"
    );
    Ok(())
}
