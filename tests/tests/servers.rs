//! The application servers that people run: php-fpm, uWSGI, Node, gunicorn on a UNIX socket.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use probe502_tests::client::{self, Answer, Client, next_id};
use probe502_tests::firewall::Firewall;
use probe502_tests::gateways::{Gateway, Kind, Plan, Server, Site, Speaks};
use probe502_tests::servers::{Door, Served, node, php};
use probe502_tests::skip::{say, skip, unable};
use probe502_tests::venv;
use probe502_tests::watch::{Sure, Watch};

/// A server, a gateway that speaks its protocol, and who watches.
struct Cast {
    watch: Watch,
    gateway: Gateway,
    served: Served,
}

impl Cast {
    fn of(kind: Kind, served: Served, speaks: Speaks) -> Result<Self> {
        let addr = served.upstream.addr.clone();
        let is_unix = addr.starts_with("unix:");
        let server = match addr.strip_prefix("unix:") {
            Some(path) => Server::Unix(path.into()),
            None => Server::Tcp(addr),
        };
        let plan = Plan {
            sites: vec![Site::on("127.0.0.1", vec![server])?],
            speaks,
            patience: Some(Duration::from_secs(15)),
            ..Plan::default()
        };
        let gateway = Gateway::start(kind, &plan)?;
        let watch = Watch::on(gateway.port(), &["--status", "502,503,504"])?;
        let cast = Self {
            watch,
            gateway,
            served,
        };
        // A gateway's UNIX connections are watched from its first dial on.
        let good = cast.gateway.get("/ok")?;
        ensure!(good.status == 200, "a good request got {}", good.status);
        if is_unix {
            cast.watch.meets_unix()?;
        }
        Ok(cast)
    }

    fn php(kind: Kind, door: Door, lines: &[&str]) -> Result<Self> {
        let served = Served::php(door, lines)?;
        let script = served.script();
        Self::of(kind, served, Speaks::Fastcgi(script))
    }

    fn get(&self, path: &str) -> Result<Answer> {
        self.gateway.get(&format!("{path}/{}", next_id()))
    }

    fn expect(mut self, answer: &Answer, cause: &str) -> Result<()> {
        self.watch.expect(answer, cause, Sure::Proven);
        self.watch.end().map(drop)
    }
}

fn lacks_php() -> bool {
    if unable() {
        return true;
    }
    php()
        .inspect_err(|reason| skip(&reason.to_string()))
        .is_err()
}

/// php-fpm's master ends what takes longer than `request_terminate_timeout`.
fn php_is_terminated(kind: Kind, door: Door) -> Result<()> {
    if lacks_php() {
        return Ok(());
    }
    let cast = Cast::php(kind, door, &["request_terminate_timeout = 1s"])?;
    let answer = cast.get("/sleep")?;
    cast.expect(&answer, "process.killed.by-parent")
}

#[test]
fn php_fpm_terminates_a_request_on_its_unix_socket_behind_nginx() -> Result<()> {
    php_is_terminated(Kind::Nginx, Door::Unix)
}

#[test]
fn php_fpm_terminates_a_request_behind_apache() -> Result<()> {
    php_is_terminated(Kind::Apache, Door::Port)
}

/// One request in the worker, two in the queue: the kernel lets one more wait than the limit says.
#[test]
fn the_backlog_of_php_fpm_is_full() -> Result<()> {
    if lacks_php() {
        return Ok(());
    }
    let mut cast = Cast::php(Kind::Nginx, Door::Unix, &["listen.backlog = 1"])?;
    for _ in 0..3 {
        let path = format!("/sleep/{}", next_id());
        drop(client::in_background(cast.gateway.addr, path));
        std::thread::sleep(Duration::from_millis(300));
    }
    // The errno is seen once the hook is attached that the first failure asks for; until then a look
    // at the path tells, if it comes in time.
    for _ in 0..8 {
        let answer = cast.get("/full")?;
        let causes = ["unix.backlog-full", "unknown.unexplained"];
        let seen = cast.watch.expect_one_of(&answer, &causes, Sure::Honest);
        if seen.is_none_or(|seen| seen.field("/confidence") == "proven") {
            return cast.watch.end().map(drop);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    bail!("the errno was never seen")
}

fn harakiri(door: Door, path: &str) -> Result<()> {
    if unable() {
        return Ok(());
    }
    let served = Served::uwsgi(door, &["--harakiri", "1"])?;
    let cast = Cast::of(Kind::Nginx, served, Speaks::Uwsgi)?;
    let answer = cast.get(path)?;
    cast.expect(&answer, "process.killed.by-parent")
}

#[test]
fn uwsgi_commits_harakiri_on_a_request_that_sleeps() -> Result<()> {
    harakiri(Door::Port, "/sleep")
}

#[test]
fn uwsgi_commits_harakiri_behind_a_unix_socket() -> Result<()> {
    harakiri(Door::Unix, "/stuck")
}

#[test]
fn the_newest_gunicorns_worker_exits_or_times_out_on_a_unix_socket() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let program = venv::newest()?.join("bin/gunicorn");
    let served = Served::gunicorn(&program, &["--timeout", "1"])?;
    let mut cast = Cast::of(Kind::Nginx, served, Speaks::Http)?;
    let answer = cast.get("/exit-early")?;
    cast.watch.expect(&answer, "process.exit", Sure::Proven);
    let answer = cast.get("/stuck")?;
    cast.expect(&answer, "process.killed.by-parent")
}

/// Its master sends ABRT, upon which the worker of this release exits with a status of its own.
#[test]
fn gunicorn_20_times_out_a_worker_that_sleeps_on_a_unix_request() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let program = venv::gunicorn_20()?.join("bin/gunicorn");
    let served = Served::gunicorn(&program, &["--timeout", "1"])?;
    let cast = Cast::of(Kind::Nginx, served, Speaks::Http)?;
    let answer = cast.get("/sleep")?;
    cast.expect(&answer, "process.killed.by-parent")
}

