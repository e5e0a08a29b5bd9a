//! A container as Docker, containerd or Podman would have crun or runc make it, from a root file system
//! made by hand; removed when dropped.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::client::next_id;
use crate::paths::Folder;
use crate::running::Running;
use crate::skip;
use crate::upstream::programs;

/// Skips what needs containers where that is impossible.
#[must_use]
pub fn unable() -> bool {
    if skip::unable() {
        return true;
    }
    let is_there = |path: &&str| Path::new(path).exists();
    if !["/usr/bin/crun", "/usr/sbin/runc"].iter().all(is_there) {
        skip::skip("needs crun and runc; `cargo xtask test` installs them");
        return true;
    }
    false
}

/// An id that nobody else has, as long as runtimes make them.
#[must_use]
pub fn id() -> String {
    format!("{:032x}{:032x}", std::process::id(), next_id())
}

/// Which cgroups a runtime uses. crun refuses hosts that have controllers in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// A hierarchy for each controller, with its limits.
    V1,
    /// The one hierarchy.
    V2,
}

/// What a container is to be.
pub struct Recipe<'a> {
    /// `crun` or `runc`.
    pub runtime: &'a str,
    /// The hierarchy that it sees, where the host has both; else the host's.
    pub hierarchy: Hierarchy,
    /// Its cgroup's path, as the one who orders it writes it.
    pub cgroup: &'a str,
    /// The network namespace that it joins; else the host's.
    pub netns: Option<&'a str>,
    /// Bytes of memory at most.
    pub memory: Option<u64>,
    /// The command.
    pub words: &'a [&'a str],
}

/// A running container.
pub struct Container {
    /// `crun run`, or `runc run`: its output is the container's.
    pub running: Running,
    /// A folder that the container sees under the same path.
    pub folder: Folder,
    runtime: (String, Hierarchy),
    name: String,
    cgroup: String,
}

impl Container {
    /// Makes it in this folder, and starts it.
    ///
    /// # Errors
    /// When the runtime refuses.
    pub fn start(folder: Folder, recipe: &Recipe) -> Result<Self> {
        let name = format!("probe502-{}-{}", std::process::id(), next_id());
        let bundle = folder.path("bundle");
        root(&bundle.join("rootfs"), &folder.path(""))?;
        fs::write(
            bundle.join("config.json"),
            specification(recipe, &folder.path(""))?.to_string(),
        )?;
        let mut command = runtime(recipe.runtime, recipe.hierarchy, &folder);
        command.arg("run").arg("--bundle").arg(&bundle).arg(&name);
        Ok(Self {
            running: Running::start(&mut command)?,
            runtime: (recipe.runtime.to_owned(), recipe.hierarchy),
            cgroup: recipe.cgroup.to_owned(),
            folder,
            name,
        })
    }
}

impl Container {
    /// One that runs `faulty.py` on this address, and listens.
    ///
    /// # Errors
    /// When it does not come to listen.
    pub fn faulty(folder: Folder, recipe: &Recipe, (host, port): (&str, u16)) -> Result<Self> {
        let program = programs().canonicalize()?.join("faulty.py");
        let program = program.to_str().context("a path of text")?;
        let port = port.to_string();
        let words = [
            "/usr/bin/python3",
            "-B",
            program,
            "--host",
            host,
            "--port",
            &port,
        ];
        let recipe = Recipe {
            words: &words,
            ..*recipe
        };
        let own = Self::start(folder, &recipe)?;
        let listens = |line: &str| line.starts_with("listening ");
        let ready = own.running.out.wait(Duration::from_secs(20), listens);
        ready.with_context(|| format!("no upstream: {}", own.running.err.text()))?;
        Ok(own)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let (name, hierarchy) = (&self.runtime.0, self.runtime.1);
        // It is killed; where it has ended by itself, `run` has deleted it.
        let mut delete = runtime(name, hierarchy, &self.folder);
        let _ = delete.args(["delete", "--force", &self.name]).output();
        let _ = self.running.wait(Duration::from_secs(5));
        forget(&self.cgroup);
    }
}

/// The runtime, in a mount namespace where it sees but one kind of cgroups.
fn runtime(name: &str, hierarchy: Hierarchy, folder: &Folder) -> Command {
    let sight = match hierarchy {
        Hierarchy::V1 => "umount /sys/fs/cgroup/unified",
        Hierarchy::V2 => {
            "umount --recursive --lazy /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup"
        }
    };
    let hybrid = Path::new("/sys/fs/cgroup/unified").exists();
    let script = format!("set -e; {}; exec \"$@\"", if hybrid { sight } else { ":" });
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh", name]);
    command.arg("--root").arg(folder.path("state"));
    command
}

/// The host's programs, and beside them nothing but what nginx asks for.
fn root(root: &Path, shared: &Path) -> Result<()> {
    let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    for dir in [
        "usr",
        "proc",
        "dev",
        "sys",
        "run",
        "tmp",
        "etc",
        "var/log/nginx",
    ] {
        fs::create_dir_all(root.join(dir))?;
    }
    for dir in [shared, &programs().canonicalize()?] {
        fs::create_dir_all(inside(dir))?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name))?;
    }
    for file in ["etc/passwd", "etc/group", "etc/ld.so.cache"] {
        fs::copy(Path::new("/").join(file), root.join(file))?;
    }
    Ok(())
}

/// The OCI runtime specification's `config.json`.
fn specification(recipe: &Recipe, shared: &Path) -> Result<Value> {
    let capabilities = [
        "CAP_SETUID",
        "CAP_SETGID",
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_KILL",
    ];
    let bind = |path: &Path, mode: &str| json!({"destination": path, "source": path, "type": "bind", "options": ["rbind", mode]});
    let mut namespaces = vec![
        json!({"type": "pid"}),
        json!({"type": "mount"}),
        json!({"type": "ipc"}),
    ];
    if let Some(name) = recipe.netns {
        let path = format!("/run/netns/{name}");
        namespaces.push(json!({"type": "network", "path": path}));
    }
    let memory = recipe
        .memory
        .map(|bytes| json!({"limit": bytes, "swap": bytes}));
    let programs: PathBuf = programs()
        .canonicalize()
        .context("the upstreams' programs")?;
    Ok(json!({
        "ociVersion": "1.0.0",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": recipe.words,
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONDONTWRITEBYTECODE=1"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
            },
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            bind(Path::new("/usr"), "ro"),
            bind(&programs, "ro"),
            bind(shared, "rw"),
        ],
        "linux": {
            "cgroupsPath": recipe.cgroup,
            "namespaces": namespaces,
            "resources": {"memory": memory.unwrap_or_else(|| json!({}))},
        },
    }))
}

/// Runtimes take the last folder of a path away, and leave those above it.
fn forget(cgroup: &str) {
    let Ok(roots) = fs::read_dir("/sys/fs/cgroup") else {
        return;
    };
    let roots = roots
        .flatten()
        .map(|entry| entry.path())
        .chain([PathBuf::from("/sys/fs/cgroup")]);
    for root in roots {
        let mut dir = root.join(cgroup.trim_start_matches('/'));
        while dir != root && dir.starts_with(&root) {
            let _ = fs::remove_dir(&dir);
            dir.pop();
        }
    }
}
