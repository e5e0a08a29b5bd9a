//! Puts the kernel programs and the causes' pages into the binary.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    object()?;
    pages()
}

/// The committed object, or the one that `PROBE502_OBJECT` names (a fresh build under test).
fn object() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-env-changed=PROBE502_OBJECT");
    let object = match env::var_os("PROBE502_OBJECT") {
        Some(fresh) => PathBuf::from(fresh),
        None => PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../ebpf/probe502.bpf.o"),
    };
    let object = object
        .canonicalize()
        .map_err(|error| format!("{}: {error}", object.display()))?;
    println!("cargo::rerun-if-changed={}", object.display());
    println!("cargo::rustc-env=PROBE502_BPF_OBJECT={}", object.display());
    Ok(())
}

/// A table of every `docs/causes/<id>.md`.
fn pages() -> Result<(), Box<dyn std::error::Error>> {
    let pages = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../docs/causes");
    println!("cargo::rerun-if-changed={}", pages.display());
    let mut files = fs::read_dir(&pages)?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    let mut table = String::from("&[\n");
    for file in files {
        let path = file.path().canonicalize()?;
        if let Some(id) = file
            .file_name()
            .to_str()
            .and_then(|name| name.strip_suffix(".md"))
        {
            writeln!(table, "({id:?}, include_str!({path:?})),")?;
        }
    }
    table.push_str("]\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("pages.rs"), table)?;
    Ok(())
}
