//! One build of the object, in a folder of its own, free of that folder's name.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use toml_edit::{Array, DocumentMut, value};

use super::toolchain::Tools;
use crate::process::{self, cargo};
use crate::repository;

const TARGET: &str = "bpfel-unknown-none";

/// Builds a fresh copy of the sources and returns the object without DWARF.
pub fn build(tools: &Tools) -> Result<Vec<u8>> {
    let folder = tempfile::Builder::new()
        .prefix("probe502-ebpf-")
        .tempdir()?;
    let stage = folder.path().canonicalize()?.join("ebpf");
    copy_sources(&stage)?;
    run_cargo(&stage, &["fetch", "--locked"], |command| {
        command.args(["--target", TARGET]);
    })?;
    let flags = flags(tools, &stage)?;
    run_cargo(&stage, &["build", "--release", "--locked"], |command| {
        command.args(["--target", TARGET, "-Z", "build-std=core", "--target-dir"]);
        command.arg(folder.path().join("target"));
        command.env("CARGO_ENCODED_RUSTFLAGS", &flags);
        command.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &tools.linker);
    })?;
    let linked = folder
        .path()
        .join("target")
        .join(TARGET)
        .join("release/probe502");
    let stripped = folder.path().join("probe502.bpf.o");
    // --strip-debug removes .debug_* and their relocations; .BTF and .BTF.ext are not debug to it.
    process::run(
        Command::new(&tools.objcopy)
            .arg("--strip-debug")
            .arg(&linked)
            .arg(&stripped),
    )?;
    std::fs::read(&stripped).context("the stripped object is missing")
}

/// cargo hashes a path dependency outside its workspace by its absolute path, and the hash gets
/// into symbol names and their order. So `common` is put inside the copy's workspace.
fn copy_sources(stage: &Path) -> Result<()> {
    let root = repository::root();
    copy(&root.join("ebpf"), stage)?;
    copy(&root.join("common"), &stage.join("common"))?;
    let manifest = stage.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest)?;
    std::fs::write(&manifest, with_common_inside(&text)?)?;
    Ok(())
}

fn with_common_inside(manifest: &str) -> Result<String> {
    let mut manifest: DocumentMut = manifest.parse().context("ebpf/Cargo.toml")?;
    manifest["dependencies"]["probe502-common"]["path"] = value("common");
    manifest["workspace"]["exclude"] = value(Array::from_iter(["common"]));
    Ok(manifest.to_string())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in from
        .read_dir()
        .with_context(|| format!("cannot read {}", from.display()))?
    {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if kind.is_dir() && name != "target" {
            copy(&entry.path(), &to.join(name))?;
        } else if kind.is_file() && !name.to_string_lossy().starts_with("probe502.bpf.") {
            std::fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

/// `RUSTC_BOOTSTRAP` opens `build-std` on the pinned stable toolchain. What the caller's
/// environment says about cargo builds must not reach the object.
fn run_cargo(stage: &Path, arguments: &[&str], more: impl FnOnce(&mut Command)) -> Result<()> {
    let mut command = cargo();
    command.args(arguments).current_dir(stage);
    for (name, _) in std::env::vars_os() {
        if steers_cargo(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command.env("RUSTC_BOOTSTRAP", "1");
    more(&mut command);
    process::run(&mut command)
}

fn steers_cargo(name: &str) -> bool {
    let prefixes = [
        "CARGO_PROFILE_",
        "CARGO_BUILD_",
        "CARGO_TARGET_",
        "RUSTC_",
        "RUSTFLAGS",
    ];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) || name == "CARGO_INCREMENTAL"
}

/// Paths of this machine get names of no machine.
fn flags(tools: &Tools, stage: &Path) -> Result<OsString> {
    let mut flags: Vec<OsString> = vec!["-Cdebuginfo=2".into(), "-Clink-arg=--btf".into()];
    let mut rename = |from: &Path, to: &str| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flags.push(flag);
    };
    rename(stage, "/probe502");
    let home = cargo_home()?;
    rename(&home, "/cargo");
    rename(&tools.sysroot, "/rust");
    // rustup's toolchains may be links to each other.
    rename(&tools.sysroot.canonicalize()?, "/rust");
    // The folder's name has a hash of the registry's address; the last matching rule wins.
    if let Ok(registries) = home.join("registry/src").read_dir() {
        for registry in registries {
            rename(&registry?.path(), "/registry");
        }
    }
    Ok(flags.join(&OsString::from("\x1f")))
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::home_dir().context("neither CARGO_HOME nor HOME is set")?;
    Ok(home.join(".cargo"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_has_common_inside_its_workspace() {
        let before = "[workspace]\n[dependencies]\nprobe502-common = { path = \"../common\" }\n";
        let after = with_common_inside(before).unwrap();
        assert!(after.contains("path = \"common\"") && after.contains("exclude = [\"common\"]"));
    }

    #[test]
    fn the_callers_build_settings_do_not_reach_the_object() {
        assert!(steers_cargo("CARGO_PROFILE_RELEASE_LTO") && steers_cargo("RUSTFLAGS"));
        assert!(!steers_cargo("CARGO_HOME"));
    }
}
