//! Where a process runs: container, pod and unit, read out of its cgroup paths (v1, v2, hybrid).

/// What the paths tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The container's id: 64 hexadecimal digits, or an LXC container's name.
    pub container: Option<String>,
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
        for segment in path.split('/') {
            if let Some(id) = container(segment) {
                place.container = Some(id.to_owned());
            }
            if let Some(uid) = pod(segment) {
                place.pod = Some(uid);
            }
        }
        place.container = place.container.or_else(|| lxc(path));
        place.unit = place.unit.or_else(|| unit(path));
    }
    if place.container.is_some() {
        place.unit = None;
    }
    place
}

/// `docker-<id>.scope`, `cri-containerd-<id>.scope`, `crio-<id>`, `libpod-<id>.scope` or the bare id.
fn container(segment: &str) -> Option<&str> {
    if segment.contains("conmon") {
        return None;
    }
    let name = segment.strip_suffix(".scope").unwrap_or(segment);
    let id = name.rsplit(['-', ':']).next()?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
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

fn lxc(path: &str) -> Option<String> {
    let mut segments = path.split('/');
    segments
        .find_map(|segment| match segment {
            "lxc" => Some(""),
            other => other.strip_prefix("lxc.payload."),
        })
        .map(|name| {
            if name.is_empty() {
                segments.next().unwrap_or("")
            } else {
                name
            }
        })
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
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
        for path in [
            format!("0::/system.slice/docker-{ID}.scope"),
            format!("5:memory:/docker/{ID}\n0::/docker/{ID}"),
            format!("0::/machine.slice/libpod-{ID}.scope/container"),
            format!(
                "0::/system.slice/containerd.service/kubepods-besteffort.slice:cri-containerd:{ID}"
            ),
            format!("0::/kubepods.slice/crio-{ID}"),
        ] {
            let found = place(&path);
            assert_eq!(found.container.as_deref(), Some(ID), "{path}");
            assert_eq!(found.unit, None, "{path}");
        }
    }

    #[test]
    fn a_pods_uid_is_found_in_both_drivers_paths() {
        let uid = "0b5e4c2a-7f1d-4c39-9a52-d1c2b3a49586";
        let systemd = format!(
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/cri-containerd-{ID}.scope",
            uid.replace('-', "_")
        );
        let cgroupfs = format!("11:memory:/kubepods/burstable/pod{uid}/{ID}");
        for path in [systemd, cgroupfs] {
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
        assert_eq!(
            place("0::/lxc.payload.web/init.scope").container,
            Some("web".into())
        );
        assert_eq!(place("4:memory:/lxc/web").container, Some("web".into()));
    }

    #[test]
    fn nonsense_tells_nothing() {
        assert_eq!(place("\n:::\nx\n0::"), Place::default());
        assert_eq!(place("0::/libpod-conmon-abc.scope").container, None);
    }
}
