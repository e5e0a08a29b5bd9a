//! What the kernel says of a process's descriptors (proc(5), `/proc/PID/fdinfo`).

use std::fs;

use anyhow::Result;

/// The text of each.
///
/// # Errors
/// When the process is gone.
pub fn descriptors(pid: u32) -> Result<Vec<String>> {
    let folder = fs::read_dir(format!("/proc/{pid}/fdinfo"))?;
    // A descriptor may close while we look.
    Ok(folder
        .flatten()
        .flat_map(|entry| fs::read_to_string(entry.path()))
        .collect())
}

/// The number of the line that begins with this name.
#[must_use]
pub fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line?.trim().parse().ok()
}
