//! The Debian package: an `ar` file of two tar files (deb(5)), which dpkg and lintian judge in the tests.

use anyhow::Result;

use super::archive::{Tree, gzip};
use super::tarball::{SHELLS, manuals};
use super::{Package, Release, architecture, source, sources};

/// Who answers for the package.
const MAINTAINER: &str = "probe502 maintainers <maintainers@probe502.invalid>";

/// Packs it.
pub fn pack(release: &Release) -> Result<Package> {
    let content = content(release)?;
    let control = control(release, &content)?;
    let mut package = b"!<arch>\n".to_vec();
    for (name, bytes) in [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", gzip(&control.tar("./", release.time)?)?),
        ("data.tar.gz", gzip(&content.tar("./", release.time)?)?),
    ] {
        member(&mut package, (name, &bytes), release.time);
    }
    let name = format!("probe502_{}_{}.deb", release.version, architecture());
    Ok((name, package))
}

/// A member of an `ar` file begins at an even place, behind sixty characters that tell of it.
fn member(package: &mut Vec<u8>, (name, bytes): (&str, &[u8]), time: u64) {
    let length = bytes.len();
    let header = format!(
        "{name:<16}{time:<12}{:<6}{:<6}{:<8}{length:<10}`\n",
        0, 0, "100644"
    );
    package.extend_from_slice(header.as_bytes());
    package.extend_from_slice(bytes);
    if length % 2 == 1 {
        package.push(b'\n');
    }
}

/// What lies on the host once it is installed.
fn content(release: &Release) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.file("usr/bin/probe502", 0o755, release.program()?);
    let unit = source("deploy/probe502.service")?;
    tree.file("lib/systemd/system/probe502.service", 0o644, unit);
    let settings = source("deploy/config.toml")?;
    tree.file("etc/probe502/config.toml", 0o644, settings);
    for (name, page) in manuals(release)? {
        let path = format!("usr/share/man/man1/{name}.gz");
        tree.file(&path, 0o644, gzip(&page)?);
    }
    for (shell, file) in SHELLS {
        let script = release.prints(&["completions", shell])?.into_bytes();
        tree.file(
            &format!("usr/share/{}/{file}", completions(shell)),
            0o644,
            script,
        );
    }
    for (path, bytes) in sources("dashboards")? {
        tree.file(
            &format!("usr/share/probe502/dashboards/{path}"),
            0o644,
            bytes,
        );
    }
    let papers = "usr/share/doc/probe502";
    tree.file(
        &format!("{papers}/copyright"),
        0o644,
        source("deploy/debian/copyright")?,
    );
    let changes = gzip(changes(release)?.as_bytes())?;
    tree.file(&format!("{papers}/changelog.gz"), 0o644, changes);
    let reasons = source("deploy/debian/lintian-overrides")?;
    tree.file("usr/share/lintian/overrides/probe502", 0o644, reasons);
    Ok(tree)
}

/// Where Debian keeps a shell's completions that come with packages.
fn completions(shell: &str) -> &'static str {
    match shell {
        "zsh" => "zsh/vendor-completions",
        "fish" => "fish/vendor_completions.d",
        _ => "bash-completion/completions",
    }
}

fn changes(release: &Release) -> Result<String> {
    let (version, date) = (
        &release.version,
        release.date("%a, %d %b %Y %H:%M:%S +0000")?,
    );
    Ok(format!(
        "probe502 ({version}) unstable; urgency=medium\n\n  \
         * Made from commit {}.\n\n -- {MAINTAINER}  {date}\n",
        release.commit
    ))
}

/// What dpkg is told, and what it runs.
fn control(release: &Release, content: &Tree) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.file("control", 0o644, words(release, content).into_bytes());
    tree.file("conffiles", 0o644, b"/etc/probe502/config.toml\n".to_vec());
    let listed = content
        .files()
        .filter(|(path, _)| !path.starts_with("etc/"));
    let sums = listed.map(|(path, bytes)| format!("{:x}  {path}\n", md5::compute(bytes)));
    tree.file("md5sums", 0o644, sums.collect::<String>().into_bytes());
    for script in ["postinst", "prerm", "postrm"] {
        tree.file(script, 0o755, source(&format!("deploy/debian/{script}"))?);
    }
    Ok(tree)
}

fn words(release: &Release, content: &Tree) -> String {
    // As dpkg-gencontrol counts: each file in whole KiB, and one for each folder.
    let size: usize = content
        .files()
        .map(|(_, bytes)| bytes.len().div_ceil(1024))
        .sum();
    format!(
        "Package: probe502\n\
         Version: {}\n\
         Architecture: {}\n\
         Maintainer: {MAINTAINER}\n\
         Installed-Size: {size}\n\
         Section: net\n\
         Priority: optional\n\
         Description: network-level cause of each HTTP 502 of a gateway\n \
         Watches inside the kernel (eBPF) what happens to the connections and\n \
         processes behind nginx, HAProxy, Envoy and other reverse proxies, and\n \
         names the cause of each answer 502 with its proof and what to do:\n \
         a worker that was killed, nothing that listens, keep-alive timers that\n \
         collide, and others. It changes nothing in the gateway.\n \
         .\n \
         It takes Linux 5.15 or later with BTF.\n",
        release.version,
        architecture(),
    )
}
