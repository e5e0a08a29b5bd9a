//! Where a process runs: container, its runtime, pod and unit, out of its cgroup paths (v1, v2, hybrid).

/// What the paths tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The container's id: 64 hexadecimal digits, or an LXC container's name.
    pub container: Option<String>,
    /// What made the container, where its path says so.
    pub runtime: Option<&'static str>,
    /// The Kubernetes pod's uid.
    pub pod: Option<String>,
    /// The systemd unit.
    pub unit: Option<String>,
}

/// Reads `/proc/<pid>/cgroup`: lines of `hierarchy:controllers:path`.
pub fn place(text: &str) -> Place {
    let mut place = Place::default();
    for line in text.lines() {
        let Some(path) = line.splitn(3, ':').nth(2) else {
            continue;
        };
        let mut above = "";
        for segment in path.split('/') {
            if let Some((id, runtime)) = container(segment, above) {
                place.contain(id, runtime);
            }
            if let Some(uid) = pod(segment) {
                place.pod = Some(uid);
            }
            above = segment;
        }
        if let Some(name) = lxc(path).filter(|_| place.container.is_none()) {
            place.contain(name, Some("lxc"));
        }
        place.unit = place.unit.or_else(|| unit(path));
    }
    if place.container.is_some() {
        place.unit = None;
    }
    place
}

impl Place {
    /// The innermost container; one hierarchy's path may say more of it than another's.
    fn contain(&mut self, id: &str, runtime: Option<&'static str>) {
        let same = self.container.as_deref() == Some(id);
        self.runtime = runtime.or(self.runtime.filter(|_| same));
        self.container = Some(id.to_owned());
    }
}

/// What runtimes write before a container's id. A bare id under `kubepods` may be anyone's.
const RUNTIMES: &[(&str, &str)] = &[
    ("docker", "docker"),
    ("cri-containerd", "containerd"),
    ("nerdctl", "containerd"),
    ("crio", "cri-o"),
    ("libpod", "podman"),
    ("libpod-payload", "podman"),
];

/// `docker-<id>.scope`, `cri-containerd-<id>.scope`, `slice:cri-containerd:<id>`, `crio-<id>`,
/// `libpod-<id>.scope`, or the bare id, as in `docker/<id>`.
fn container<'a>(segment: &'a str, above: &str) -> Option<(&'a str, Option<&'static str>)> {
    let name = segment.strip_suffix(".scope").unwrap_or(segment);
    let (before, id) = name.rsplit_once(['-', ':']).unwrap_or(("", name));
    let plausible = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !plausible || before.ends_with("conmon") {
        return None;
    }
    let sign = match before.rsplit_once(':').map_or(before, |(_, sign)| sign) {
        "" => above,
        sign => sign,
    };
    let runtime = RUNTIMES.iter().find(|(written, _)| *written == sign);
    Some((id, runtime.map(|(_, runtime)| *runtime)))
}

/// `pod<uid>` (cgroupfs) or `kubepods-burstable-pod<uid>.slice` with `_` for `-` (systemd).
fn pod(segment: &str) -> Option<String> {
    let name = segment.strip_suffix(".slice").unwrap_or(segment);
    let uid = name
        .strip_prefix("pod")
        .or_else(|| name.split_once("-pod").map(|(_, uid)| uid))?;
    let uid = uid.replace('_', "-");
    let plausible = uid.len() >= 32
        && uid
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    plausible.then_some(uid)
}

fn lxc(path: &str) -> Option<&str> {
    let mut segments = path.split('/');
    let named = segments.find_map(|segment| match segment {
        "lxc" => Some(""),
        other => other.strip_prefix("lxc.payload."),
    })?;
    let name = match named {
        "" => segments.next()?,
        name => name,
    };
    (!name.is_empty()).then_some(name)
}

