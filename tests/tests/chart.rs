//! The Helm chart by Helm's engine and Kubernetes' schemas, and its pod by a container runtime.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use probe502_tests::cgroup::MemoryCgroup;
use probe502_tests::daemon::Daemon;
use probe502_tests::dist::Dist;
use probe502_tests::helm::{ask, chart, objects};
use probe502_tests::netns::Netns;
use probe502_tests::nginx::Nginx;
use probe502_tests::paths::Folder;
use probe502_tests::pod::Pod;
use probe502_tests::skip::unable;
use probe502_tests::upstream::Upstream;
use serde_json::{Value, json};

fn deploy() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// The object of this kind.
fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Result<&'a Value> {
    let found = objects.iter().find(|object| object["kind"] == kind);
    found.with_context(|| format!("no {kind}"))
}

#[test]
fn the_manifest_is_what_the_chart_renders_to() -> Result<()> {
    let rendered = ask(
        "manifest",
        &chart(),
        &json!({"namespace": {"create": true}}),
    )?;
    let committed = deploy().join("probe502.yaml");
    if std::env::var_os("PROBE502_RENDER").is_some() {
        fs::write(&committed, &rendered)?;
    }
    ensure!(
        fs::read_to_string(&committed)? == rendered,
        "render it with PROBE502_RENDER=1"
    );
    Ok(())
}

#[test]
fn the_chart_is_clean_and_refuses_wrong_values() -> Result<()> {
    ask("lint", &chart(), &json!({}))?;
    for wrong in [
        json!({"port": "x"}),
        json!({"prot": 1}),
        json!({"image": {"digest": "abc"}}),
    ] {
        ensure!(ask("lint", &chart(), &wrong).is_err(), "{wrong} is taken");
    }
    Ok(())
}

#[test]
fn the_pod_is_bounded_as_the_service_is() -> Result<()> {
    let objects = objects(&json!({}))?;
    let pod = &of_kind(&objects, "DaemonSet")?["spec"]["template"]["spec"];
    let agent = &pod["containers"][0];
    let bounds = &agent["securityContext"];
    for (key, value) in [
        ("privileged", json!(false)),
        ("allowPrivilegeEscalation", json!(false)),
        ("readOnlyRootFilesystem", json!(true)),
    ] {
        ensure!(bounds[key] == value, "{key} is {}", bounds[key]);
    }
    ensure!(bounds["capabilities"]["drop"] == json!(["ALL"]), "{bounds}");
    let unit = fs::read_to_string(deploy().join("probe502.service"))?;
    let units = unit
        .lines()
        .find_map(|line| line.strip_prefix("AmbientCapabilities="));
    let units = units.context("AmbientCapabilities")?.replace("CAP_", "");
    let added = bounds["capabilities"]["add"].as_array().context("add")?;
    let added: Vec<&str> = added.iter().filter_map(Value::as_str).collect();
    ensure!(
        added == units.split(' ').collect::<Vec<_>>(),
        "{added:?}, the unit: {units}"
    );
    ensure!(
        pod["hostPID"] == true && pod["hostNetwork"].is_null(),
        "{pod}"
    );
    ensure!(
        pod["tolerations"] == json!([{"operator": "Exists"}]),
        "{pod}"
    );
    ensure!(
        agent["livenessProbe"]["httpGet"]["path"] == "/healthz",
        "{agent}"
    );
    ensure!(
        agent["readinessProbe"]["httpGet"]["path"] == "/readyz",
        "{agent}"
    );
    let rules = &of_kind(&objects, "ClusterRole")?["rules"];
    let read =
        json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]);
    ensure!(*rules == read, "{rules}");
    Ok(())
}

