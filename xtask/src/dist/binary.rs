//! The static program that every package holds.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{cargo, on_path, read, run};
use crate::{packages, repository};

const PROFILE: &str = "packed";
/// What SQLite can do besides, and a history has no use for: half a megabyte of file and memory.
const UNUSED: [&str; 9] = [
    "-USQLITE_ENABLE_FTS3",
    "-USQLITE_ENABLE_FTS3_PARENTHESIS",
    "-USQLITE_ENABLE_FTS5",
    "-USQLITE_ENABLE_RTREE",
    "-USQLITE_ENABLE_DBSTAT_VTAB",
    "-USQLITE_ENABLE_COLUMN_METADATA",
    "-USQLITE_ENABLE_STAT4",
    "-USQLITE_ENABLE_JSON1",
    "-DSQLITE_OMIT_JSON",
];

/// Builds it; installs Rust's musl target and Debian's musl compiler where they are missing.
pub fn build() -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    install(&target)?;
    let mut build = cargo();
    build.args([
        "build",
        "--profile",
        PROFILE,
        "--locked",
        "--package",
        "probe502",
    ]);
    build.args(["--target", &target]);
    build.current_dir(repository::root());
    let (rust, c) = flags()?;
    build.env("CARGO_ENCODED_RUSTFLAGS", rust.join("\x1f"));
    build.env(format!("CFLAGS_{}", target.replace('-', "_")), c.join(" "));
    build.env("LIBSQLITE3_FLAGS", UNUSED.join(" "));
    run(&mut build)?;
    Ok(repository::target()
        .join(target)
        .join(PROFILE)
        .join("probe502"))
}

fn install(target: &str) -> Result<()> {
    let mut ask = Command::new("rustc");
    ask.args(["--print", "target-libdir", "--target", target]);
    let library = read(ask.current_dir(repository::root()))?;
    if !Path::new(&library).exists() {
        let mut rustup = Command::new("rustup");
        rustup.args(["target", "add", target]);
        run(rustup.current_dir(repository::root()))?;
    }
    if !on_path("musl-gcc") {
        packages::install(&["musl-tools"])?;
    }
    Ok(())
}

/// What makes the compilers write the same paths wherever the sources and cargo's own folder are, and
/// the linker write little.
fn flags() -> Result<(Vec<String>, Vec<String>)> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let home = home.context("neither CARGO_HOME nor HOME is set")?;
    let places = [
        (repository::root(), "probe502"),
        (home, "cargo"),
        // The last that fits counts, and this one is usually below the first.
        (repository::target(), "target"),
    ];
    let names = places.map(|(place, name)| format!("{}={name}", place.display()));
    let rust = names
        .iter()
        .map(|name| format!("--remap-path-prefix={name}"));
    let c = names.iter().map(|name| format!("-ffile-prefix-map={name}"));
    // Where a program is loaded it must mend its own addresses: as a list each of them takes 24 bytes.
    let relocations = "-Clink-arg=-Wl,-z,pack-relative-relocs".to_owned();
    Ok((rust.chain([relocations]).collect(), c.collect()))
}
