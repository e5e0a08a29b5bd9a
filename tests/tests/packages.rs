//! The packages by the tools of those who take them: dpkg, lintian, skopeo, umoci, Helm.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use probe502_tests::daemon::get;
use probe502_tests::dist::Dist;
use probe502_tests::gateways::trixie;
use probe502_tests::nginx::free_port;
use probe502_tests::overlay::{Overlay, run};
use probe502_tests::paths::Folder;
use probe502_tests::running::Running;
use probe502_tests::skip::{say, unable};
use serde_json::{Value, json};

/// The program itself, out of the package for hosts without packages.
fn program(dist: &Dist, folder: &Folder) -> Result<PathBuf> {
    let into = folder.path("tarball");
    fs::create_dir(&into)?;
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(dist.package("-linux.tar.gz")?);
    run(tar.args(["--strip-components=1", "-C"]).arg(&into))?;
    Ok(into.join("probe502"))
}

#[test]
fn the_same_program_is_packed_into_the_same_bytes() -> Result<()> {
    let dist = Dist::of_this_commit()?;
    let folder = Folder::make()?;
    let program = program(&dist, &folder)?;
    let again = Dist::again(&program, &folder.path("again"))?;
    let sums = |dist: &Dist| fs::read_to_string(dist.folder().join("SHA256SUMS"));
    ensure!(
        sums(&dist)? == sums(&again)?,
        "{}{}",
        sums(&dist)?,
        sums(&again)?
    );
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "--quiet", "SHA256SUMS"]);
    run(check.current_dir(dist.folder())).map(drop)
}

#[test]
fn the_program_is_no_larger_than_its_budget() -> Result<()> {
    let folder = Folder::make()?;
    let bytes = fs::metadata(program(&Dist::of_this_commit()?, &folder)?)?.len();
    ensure!(bytes <= 8_000_000, "{bytes} bytes");
    Ok(())
}

#[test]
fn the_program_needs_no_library() -> Result<()> {
    let folder = Folder::make()?;
    let program = program(&Dist::of_this_commit()?, &folder)?;
    // A root with nothing else in it.
    let root = program.parent().context("its folder")?;
    let mut alone = Command::new("chroot");
    let said = run(alone.arg(root).args(["/probe502", "--version"]))?;
    ensure!(said.starts_with("probe502 "), "{said}");
    Ok(())
}

/// The package as one of an earlier version.
fn earlier(deb: &Path, folder: &Folder) -> Result<PathBuf> {
    let (tree, earlier) = (folder.path("earlier"), folder.path("earlier.deb"));
    run(Command::new("dpkg-deb").arg("-R").arg(deb).arg(&tree))?;
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control)?;
    let version = text.lines().find(|line| line.starts_with("Version: "));
    let text = text.replace(version.context("a version")?, "Version: 0.0.1");
    fs::write(&control, text)?;
    // Fast to pack: it is only unpacked again.
    let mut build = Command::new("dpkg-deb");
    run(build
        .args(["--root-owner-group", "-Znone", "-b"])
        .arg(&tree)
        .arg(&earlier))?;
    Ok(earlier)
}

const SETTINGS: &str = "etc/probe502/config.toml";
const HISTORY: &str = "var/lib/probe502/history.db";
const ENABLED: &str = "etc/systemd/system/multi-user.target.wants/probe502.service";

