//! The Helm chart as an archive, and the manifest that it renders to.

use anyhow::{Context, Result, ensure};

use super::archive::{Tree, gzip};
use super::{Package, Release, source, sources};

/// Packs both. The manifest is committed: a test renders the chart afresh and compares.
pub fn pack(release: &Release) -> Result<[Package; 2]> {
    let mut tree = Tree::default();
    for (path, bytes) in sources("deploy/chart")? {
        tree.file(&path, 0o644, bytes);
    }
    let about = String::from_utf8(source("deploy/chart/Chart.yaml")?)?;
    for key in ["version", "appVersion"] {
        let said = value(&about, key).with_context(|| format!("the chart has no {key}"))?;
        let version = &release.version;
        ensure!(
            said == version,
            "the chart's {key} is {said}, and the workspace's {version}"
        );
    }
    let archive = gzip(&tree.tar("probe502/", release.time)?)?;
    Ok([
        (format!("probe502-{}.tgz", release.version), archive),
        ("probe502.yaml".to_owned(), source("deploy/probe502.yaml")?),
    ])
}

/// What a line `key: value` says.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let of = |line: &'a str| line.strip_prefix(key)?.strip_prefix(": ");
    Some(text.lines().find_map(of)?.trim_matches('"'))
}
