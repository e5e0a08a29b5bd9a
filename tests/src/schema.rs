//! Real output against its JSON Schema.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::client::next_id;
use crate::venv;

/// Every line by `docs/NAME.schema.json`, read by Python's reference implementation as the world reads it.
///
/// # Errors
/// When a line does not keep to it.
pub fn check(name: &str, output: &str) -> Result<()> {
    let python = venv::environment("schema", &["jsonschema"])?.join("bin/python");
    let file = format!("probe502-{name}-{}-{}.jsonl", std::process::id(), next_id());
    let lines = std::env::temp_dir().join(file);
    std::fs::write(&lines, output)?;
    let script = "import json, sys, jsonschema
check = jsonschema.Draft202012Validator(json.load(open(sys.argv[1]))).iter_errors
for line in open(sys.argv[2]):
    for error in check(json.loads(line)):
        sys.exit(f'{error.json_path}: {error.message}')";
    let schema = format!("{}/../docs/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python)
        .args(["-c", script, &schema])
        .arg(&lines)
        .output()?;
    std::fs::remove_file(&lines)?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