#[test]
fn the_debian_package_is_installed_upgraded_removed_and_purged() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let deb = Dist::of_this_commit()?.package(".deb")?;
    let folder = Folder::make()?;
    let host = Overlay::over(&trixie::root()?)?;
    let before = host.files()?;
    fs::copy(earlier(&deb, &folder)?, host.path("var/tmp/earlier.deb"))?;
    fs::copy(&deb, host.path("var/tmp/new.deb"))?;
    host.run(&["dpkg", "-i", "/var/tmp/earlier.deb"])?;
    is_whole(&host)?;
    runs(&host)?;

    let changed = fs::read_to_string(host.path(SETTINGS))? + "upstreams = 50\n";
    fs::write(host.path(SETTINGS), &changed)?;
    let kept = fs::read(host.path(HISTORY))?;
    // As `systemctl disable` does.
    fs::remove_file(host.path(ENABLED))?;
    host.run(&["dpkg", "-i", "/var/tmp/new.deb"])?;
    let version = host.run(&["dpkg-query", "-W", "-f", "${Version}", "probe502"])?;
    ensure!(version == env!("CARGO_PKG_VERSION"), "{version}");
    ensure!(
        fs::read_to_string(host.path(SETTINGS))? == changed,
        "settings are lost"
    );
    ensure!(fs::read(host.path(HISTORY))? == kept, "the history is lost");
    ensure!(
        !host.path(ENABLED).exists(),
        "enabled again against the administrator"
    );

    host.run(&["dpkg", "-r", "probe502"])?;
    let kept = host.files()?;
    let left: BTreeSet<_> = kept
        .difference(&before)
        .filter(|path| !path.contains("/var/tmp/"))
        .collect();
    let strange = left.iter().filter(|path| {
        let path = path.trim_start_matches("./");
        !(SETTINGS.starts_with(path)
            || path.contains("var/lib/probe502")
            || path.contains("deb-systemd-helper"))
    });
    ensure!(strange.count() == 0, "after its removal: {left:?}");
    ensure!(
        host.path(SETTINGS).exists() && host.path(HISTORY).exists(),
        "removed: {left:?}"
    );

    host.run(&["dpkg", "--purge", "probe502"])?;
    for package in ["var/tmp/earlier.deb", "var/tmp/new.deb"] {
        fs::remove_file(host.path(package))?;
    }
    let after = host.files()?;
    let left: Vec<_> = after.symmetric_difference(&before).collect();
    ensure!(left.is_empty(), "after its purge: {left:?}");
    Ok(())
}

/// Everything is where Debian's users look for it.
fn is_whole(host: &Overlay) -> Result<()> {
    let verified = host.run(&["dpkg", "--verify", "probe502"])?;
    ensure!(verified.is_empty(), "{verified}");
    for page in ["probe502", "probe502-agent", "probe502-watch"] {
        let path = host.path(&format!("usr/share/man/man1/{page}.1.gz"));
        let page = run(Command::new("gunzip").arg("-c").arg(path))?;
        ensure!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    let script = "usr/share/bash-completion/completions/probe502";
    host.run(&[
        "bash",
        "-ec",
        &format!("source /{script}; complete -p probe502"),
    ])?;
    for script in [
        "zsh/vendor-completions/_probe502",
        "fish/vendor_completions.d/probe502.fish",
    ] {
        ensure!(host.path("usr/share").join(script).exists(), "no {script}");
    }
    // A link that leads out of the root tells by itself only that it is there.
    ensure!(
        fs::symlink_metadata(host.path(ENABLED)).is_ok(),
        "the service is not enabled"
    );
    let mode = fs::metadata(host.path("usr/bin/probe502"))?
        .permissions()
        .mode();
    ensure!(mode & 0o7777 == 0o755, "{mode:o}");
    Ok(())
}

/// The unit's own command with the package's own settings, at an address of this test's.
fn runs(host: &Overlay) -> Result<()> {
    let unit = fs::read_to_string(host.path("lib/systemd/system/probe502.service"))?;
    let command = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let words: Vec<&str> = command.context("ExecStart")?.split(' ').collect();
    // systemd makes it: StateDirectory.
    fs::create_dir(host.path("var/lib/probe502"))?;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port("127.0.0.1")?));
    let mut agent = host.command(&words);
    let mut agent = Running::start(agent.env("PROBE502_LISTEN", address.to_string()))?;
    let serving = agent
        .err
        .wait(Duration::from_secs(90), |line| line.contains("serving on"));
    ensure!(serving.is_some(), "{}", agent.err.text());
    ensure!(
        get(address, "/readyz")?.status == 200,
        "{}",
        agent.err.text()
    );
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid()))?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let resident: u64 = resident.context("VmRSS")?.trim().parse()?;
    say(&format!("{resident} KiB are resident"));
    // The budget is 15 MB; what it remembers of a busy host's doings comes on top.
    ensure!(resident * 1024 <= 20_000_000, "{status}");
    ensure!(
        agent.end("TERM", Duration::from_secs(60))?.success(),
        "{}",
        agent.err.text()
    );
    ensure!(
        host.path(HISTORY).exists(),
        "no history: {}",
        agent.err.text()
    );
    Ok(())
}

