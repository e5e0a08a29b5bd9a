//! The rules for Prometheus and the dashboards over it: by Prometheus' own tools, and in a Prometheus
//! that scrapes an agent.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use probe502_tests::daemon::Daemon;
use probe502_tests::nginx::{Nginx, free_port};
use probe502_tests::paths::Folder;
use probe502_tests::prometheus::{Prometheus, dashboards, items, project, queries, rules};
use probe502_tests::skip::unable;
use serde_json::Value;

fn promtool(arguments: &[&str], stdin: Stdio) -> Result<()> {
    let mut tool = Command::new("promtool");
    let output = tool
        .args(arguments)
        .current_dir(rules())
        .stdin(stdin)
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(output.status.success(), "promtool {arguments:?}: {said}");
    Ok(())
}

#[test]
fn the_rules_are_right_by_prometheus_own_tools() -> Result<()> {
    promtool(&["check", "rules", "probe502.yml"], Stdio::null())?;
    promtool(&["test", "rules", "tests.yml"], Stdio::null())
}

/// Every word in there that is a metric's name must be one.
fn names_metrics(text: &str) -> Result<()> {
    let metrics = std::fs::read_to_string(project().join("docs/metrics.md"))?;
    let is_word = |one: char| one.is_ascii_alphanumeric() || one == '_' || one == ':';
    for word in text.split(|one| !is_word(one)) {
        if word.starts_with("probe502_") {
            ensure!(
                metrics.contains(&format!("| `{word}` |")),
                "no metric {word}"
            );
        }
    }
    Ok(())
}

#[test]
fn the_rules_name_metrics_and_pages_that_there_are() -> Result<()> {
    let text = std::fs::read_to_string(rules().join("probe502.yml"))?;
    names_metrics(&text)?;
    for line in text.lines().filter(|line| line.contains("runbook_url")) {
        let page = line.split('"').nth(1).context("a page")?;
        let page = page.replace("{{ $labels.cause }}", "process.crash");
        ensure!(project().join(&page).is_file(), "no page {page}");
    }
    Ok(())
}

#[test]
fn every_panel_says_what_it_shows_and_where_from() -> Result<()> {
    for (name, dashboard) in dashboards()? {
        ensure!(
            dashboard["uid"] == format!("probe502-{name}"),
            "{name}: another uid"
        );
        let version = dashboard["schemaVersion"].as_u64();
        ensure!(
            version.is_some_and(|it| (39..=41).contains(&it)),
            "{name}: {version:?}"
        );
        let variables: Vec<&Value> = items(&dashboard["templating"], "list").collect();
        ensure!(
            variables[0]["type"] == "datasource",
            "{name}: no source to choose"
        );
        for panel in items(&dashboard, "panels") {
            let title = panel["title"].as_str().unwrap_or_default();
            let told = panel["description"]
                .as_str()
                .is_some_and(|text| text.ends_with('.'));
            let unit = panel["fieldConfig"]["defaults"]["unit"].is_string();
            ensure!(
                !title.is_empty() && told && unit,
                "{name}: '{title}' says too little"
            );
            for target in items(panel, "targets") {
                let text = target["expr"].as_str().context("an expression")?;
                ensure!(
                    !text.contains("rate(") || text.contains("$__rate_interval"),
                    "{text}"
                );
                ensure!(
                    target["datasource"]["uid"] == "${datasource}",
                    "{name}: '{title}'"
                );
                let buckets = text.replace("_seconds_bucket", "_seconds");
                names_metrics(&buckets)?;
            }
        }
        ensure!(
            queries(&dashboard).iter().all(|text| !text.contains('$')),
            "{name}: a variable"
        );
    }
    Ok(())
}

#[test]
fn prometheus_takes_the_metrics_and_every_rule_and_panel_evaluates() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    let gateway = Nginx::before(&format!("127.0.0.1:{}", free_port("127.0.0.1")?))?;
    let file = format!("port = [{}]\n", gateway.port());
    let daemon = Daemon::start(&folder.path(""), &file, &[])?;
    let prometheus = Prometheus::of(&[&daemon], &folder)?;
    for _ in 0..7 {
        gateway.get("/x")?;
    }
    let seven = |answer: &Value| answer["data"]["result"][0]["value"][1] == "7";
    prometheus.shows("query?query=sum(probe502_answers_total)", seven)?;
    let some = |answer: &Value| answer["data"]["result"][0]["value"][1].is_string();
    for recorded in [
        "cause:probe502_answers:rate5m",
        "upstream:probe502_answers:rate5m",
    ] {
        prometheus.shows(&format!("query?query={recorded}"), some)?;
    }
    let healthy = |answer: &Value| {
        let groups = answer["data"]["groups"].as_array();
        let rules = groups.into_iter().flatten();
        let mut rules = rules.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        groups.is_some_and(|groups| groups.len() == 2) && rules.all(|rule| rule["health"] == "ok")
    };
    prometheus.shows("rules", healthy)?;
    for (name, dashboard) in dashboards()? {
        for text in queries(&dashboard) {
            let answer = prometheus.query(&text);
            ensure!(answer["status"] == "success", "{name}: {text}: {answer}");
        }
    }
    let page = folder.path("metrics");
    std::fs::write(&page, daemon.page("/metrics")?)?;
    promtool(&["check", "metrics"], std::fs::File::open(page)?.into())
}

/// A YAML file as Python's parser reads it.
fn yaml(path: &Path) -> Result<Value> {
    let mut python = Command::new("python3");
    python.args([
        "-c",
        "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)",
    ]);
    let output = python.arg(path).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", path.display());
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn grafana_finds_the_dashboards_and_their_source_where_the_files_say() -> Result<()> {
    let folder = project().join("dashboards/provisioning");
    for (file, kind) in [
        ("dashboards.yml", "dashboards"),
        ("datasources.yml", "datasources"),
    ] {
        let text = std::fs::read_to_string(folder.join(file))?;
        let place = format!("# Grafana: /etc/grafana/provisioning/{kind}/probe502.yml\n");
        ensure!(
            text.starts_with(&place),
            "{file} does not say where it goes"
        );
        ensure!(
            yaml(&folder.join(file))?["apiVersion"] == 1,
            "{file}: another form"
        );
    }
    let provided = yaml(&folder.join("dashboards.yml"))?;
    let provided: Vec<&Value> = items(&provided, "providers").collect();
    ensure!(
        provided.len() == 1 && provided[0]["type"] == "file",
        "{provided:?}"
    );
    let place = provided[0]["options"]["path"].as_str();
    ensure!(
        place.is_some_and(|place| Path::new(place).is_absolute()),
        "{place:?}"
    );
    let sources = yaml(&folder.join("datasources.yml"))?;
    let sources: Vec<&Value> = items(&sources, "datasources").collect();
    ensure!(
        sources.len() == 1 && sources[0]["isDefault"] == true,
        "{sources:?}"
    );
    for (name, dashboard) in dashboards()? {
        let variable = &dashboard["templating"]["list"][0];
        ensure!(
            variable["query"] == sources[0]["type"],
            "{name} asks for another kind of source than is provided"
        );
    }
    Ok(())
}
