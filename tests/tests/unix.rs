//! Upstreams behind UNIX sockets: every fault that has a proof there, and every way to fail a dial.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use probe502_tests::client::{Answer, next_id};
use probe502_tests::gateways::{Gateway, Kind, Plan, Server, Site};
use probe502_tests::nginx::Nginx;
use probe502_tests::paths::Folder;
use probe502_tests::repertoire::FAULTS;
use probe502_tests::running::signal;
use probe502_tests::skip::unable;
use probe502_tests::upstream::Upstream;
use probe502_tests::watch::{Sure, Watch};

/// Who serves on a UNIX socket, who asks there, and who watches.
struct Cast {
    watch: Watch,
    gateway: Nginx,
    upstream: Upstream,
    folder: Folder,
}

impl Cast {
    fn faulty(options: &[&str]) -> Result<Self> {
        let folder = Folder::make()?;
        let upstream = Upstream::faulty_unix(&folder.path("app.sock"), options)?;
        Self::of(folder, upstream)
    }

    fn of(folder: Folder, upstream: Upstream) -> Result<Self> {
        let gateway = Nginx::before(&upstream.addr)?;
        let watch = Watch::over(&gateway)?;
        let cast = Self {
            watch,
            gateway,
            upstream,
            folder,
        };
        cast.is_met()?;
        Ok(cast)
    }

    /// A gateway's UNIX connections are watched from its first dial on.
    fn is_met(&self) -> Result<()> {
        let good = self.gateway.get("/ok")?;
        ensure!(good.status == 200, "a good request got {}", good.status);
        self.watch.meets_unix()
    }

    fn path(&self) -> PathBuf {
        self.folder.path("app.sock")
    }

    fn refuses(&mut self, cause: &str) -> Result<()> {
        until_proven(&mut self.watch, &self.gateway, cause)
    }

    fn end(self) -> Result<()> {
        self.watch.end().map(drop)
    }
}

/// The same failure again and again: told by a look at the path first, then proven by the call's errno,
/// which a hook sees that is attached once something has failed.
fn until_proven(watch: &mut Watch, gateway: &Nginx, cause: &str) -> Result<()> {
    for _ in 0..20 {
        let answer = gateway.get(&format!("/refused/{}", next_id()))?;
        let seen = watch.expect(&answer, cause, Sure::Inferred);
        if seen.is_none_or(|seen| seen.field("/confidence") == "proven") {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    bail!("the errno was never seen")
}

#[test]
fn every_fault_of_a_process_behind_a_unix_socket() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut cast = Cast::faulty(&[])?;
    for fault in FAULTS {
        let good = cast.gateway.get("/ok")?;
        ensure!(good.status == 200, "a good request got {}", good.status);
        let (cause, sure) = match fault.cause {
            // A UNIX socket knows no SO_LINGER: it only closes.
            "app.reset-linger" => ("app.closed-without-answer", Sure::Proven),
            // What is behind the first page of a message lies beyond a hook's reach.
            "protocol.header-too-big" => ("unknown.unexplained", Sure::Unknown),
            cause => (cause, fault.sure()),
        };
        let answer = fault.ask(&cast.gateway)?;
        cast.watch.expect(&answer, cause, sure);
    }
    cast.end()
}

/// The kernel gives a new connection the addresses of one that has gone, often the other way round.
#[test]
fn no_connection_is_taken_for_one_that_had_its_addresses() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut cast = Cast::faulty(&[])?;
    let ask = |_| cast.gateway.get(&format!("/fault/says-502/{}", next_id()));
    let answers: Vec<Answer> = (0..150).map(ask).collect::<Result<_>>()?;
    for answer in &answers {
        cast.watch.expect(answer, "relayed.upstream", Sure::Proven);
    }
    cast.end()
}

#[test]
fn the_path_does_not_exist() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut cast = Cast::faulty(&["--share", "threads"])?;
    std::fs::remove_file(cast.path())?;
    // The pool still holds a connection.
    signal(cast.upstream.running.pid(), "KILL")?;
    cast.upstream.running.wait(Duration::from_secs(30))?;
    cast.refuses("unix.missing")?;
    cast.end()
}

