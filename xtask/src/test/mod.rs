//! `cargo xtask test`: everything, from the house rules to real faults behind a real nginx.

mod runner;
mod tally;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::process::{cargo, is_root, on_path, run as run_through};
use crate::{demo, dist, ebpf, packages, repository, tidy, vm};
use tally::Tally;

/// What the end-to-end tests use: the gateways, a root file system with newer ones, containers,
/// the firewall, namespaces, a browser for the live page, Prometheus, the upstreams' Python with its
/// virtual environments, `kill`, and those who read packages and images.
pub const PACKAGES: &[&str] = &[
    "nginx",
    "haproxy",
    "apache2",
    "varnish",
    "gcc",
    "libc6-dev",
    "squid",
    "php8.2-fpm",
    "nodejs",
    "debootstrap",
    "crun",
    "runc",
    "nftables",
    "iproute2",
    "python3",
    "python3-venv",
    "procps",
    "chromium",
    "chromium-driver",
    "prometheus",
    "systemd",
    "util-linux",
    "musl-tools",
    "lintian",
    "skopeo",
    "umoci",
];

#[derive(clap::Args)]
pub struct Arguments {
    /// Only what needs neither root nor packages: rules, format, lints, unit tests, scenarios.
    #[arg(long)]
    quick: bool,
}

/// Ends with one line, alone: `N passed, N failed, N skipped`.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let began = Instant::now();
    ensure!(
        arguments.quick || is_root() || on_path("sudo"),
        "the end-to-end tests load kernel programs: run as root, install sudo, or use --quick"
    );
    let mut tally = Tally::default();
    rules(&mut tally);
    format_and_lints(&mut tally);
    units(&mut tally)?;
    if arguments.quick {
        tally.skip("ebpf --check", "--quick was given");
        tally.skip("end-to-end tests", "--quick was given");
    } else {
        let fresh = object(&mut tally);
        faults(&mut tally, fresh)?;
        another_kernel(&mut tally);
    }
    heading(&format!("done in {} s", began.elapsed().as_secs()));
    print!("{}", tally.details());
    println!("{}", tally.line());
    Ok(if tally.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn rules(tally: &mut Tally) {
    heading("house rules");
    match tidy::check() {
        Ok(checked) => {
            tally.pass(checked.kept);
            for rule in checked.broken {
                tally.note_failure(&format!("house rule: {rule}"));
            }
        }
        Err(error) => tally.fail(&format!("tidy: {error:#}")),
    }
}

fn format_and_lints(tally: &mut Tally) {
    heading("format and lints");
    let mut format = cargo();
    tally.step(
        "format",
        format
            .args(["fmt", "--all", "--", "--check", "-l"])
            .current_dir(repository::root()),
    );
    let mut format = cargo();
    tally.step(
        "format of ebpf",
        format
            .args(["fmt", "--", "--check", "-l"])
            .current_dir(kernel_side()),
    );
    let mut lint = cargo();
    lint.args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--locked",
    ]);
    lint.args(["--", "-D", "warnings"])
        .current_dir(repository::root());
    tally.step("lints", &mut lint);
    let mut lint = cargo();
    lint.args([
        "clippy",
        "--quiet",
        "--locked",
        "--target",
        "bpfel-unknown-none",
    ]);
    lint.args(["-Z", "build-std=core", "--target-dir"])
        .arg(repository::target().join("ebpf"));
    lint.args(["--", "-D", "warnings"])
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(kernel_side());
    tally.step("lints of ebpf", &mut lint);
}

fn kernel_side() -> PathBuf {
    repository::root().join("ebpf")
}

fn units(tally: &mut Tally) -> Result<()> {
    heading("unit tests and scenarios");
    let mut units = test();
    units.args(["--workspace", "--exclude", "probe502-tests"]);
    runner::run("unit tests", &mut units, tally)?;
    let mut harness = test();
    harness.args(["--package", "probe502-tests", "--lib"]);
    runner::run("the harness's own tests", &mut harness, tally)
}

fn test() -> Command {
    let mut test = cargo();
    test.args(["test", "--locked", "--no-fail-fast"])
        .current_dir(repository::root());
    test
}

/// The object that the end-to-end tests must judge instead of the committed one, if any.
fn object(tally: &mut Tally) -> Option<PathBuf> {
    heading("the kernel programs' object");
    match ebpf::check(&repository::target().join("probe502.fresh.bpf.o")) {
        Ok(ebpf::Checked::Identical) => tally.pass(1),
        Ok(ebpf::Checked::Incomparable(fresh)) => {
            tally.skip(
                "ebpf --check",
                "other tools than recorded; the fresh object is tested instead",
            );
            return Some(fresh);
        }
        Err(error) => match error.downcast_ref::<ebpf::Unavailable>() {
            Some(reason) => tally.skip("ebpf --check", &reason.to_string()),
            None => tally.fail(&format!("ebpf --check: {error:#}")),
        },
    }
    None
}

fn faults(tally: &mut Tally, fresh: Option<PathBuf>) -> Result<()> {
    heading("real faults behind a real nginx");
    packages::install(PACKAGES)?;
    let mut build = demo::agent_build();
    let chore = std::env::current_exe()?;
    let mut pack = Command::new(&chore);
    pack.arg("dist");
    let mut faults = test();
    faults.args([
        "--package",
        "probe502-tests",
        "--test",
        "*",
        "--",
        "--test-threads=1",
    ]);
    if let Some(fresh) = fresh {
        build.env("PROBE502_OBJECT", &fresh);
        pack.env("PROBE502_OBJECT", &fresh);
        faults.env("PROBE502_OBJECT", &fresh);
    }
    run_through(&mut build)?;
    run_through(&mut pack)?;
    faults.env("PROBE502_BIN", repository::agent());
    faults.env("PROBE502_DIST", repository::target().join("dist"));
    faults.env("PROBE502_XTASK", chore);
    if !is_root() {
        // cargo builds as the user; only the finished test programs run as root.
        faults.env(format!("CARGO_TARGET_{}_RUNNER", host()?), "sudo -E --");
    }
    runner::run("end-to-end tests", &mut faults, tally)
}

/// The packed binary on an older kernel; its player was built with the end-to-end tests.
fn another_kernel(tally: &mut Tally) {
    heading("an older kernel, emulated");
    let began = Instant::now();
    if !is_root() {
        return tally.skip(
            "an older kernel",
            "a guest sees this host's files: it needs root",
        );
    }
    let player = repository::target().join("debug/accuracy");
    let played = dist::binary::build().and_then(|agent| vm::short(&agent, &player));
    match played {
        Ok((right, others)) => {
            tally.pass(right);
            for other in others {
                tally.fail(&format!("not named right: {other}"));
            }
        }
        Err(error) => match error.downcast_ref::<vm::Unavailable>() {
            Some(reason) => tally.skip("an older kernel", &reason.to_string()),
            None => tally.fail(&format!("an older kernel: {error:#}")),
        },
    }
    println!("an older kernel: {:.1} s", began.elapsed().as_secs_f32());
}

/// The host's triple as cargo writes it in variables.
fn host() -> Result<String> {
    let said = crate::process::read(Command::new("rustc").arg("-vV"))?;
    let host = said
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap_or_default();
    Ok(host.to_uppercase().replace('-', "_"))
}

fn heading(words: &str) {
    println!("\n== {words}");
}
