//! `probe502 agent`: what it counts, serves, stores and survives.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use probe502_tests::agent::binary;
use probe502_tests::browser::Browser;
use probe502_tests::daemon::{Daemon, get, raw};
use probe502_tests::nginx::{Nginx, Plan, free_port};
use probe502_tests::paths::Folder;
use probe502_tests::running::Running;
use probe502_tests::skip::{say, unable};

const MIB: f64 = (1u32 << 20) as f64;
/// What the agent may hold in all; what it holds from its start differs by how it was built.
const BUDGET: f64 = 15.0 * MIB;

/// Only this test's gateway.
fn only(gateway: &Nginx) -> String {
    format!("port = [{}]\n", gateway.port())
}

fn nobody() -> Result<Nginx> {
    Nginx::before(&format!("127.0.0.1:{}", free_port("127.0.0.1")?))
}

#[test]
fn a_setting_is_read_again_and_no_failure_is_missed() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    let gateway = nobody()?;
    let mut daemon = Daemon::start(&folder.path(""), &only(&gateway), &[])?;
    let ask = |count: usize| (0..count).try_for_each(|_| gateway.get("/x").map(drop));
    ask(5)?;
    std::fs::write(daemon.folder.join("config.toml"), "histroy = \"x\"\n")?;
    daemon.signal("HUP")?;
    daemon.says("did you mean `history`?")?;
    ask(5)?;
    let more = format!("{}upstreams = 7\nstatus = [503]\n", only(&gateway));
    std::fs::write(daemon.folder.join("config.toml"), more)?;
    daemon.signal("HUP")?;
    ask(5)?;
    daemon.says("`status` changes at the next start")?;
    daemon.says("read again")?;
    ask(5)?;
    daemon.counts("probe502_answers_total", 20)?;
    let bounds = daemon.series("probe502_tracked_bound")?;
    ensure!(
        bounds.get("what=\"upstream names\"") == Some(&7.0),
        "{bounds:?}"
    );
    ensure!(daemon.end()?.success(), "it ends with an error");
    ensure!(
        daemon.messages().contains("ended; 20 failed answers"),
        "{}",
        daemon.messages()
    );
    Ok(())
}

#[test]
fn it_moves_to_an_address_that_its_own_is_in_the_way_of() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    let port = free_port("127.0.0.1")?;
    let on = |host: &str| format!("listen = \"{host}:{port}\"\nport = [1]\n");
    let config = folder.path("config.toml");
    std::fs::write(&config, on("127.0.0.1"))?;
    let mut command = Command::new(binary()?);
    let running = Running::start(command.arg("agent").arg("--config").arg(&config))?;
    let daemon = Daemon::serving(running, ([127, 0, 0, 1], port).into(), &folder.path(""))?;
    let becomes = |host: &str| -> Result<()> {
        std::fs::write(&config, on(host))?;
        daemon.signal("HUP")
    };
    let elsewhere = SocketAddr::from(([127, 0, 0, 9], port));
    ensure!(
        get(elsewhere, "/healthz").is_err(),
        "it serves there already"
    );
    becomes("0.0.0.0")?;
    daemon.says("read again")?;
    ensure!(get(elsewhere, "/healthz")?.status == 200, "not alive there");
    // 198.18.0.0/15 is nobody's address: it stays where it is.
    becomes("198.18.255.1")?;
    daemon.says("still serving on 0.0.0.0")?;
    ensure!(
        get(elsewhere, "/healthz")?.status == 200,
        "not alive after all"
    );
    Ok(())
}

#[test]
fn what_it_serves_is_safe_and_says_how_it_is() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    let daemon = Daemon::start(&folder.path(""), "port = [1]\n", &[])?;
    ensure!(daemon.page("/healthz")? == "ok\n", "not alive");
    ensure!(daemon.page("/readyz")?.starts_with("ready"), "not ready");
    let page = get(daemon.addr, "/")?;
    ensure!(
        page.head.contains("default-src 'none'"),
        "no policy: {}",
        page.head
    );
    for path in [
        "/../etc/passwd",
        "/page/../../etc/passwd",
        "/%2e%2e/x",
        "/api/causes/%00",
        "/api/causes/none",
    ] {
        let answer = get(daemon.addr, path)?;
        ensure!(answer.status == 404, "{path} is {}", answer.status);
    }
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "x".repeat(64 * 1024)
    );
    let refused = raw(daemon.addr, long.as_bytes());
    ensure!(
        refused.is_err() || refused.is_ok_and(|page| page.status >= 400),
        "a path of 64 KiB is taken"
    );
    ensure!(
        daemon
            .page("/api/causes/listener.absent")?
            .contains("Nothing listens"),
        "no page"
    );
    ensure!(
        daemon.page("/healthz")? == "ok\n",
        "not alive after all that"
    );
    Ok(())
}