/// Nobody has listened there since the agent came.
#[test]
fn the_path_is_left_over() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    let path = folder.path("app.sock");
    drop(UnixDatagram::bind(&path)?);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))?;
    let gateway = Nginx::before(&format!("unix:{}", path.display()))?;
    let mut watch = Watch::over(&gateway)?;
    until_proven(&mut watch, &gateway, "unix.no-listener")?;
    watch.end().map(drop)
}

#[test]
fn a_refusal_names_who_killed_its_listener() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut cast = Cast::faulty(&["--share", "threads"])?;
    signal(cast.upstream.running.pid(), "KILL")?;
    cast.upstream.running.wait(Duration::from_secs(30))?;
    let answer = cast.gateway.get("/refused")?;
    cast.watch
        .expect(&answer, "process.killed.by-user", Sure::Inferred);
    cast.end()
}

#[test]
fn its_owner_lives_and_has_closed_it() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut cast = Cast::faulty(&["--share", "threads", "--idle", "0.1"])?;
    // Over a pooled connection it would still be answered.
    cast.upstream.hears("idle-closed")?;
    cast.upstream.order("close", "closed")?;
    let answer = cast.gateway.get("/refused")?;
    cast.watch
        .expect(&answer, "listener.closed", Sure::Inferred);
    cast.end()
}

/// Gives up after three seconds, with 504.
struct Patient {
    watch: Watch,
    gateway: Gateway,
    upstream: Upstream,
    _folder: Folder,
}

impl Patient {
    fn of(options: &[&str]) -> Result<Self> {
        let folder = Folder::make()?;
        let path = folder.path("app.sock");
        let upstream = Upstream::faulty_unix(&path, options)?;
        let plan = Plan {
            sites: vec![Site::on("127.0.0.1", vec![Server::Unix(path)])?],
            ..Plan::default()
        };
        let gateway = Gateway::start(Kind::Nginx, &plan)?;
        let watch = Watch::on(gateway.port(), &["--status", "502,503,504"])?;
        let good = gateway.get("/ok")?;
        ensure!(good.status == 200, "a good request got {}", good.status);
        watch.meets_unix()?;
        Ok(Self {
            watch,
            gateway,
            upstream,
            _folder: folder,
        })
    }

    fn expect(mut self, answer: &Answer, cause: &str, words: &str) -> Result<()> {
        if let Some(seen) = self.watch.expect(answer, cause, Sure::Proven) {
            let said = seen.field("/sentence");
            ensure!(said.contains(words), "'{said}' does not say '{words}'");
        }
        self.watch.end().map(drop)
    }
}

#[test]
fn a_worker_that_sleeps_on_a_unix_request() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let cast = Patient::of(&[])?;
    let answer = cast.gateway.get(&format!("/fault/hold/{}", next_id()))?;
    cast.expect(&answer, "app.stalled", "it waited in clock_nanosleep")
}

#[test]
fn a_stopped_server_accepts_nothing_from_its_unix_socket() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let cast = Patient::of(&["--share", "threads", "--idle", "0.1"])?;
    cast.upstream.hears("idle-closed")?;
    signal(cast.upstream.running.pid(), "STOP")?;
    let answer = cast.gateway.get("/unaccepted")?;
    cast.expect(&answer, "listener.not-accepting", "it was stopped")
}

#[test]
fn the_gateways_user_may_not_write_to_it() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut cast = Cast::faulty(&["--idle", "0.1"])?;
    std::fs::set_permissions(cast.path(), std::fs::Permissions::from_mode(0o600))?;
    cast.upstream.hears("idle-closed")?;
    cast.refuses("unix.denied")?;
    cast.end()
}

#[test]
fn the_queue_is_full() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    let path = folder.path("app.sock");
    let options = ["--never-accept", "--backlog", "1"];
    let upstream = Upstream::faulty_unix(&path, &options)?;
    let gateway = Nginx::before(&upstream.addr)?;
    let mut watch = Watch::over(&gateway)?;
    // The kernel lets one more wait than the limit says.
    let waiting = [1, 2].map(|_| std::os::unix::net::UnixStream::connect(&path));
    until_proven(&mut watch, &gateway, "unix.backlog-full")?;
    drop(waiting);
    watch.end().map(drop)
}
