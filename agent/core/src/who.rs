//! Who a process is: what /proc tells of it, and the names that its cluster gives its pod.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::recent::Recent;
use crate::units::{Pid, Timestamp};
use crate::verdict::{Cluster, Who};

/// Pods and containers of one node: the kubelet runs 110 pods unless told otherwise, of a few
/// containers each. What comes beyond goes by its ids.
const LIVING: usize = 4096;
/// Those that left are named as long as a verdict may still be about them.
const DEPARTED: usize = 1024;
const NAMED: Duration = Duration::from_secs(3600);

/// Who a process is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// The process.
    pub pid: Pid,
    /// Its parent.
    pub parent: Pid,
    /// Its name.
    pub comm: String,
    /// Its executable's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// A script's name where an interpreter runs it: `gunicorn`, `uvicorn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// Its command line: the program alone, unless arguments were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The container's id, from the cgroup path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// What made the container, where the cgroup path says it: `docker`, `containerd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The Kubernetes pod's uid, from the cgroup path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The systemd unit, from the cgroup path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

impl Process {
    /// One that was looked at as it ended shows neither program nor place: its master's are its own.
    #[must_use]
    pub fn completed(&self, master: Option<&Self>) -> Self {
        let mut own = self.clone();
        let ending = own.exe.is_none() || own.command.is_none();
        let Some(master) = master.filter(|_| ending) else {
            return own;
        };
        own.exe = own.exe.or_else(|| master.exe.clone());
        own.script = own.script.or_else(|| master.script.clone());
        own.command = own.command.or_else(|| master.command.clone());
        if own.container.is_none() && own.unit.is_none() {
            own.container.clone_from(&master.container);
            own.runtime.clone_from(&master.runtime);
            own.pod.clone_from(&master.pod);
            own.unit.clone_from(&master.unit);
        }
        own
    }
}

/// What the API server calls a pod of this node, or one of its containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// The pod's uid, as cgroup paths have it.
    #[serde(default)]
    pub uid: String,
    /// The container's id; absent where this is about the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// It is no more: the pod with all its containers, or this container.
    #[serde(default)]
    pub gone: bool,
    /// The pod's namespace.
    #[serde(default)]
    pub namespace: String,
    /// The pod's name.
    #[serde(default)]
    pub name: String,
    /// What runs it: a Deployment's, a DaemonSet's, a CronJob's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The workload's kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The container's name in its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// What made the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
}

/// The names of this node's pods and containers, by uid and id.
#[derive(Debug)]
pub struct Pods {
    living: BTreeMap<String, Pod>,
    departed: Recent<String, Pod>,
}

impl Default for Pods {
    fn default() -> Self {
        Self {
            living: BTreeMap::new(),
            departed: Recent::new(DEPARTED, NAMED),
        }
    }
}

impl Pods {
    /// The API server named one, or said that it is no more.
    pub fn heed(&mut self, at: Timestamp, pod: Pod) {
        if pod.gone {
            return self.bury(at, &pod);
        }
        let id = pod.container.as_ref().unwrap_or(&pod.uid).clone();
        if self.living.len() < LIVING || self.living.contains_key(&id) {
            self.living.insert(id, pod);
        }
    }

    fn bury(&mut self, at: Timestamp, gone: &Pod) {
        let is_it = |pod: &Pod| {
            let within = gone.container.is_none() || pod.container == gone.container;
            pod.uid == gone.uid && within
        };
        let left: Vec<String> = (self.living.iter())
            .filter(|(_, pod)| is_it(pod))
            .map(|(id, _)| id.clone())
            .collect();
        for id in left {
            if let Some(pod) = self.living.remove(&id) {
                self.departed.insert(at, id, pod);
            }
        }
    }

