//! What the cluster holds, what happened to it, and how its server behaves.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

/// How requests are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As they should.
    Well,
    /// Not until it behaves otherwise.
    Late,
    /// With this status.
    Refuse(u16),
}

/// Everything, behind one lock.
pub struct State {
    token: String,
    held: Mutex<Held>,
    /// Whoever waits for events or for another manner looks again.
    pub moved: watch::Sender<u64>,
}

struct Held {
    manner: Manner,
    version: u64,
    /// What happened up to here is forgotten.
    forgotten: u64,
    pods: BTreeMap<String, Value>,
    events: Vec<(u64, Value)>,
    asked: Vec<String>,
}

impl State {
    /// An empty cluster that believes those who show this token.
    pub fn new(token: &str) -> Self {
        let held = Held {
            manner: Manner::Well,
            version: 1000,
            forgotten: 0,
            pods: BTreeMap::new(),
            events: Vec::new(),
            asked: Vec::new(),
        };
        Self {
            token: format!("Bearer {token}"),
            held: Mutex::new(held),
            moved: watch::channel(0).0,
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        let changed = change(&mut self.held());
        self.moved.send_modify(|count| *count += 1);
        changed
    }

    pub fn behave(&self, manner: Manner) {
        self.change(|held| held.manner = manner);
    }

    pub fn manner(&self) -> Manner {
        self.held().manner
    }

    pub fn believes(&self, authorization: Option<&str>) -> bool {
        authorization == Some(self.token.as_str())
    }

    pub fn ask(&self, what: String) {
        self.held().asked.push(what);
    }

    pub fn asked(&self) -> Vec<String> {
        self.held().asked.clone()
    }

    pub fn put(&self, pod: Value) {
        self.change(|held| {
            let uid = pod["metadata"]["uid"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let kind = if held.pods.contains_key(&uid) {
                "MODIFIED"
            } else {
                "ADDED"
            };
            let pod = held.happened(kind, pod);
            held.pods.insert(uid, pod);
        });
    }

    pub fn delete(&self, uid: &str) {
        self.change(|held| {
            if let Some(pod) = held.pods.remove(uid) {
                held.happened("DELETED", pod);
            }
        });
    }

    pub fn forget(&self) {
        self.change(|held| {
            held.version += 1;
            held.forgotten = held.version;
            held.events.clear();
        });
    }

    /// The list of a node's pods.
    pub fn list(&self, node: &str) -> Value {
        let held = self.held();
        let items: Vec<&Value> = held.pods.values().filter(|pod| is_on(pod, node)).collect();
        json!({
            "kind": "PodList", "apiVersion": "v1",
            "metadata": {"resourceVersion": held.version.to_string()}, "items": items,
        })
    }

    /// What happened on a node since a version, and up to which that is; nothing where it is forgotten.
    pub fn since(&self, version: u64, node: &str) -> Option<(Vec<Value>, u64)> {
        let held = self.held();
        if version < held.forgotten {
            return None;
        }
        let news = held
            .events
            .iter()
            .filter(|(at, event)| *at > version && is_on(&event["object"], node));
        Some((news.map(|(_, event)| event.clone()).collect(), held.version))
    }
}

impl Held {
    fn happened(&mut self, kind: &str, mut pod: Value) -> Value {
        self.version += 1;
        pod["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.events
            .push((self.version, json!({"type": kind, "object": pod})));
        pod
    }
}

fn is_on(pod: &Value, node: &str) -> bool {
    pod["spec"]["nodeName"] == node
}
