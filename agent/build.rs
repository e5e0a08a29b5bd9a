//! Puts the kernel programs and the causes' pages into the binary.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use flate2::Compression;
use flate2::write::DeflateEncoder;

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
    // A fifth of its size.
    let packed = PathBuf::from(env::var("OUT_DIR")?).join("object.deflate");
    let mut into = DeflateEncoder::new(fs::File::create(packed)?, Compression::best());
    into.write_all(&fs::read(object)?)?;
    into.finish()?;
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