fn node_behind_nginx() -> Result<Option<Cast>> {
    if unable() {
        return Ok(None);
    }
    if let Err(reason) = node() {
        skip(&reason.to_string());
        return Ok(None);
    }
    Cast::of(Kind::Nginx, Served::node()?, Speaks::Http).map(Some)
}

/// Node closes the idle connection after its five seconds (newer releases: six), and the next request meets its FIN.
#[test]
fn a_request_meets_nodes_default_timer() -> Result<()> {
    let Some(cast) = node_behind_nginx()? else {
        return Ok(());
    };
    let mut client = cast.gateway.client()?;
    let warm = client.get("/warm")?;
    let rule = format!(
        "tcp sport {} tcp flags & fin == fin drop",
        cast.served.upstream.port
    );
    let firewall = Firewall::rule("output", &rule)?;
    std::thread::sleep((warm.at + LONGEST).saturating_duration_since(Instant::now()));
    let answer = client.post(&format!("/raced/{}", next_id()))?;
    drop(firewall);
    let Cast { mut watch, .. } = cast;
    let seen = watch.expect(&answer, "keepalive.race", Sure::Proven);
    let idle = seen.and_then(|seen| seen.verdict.pointer("/timers/upstream_ms")?.as_u64());
    ensure!(
        idle.is_some_and(|idle| (4900..7000).contains(&idle)),
        "{idle:?}"
    );
    watch.end().map(drop)
}

/// Node's keep-alive timeout of five seconds, the second that newer releases add, and a half.
const LONGEST: Duration = Duration::from_millis(6500);
/// How far apart the clients' idle times are, around a timer.
const WINDOW: Duration = Duration::from_millis(4);
const CLIENTS: u32 = 64;
/// Requests of each, the first of which warms the pool.
const ROUNDS: u32 = 2;
/// So many waves of all clients without a race are no chance.
const WAVES: u32 = 8;

/// Requests about as far apart as Node's default timer is long, until some arrive as it closes. Newer
/// releases close a second later than they are told. What lay unread when a busy host closed may stay unknown.
#[test]
fn nodes_default_timer_against_nginxs_pool() -> Result<()> {
    let Some(mut cast) = node_behind_nginx()? else {
        return Ok(());
    };
    let timer = node_closes_after(&cast.served.upstream.addr)?;
    let mut named = 0;
    for wave in 1..=WAVES {
        let failed = wave_of(cast.gateway.addr, timer)?;
        say(&format!("{} natural races in wave {wave}", failed.len()));
        for answer in &failed {
            let causes = ["keepalive.race", "unknown.unexplained"];
            let seen = cast.watch.expect_one_of(answer, &causes, Sure::Honest);
            named += u32::from(seen.is_none_or(|seen| seen.field("/cause") == causes[0]));
        }
        if named > 0 {
            break;
        }
    }
    ensure!(named > 0, "no request met the timer, or none was told");
    cast.watch.end().map(drop)
}

/// All clients at once; the answers that failed.
fn wave_of(gateway: SocketAddr, timer: Duration) -> Result<Vec<Answer>> {
    let client = |number: u32| {
        let idle = timer - WINDOW / 2 + WINDOW * number / CLIENTS;
        std::thread::spawn(move || idling(Client::connect(gateway)?, idle))
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let mut failed = Vec::new();
    for client in clients {
        let own = client.join();
        failed.extend(own.map_err(|_| anyhow::anyhow!("a client panicked"))??);
    }
    Ok(failed)
}

/// How long it really lets a connection idle, to the second.
fn node_closes_after(addr: &str) -> Result<Duration> {
    let mut client = Client::connect(addr.parse()?)?;
    let answer = client.get("/timer")?;
    ensure!(client.closes().is_ok(), "node said more");
    Ok(Duration::from_secs(answer.at.elapsed().as_secs()))
}

fn idling(mut client: Client, idle: Duration) -> Result<Vec<Answer>> {
    let mut failed = Vec::new();
    for round in 0..ROUNDS {
        if round > 0 {
            std::thread::sleep(idle);
        }
        let answer = client.post(&format!("/race/{}", next_id()))?;
        if answer.status != 200 {
            failed.push(answer);
        }
    }
    Ok(failed)
}
