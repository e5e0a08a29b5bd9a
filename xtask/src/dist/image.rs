//! The container image, from scratch and without a container engine: an OCI layout in a tar file.

use anyhow::Result;
use serde_json::{Value, json};

use super::archive::{Tree, gzip};
use super::{Package, Release, architecture, sha256, source};

/// Packs it.
pub fn pack(release: &Release) -> Result<Package> {
    let mut layout = Tree::default();
    let layer = content(release)?.tar("", release.time)?;
    let (packed, unpacked) = (gzip(&layer)?, format!("sha256:{}", sha256(&layer)));
    let kind = |name: &str| format!("application/vnd.oci.image.{name}");
    let config = blob(
        &mut layout,
        &kind("config.v1+json"),
        text(&config(release, &unpacked)?),
    );
    let layer = blob(&mut layout, &kind("layer.v1.tar+gzip"), packed);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": kind("manifest.v1+json"),
        "config": config,
        "layers": [layer],
        "annotations": annotations(release)?,
    });
    let mut manifest = blob(&mut layout, &kind("manifest.v1+json"), text(&manifest));
    manifest["platform"] = json!({"architecture": architecture(), "os": "linux"});
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": release.version});
    let index = json!({
        "schemaVersion": 2,
        "mediaType": kind("index.v1+json"),
        "manifests": [manifest],
    });
    layout.file("index.json", 0o644, text(&index));
    layout.file(
        "oci-layout",
        0o644,
        text(&json!({"imageLayoutVersion": "1.0.0"})),
    );
    let name = format!("probe502-{}-oci.tar", release.version);
    Ok((name, layout.tar("", release.time)?))
}

fn content(release: &Release) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.file("usr/bin/probe502", 0o755, release.program()?);
    let papers = source("deploy/debian/copyright")?;
    tree.file("usr/share/doc/probe502/copyright", 0o644, papers);
    // Where `probe502 history` looks; a volume goes there.
    tree.folder("var/lib/probe502", 0o750);
    Ok(tree)
}

fn config(release: &Release, unpacked: &str) -> Result<Value> {
    Ok(json!({
        "created": release.timestamp()?,
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": ["/usr/bin/probe502"],
            "Cmd": ["agent"],
            "Env": ["PATH=/usr/bin"],
            "ExposedPorts": {"9502/tcp": {}},
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [unpacked]},
        "history": [{"created": release.timestamp()?, "created_by": "cargo xtask dist"}],
    }))
}

fn annotations(release: &Release) -> Result<Value> {
    Ok(json!({
        "org.opencontainers.image.created": release.timestamp()?,
        "org.opencontainers.image.description": "Names the network-level cause of each HTTP 502",
        "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
        "org.opencontainers.image.revision": release.commit,
        "org.opencontainers.image.title": "probe502",
        "org.opencontainers.image.version": release.version,
    }))
}

/// Adds bytes under their digest's name, and gives what points to them.
fn blob(layout: &mut Tree, kind: &str, bytes: Vec<u8>) -> Value {
    let digest = sha256(&bytes);
    let size = bytes.len();
    layout.file(&format!("blobs/sha256/{digest}"), 0o644, bytes);
    json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": size})
}

fn text(json: &Value) -> Vec<u8> {
    json.to_string().into_bytes()
}
