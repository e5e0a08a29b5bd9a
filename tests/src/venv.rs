//! Python environments with the real application servers, made once under `target/`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};

/// gunicorn 20.1, whose master ends a slow worker by ABRT; it imports `pkg_resources`.
///
/// # Errors
/// When pip cannot install it.
pub fn gunicorn_20() -> Result<PathBuf> {
    environment("gunicorn-20.1", &["gunicorn==20.1.0", "setuptools<81"])
}

/// The newest gunicorn and uvicorn.
///
/// # Errors
/// When pip cannot install them.
pub fn newest() -> Result<PathBuf> {
    environment("newest", &["gunicorn", "uvicorn"])
}

/// Makes `target/venv/NAME` with these packages; one that is whole already is taken as it is.
///
/// # Errors
/// When python3 has no venv module or pip fails.
pub fn environment(name: &str, packages: &[&str]) -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/venv")
        .join(name);
    let whole = dir.join("installed");
    if std::fs::read_to_string(&whole).is_ok_and(|installed| installed == packages.join(" ")) {
        return Ok(dir);
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&dir))?;
    let mut pip = Command::new(dir.join("bin/python"));
    run(pip
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(packages))?;
    std::fs::write(whole, packages.join(" "))?;
    Ok(dir)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