#[test]
fn who_is_slow_or_asks_in_anothers_name_gets_nothing_of_others() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    let daemon = Daemon::start(&folder.path(""), "port = [1]\n", &[])?;
    let named = |host: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        raw(daemon.addr, request.as_bytes()).map(|page| page.status)
    };
    ensure!(
        named("evil.example:9502")? == 421,
        "another's name is served"
    );
    ensure!(named(&daemon.addr.to_string())? == 200, "its own is not");
    // Pages that never read, and connections that say nothing, or nothing more, as many as it takes.
    let open = |request: &str| -> Result<TcpStream> {
        let mut stream = TcpStream::connect(daemon.addr)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(request.as_bytes())?;
        Ok(stream)
    };
    let feed = "GET /api/feed HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut feeds = (0..16).map(|_| open(feed)).collect::<Result<Vec<_>>>()?;
    for feed in &mut feeds {
        let mut start = [0; 15];
        feed.read_exact(&mut start)?;
        ensure!(start == *b"HTTP/1.1 200 OK", "no live page");
    }
    let more = get(daemon.addr, "/api/feed")?;
    ensure!(more.status == 503, "a page too many");
    let health = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let idle = [health, "GET /heal", ""].into_iter().cycle().take(96);
    let idle = idle.map(open).collect::<Result<Vec<_>>>()?;
    ensure!(daemon.page("/healthz")? == "ok\n", "not alive");
    drop((feeds, idle));
    Ok(())
}

#[test]
fn a_setting_that_is_not_understood_ends_it_with_advice() -> Result<()> {
    let folder = Folder::make()?;
    let file = folder.path("c.toml");
    std::fs::write(&file, "listn = \"127.0.0.1:1\"\n")?;
    let run = |verb: &[&str]| -> Result<(Option<i32>, String)> {
        let output = Command::new(binary()?)
            .args(verb)
            .arg("--config")
            .arg(&file)
            .output()?;
        Ok((
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    };
    for verb in [&["agent"][..], &["config", "show"]] {
        let (code, said) = run(verb)?;
        ensure!(code == Some(2), "{verb:?} ends with {code:?}");
        ensure!(said.contains("did you mean `listen`?"), "{said}");
    }
    std::fs::write(&file, "upstreams = 9\n")?;
    let shown = Command::new(binary()?)
        .args([
            "config",
            "show",
            "--origin",
            "--history-days",
            "3",
            "--config",
        ])
        .arg(&file)
        .env("PROBE502_LISTEN", "127.0.0.1:77")
        .output()?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let says = |setting: &str, origin: &str| {
        shown
            .lines()
            .any(|line| line.starts_with(setting) && line.contains(origin))
    };
    ensure!(
        says("upstreams = 9", "# file")
            && says("history_days = 3", "# flag")
            && says("listen = \"127.0.0.1:77\"", "# environment PROBE502_LISTEN")
            && says("strict = false", "# default"),
        "{shown}"
    );
    Ok(())
}

#[test]
fn ten_thousand_upstreams_and_hostile_names_stay_within_the_bound() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    // An address needs no name server, and on port 9 nobody listens.
    let gateway = Nginx::start(&Plan {
        resolver: Some("127.0.0.1:1".to_owned()),
        ..Plan::before("$arg_to:9")
    })?;
    let daemon = Daemon::start(&folder.path(""), &only(&gateway), &["--upstreams", "50"])?;
    let mut client = gateway.client()?;
    let resident = || -> Result<f64> {
        let memory = daemon.series("process_resident_memory_bytes")?;
        memory.get("").copied().context("no memory")
    };
    let mut early = None;
    for number in 0..10_000 {
        let (high, low) = (number / 250, number % 250);
        client.get(&format!("/<b>{number}?to=127.1.{high}.{low}"))?;
        // As fast as it counts, however slow the machine: loss is another test's.
        if low == 249 {
            daemon.counts("probe502_answers_total", number + 1)?;
            early.get_or_insert(resident()?);
        }
    }
    let grown = resident()? - early.context("none was asked")?;
    say(&format!(
        "{:.1} MiB more after 10,000 upstreams",
        grown / MIB
    ));
    ensure!(grown < BUDGET, "{grown} bytes more after 10,000 upstreams");
    let series = daemon.series("probe502_answers_total")?;
    ensure!(series.len() <= 51, "{} series", series.len());
    ensure!(
        series
            .keys()
            .any(|labels| labels.contains("upstream=\"_other\"")),
        "no _other: {series:?}"
    );
    ensure!(
        !daemon.page("/metrics")?.contains("<b>"),
        "a path is in the metrics"
    );
    Ok(())
}

#[test]
fn the_live_page_shows_a_failure_as_it_happens() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    let gateway = nobody()?;
    let daemon = Daemon::start(&folder.path(""), &only(&gateway), &[])?;
    let picture = folder.path("page.png");
    let mut browser = Browser::open(daemon.addr, &picture)?;
    let mut order = |order: &str| browser.order(order);
    order("dark")?;
    gateway.get("/<img/src=x/onerror=alert(1)>/\u{202e}gpj")?;
    let shown = order("shown onerror")?;
    ensure!(
        shown.contains("<img") && shown.contains("\\u202e"),
        "{shown}"
    );
    gateway.get("/cart")?;
    let after: f64 = order("after /cart")?.parse().context("milliseconds")?;
    say(&format!("on the page {after} ms after the answer left"));
    // By the one feed that is open, and not because the page asked again.
    let way = order("way /cart")?;
    ensure!(way == "told 1 1", "it came otherwise: {way}");
    for way in ["click /cart", "key /cart"] {
        let told = order(way)?;
        for part in [
            "listener.absent",
            "ECONNREFUSED",
            "What to do",
            "start the upstream",
            "Nothing listens",
        ] {
            ensure!(told.contains(part), "{way}: no '{part}' in {told}");
        }
    }
    ensure!(order("scripts")? == "0", "a path became markup");
    ensure!(order("dark")? != "rgb(255, 255, 255)", "white in the dark");
    order("picture")?;
    say(&format!(
        "a screenshot of {} bytes",
        std::fs::metadata(&picture)?.len()
    ));
    Ok(())
}
