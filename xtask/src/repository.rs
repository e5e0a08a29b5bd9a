//! Where things are in this repository.

use std::path::{Path, PathBuf};

/// The repository's root. cargo says at run time where this crate is: two clones that share a
/// target folder share one binary of it, and what was true when it was compiled is true of one.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = here.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or(here.clone(), Path::to_path_buf)
}

/// Where cargo builds: `CARGO_TARGET_DIR`, or `target/`.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The agent's binary after a release build.
pub fn agent() -> PathBuf {
    target().join("release/probe502")
}
