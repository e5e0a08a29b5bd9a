//! Answers that break off within their body, which no status tells: with `--silent` each has a verdict.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use probe502_tests::agent::{Agent, Seen};
use probe502_tests::client::{Client, next_id};
use probe502_tests::gateways::{Gateway, Kind};
use probe502_tests::schema;
use probe502_tests::skip::say;
use probe502_tests::upstream::Upstream;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketType, connect, socket};

const SOON: Duration = Duration::from_secs(30);

/// How a body breaks off, and why: of some length, in chunks, and behind a header that is longer than what
/// is kept of it.
const CUTS: [(&str, &str); 10] = [
    ("cut-close", "app.closed-mid-body"),
    ("cut-segv", "process.crash"),
    ("cut-chunked", "app.closed-mid-body"),
    ("cut-long-header", "app.closed-mid-body"),
    ("cut-chunked-segv", "process.crash"),
    ("cut-in-chunk", "app.closed-mid-body"),
    ("cut-at-once", "app.closed-mid-body"),
    ("cut-reset", "app.reset-linger"),
    ("cut-exit", "process.exit"),
    ("cut-killed", "process.killed.by-parent"),
];

fn path(name: &str) -> String {
    format!("/fault/{name}/{}", next_id())
}

/// Whether a verdict is about an answer of faulty.py that broke off for this reason.
fn is_right(seen: &Seen, (name, cause): (&str, &str)) -> bool {
    let cut = &seen.verdict["cut"];
    let after = cut["after_bytes"].as_u64();
    let of_bytes = match name.contains("chunk") {
        true => cut["of_bytes"].is_null(),
        false => cut["of_bytes"] == 10_000,
    };
    seen.field("/kind") == "silent"
        && seen.verdict["status"] == 200
        && seen.field("/symptom") == "truncated"
        && seen.field("/cause") == cause
        && seen.field("/confidence") == "proven"
        && of_bytes
        && after.is_none_or(|after| after <= 4000)
}

/// Asks for an answer that breaks off; what is wrong with its verdict, if anything.
fn cut(gateway: &Gateway, agent: &Agent, (name, cause): (&str, &str)) -> Result<Option<String>> {
    let path = path(name);
    if name.contains("chunk") {
        // What ends a body in chunks is not looked at here: it is read to the connection's end.
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n");
        let answer = ask(gateway.addr, &request, None)?;
        // A gateway that comes late to the answer's beginning says itself that it failed.
        if answer.starts_with(b"HTTP/1.1 5") {
            return Ok(None);
        }
    } else if let Ok(answer) = Client::connect(gateway.addr)?.get(&path) {
        // A gateway that comes late to the answer's beginning says itself that it failed.
        let failed = (answer.status < 500).then(|| format!("{name}: a whole {}", answer.status));
        return Ok(failed);
    }
    let seen = agent.verdict(SOON, |seen| seen.field("/request/path") == path);
    Ok(match seen {
        Some(seen) if is_right(&seen, (name, cause)) => {
            say(&format!(
                "{} {}",
                gateway.kind.name(),
                seen.field("/sentence")
            ));
            None
        }
        Some(seen) => Some(format!("{name}: {}", seen.line)),
        None => Some(format!("{name}: no verdict")),
    })
}

/// These wait for an answer's header alone.
const PATIENT: [Kind; 2] = [Kind::Caddy, Kind::Traefik];

/// An answer that begins later tells less of what its gateway's timer measured.
const AT_ONCE: Duration = Duration::from_millis(400);

/// Asks for an answer that falls silent, and reads to the end; when its first bytes came.
fn stall(gateway: SocketAddr, path: &str) -> Result<Duration> {
    let mut stream = TcpStream::connect(gateway)?;
    let asked = Instant::now();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n")?;
    stream.read_exact(&mut [0])?;
    let began = asked.elapsed();
    let _ = stream.read_to_end(&mut Vec::new());
    Ok(began)
}

/// What is wrong with the verdict about an upstream that fell silent within its answer, if anything.
fn stalled((kind, began): (Kind, Duration), path: &str, agent: &Agent) -> Option<String> {
    let Some(seen) = agent.verdict(SOON, |seen| seen.field("/request/path") == path) else {
        return Some(format!("{}: cut-stall: no verdict", kind.name()));
    };
    let said = |words: &str| seen.field("/sentence").contains(words);
    // Who held an end that was reset cannot be looked up any more.
    let resets = [Kind::Haproxy, Kind::HaproxyTrixie].contains(&kind);
    let is_late = began > AT_ONCE && seen.field("/confidence") != "proven";
    let is_right = is_right(&seen, ("cut-stall", "app.stalled"))
        && said("and then nothing for ")
        && (resets || said("it waited in "));
    say(&format!("{} {}", kind.name(), seen.field("/sentence")));
    (!is_right && !is_late).then(|| format!("{}: {}", kind.name(), seen.line))
}

/// Behind nginx every cut, behind the others four of them; and meanwhile one that falls silent, which each
/// waits for three seconds.
#[test]
fn a_cut_answer_has_a_verdict_behind_every_gateway() -> Result<()> {
    let agent = match Kind::Nginx.is_missing() {
        true => return Ok(()),
        false => Agent::watch(&["--silent"])?,
    };
    let upstream = Upstream::faulty(&[])?;
    let (mut wrong, mut waiting) = (Vec::new(), Vec::new());
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_missing()) {
        let gateway = Gateway::before(kind, &upstream.addr)?;
        let path = path("cut-stall");
        let (addr, asks) = (gateway.addr, path.clone());
        let stalls = || std::thread::spawn(move || stall(addr, &asks));
        let stalling = (!PATIENT.contains(&kind)).then(stalls);
        let cuts = if kind == Kind::Nginx { CUTS.len() } else { 4 };
        for fault in CUTS.into_iter().take(cuts) {
            let found = cut(&gateway, &agent, fault)?;
            wrong.extend(found.map(|found| format!("{}: {found}", kind.name())));
        }
        waiting.extend(stalling.map(|client| (client, gateway, path)));
    }
    for (client, gateway, path) in waiting {
        let Ok(began) = client.join() else {
            bail!("a client panicked");
        };
        wrong.extend(stalled((gateway.kind, began?), &path, &agent));
    }
    let report = agent.finish()?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let ours = report
        .verdicts
        .iter()
        .filter(|seen| seen.field("/request/path").contains("/cut-"));
    let lines: String = ours.map(|seen| seen.line.clone() + "\n").collect();
    schema::check("verdict", &lines)
}

