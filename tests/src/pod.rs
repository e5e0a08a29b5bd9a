//! A pod of the chart's, started by crun as a node's runtime starts it, from the image's own files.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::client::next_id;
use crate::daemon::Daemon;
use crate::netns::Netns;
use crate::overlay::run;
use crate::running::Running;

/// The container, removed when dropped.
pub struct Pod {
    id: String,
    /// Its agent.
    pub daemon: Daemon,
}

impl Pod {
    /// Starts, until it serves, the first container of this pod's specification from a bundle that `umoci unpack` made.
    ///
    /// # Errors
    /// When crun is not installed, or the agent does not come to serve.
    pub fn start(bundle: &Path, spec: &Value, network: &Netns) -> Result<Self> {
        let id = format!("probe502-{}-{}", std::process::id(), next_id());
        let path = bundle.join("config.json");
        let image: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        fs::write(&path, config(&image, spec, (&id, network))?.to_string())?;
        let mut crun = crun();
        crun.args(["run", "--bundle"]).arg(bundle).arg(&id);
        let addr = SocketAddr::new(network.host().parse()?, 9502);
        let daemon = Daemon::serving(Running::start(&mut crun)?, addr, bundle)?;
        Ok(Self { id, daemon })
    }

    /// Runs a command in it, as `kubectl exec` does.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn exec(&self, words: &[&str]) -> Result<Output> {
        Ok(crun().arg("exec").arg(&self.id).args(words).output()?)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = run(crun().args(["delete", "--force", &self.id]));
    }
}

/// crun where it sees what a node has: cgroup v2 and nothing else. It refuses hosts that have both.
fn crun() -> Command {
    let script = "if [ -e /sys/fs/cgroup/unified ]; then \
                      umount --recursive --lazy /sys/fs/cgroup; \
                      mount -t cgroup2 none /sys/fs/cgroup; \
                  fi; exec crun --cgroup-manager=cgroupfs \"$@\"";
    let mut crun = Command::new("unshare");
    crun.args(["--mount", "sh", "-ec", script, "crun"]);
    crun
}

/// What a runtime makes of the image's configuration and the pod's specification.
fn config(image: &Value, spec: &Value, (id, network): (&str, &Netns)) -> Result<Value> {
    let container = &spec["containers"][0];
    let bounds = &container["securityContext"];
    let strings = |of: &Value| -> Vec<String> {
        let items = of.as_array().into_iter().flatten();
        items
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect()
    };
    let program = strings(&image["process"]["args"]);
    let mut args = vec![program.first().context("the image's entry point")?.clone()];
    args.extend(strings(&container["args"]));
    let environment = container["env"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| {
            let name = one["name"].as_str().unwrap_or_default();
            format!("{name}={}", one["value"].as_str().unwrap_or("node-1"))
        });
    let added = strings(&bounds["capabilities"]["add"]);
    let capabilities: Vec<String> = added.iter().map(|name| format!("CAP_{name}")).collect();
    let mut namespaces = vec![
        json!({"type": "network", "path": format!("/run/netns/{}", network.name)}),
        json!({"type": "mount"}),
        json!({"type": "ipc"}),
        json!({"type": "uts"}),
        json!({"type": "cgroup"}),
    ];
    if spec["hostPID"] != true {
        namespaces.push(json!({"type": "pid"}));
    }
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": bounds["runAsUser"], "gid": 0},
            "args": args,
            "env": environment.collect::<Vec<_>>(),
            "cwd": "/",
            "noNewPrivileges": bounds["allowPrivilegeEscalation"] == false,
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
        },
        "root": {"path": "rootfs", "readonly": bounds["readOnlyRootFilesystem"]},
        "hostname": "pod",
        "mounts": mounts(spec),
        "linux": {
            "namespaces": namespaces,
            "cgroupsPath": format!("/{id}"),
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }))
}

/// What every container has, and the pod's volumes.
fn mounts(spec: &Value) -> Vec<Value> {
    let own = |at: &str, kind: &str, options: &[&str]| json!({"destination": at, "type": kind, "source": kind, "options": options});
    let mut mounts = vec![
        own("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        own(
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=64k"],
        ),
        own("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ];
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    let wanted = spec["containers"][0]["volumeMounts"].as_array();
    for volume in volumes {
        let mut wanted = wanted.into_iter().flatten();
        let Some(mount) = wanted.find(|mount| mount["name"] == volume["name"]) else {
            continue;
        };
        let access = if mount["readOnly"] == true {
            "ro"
        } else {
            "rw"
        };
        let at = mount["mountPath"].as_str().unwrap_or_default();
        mounts.push(match volume["hostPath"]["path"].as_str() {
            Some(path) => json!({
                "destination": at, "type": "bind", "source": path, "options": ["rbind", access],
            }),
            None => own(at, "tmpfs", &["mode=777", access]),
        });
    }
    mounts
}