#[test]
fn every_value_renders_to_valid_objects() -> Result<()> {
    let all = objects(&json!({
        "image": {"digest": format!("sha256:{}", "a".repeat(64))},
        "imagePullSecrets": [{"name": "pull"}],
        "config": "status = [502, 503]\n",
        "hostNetwork": true,
        "history": {"hostPath": "/var/lib/probe502"},
        "podMonitor": {"enabled": true, "labels": {"release": "prometheus"}},
        "networkPolicy": {"enabled": true, "from": [{"podSelector": {}}]},
        "priorityClassName": "system-node-critical",
        "podAnnotations": {"a": "b"}, "podLabels": {"c": "d"},
        "serviceAccount": {"annotations": {"e": "f"}},
        "extraEnv": [{"name": "PROBE502_LOG", "value": "debug"}],
        "affinity": {"nodeAffinity": {}},
    }))?;
    let template = &of_kind(&all, "DaemonSet")?["spec"]["template"];
    let agent = &template["spec"]["containers"][0];
    // What scrapes and what filters finds the pod, and its port.
    for kind in ["PodMonitor", "NetworkPolicy"] {
        let spec = &of_kind(&all, kind)?["spec"];
        let selector = if kind == "PodMonitor" {
            &spec["selector"]
        } else {
            &spec["podSelector"]
        };
        let wanted = selector["matchLabels"].as_object().context("labels")?;
        let labels = &template["metadata"]["labels"];
        ensure!(
            wanted.iter().all(|(key, value)| labels[key] == *value),
            "{kind}: {wanted:?}"
        );
    }
    let scraped = &of_kind(&all, "PodMonitor")?["spec"]["podMetricsEndpoints"][0]["port"];
    ensure!(agent["ports"][0]["name"] == *scraped, "{agent}");
    let monitor = |key: &str, value: Value| {
        let mut monitor = json!({"enabled": true});
        monitor[key] = value;
        objects(&json!({"podMonitor": monitor}))
    };
    for (key, wrong) in [("interval", json!("often")), ("labels", json!({"a": {}}))] {
        ensure!(monitor(key, wrong).is_err(), "{key} is not judged");
    }
    let least = objects(&json!({
        "kubernetesNames": false, "history": {"enabled": false}, "serviceAccount": {"create": false},
    }))?;
    let kinds: Vec<&Value> = least.iter().map(|object| &object["kind"]).collect();
    ensure!(kinds == ["DaemonSet"], "{kinds:?}");
    let pod = &least[0]["spec"]["template"]["spec"];
    ensure!(pod["automountServiceAccountToken"] == false, "{pod}");
    Ok(())
}

#[test]
fn the_pods_agent_attaches_every_hook_and_names_the_limit_of_an_oom_kill() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    fs::create_dir_all(folder.path("image"))?;
    let bundle = Dist::of_this_commit()?.bundle(&folder.path("image"))?;
    let group = MemoryCgroup::limited_to(64 << 20)?;
    let upstream = Upstream::faulty(&[])?;
    group.take(upstream.running.pid())?;
    let gateway = Nginx::before(&upstream.addr)?;
    let port = json!({"name": "PROBE502_PORT", "value": gateway.port().to_string()});
    let objects = objects(&json!({"extraEnv": [port]}))?;
    let spec = &of_kind(&objects, "DaemonSet")?["spec"]["template"]["spec"];
    let network = Netns::make()?;
    let pod = Pod::start(&bundle, spec, &network)?;
    gateway.get("/fault/oom/1")?;
    pod.daemon
        .reaches("probe502_answers_total", "process.oom.cgroup", 1)?;
    pod.daemon
        .reaches("probe502_history_verdicts_total", "outcome=\"written\"", 1)?;
    let told = pod.exec(&["/usr/bin/probe502", "history", "-o", "json"])?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let verdict: Value = serde_json::from_str(&told).context(told)?;
    let sentence = verdict["sentence"].as_str().unwrap_or_default();
    ensure!(
        verdict["confidence"] == "proven" && sentence.contains("cgroup limit (64 MiB)"),
        "{verdict}"
    );
    let roots = Daemon::start(&folder.path(""), "", &[])?;
    // Those that come and go with the host's doings may be there in one of them alone.
    let wanted = roots.series("probe502_hook_attached")?;
    let its = pod.daemon.series("probe502_hook_attached")?;
    for (hook, attached) in &wanted {
        let has = its.get(hook).copied().unwrap_or(0.0);
        ensure!(has >= *attached, "{hook}: {its:?}, root's: {wanted:?}");
    }
    // No runtime gives a pod /dev/kmsg: a hook stands in for it.
    let doctor = pod.exec(&["/usr/bin/probe502", "doctor"])?;
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(doctor.status.success(), "{said}");
    ensure!(said.contains("log_line tells the same"), "{said}");
    Ok(())
}
