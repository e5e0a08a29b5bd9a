//! Pods by their names: the real agent asks a faithful API server over TLS, and a container that a real
//! runtime made fails behind a real nginx.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use probe502_tests::agent::binary;
use probe502_tests::browser::Browser;
use probe502_tests::client::next_id;
use probe502_tests::cluster::{Cluster, Manner, NODE, pod};
use probe502_tests::container::{Container, Hierarchy, Recipe, id, unable};
use probe502_tests::daemon::Daemon;
use probe502_tests::nginx::{Nginx, free_port};
use probe502_tests::paths::Folder;
use probe502_tests::schema;
use serde_json::Value;

const UID: &str = "0b5e4c2a-7f1d-4c39-9a52-d1c2b3a49586";
const OTHER: &str = "77777777-7f1d-4c39-9a52-d1c2b3a49586";

/// An upstream in a pod's container, and a gateway before it on the host.
struct Shop {
    gateway: Nginx,
    _upstream: Container,
}

impl Shop {
    fn open(uid: &str, container: &str) -> Result<Self> {
        let port = free_port("127.0.0.1")?;
        let recipe = Recipe {
            runtime: "crun",
            hierarchy: Hierarchy::V2,
            cgroup: &format!("/kubepods/burstable/pod{uid}/{container}"),
            netns: None,
            memory: None,
            words: &[],
        };
        Ok(Self {
            _upstream: Container::faulty(Folder::make()?, &recipe, ("127.0.0.1", port))?,
            gateway: Nginx::before(&format!("127.0.0.1:{port}"))?,
        })
    }