    /// How many are named, and how many may be.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        (self.living.len(), LIVING)
    }

    /// The container where it is known, else the pod around it.
    fn of(&self, process: &Process) -> Option<&Pod> {
        let named = |id: &String| self.living.get(id).or_else(|| self.departed.get(id));
        let container = process.container.as_ref().and_then(named);
        container.or_else(|| process.pod.as_ref().and_then(named))
    }

    /// All that is known of a process, under its own number and name.
    #[must_use]
    pub fn who(&self, (pid, comm): (Pid, String), known: &Process) -> Who {
        let pod = self.of(known);
        let made_by = pod.and_then(|pod| pod.runtime.as_ref());
        Who {
            pid,
            comm,
            exe: known.exe.clone(),
            script: known.script.clone(),
            command: known.command.clone(),
            container: known.container.clone(),
            runtime: known.runtime.as_ref().or(made_by).cloned(),
            pod: known.pod.clone(),
            unit: known.unit.clone(),
            kubernetes: pod.map(cluster),
        }
    }
}

fn cluster(pod: &Pod) -> Cluster {
    Cluster {
        namespace: pod.namespace.clone(),
        pod: pod.name.clone(),
        workload: pod.workload.clone(),
        kind: pod.kind.clone(),
        container: pod.container_name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, container: Option<&str>) -> Pod {
        Pod {
            uid: uid.into(),
            container: container.map(str::to_owned),
            namespace: "shop".into(),
            name: format!("orders-{uid}"),
            container_name: container.map(|id| format!("app-{id}")),
            ..Pod::default()
        }
    }

    fn named(pods: &Pods, container: &str, uid: &str) -> Option<(String, Option<String>)> {
        let process = Process {
            container: Some(container.into()),
            pod: Some(uid.into()),
            ..Process::default()
        };
        let cluster = pods.who((Pid(1), String::new()), &process).kubernetes?;
        Some((cluster.pod, cluster.container))
    }

    #[test]
    fn a_container_is_named_and_an_unknown_one_goes_by_its_pod() {
        let mut pods = Pods::default();
        pods.heed(Timestamp(1), pod("u", None));
        pods.heed(Timestamp(1), pod("u", Some("c")));
        let known = Some(("orders-u".to_owned(), Some("app-c".to_owned())));
        assert_eq!(named(&pods, "c", "u"), known);
        assert_eq!(named(&pods, "pause", "u"), Some(("orders-u".into(), None)));
        assert_eq!(named(&pods, "c2", "u2"), None);
    }

    #[test]
    fn who_left_is_named_for_an_hour() {
        let mut pods = Pods::default();
        for (uid, container) in [("u", None), ("u", Some("c")), ("v", Some("d"))] {
            pods.heed(Timestamp(1), pod(uid, container));
        }
        let gone = Pod {
            gone: true,
            ..pod("u", None)
        };
        pods.heed(Timestamp(2), gone.clone());
        assert_eq!(pods.held().0, 1);
        assert!(named(&pods, "c", "u").is_some() && named(&pods, "d", "v").is_some());
        let later = Timestamp(2 + NAMED.as_nanos() as u64 + 1);
        pods.heed(
            later,
            Pod {
                uid: "v".into(),
                ..gone
            },
        );
        assert!(named(&pods, "c", "u").is_none() && named(&pods, "d", "v").is_some());
    }

    #[test]
    fn a_container_that_left_takes_no_other_with_it() {
        let mut pods = Pods::default();
        pods.heed(Timestamp(1), pod("u", Some("c")));
        pods.heed(Timestamp(1), pod("u", Some("d")));
        pods.heed(
            Timestamp(2),
            Pod {
                gone: true,
                ..pod("u", Some("c"))
            },
        );
        assert_eq!(pods.held().0, 1);
    }

    #[test]
    fn names_are_bounded_and_those_that_are_known_stay() {
        let mut pods = Pods::default();
        for number in 0..LIVING + 10 {
            pods.heed(Timestamp(1), pod(&format!("u{number}"), None));
        }
        assert_eq!(pods.held(), (LIVING, LIVING));
        assert!(named(&pods, "", "u0").is_some());
        for number in 0..LIVING {
            pods.heed(
                Timestamp(2),
                Pod {
                    gone: true,
                    ..pod(&format!("u{number}"), None)
                },
            );
        }
        assert_eq!(pods.departed.held(), (DEPARTED, DEPARTED));
    }
}
