//! The bill of materials: every crate whose code is in the program, as CycloneDX 1.5.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use toml_edit::DocumentMut;

use super::{Package, Release, source};
use crate::process::{cargo, read};
use crate::repository;

/// A crate as cargo names it: name and version.
type Crate = (String, String);

/// A crate's licence, and the crates that it calls.
#[derive(Default)]
struct Known {
    licence: String,
    calls: BTreeSet<Crate>,
}

/// Writes it. The kernel programs are in the binary as well, and so are their crates.
pub fn write(release: &Release) -> Result<Package> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let mut crates = BTreeMap::new();
    known(&mut crates, &["--package", "probe502", "--target", &target])?;
    let programs = [
        "--manifest-path",
        "ebpf/Cargo.toml",
        "--target",
        "bpfel-unknown-none",
    ];
    known(&mut crates, &programs)?;
    let mut sums = checksums("Cargo.lock")?;
    sums.extend(checksums("ebpf/Cargo.lock")?);
    let own = ("probe502".to_owned(), release.version.clone());
    let others = crates.iter().filter(|(one, _)| **one != own);
    let mut components: Vec<Value> = others
        .map(|(one, known)| component(one, known, &sums))
        .collect();
    components.push(json!({
        "type": "library",
        "bom-ref": "sqlite",
        "name": "sqlite",
        "version": sqlite()?,
        "licenses": [{"license": {"id": "blessing"}}],
        "description": "Compiled from the source that libsqlite3-sys brings",
    }));
    let depends = crates.iter().map(|(one, known)| {
        let calls: Vec<String> = known.calls.iter().map(purl).collect();
        json!({"ref": purl(one), "dependsOn": calls})
    });
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": release.timestamp()?,
            "component": program(&own, &crates),
        },
        "components": components,
        "dependencies": depends.collect::<Vec<_>>(),
    });
    let text = serde_json::to_string_pretty(&bill)? + "\n";
    Ok((
        format!("probe502-{}.cdx.json", release.version),
        text.into_bytes(),
    ))
}

fn program(own: &Crate, crates: &BTreeMap<Crate, Known>) -> Value {
    let licence = crates.get(own).map(|known| known.licence.as_str());
    json!({
        "type": "application",
        "bom-ref": purl(own),
        "name": own.0,
        "version": own.1,
        "purl": purl(own),
        "licenses": licences(licence.unwrap_or_default()),
    })
}

fn component(one: &Crate, known: &Known, sums: &BTreeMap<Crate, String>) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": purl(one),
        "name": one.0,
        "version": one.1,
        "purl": purl(one),
        "licenses": licences(&known.licence),
    });
    if let Some(sum) = sums.get(one) {
        component["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
    }
    component
}

/// Some crates still write `MIT/Apache-2.0`, which SPDX spells with OR.
fn licences(expression: &str) -> Value {
    json!([{"expression": expression.replace('/', " OR ")}])
}

fn purl((name, version): &Crate) -> String {
    format!("pkg:cargo/{name}@{version}")
}

/// What `cargo tree` shows: the crates that end up in the program, without those that only build it.
fn known(crates: &mut BTreeMap<Crate, Known>, which: &[&str]) -> Result<()> {
    let mut tree = cargo();
    tree.args(["tree", "--locked", "--edges", "normal,no-proc-macro"]);
    tree.args(["--prefix", "depth", "--format", "\t{p}\t{l}"])
        .args(which);
    let shown = read(tree.current_dir(repository::root()))?;
    note(crates, &shown).context("cargo tree")
}

fn note(crates: &mut BTreeMap<Crate, Known>, shown: &str) -> Result<()> {
    let mut path: Vec<Crate> = Vec::new();
    for line in shown.lines() {
        let mut fields = line.split('\t');
        let (depth, named) = (fields.next(), fields.next());
        let depth: usize = depth.unwrap_or_default().parse().context("a depth")?;
        let mut words = named.context("a crate")?.split(' ');
        let name = words.next().unwrap_or_default().to_owned();
        let version = words.next().context("a version")?;
        let one = (name, version.trim_start_matches('v').to_owned());
        let licence = fields.next().unwrap_or_default();
        path.truncate(depth);
        if let Some(caller) = path.last() {
            let caller = crates.entry(caller.clone()).or_default();
            caller.calls.insert(one.clone());
        }
        let licence = licence.trim_end_matches(" (*)").to_owned();
        crates.entry(one.clone()).or_default().licence = licence;
        path.push(one);
    }
    Ok(())
}

fn checksums(lock: &str) -> Result<BTreeMap<Crate, String>> {
    let text = String::from_utf8(source(lock)?)?;
    let lock: DocumentMut = text.parse()?;
    let packages = lock["package"].as_array_of_tables().into_iter().flatten();
    let sum = |package: &toml_edit::Table| {
        let field = |name| Some(package.get(name)?.as_str()?.to_owned());
        Some(((field("name")?, field("version")?), field("checksum")?))
    };
    Ok(packages.filter_map(sum).collect())
}

/// The version in the header of the source that is compiled in.
fn sqlite() -> Result<String> {
    let mut ask = cargo();
    ask.args(["metadata", "--locked", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&read(ask.current_dir(repository::root()))?)?;
    let mut packages = metadata["packages"].as_array().into_iter().flatten();
    let bundle = packages.find(|package| package["name"] == "libsqlite3-sys");
    let manifest = bundle.and_then(|package| package["manifest_path"].as_str());
    let manifest = std::path::Path::new(manifest.context("no libsqlite3-sys")?);
    let header = std::fs::read_to_string(manifest.with_file_name("sqlite3/sqlite3.h"))?;
    let line = header
        .lines()
        .find(|line| line.starts_with("#define SQLITE_VERSION "));
    let version = line.and_then(|line| line.split('"').nth(1));
    Ok(version.context("no version in sqlite3.h")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_tells_who_calls_whom() {
        let mut crates = BTreeMap::new();
        let shown = "0\ta v1.0.0 (/x)\tMIT\n1\tb v2.1.0\tMIT/Apache-2.0\n2\tc v3.0.0\tISC\n1\tc v3.0.0\tISC (*)";
        note(&mut crates, shown).unwrap();
        let calls = |name: &str, version: &str| {
            let known = &crates[&(name.to_owned(), version.to_owned())];
            known.calls.iter().map(purl).collect::<Vec<_>>()
        };
        assert_eq!(
            calls("a", "1.0.0"),
            ["pkg:cargo/b@2.1.0", "pkg:cargo/c@3.0.0"]
        );
        assert_eq!(calls("b", "2.1.0"), ["pkg:cargo/c@3.0.0"]);
        assert_eq!(crates[&("c".to_owned(), "3.0.0".to_owned())].licence, "ISC");
    }
}
