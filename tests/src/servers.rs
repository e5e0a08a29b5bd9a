//! Application servers besides Python's usual ones: php-fpm, uWSGI, Node.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::nginx::free_port;
use crate::paths::Folder;
use crate::running::Running;
use crate::upstream::{Upstream, endpoint, programs};
use crate::venv;

/// Where an application server listens.
#[derive(Clone, Copy, Debug)]
pub enum Door {
    /// On a port of loopback.
    Port,
    /// On a UNIX socket.
    Unix,
}

/// An application server, and the folder with its socket and its files.
pub struct Served {
    /// The server.
    pub upstream: Upstream,
    /// What it reads, and its socket.
    pub folder: Folder,
}

impl Served {
    /// php-fpm with one worker, these lines in its pool's section, and the script of [`Served::script`].
    ///
    /// # Errors
    /// When it does not start.
    pub fn php(door: Door, lines: &[&str]) -> Result<Self> {
        let folder = Folder::make()?;
        std::fs::copy(programs().join("app.php"), folder.path("app.php"))?;
        let place = Place::of(door, &folder)?;
        let text = format!(
            "[global]\nerror_log = {log}\n[www]\nuser = nobody\ngroup = nogroup\nlisten = {listen}\n\
             listen.mode = 0666\npm = static\npm.max_children = 1\n{lines}\n",
            log = folder.path("fpm.log").display(),
            listen = place.listen,
            lines = lines.join("\n")
        );
        let file = folder.path("fpm.conf");
        std::fs::write(&file, text)?;
        let mut command = Command::new(php()?);
        command.args(["--nodaemonize", "--fpm-config"]).arg(file);
        place.ready(command, folder)
    }

    /// The script of php-fpm's, for `SCRIPT_FILENAME`.
    #[must_use]
    pub fn script(&self) -> PathBuf {
        self.folder.path("app.php")
    }

    /// uWSGI with a master, one worker and the application of `slow.py`, in its own protocol.
    ///
    /// # Errors
    /// When it does not start.
    pub fn uwsgi(door: Door, options: &[&str]) -> Result<Self> {
        let folder = Folder::make()?;
        let place = Place::of(door, &folder)?;
        let program = venv::environment("uwsgi", &["pyuwsgi==2.0.30.post1"])?.join("bin/uwsgi");
        let mut command = Command::new(program);
        command
            .args(["--master", "--die-on-term", "--chmod-socket=666"])
            .args(["--socket", &place.listen])
            .args(["--module", "slow:app"])
            .args(options);
        place.ready(command, folder)
    }

    /// gunicorn on a UNIX socket, with the application of `slow.py` and one sync worker.
    ///
    /// # Errors
    /// When it does not start.
    pub fn gunicorn(program: &Path, options: &[&str]) -> Result<Self> {
        let folder = Folder::make()?;
        let place = Place::of(Door::Unix, &folder)?;
        let mut command = Command::new(program);
        let bind = format!("unix:{}", place.listen);
        command.args(["--bind", &bind, "slow:app"]).args(options);
        place.ready(command, folder)
    }

    /// Node's own HTTP server, with its default timers.
    ///
    /// # Errors
    /// When it does not start.
    pub fn node() -> Result<Self> {
        let folder = Folder::make()?;
        let place = Place::of(Door::Port, &folder)?;
        let mut command = Command::new(node()?);
        command.arg(programs().join("node.js"));
        command.arg(place.port.to_string());
        place.ready(command, folder)
    }
}

struct Place {
    addr: String,
    listen: String,
    port: u16,
}

impl Place {
    fn of(door: Door, folder: &Folder) -> Result<Self> {
        Ok(match door {
            Door::Port => {
                let port = free_port("127.0.0.1")?;
                let addr = endpoint("127.0.0.1", port);
                let listen = addr.clone();
                Self { addr, listen, port }
            }
            Door::Unix => {
                let listen = folder.path("app.sock").display().to_string();
                let addr = format!("unix:{listen}");
                Self {
                    addr,
                    listen,
                    port: 0,
                }
            }
        })
    }

    /// A server that can be dialled is ready: these listen when their application is loaded.
    fn ready(self, mut command: Command, folder: Folder) -> Result<Served> {
        command
            .current_dir(programs())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let upstream = Upstream {
            addr: self.addr.clone(),
            port: self.port,
            running: Running::start(&mut command)?,
        };
        let deadline = Instant::now() + crate::upstream::STARTING;
        while !self.is_open() {
            if Instant::now() > deadline || upstream.running.is_over() {
                let log = std::fs::read_to_string(folder.path("fpm.log")).unwrap_or_default();
                bail!(
                    "the server did not start: {}{log}",
                    upstream.running.err.text()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Served { upstream, folder })
    }

    fn is_open(&self) -> bool {
        match self.port {
            0 => UnixStream::connect(&self.listen).is_ok(),
            port => TcpStream::connect(("127.0.0.1", port)).is_ok(),
        }
    }
}

/// Debian's php-fpm of whatever version.
///
/// # Errors
/// When it is not installed.
pub fn php() -> Result<PathBuf> {
    let programs = std::fs::read_dir("/usr/sbin")?.flatten();
    let is_php = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("php-fpm"))
    };
    let found = programs.map(|program| program.path()).find(is_php);
    found.context("php-fpm is not installed; `cargo xtask test` installs it")
}

/// Node.
///
/// # Errors
/// When it is not installed.
pub fn node() -> Result<PathBuf> {
    let path = PathBuf::from("/usr/bin/node");
    let found = path.exists().then_some(path);
    found.context("node is not installed; `cargo xtask test` installs it")
}