/// The deepest service, else the deepest scope.
fn unit(path: &str) -> Option<String> {
    let deepest = |ending: &str| path.split('/').rfind(|segment| segment.ends_with(ending));
    let unit = deepest(".service").or_else(|| deepest(".scope"))?;
    (unit != "init.scope").then(|| unit.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3fa9c1d2e4b5a6978877665544332211ffeeddccbbaa99887766554433221100";

    #[test]
    fn every_runtimes_container_is_found() {
        let slice = "kubepods-besteffort.slice";
        for (path, runtime) in [
            (format!("0::/system.slice/docker-{ID}.scope"), "docker"),
            (format!("5:memory:/docker/{ID}\n0::/docker/{ID}"), "docker"),
            // Hybrid: systemd's own hierarchy and v2 know the unit that the runtime is.
            (
                format!(
                    "5:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/system.slice/x.service"
                ),
                "docker",
            ),
            (
                format!("0::/user.slice/user-7.slice/user@7.service/user.slice/docker-{ID}.scope"),
                "docker",
            ),
            (
                format!("0::/machine.slice/libpod-{ID}.scope/container"),
                "podman",
            ),
            (format!("4:pids:/libpod_parent/libpod-{ID}"), "podman"),
            (format!("0::/system.slice/nerdctl-{ID}.scope"), "containerd"),
            (
                format!("0::/system.slice/containerd.service/{slice}:cri-containerd:{ID}"),
                "containerd",
            ),
            (
                format!("0::/kubepods.slice/{slice}/cri-containerd-{ID}.scope"),
                "containerd",
            ),
            (format!("0::/../cri-containerd-{ID}.scope"), "containerd"),
            (format!("0::/kubepods.slice/crio-{ID}"), "cri-o"),
            (format!("0::/kubepods.slice/crio-{ID}.scope"), "cri-o"),
        ] {
            let found = place(&path);
            assert_eq!(found.container.as_deref(), Some(ID), "{path}");
            assert_eq!(found.runtime, Some(runtime), "{path}");
            assert_eq!(found.unit, None, "{path}");
        }
    }

    #[test]
    fn a_bare_id_says_no_runtime() {
        for path in [
            format!("4:memory:/kubepods/burstable/pod0b5e4c2a-7f1d-4c39-9a52-d1c2b3a49586/{ID}"),
            format!("0::/ecs/1234/{ID}"),
            format!("0::/{ID}"),
        ] {
            let found = place(&path);
            assert_eq!(
                (found.container.as_deref(), found.runtime),
                (Some(ID), None),
                "{path}"
            );
        }
    }

    #[test]
    fn the_innermost_container_counts_with_its_own_runtime() {
        let inner = ID.replace('3', "4");
        let found = place(&format!(
            "0::/docker/{ID}/kubelet/kubepods/cri-containerd-{inner}.scope"
        ));
        assert_eq!(found.container.as_deref(), Some(inner.as_str()));
        assert_eq!(found.runtime, Some("containerd"));
        let found = place(&format!("0::/docker/{ID}/kubepods/x/{inner}"));
        assert_eq!((found.container, found.runtime), (Some(inner), None));
    }

    #[test]
    fn a_pods_uid_is_found_in_both_drivers_paths() {
        let uid = "0b5e4c2a-7f1d-4c39-9a52-d1c2b3a49586";
        let systemd = format!(
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/cri-containerd-{ID}.scope",
            uid.replace('-', "_")
        );
        let cgroupfs = format!("11:memory:/kubepods/burstable/pod{uid}/{ID}");
        // From inside another pod, whose cgroup is the root there.
        let within = systemd.replace("/kubepods.slice/kubepods-burstable.slice", "/../..");
        for path in [systemd, cgroupfs, within] {
            let found = place(&path);
            assert_eq!(found.pod.as_deref(), Some(uid));
            assert_eq!(found.container.as_deref(), Some(ID));
        }
    }

    #[test]
    fn the_deepest_unit_is_named() {
        let unit = |text: &str| place(text).unit;
        assert_eq!(
            unit("0::/system.slice/nginx.service"),
            Some("nginx.service".into())
        );
        assert_eq!(
            unit("0::/user.slice/user-0.slice/user@0.service/app.slice/shop.service"),
            Some("shop.service".into())
        );
        assert_eq!(
            unit("0::/user.slice/session-3.scope"),
            Some("session-3.scope".into())
        );
        assert_eq!(unit("0::/init.scope"), None);
        assert_eq!(unit("12:pids:/\n1:name=systemd:/\n0::/"), None);
    }

    #[test]
    fn an_lxc_container_goes_by_its_name() {
        for path in ["0::/lxc.payload.web/init.scope", "4:memory:/lxc/web"] {
            let found = place(path);
            assert_eq!(
                (found.container, found.runtime),
                (Some("web".into()), Some("lxc"))
            );
        }
        assert_eq!(place("4:memory:/lxc").container, None);
    }

    #[test]
    fn nonsense_tells_nothing() {
        assert_eq!(place("\n:::\nx\n0::"), Place::default());
        for guard in ["libpod-conmon", "crio-conmon"] {
            let path = format!("0::/machine.slice/{guard}-{ID}.scope");
            assert_eq!(place(&path).container, None);
        }
    }
}