    /// What the agent says of the upstream of one more failed answer.
    fn fails(&self, daemon: &Daemon) -> Result<Value> {
        let path = format!("/fault/close-without-answer/{}", next_id());
        let answer = self.gateway.get(&path)?;
        ensure!(answer.status == 502, "{path} is {}", answer.status);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let newest: Value = serde_json::from_str(&daemon.page("/api/newest")?)?;
            let mut verdicts = newest.as_array().into_iter().flatten();
            if let Some(verdict) = verdicts.find(|verdict| verdict["request"]["path"] == *path) {
                return Ok(verdict["upstream"].clone());
            }
            if Instant::now() > deadline {
                bail!("no verdict on {path}: {}", daemon.messages());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A shop whose upstream runs in this container, and a cluster that knows its pod.
fn scene(container: &str) -> Result<(Shop, Cluster)> {
    let shop = Shop::open(UID, container)?;
    let cluster = Cluster::make()?;
    cluster.put(pod(NODE, UID, container));
    Ok((shop, cluster))
}

/// The daemon as in a pod of the cluster, watching one gateway.
fn agent(cluster: &Cluster, folder: &Folder, gateway: &Nginx) -> Result<Daemon> {
    let mut command = cluster.inside(&folder.path(""), &binary()?)?;
    command.args(["agent", "--kubernetes"]);
    Daemon::run(command, &folder.path(""), &only(gateway))
}

fn only(gateway: &Nginx) -> String {
    format!("port = [{}]\n", gateway.port())
}

/// Waits until so many pods and containers have names: the agent's pauses between two tries grow.
fn names(daemon: &Daemon, count: u32) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let tracked = daemon.series("probe502_tracked")?;
        let named = tracked.get("what=\"pods\"").copied().unwrap_or(-1.0);
        if (named - f64::from(count)).abs() < 0.5 {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{named} names, not {count}: {}",
            daemon.messages()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether the API server names pods, as the metrics have it.
fn is_up(daemon: &Daemon, well: bool) -> Result<()> {
    let up = daemon.series("probe502_kubernetes_up")?;
    let told = up.get("").is_some_and(|up| (*up > 0.5) == well);
    ensure!(told, "{up:?}, not {well}");
    Ok(())
}

fn is_named(upstream: &Value, uid: &str, container: &str) -> Result<()> {
    let ending = &uid[uid.len() - 5..];
    let wanted = serde_json::json!({
        "namespace": "shop",
        "pod": format!("orders-7f6c9d8b5-{ending}"),
        "workload": "orders",
        "kind": "Deployment",
        "container": "app",
    });
    ensure!(upstream["kubernetes"] == wanted, "not {wanted}: {upstream}");
    ensure!(
        upstream["pod"] == *uid && upstream["container"] == *container,
        "{upstream}"
    );
    // Its cgroup path does not say it; the API server does.
    ensure!(upstream["runtime"] == "containerd", "{upstream}");
    Ok(())
}

fn has_only_ids(upstream: &Value, uid: &str, container: &str) -> Result<()> {
    ensure!(upstream["kubernetes"].is_null(), "named: {upstream}");
    ensure!(
        upstream["pod"] == *uid && upstream["container"] == *container,
        "{upstream}"
    );
    Ok(())
}

#[test]
fn a_pod_has_the_names_of_its_cluster_and_keeps_them_when_it_is_deleted() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let container = id();
    let (shop, mut cluster) = scene(&container)?;
    cluster.put(pod("node-b", OTHER, &id()));
    cluster.serve()?;
    let folder = Folder::make()?;
    let mut daemon = agent(&cluster, &folder, &shop.gateway)?;
    daemon.says("the API server names 1 pods of node node-a")?;
    names(&daemon, 2)?;
    is_named(&shop.fails(&daemon)?, UID, &container)?;
    let series = daemon.series("probe502_answers_total")?;
    ensure!(
        series
            .keys()
            .any(|labels| labels.contains("upstream=\"shop/orders\"")),
        "{series:?}"
    );
    let mut browser = Browser::open(daemon.addr, &folder.path("page.png"))?;
    let story = browser.order("click /fault/close-without-answer")?;
    let own = format!("container app of pod shop/orders-7f6c9d8b5-{}", &UID[31..]);
    ensure!(story.contains(&own), "no '{own}' on the page: {story}");
    // A pod of this node that comes, one of another node's, and the end of ours.
    cluster.put(pod(NODE, OTHER, &id()));
    names(&daemon, 4)?;
    cluster.delete(UID);
    names(&daemon, 2)?;
    is_named(&shop.fails(&daemon)?, UID, &container)?;
    let newest: Vec<Value> = serde_json::from_str(&daemon.page("/api/newest")?)?;
    let lines: String = newest
        .iter()
        .map(|verdict| format!("{verdict}\n"))
        .collect();
    schema::check("verdict", &lines)?;
    let asked = cluster.asked();
    let of_this_node = |path: &String| path.contains("fieldSelector=spec.nodeName%3Dnode-a");
    ensure!(asked.iter().all(of_this_node), "{asked:?}");
    ensure!(daemon.end()?.success(), "{}", daemon.messages());
    Ok(())
}

#[test]
fn an_api_server_that_is_late_or_refuses_holds_nothing_up() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let container = id();
    let (shop, mut cluster) = scene(&container)?;
    cluster.behave(Manner::Late);
    cluster.serve()?;
    let folder = Folder::make()?;
    // As on a node, without a service account.
    let kubeconfig = folder.path("kubeconfig");
    cluster.kubeconfig(&kubeconfig)?;
    let mut command = Command::new(binary()?);
    command
        .args(["agent", "--kubernetes"])
        .env("KUBECONFIG", &kubeconfig)
        .env("NODE_NAME", NODE);
    let daemon = Daemon::run(command, &folder.path(""), &only(&shop.gateway))?;
    ensure!(
        daemon.page("/readyz")?.starts_with("ready"),
        "not ready without names"
    );
    has_only_ids(&shop.fails(&daemon)?, UID, &container)?;
    cluster.behave(Manner::Well);
    names(&daemon, 2)?;
    is_up(&daemon, true)?;
    is_named(&shop.fails(&daemon)?, UID, &container)?;
    // It may no longer ask: what it knows stays, and is said to be old.
    cluster.behave(Manner::Refuse(403));
    daemon.says("names no pods, trying again: 403 pods is forbidden")?;
    is_up(&daemon, false)?;
    is_named(&shop.fails(&daemon)?, UID, &container)?;
    cluster.put(pod(NODE, OTHER, &id()));
    cluster.behave(Manner::Well);
    names(&daemon, 4)
}

#[test]
fn an_api_server_that_was_absent_breaks_off_or_forgets_is_asked_again() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let (container, next) = (id(), id());
    let (shop, mut cluster) = scene(&container)?;
    let folder = Folder::make()?;
    let daemon = agent(&cluster, &folder, &shop.gateway)?;
    daemon.says("names no pods, trying again: ")?;
    has_only_ids(&shop.fails(&daemon)?, UID, &container)?;
    cluster.serve()?;
    names(&daemon, 2)?;
    is_named(&shop.fails(&daemon)?, UID, &container)?;
    cluster.vanish();
    cluster.put(pod(NODE, OTHER, &id()));
    cluster.serve()?;
    names(&daemon, 4)?;
    // Its container was replaced while nobody told of it, and that is forgotten.
    let lists = |cluster: &Cluster| {
        let asked = cluster.asked();
        asked
            .iter()
            .filter(|path| !path.contains("watch=") && !path.contains("resourceVersion=0"))
            .count()
    };
    let before = lists(&cluster);
    cluster.vanish();
    cluster.delete(OTHER);
    cluster.put(pod(NODE, UID, &next));
    cluster.forget();
    cluster.serve()?;
    names(&daemon, 2)?;
    cluster.forget();
    let again = Instant::now();
    while lists(&cluster) == before {
        ensure!(
            again.elapsed() < Duration::from_secs(90),
            "no fresh list: {:?}",
            cluster.asked()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    is_named(&shop.fails(&daemon)?, UID, &container)?;
    Ok(())
}
