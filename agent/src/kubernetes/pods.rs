//! A pod as the API server tells it, in the words of the core: its names, its containers, its workload.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use kube::core::{Object, ObjectMeta};
use probe502_core::event::Pod;
use serde::Deserialize;

/// Of a pod only what names it: the rest of a large object is not even read into memory.
pub type Known = Object<Nothing, Status>;

/// More pods than any kubelet runs; what comes beyond goes by its ids.
const PODS: usize = 2048;
/// The Kubernetes API allows no longer name (DNS subdomains, RFC 1123).
const LENGTH: usize = 253;

/// What of a pod's specification is needed.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Nothing {}

/// What of its state is needed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    container_statuses: Vec<Container>,
    init_container_statuses: Vec<Container>,
    ephemeral_container_statuses: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    name: String,
    /// `containerd://<id>`.
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    last_state: LastState,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LastState {
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Terminated {
    #[serde(rename = "containerID")]
    container_id: Option<String>,
}

/// What was told so far: each pod's containers, by their ids.
#[derive(Debug, Default)]
pub struct Told(BTreeMap<String, BTreeSet<String>>);

impl Told {
    /// How many pods have names.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// All pods that there are now; what is not among them is gone.
    pub fn anew(&mut self, pods: Vec<Known>) -> Vec<Vec<Pod>> {
        let now: BTreeSet<String> = pods.iter().filter_map(uid).collect();
        let left: Vec<String> = (self.0.keys())
            .filter(|uid| !now.contains(*uid))
            .cloned()
            .collect();
        let mut news: Vec<Vec<Pod>> = left.iter().map(|uid| self.bury(uid)).collect();
        news.extend(pods.iter().map(|pod| self.changed(pod)));
        news.retain(|news| !news.is_empty());
        news
    }

    /// A pod came or changed.
    pub fn changed(&mut self, pod: &Known) -> Vec<Pod> {
        let Some(uid) = uid(pod) else {
            return Vec::new();
        };
        if !self.0.contains_key(&uid) && self.0.len() >= PODS {
            return Vec::new();
        }
        let named = named(pod, &uid);
        let ids: BTreeSet<String> = named
            .iter()
            .filter_map(|pod| pod.container.clone())
            .collect();
        let before = self.0.insert(uid.clone(), ids.clone()).unwrap_or_default();
        let left = before.difference(&ids).map(|id| Pod {
            uid: uid.clone(),
            container: Some(id.clone()),
            gone: true,
            ..Pod::default()
        });
        left.chain(named).collect()
    }

    /// A pod was deleted: its last words may name a container that no earlier ones did.
    pub fn gone(&mut self, pod: &Known) -> Vec<Pod> {
        let Some(uid) = uid(pod) else {
            return Vec::new();
        };
        let mut news = self.changed(pod);
        news.extend(self.bury(&uid));
        news
    }

    fn bury(&mut self, uid: &str) -> Vec<Pod> {
        let known = self.0.remove(uid);
        let gone = known.map(|_| Pod {
            uid: uid.to_owned(),
            gone: true,
            ..Pod::default()
        });
        gone.into_iter().collect()
    }
}

/// As the kubelet writes it into cgroup paths: of a pod from a file on the node, the file's hash.
fn uid(pod: &Known) -> Option<String> {
    let annotations = pod.metadata.annotations.as_ref();
    let mirrored = annotations.and_then(|all| all.get("kubernetes.io/config.mirror"));
    mirrored.or(pod.metadata.uid.as_ref()).cloned()
}

fn named(pod: &Known, uid: &str) -> Vec<Pod> {
    let (workload, kind) = workload(&pod.metadata, minutes()).unzip();
    let whole = Pod {
        uid: uid.to_owned(),
        namespace: short(pod.metadata.namespace.as_deref()),
        name: short(pod.metadata.name.as_deref()),
        workload,
        kind,
        ..Pod::default()
    };
    let status = pod.status.clone().unwrap_or_default();
    let containers = (status.container_statuses.iter())
        .chain(&status.init_container_statuses)
        .chain(&status.ephemeral_container_statuses);
    let mut named = vec![whole.clone()];
    for container in containers {
        let terminated = container.last_state.terminated.as_ref();
        let before = terminated.and_then(|last| last.container_id.as_ref());
        for url in before.into_iter().chain(&container.container_id) {
            named.extend(contained(&whole, &container.name, url));
        }
    }
    named
}

fn contained(pod: &Pod, name: &str, url: &str) -> Option<Pod> {
    let (runtime, id) = url.split_once("://")?;
    (!id.is_empty()).then(|| Pod {
        container: Some(id.to_owned()),
        container_name: Some(short(Some(name))),
        runtime: Some(short(Some(runtime))),
        ..pod.clone()
    })
}

fn short(name: Option<&str>) -> String {
    name.unwrap_or_default().chars().take(LENGTH).collect()
}

/// What runs a pod, and its kind. Whoever made a ReplicaSet or a Job in turn has left its mark.
fn workload(pod: &ObjectMeta, now: u64) -> Option<(String, String)> {
    let owners = pod.owner_references.as_ref()?;
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    let labels = pod.labels.as_ref();
    let hash = |label: &str| labels.and_then(|labels| labels.get(label));
    let made_by = match owner.kind.as_str() {
        // The hash of the pod's template is the end of the ReplicaSet's name.
        "ReplicaSet" => [
            ("pod-template-hash", "Deployment"),
            ("rollouts-pod-template-hash", "Rollout"),
        ]
        .iter()
        .find_map(|(label, kind)| Some((without(&owner.name, hash(label)?)?, *kind))),
        "Job" => scheduled(&owner.name, now).map(|name| (name, "CronJob")),
        _ => None,
    };
    let (name, kind) = made_by.unwrap_or((&owner.name, &owner.kind));
    Some((short(Some(name)), short(Some(kind))))
}

fn without<'a>(name: &'a str, ending: &str) -> Option<&'a str> {
    name.strip_suffix(ending)?.strip_suffix('-')
}

/// A CronJob's Jobs end in their time, in minutes since 1970: no other number is of the last year.
fn scheduled(job: &str, now: u64) -> Option<&str> {
    const YEAR: u64 = 366 * 24 * 60;
    let (name, minutes) = job.rsplit_once('-')?;
    let minutes: u64 = minutes.parse().ok()?;
    let lately = (now.saturating_sub(YEAR)..=now + 24 * 60).contains(&minutes);
    (lately && !name.is_empty()).then_some(name)
}

fn minutes() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs() / 60
}

#[cfg(test)]
mod tests;
