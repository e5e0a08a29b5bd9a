//! `cargo xtask vm`: the static binary on other kernels, under QEMU, with real faults behind nginx.

mod kernels;
mod machine;
mod page;
mod ramdisk;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::process::is_root;
use crate::{accuracy, dist, packages, process, repository, test};
use kernels::Kernel;
use machine::Machine;

/// The emulator, the file server that shows this host's files to a guest, and what makes a guest's
/// first file system.
const PACKAGES: &[&str] = &[
    "qemu-system-x86",
    "qemu-system-common",
    "busybox-static",
    "cpio",
    "kmod",
    "xz-utils",
];

/// What is played on each kernel: a fault for each way in which a cause is seen.
const FAULTS: &[&str] = &[
    "nothing-listens",
    "moved-to-other-port",
    "refused-after-kill",
    "queue-full",
    "crash-segv",
    "oom-kill",
    "oom-of-the-host",
    "exit-early",
    "ended-by-person",
    "killed-by-master",
    "closes-without-answer",
    "partial-header",
    "body-cut",
    "resets-by-linger",
    "resets-unread-body",
    "post-meets-fin",
    "sleeps",
    "malformed-header",
    "header-too-big",
    "upstream-says-502",
    "firewall-resets",
    "firewall-says-unreachable",
    "firewall-drops-the-syn",
    "unix-missing",
    "unix-closes-without-answer",
];

/// How long one guest may take: the emulated processor is some ten times slower than a real one.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

#[derive(clap::Args)]
pub struct Arguments {
    /// Only these kernels: 5.10, 6.1, 6.12, newest
    #[arg(long, value_delimiter = ',')]
    kernel: Vec<String>,
    /// Only faults whose name holds one of these words; then no page is written
    #[arg(long, value_delimiter = ',')]
    fault: Vec<String>,
    /// What the gate plays: five faults on the oldest kernel above the floor
    #[arg(long, conflicts_with_all = ["kernel", "fault"])]
    short: bool,
    /// Use this binary instead of building the static one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// What a guest did.
pub struct Run {
    pub kernel: &'static Kernel,
    /// The release that ran, as its package names it.
    pub release: String,
    /// Doctor's report and its exit status.
    pub doctor: serde_json::Value,
    pub status: i32,
    /// The cells that were played, as `cargo xtask accuracy` keeps them.
    pub cells: Vec<serde_json::Value>,
}

/// What the gate plays, on the oldest kernel above the floor that Debian has.
const SHORT: &str =
    "nothing-listens,crash-segv,closes-without-answer,resets-by-linger,upstream-says";

/// No guest ran, with the reason: this host cannot emulate one, or cannot fetch a kernel.
#[derive(Debug)]
pub struct Unavailable(anyhow::Error);

impl std::fmt::Display for Unavailable {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{:#}", self.0)
    }
}

impl std::error::Error for Unavailable {}

/// The gate's short form: each failure that was not named right, and how many were.
pub fn short(agent: &Path, player: &Path) -> Result<(usize, Vec<String>)> {
    packages::install(PACKAGES).map_err(Unavailable)?;
    let kernel = kernels::ALL.iter().find(|kernel| kernel.is_served);
    let run = played(kernel.context("no kernel")?, (agent, player), SHORT)?;
    print!("{}", page::summary(&run));
    let is_right = |cell: &&serde_json::Value| cell["mark"] == "right" || is_over_unix(cell);
    let (right, others): (Vec<_>, Vec<_>) = run.cells.iter().partition(is_right);
    let name = |cell: &serde_json::Value| format!("{} on {}", cell["fault"], run.release);
    Ok((right.len(), others.into_iter().map(name).collect()))
}

/// Its hooks are younger than the oldest kernel.
fn is_over_unix(cell: &serde_json::Value) -> bool {
    let fault = cell["fault"].as_str().unwrap_or_default();
    fault.starts_with("unix-") && cell["mark"] == "unknown"
}

/// Ends well if no verdict was wrong, missing or too much, and the old kernel was refused.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    ensure!(
        is_root(),
        "a guest sees this host's files as root: run as root"
    );
    packages::install(PACKAGES)?;
    packages::install(test::PACKAGES)?;
    let agent = match &arguments.binary {
        Some(binary) => binary
            .canonicalize()
            .with_context(|| binary.display().to_string())?,
        None => dist::binary::build()?,
    };
    process::run(&mut accuracy::player_build())?;
    let player = repository::target().join("release/accuracy");
    if arguments.short {
        let (_, others) = short(&agent, &player)?;
        return Ok(ExitCode::from(u8::from(!others.is_empty())));
    }
    let faults = if arguments.fault.is_empty() {
        FAULTS.join(",")
    } else {
        arguments.fault.join(",")
    };
    let mut runs = Vec::new();
    for kernel in chosen(&arguments.kernel)? {
        let run = played(kernel, (&agent, &player), &faults)?;
        print!("{}", page::summary(&run));
        runs.push(run);
    }
    if arguments.kernel.is_empty() && arguments.fault.is_empty() {
        std::fs::write(
            repository::root().join("docs/kernels.md"),
            page::page(&runs),
        )?;
    }
    let good = runs.iter().all(is_good);
    Ok(ExitCode::from(u8::from(!good)))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Kernel>> {
    let known = || kernels::ALL.iter().map(|kernel| kernel.name);
    for name in names {
        ensure!(
            known().any(|known| known == name),
            "no kernel is called {name}: there are {}",
            known().collect::<Vec<_>>().join(", ")
        );
    }
    let is_chosen =
        |kernel: &&Kernel| names.is_empty() || names.iter().any(|name| name == kernel.name);
    Ok(kernels::ALL.iter().filter(is_chosen).collect())
}

