//! Who may depend on whom: ebpf → common ← core ← agent, and nothing else.

use toml_edit::DocumentMut;

use super::Finding;
use super::tree::{File, Tree};

/// Each crate and which of our own it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("common", &[]),
    ("ebpf", &["probe502-common"]),
    ("agent/core", &["probe502-common"]),
    ("agent", &["probe502-common", "probe502-core"]),
    ("xtask", &[]),
    ("tests", &[]),
];

/// Crates that do what the core must not: loading, waiting, asking the system.
const NOT_IN_CORE: &[&str] = &[
    "tokio", "aya", "libc", "rustix", "nix", "mio", "socket2", "rand", "chrono",
];

pub fn dependencies_point_inwards(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (folder, allowed) in MAY_USE {
        let Some(manifest) = tree.at(&format!("{folder}/Cargo.toml")) else {
            continue;
        };
        for name in dependencies(manifest) {
            let ours = name.starts_with("probe502") || name == "xtask";
            let foreign = *folder == "agent/core" && NOT_IN_CORE.contains(&name.as_str());
            if (ours && !allowed.contains(&name.as_str())) || foreign {
                let advice = format!("{folder} must not depend on {name}; move that code outwards");
                findings.push(Finding::new(
                    &manifest.path,
                    manifest.line_of(&name),
                    advice,
                ));
            }
        }
    }
    findings
}

fn dependencies(manifest: &File) -> Vec<String> {
    let Ok(document) = manifest.text.parse::<DocumentMut>() else {
        return Vec::new();
    };
    let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = tables
        .iter()
        .filter_map(|table| document.get(table)?.as_table_like());
    tables
        .flat_map(|table| table.iter().map(|(name, _)| name.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_depends_on_nobody_and_core_on_common_alone() {
        let tree = Tree::made_up(&[
            (
                "common/Cargo.toml",
                "[dependencies]\nprobe502-core = \"1\"\n",
            ),
            (
                "agent/core/Cargo.toml",
                "[dependencies]\nprobe502-common.workspace = true\ntokio = \"1\"\n",
            ),
            (
                "agent/Cargo.toml",
                "[dependencies]\nprobe502-core.workspace = true\ntokio = \"1\"\n",
            ),
        ]);
        let found: Vec<_> = dependencies_point_inwards(&tree);
        let places: Vec<_> = found.iter().map(|f| (f.path.as_str(), f.line)).collect();
        assert_eq!(
            places,
            [("common/Cargo.toml", 2), ("agent/core/Cargo.toml", 3)]
        );
    }
}