#[test]
fn lintian_finds_no_fault_in_the_debian_package() -> Result<()> {
    let deb = Dist::of_this_commit()?.package(".deb")?;
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on", "error,warning", "--tag-display-limit", "0"]);
    run(lintian.arg("--allow-root").arg(deb)).map(drop)
}

#[test]
fn the_image_is_read_by_others() -> Result<()> {
    let archive = Dist::of_this_commit()?.package("-oci.tar")?;
    let image = format!(
        "oci-archive:{}:{}",
        archive.display(),
        env!("CARGO_PKG_VERSION")
    );
    let inspect = |form: &[&str]| -> Result<Value> {
        let mut skopeo = Command::new("skopeo");
        let said = run(skopeo.arg("inspect").args(form).arg(&image))?;
        Ok(serde_json::from_str(&said)?)
    };
    let config = &inspect(&["--config"])?["config"];
    ensure!(
        config["Entrypoint"] == json!(["/usr/bin/probe502"]),
        "{config}"
    );
    let layers = &inspect(&[])?["Layers"];
    ensure!(
        layers.as_array().is_some_and(|all| all.len() == 1),
        "{layers}"
    );
    Ok(())
}

/// Crates as `name@version`, out of the paths that panics would name.
fn crates_in(program: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(program);
    let paths = text.split("cargo/registry/src/").skip(1);
    let names = paths.filter_map(|path| path.split('/').nth(1));
    let named = names.filter_map(|name| {
        let dash = name
            .match_indices('-')
            .find(|(at, _)| name[at + 1..].starts_with(|first: char| first.is_ascii_digit()));
        dash.map(|(at, _)| format!("{}@{}", &name[..at], &name[at + 1..]))
    });
    named.collect()
}

#[test]
fn the_bill_of_materials_lists_what_the_program_is_made_of() -> Result<()> {
    let dist = Dist::of_this_commit()?;
    let folder = Folder::make()?;
    let text = fs::read_to_string(dist.package(".cdx.json")?)?;
    let bill: Value = serde_json::from_str(&text)?;
    let components = bill["components"].as_array().context("components")?;
    let listed: BTreeSet<String> = components
        .iter()
        .filter_map(|one| one["purl"].as_str()?.strip_prefix("pkg:cargo/"))
        .map(str::to_owned)
        .collect();
    let found = crates_in(&fs::read(program(&dist, &folder)?)?);
    ensure!(
        found.len() > 20,
        "the paths in it are not read right: {found:?}"
    );
    let missing: Vec<_> = found.difference(&listed).collect();
    ensure!(
        missing.is_empty(),
        "in the program, and not in the bill: {missing:?}"
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let locks = [root.join("Cargo.lock"), root.join("ebpf/Cargo.lock")];
    let locks = [
        fs::read_to_string(&locks[0])?,
        fs::read_to_string(&locks[1])?,
    ]
    .concat();
    for one in components {
        let name = &one["name"];
        ensure!(one["licenses"][0].is_object(), "{name} has no licence");
        if one["purl"].is_string()
            && !name
                .as_str()
                .is_some_and(|name| name.starts_with("probe502"))
        {
            let hash = one["hashes"][0]["content"].as_str().context("a hash")?;
            ensure!(
                locks.contains(&format!("checksum = \"{hash}\"")),
                "{name}: {hash}"
            );
        }
    }
    Ok(())
}
