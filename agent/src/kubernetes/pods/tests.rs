//! Pods as API servers tell them, and what becomes of them.

use serde_json::{Value, json};

use super::*;

/// 2026-01-01.
const NOW: u64 = 29_454_240;

fn pod(uid: &str, containers: &Value) -> Known {
    let told = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "orders-x2x4z", "namespace": "shop", "uid": uid},
        "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "a"}]},
        "status": {"phase": "Running", "containerStatuses": containers},
    });
    serde_json::from_value(told).expect("a pod")
}

fn meta(owner: &Value, labels: &Value) -> ObjectMeta {
    let told = json!({"name": "p", "ownerReferences": [owner], "labels": labels});
    serde_json::from_value(told).expect("metadata")
}

fn owned_by(kind: &str, name: &str, labels: &Value) -> Option<(String, String)> {
    let owner = json!({
        "apiVersion": "v1", "kind": kind, "name": name, "uid": "u", "controller": true,
    });
    workload(&meta(&owner, labels), NOW)
}

fn both(name: &str, kind: &str) -> Option<(String, String)> {
    Some((name.to_owned(), kind.to_owned()))
}

#[test]
fn a_workload_is_what_its_author_wrote() {
    let none = json!({});
    let hash = json!({"pod-template-hash": "7f6c9d8b5"});
    let rollout = json!({"rollouts-pod-template-hash": "7f6c9d8b5"});
    let set = "orders-7f6c9d8b5";
    assert_eq!(
        owned_by("ReplicaSet", set, &hash),
        both("orders", "Deployment")
    );
    assert_eq!(
        owned_by("ReplicaSet", set, &rollout),
        both("orders", "Rollout")
    );
    // A ReplicaSet of nobody's, and one that got its label by hand.
    assert_eq!(owned_by("ReplicaSet", set, &none), both(set, "ReplicaSet"));
    let other = json!({"pod-template-hash": "abc"});
    assert_eq!(owned_by("ReplicaSet", set, &other), both(set, "ReplicaSet"));
    assert_eq!(
        owned_by("StatefulSet", "db", &none),
        both("db", "StatefulSet")
    );
    let job = format!("backup-{}", NOW - 60);
    assert_eq!(owned_by("Job", &job, &none), both("backup", "CronJob"));
    for own in ["import-20260101", "import", "import-7", &NOW.to_string()] {
        assert_eq!(owned_by("Job", own, &none), both(own, "Job"));
    }
    assert_eq!(workload(&ObjectMeta::default(), NOW), None);
}

#[test]
fn each_container_is_named_with_its_runtime_and_the_one_before() {
    let containers = json!([{
        "name": "app",
        "containerID": "containerd://bbb",
        "lastState": {"terminated": {"exitCode": 137, "containerID": "containerd://aaa"}},
    }, {"name": "waits"}]);
    let mut told = Told::default();
    let news = told.changed(&pod("u", &containers));
    let ids: Vec<_> = news.iter().map(|pod| pod.container.as_deref()).collect();
    assert_eq!(ids, [None, Some("aaa"), Some("bbb")]);
    assert!(
        news.iter()
            .all(|pod| pod.name == "orders-x2x4z" && pod.namespace == "shop")
    );
    assert_eq!(news[2].container_name.as_deref(), Some("app"));
    assert_eq!(news[2].runtime.as_deref(), Some("containerd"));
}

#[test]
fn a_container_that_was_replaced_is_gone() {
    let mut told = Told::default();
    told.changed(&pod(
        "u",
        &json!([{"name": "app", "containerID": "crio://a"}]),
    ));
    let news = told.changed(&pod(
        "u",
        &json!([{"name": "app", "containerID": "crio://b"}]),
    ));
    let gone: Vec<_> = news.iter().filter(|pod| pod.gone).collect();
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].container.as_deref(), Some("a"));
}

#[test]
fn a_new_list_tells_who_left_meanwhile() {
    let none = json!([]);
    let mut told = Told::default();
    told.anew(vec![pod("u", &none), pod("v", &none)]);
    let news: Vec<Pod> = told.anew(vec![pod("v", &none)]).concat();
    let gone: Vec<&str> = (news.iter().filter(|pod| pod.gone))
        .map(|pod| pod.uid.as_str())
        .collect();
    assert_eq!((gone, told.count()), (vec!["u"], 1));
}

#[test]
fn a_static_pod_goes_by_its_files_hash() {
    let mut mirrored = pod("u", &json!([]));
    let annotation = ("kubernetes.io/config.mirror".to_owned(), "0a1b".to_owned());
    mirrored.metadata.annotations = Some([annotation].into());
    assert_eq!(uid(&mirrored).as_deref(), Some("0a1b"));
}

#[test]
fn pods_are_bounded() {
    let mut told = Told::default();
    for number in 0..PODS + 5 {
        told.changed(&pod(&number.to_string(), &json!([])));
    }
    assert_eq!(told.count(), PODS);
}