/// Boots one and plays the faults in it.
fn played(kernel: &'static Kernel, (agent, player): (&Path, &Path), faults: &str) -> Result<Run> {
    let unpacked = kernels::unpacked(kernel).map_err(Unavailable)?;
    let folder = unpacked.folder.join("run");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    println!("\n{}: {}", kernel.name, unpacked.release);
    let machine = Machine {
        unpacked: &unpacked,
        processor: kernel.processor,
        folder: &folder,
        variables: &[
            ("PROBE502_BIN", &agent.display().to_string()),
            ("PLAYER", &player.display().to_string()),
            ("FAULTS", faults),
        ],
    };
    let console = machine.run(PATIENCE).map_err(Unavailable)?;
    if !folder.join("began").exists() {
        bail!(Unavailable(anyhow!(
            "no guest came up; its console: {console}"
        )));
    }
    read(kernel, unpacked.release, &folder)
        .with_context(|| format!("{} said nothing whole; its console: {console}", kernel.name))
}

fn read(kernel: &'static Kernel, release: String, folder: &Path) -> Result<Run> {
    let text = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let status = text("doctor.status")?.trim().parse()?;
    let doctor = text("doctor.json")?;
    let doctor = serde_json::from_str(&doctor).with_context(|| format!("doctor said {doctor}"))?;
    let mut cells = Vec::new();
    if kernel.is_served {
        let played = text("502.jsonl").with_context(|| text("played.log").unwrap_or_default())?;
        for line in played.lines() {
            let value: serde_json::Value = serde_json::from_str(line)?;
            if value.get("fault").is_some() {
                cells.push(value);
            }
        }
        if cells.is_empty() {
            bail!("nothing was played: {}", text("played.log")?);
        }
    }
    Ok(Run {
        kernel,
        release,
        doctor,
        status,
        cells,
    })
}

/// A verdict may be weaker on an older kernel, never wrong.
fn is_good(run: &Run) -> bool {
    if !run.kernel.is_served {
        return run.status == 3;
    }
    let is_fine = |cell: &serde_json::Value| {
        matches!(cell["mark"].as_str(), Some("right" | "unknown" | "hidden"))
    };
    run.status != 3 && run.cells.iter().all(is_fine)
}

/// Runs a tool and fails with what it said.
fn quiet(command: &mut Command) -> Result<()> {
    process::read(command).map(drop)
}
