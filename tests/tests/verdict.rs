//! The verdict's public form: its schema, its attempts, and what `watch` leaves out when told to.

use anyhow::{Context, Result, ensure};
use probe502_tests::client::next_id;
use probe502_tests::nginx::{Nginx, Plan};
use probe502_tests::repertoire::{each, fault};
use probe502_tests::schema;
use probe502_tests::skip::unable;
use probe502_tests::stage::Stage;
use probe502_tests::upstream::Upstream;
use probe502_tests::watch::{Sure, Watch};

#[test]
fn real_verdicts_keep_to_the_schema() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    let gateway = Nginx::before(&upstream.addr)?;
    let mut watch = Watch::over(&gateway)?;
    each(&gateway, &mut watch)?;
    let Some(report) = watch.end()? else {
        return Ok(());
    };
    schema::check("verdict", &report.output)
}

#[test]
fn the_query_is_dropped() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::faulty(&[])?;
    let answer = stage
        .gateway
        .get(&format!("/fault/says-502/{}?token=sesame", next_id()))?;
    stage
        .watch
        .expect(&answer, "relayed.upstream", Sure::Proven);
    // The watch itself finds the word in no line of the output.
    stage.end()
}

#[test]
fn each_try_of_a_request_is_listed() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let (one, other) = (Upstream::faulty(&[])?, Upstream::faulty(&[])?);
    let both = vec![one.addr.clone(), other.addr.clone()];
    let gateway = Nginx::start(&Plan {
        upstreams: both,
        ..Plan::before("")
    })?;
    let mut watch = Watch::over(&gateway)?;
    let answer = fault("close-without-answer").ask(&gateway)?;
    if let Some(seen) = watch.expect(&answer, "app.closed-without-answer", Sure::Proven) {
        let attempts = seen.verdict["attempts"].as_array().context("attempts")?;
        let mut dialled: Vec<_> = attempts
            .iter()
            .filter_map(|attempt| attempt["addr"].as_str())
            .collect();
        dialled.sort_unstable();
        let mut expected = [one.addr.as_str(), other.addr.as_str()];
        expected.sort_unstable();
        ensure!(dialled == expected, "attempts: {}", seen.line);
    }
    watch.end().map(drop)
}

#[test]
fn a_failure_that_a_retry_hid_is_no_verdict() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let live = Upstream::faulty(&[])?;
    let dead = probe502_tests::nginx::free_port("127.0.0.1")?;
    let upstreams = vec![format!("127.0.0.1:{dead} max_fails=0"), live.addr.clone()];
    let gateway = Nginx::start(&Plan {
        upstreams,
        ..Plan::before("")
    })?;
    let watch = Watch::over(&gateway)?;
    for _ in 0..4 {
        ensure!(gateway.get("/ok")?.status == 200);
    }
    watch.end().map(drop)
}

#[test]
fn other_statuses_are_watched_when_asked_for() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    let gateway = Nginx::before(&upstream.addr)?;
    let mut watch = Watch::with(&gateway, &["--status", "502,503"])?;
    let answer = gateway.get(&format!("/fault/says-503/{}", next_id()))?;
    watch.expect(&answer, "relayed.upstream", Sure::Proven);
    let answer = fault("segv").ask(&gateway)?;
    watch.expect(&answer, "process.crash", Sure::Proven);
    watch.end().map(drop)
}

#[test]
fn other_statuses_are_not_watched_unasked() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let stage = Stage::faulty(&[])?;
    ensure!(stage.fault("says-503")?.status == 503);
    stage.end()
}

#[test]
fn a_watch_for_one_cause_hears_of_no_other() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    let gateway = Nginx::before(&upstream.addr)?;
    let mut watch = Watch::with(&gateway, &["--cause", "process"])?;
    ensure!(fault("says-502").ask(&gateway)?.status == 502);
    let answer = fault("exit-early").ask(&gateway)?;
    watch.expect(&answer, "process.exit", Sure::Proven);
    watch.end().map(drop)
}