/// Asks, and reads to the end, however it comes, or leaves after so many bytes.
fn ask(gateway: SocketAddr, request: &str, leave_after: Option<usize>) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(gateway)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(request.as_bytes())?;
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    while leave_after.is_none_or(|enough| all.len() < enough) {
        match stream.read(&mut part) {
            Ok(0) => break,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            read => all.extend_from_slice(&part[..read?]),
        }
    }
    if leave_after.is_some() {
        stream.shutdown(Shutdown::Both)?;
    }
    Ok(all)
}

/// Requests that end well: their method, their answer, how many follow one another on a connection, and after
/// how many bytes the client leaves.
struct Whole(&'static str, &'static str, usize, Option<usize>);

const WHOLE: [Whole; 9] = [
    Whole("GET", "whole-length", 10, None),
    Whole("GET", "whole-and-close", 10, None),
    Whole("GET", "whole-chunked", 10, None),
    Whole("GET", "whole-trailers", 10, None),
    Whole("HEAD", "whole-to-head", 10, None),
    Whole("GET", "whole-not-modified", 10, None),
    Whole("GET", "whole-until-end", 1, None),
    Whole("GET", "whole-upgraded", 1, None),
    Whole("GET", "whole-slowly", 1, Some(1000)),
];

/// Of each so many, and so many connections at once.
const NEAR_MISSES: usize = 100;
const CLIENTS: usize = 10;

impl Whole {
    /// Several requests at a go on a connection, of which the last closes it.
    fn requests(&self) -> String {
        let Self(method, name, count, _) = self;
        let request = |number: usize| {
            let fields = match (*name, number == *count) {
                ("whole-upgraded", _) => "Connection: upgrade\r\nUpgrade: websocket\r\n",
                (_, true) => "Connection: close\r\n",
                (_, false) => "",
            };
            let path = path(name);
            format!("{method} {path} HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n")
        };
        (1..=*count).map(request).collect()
    }

    /// One connection's answers must all come.
    fn ask(&self, gateway: SocketAddr) -> Result<()> {
        let Self(_, name, count, leave_after) = self;
        let answers = ask(gateway, &self.requests(), *leave_after)?;
        let begun = answers.windows(9).filter(|nine| *nine == b"HTTP/1.1 ");
        let begun = begun.count();
        ensure!(begun == *count, "{name}: {begun} answers of {count}");
        Ok(())
    }

    fn ask_all(&self, gateway: SocketAddr) -> Result<()> {
        let each = NEAR_MISSES / self.2 / CLIENTS;
        std::thread::scope(|scope| {
            let ask = || (0..each).try_for_each(|_| self.ask(gateway));
            let asking: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(ask)).collect();
            let mut done = asking.into_iter().map(|one| one.join());
            done.try_for_each(|one| one.unwrap_or_else(|_| bail!("a client panicked")))
        })
    }
}

/// Whole answers of every framing, answers without a body, a protocol upgrade, and clients that leave.
#[test]
fn whole_answers_and_clients_that_leave_have_none() -> Result<()> {
    if Kind::Nginx.is_missing() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    let before = |kind| Gateway::before(kind, &upstream.addr);
    let gateways = [before(Kind::Nginx)?, before(Kind::Haproxy)?];
    let ports = gateways.each_ref().map(|one| one.port().to_string());
    let ports = ports.join(",");
    let agent = Agent::watch(&["--port", &ports, "--silent", "--status", "502,503,504"])?;
    for gateway in &gateways {
        for whole in &WHOLE {
            whole.ask_all(gateway.addr)?;
        }
        // One that is told, so that all before it have been judged.
        let wrong = cut(gateway, &agent, CUTS[0])?;
        ensure!(wrong.is_none(), "{wrong:?}");
    }
    let report = agent.finish()?;
    let told = report.verdicts.len();
    ensure!(told == 2, "{told} verdicts: {}", report.output);
    Ok(())
}

/// A client whose window is shut leaves what its gateway writes unsent, and unacknowledged is nothing: then its
/// own timer may have been the one that struck.
#[test]
fn a_stall_is_not_claimed_where_the_client_took_nothing() -> Result<()> {
    if Kind::Nginx.is_missing() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    let gateway = Gateway::before(Kind::Nginx, &upstream.addr)?;
    let agent = Agent::watch(&["--silent"])?;
    let path = path("cut-stall-late");
    let mut client = narrow(gateway.addr)?;
    write!(client, "GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n")?;
    let seen = agent.verdict(SOON, |seen| seen.field("/request/path") == path);
    let Some(seen) = seen else {
        bail!("no verdict: {}", agent.messages());
    };
    ensure!(seen.field("/confidence") == "unknown", "{}", seen.line);
    agent.finish().map(drop)
}

/// With the least room for what it does not read (socket(7), `SO_RCVBUF`).
fn narrow(gateway: SocketAddr) -> Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    set_socket_recv_buffer_size(&socket, 1)?;
    connect(&socket, &gateway)?;
    Ok(socket.into())
}
