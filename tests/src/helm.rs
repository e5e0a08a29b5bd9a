//! Helm's own engine, as a package of Python brings it, over the chart.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use crate::overlay::run;
use crate::venv;

/// The chart in the repository.
#[must_use]
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/chart")
}

/// What `chart.py` prints for this.
///
/// # Errors
/// When it complains.
pub fn ask(verb: &str, chart: &Path, values: &Value) -> Result<String> {
    let packages = ["helm-python-sdk==0.2.2", "kubernetes-validate==1.37.0"];
    let python = venv::environment("helm", &packages)?.join("bin/python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("chart/chart.py");
    let mut command = Command::new(python);
    command.arg(script).arg(verb).arg(chart);
    run(command.arg(values.to_string()))
}

/// The rendered objects; each has kept to Kubernetes' strict schema.
///
/// # Errors
/// When one does not.
pub fn objects(values: &Value) -> Result<Vec<Value>> {
    Ok(serde_json::from_str(&ask("objects", &chart(), values)?)?)
}
