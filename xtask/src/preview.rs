//! `cargo xtask preview`: the daemon, failures that never end, and a Prometheus that scrapes it, on loopback.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::process::{as_root, run as run_through};
use crate::{demo, packages, repository};

/// Far above what it takes to attach on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

#[derive(clap::Args)]
pub struct Arguments {
    /// Where the agent serves
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9502")]
    listen: SocketAddr,
    /// Where Prometheus serves
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    prometheus: SocketAddr,
    /// This program instead of a release build
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Shows it until Ctrl-C or SIGTERM, and ends all that it started.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    packages::install(&["prometheus"])?;
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => {
            run_through(&mut demo::agent_build())?;
            repository::agent()
        }
    };
    let over = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&over))?;
    }
    let folder = tempfile::tempdir()?;
    let mut cast = Cast::default();
    let shown = cast.play(arguments, (&binary, folder.path()), &over);
    cast.end();
    shown.map(|()| ExitCode::SUCCESS)
}

/// The programs that run, by name.
#[derive(Default)]
struct Cast(Vec<(&'static str, Child)>);

impl Cast {
    fn play(
        &mut self,
        arguments: &Arguments,
        (binary, folder): (&Path, &Path),
        over: &AtomicBool,
    ) -> Result<()> {
        let mut agent = tied(as_root("setpriv"), binary);
        agent.args(["agent", "--log", "warn", "--history"]);
        agent.arg(folder.join("history.db"));
        agent.args(["--listen", &arguments.listen.to_string()]);
        self.start("the agent", &mut agent)?;
        self.start("Prometheus", &mut prometheus(arguments, folder)?)?;
        for (name, address) in [
            ("the agent", arguments.listen),
            ("Prometheus", arguments.prometheus),
        ] {
            self.await_listener(name, address, over)?;
        }
        println!("live page   http://{}/", arguments.listen);
        println!("metrics     http://{}/metrics", arguments.listen);
        println!(
            "Prometheus  http://{}/graph?g0.expr=probe502_answers_total",
            arguments.prometheus
        );
        println!("alerts      http://{}/alerts", arguments.prometheus);
        println!("Ctrl-C ends it; until then `probe502 demo` breaks upstreams again and again");
        while !over.load(Ordering::Relaxed) {
            let mut demo = tied(as_root("setpriv"), binary);
            demo.arg("demo").stdout(Stdio::null()).stderr(Stdio::null());
            self.start("the demo", &mut demo)?;
            self.await_demo(over)?;
        }
        Ok(())
    }

    fn start(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        let child = command.stdin(Stdio::null()).spawn();
        self.0
            .push((name, child.with_context(|| format!("cannot start {name}"))?));
        Ok(())
    }

    fn await_listener(&mut self, name: &str, at: SocketAddr, over: &AtomicBool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(at).is_err() && !over.load(Ordering::Relaxed) {
            if Instant::now() > deadline {
                bail!("{name} does not serve at {at}");
            }
            self.check()?;
        }
        Ok(())
    }

    /// Until the demo, which is the last that was started, has ended.
    fn await_demo(&mut self, over: &AtomicBool) -> Result<()> {
        while !over.load(Ordering::Relaxed) {
            if let Some((_, demo)) = self.0.last_mut()
                && demo.try_wait()?.is_some()
            {
                self.0.pop();
                return Ok(());
            }
            self.check()?;
        }
        Ok(())
    }

    /// A moment later, all but the demo must still run.
    fn check(&mut self) -> Result<()> {
        std::thread::sleep(Duration::from_millis(100));
        for (name, child) in self.0.iter_mut().take(2) {
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended: {status}");
            }
        }
        Ok(())
    }

    /// The last that started ends first.
    fn end(mut self) {
        while let Some((name, mut child)) = self.0.pop() {
            // Who runs as root is root's to end. One that ended by itself is no problem here.
            let mut kill = as_root("kill");
            kill.args(["-s", "TERM", &child.id().to_string()])
                .stderr(Stdio::null());
            if child.try_wait().is_ok_and(|status| status.is_none()) && kill.status().is_err() {
                eprintln!("cannot end {name}");
            }
            let _ = child.wait();
        }
    }
}

/// The program, told to end with its parent, however that ends.
fn tied(mut setpriv: Command, program: impl AsRef<Path>) -> Command {
    setpriv.args(["--pdeathsig", "TERM"]).arg(program.as_ref());
    setpriv
}

fn prometheus(arguments: &Arguments, folder: &Path) -> Result<Command> {
    let rules = repository::root().join("dashboards/rules/probe502.yml");
    let config = folder.join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 2s, evaluation_interval: 2s}}\n\
         rule_files: [{:?}]\n\
         scrape_configs: [{{job_name: probe502, static_configs: [{{targets: ['{}']}}]}}]\n",
        rules.canonicalize()?,
        arguments.listen
    );
    std::fs::write(&config, text)?;
    let mut command = tied(Command::new("setpriv"), "prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!(
        "--storage.tsdb.path={}",
        folder.join("tsdb").display()
    ));
    command.arg(format!("--web.listen-address={}", arguments.prometheus));
    command.arg("--log.level=error");
    Ok(command)
}
