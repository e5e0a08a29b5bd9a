//! Every chore of probe502, as `cargo xtask …`.

mod accuracy;
mod bench;
mod demo;
mod dist;
mod ebpf;
mod fuzz;
mod packages;
mod preview;
mod process;
mod repository;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Every chore of probe502")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Build ebpf/probe502.bpf.o from source; installs the toolchain it needs.
    Ebpf(ebpf::Arguments),
    /// Build the agent and show it naming a dozen real failures on loopback.
    Demo(demo::Arguments),
    /// Pack the agent in every form in which it is handed out, into target/dist.
    Dist(dist::Arguments),
    /// Show the daemon's live page and metrics at work, with failures that never end.
    Preview(preview::Arguments),
    /// Run every test, from the house rules to real faults behind a real nginx.
    Test(test::Arguments),
    /// Check the house rules.
    Tidy,
    /// Break every upstream behind every gateway, and write how often the verdict was right.
    Accuracy(accuracy::Arguments),
    /// Measure what the agent costs nginx, side by side in one run.
    Bench(bench::Arguments),
    /// Let libFuzzer look for bytes that the core cannot take, for ten minutes a target.
    Fuzz(fuzz::Arguments),
    /// Boot other kernels under QEMU and name real failures on each.
    Vm(vm::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Ebpf(arguments) => ebpf::run(&arguments),
        Chore::Demo(arguments) => demo::run(&arguments),
        Chore::Dist(arguments) => dist::run(&arguments),
        Chore::Preview(arguments) => preview::run(&arguments),
        Chore::Test(arguments) => test::run(&arguments),
        Chore::Tidy => tidy::run(),
        Chore::Accuracy(arguments) => accuracy::run(&arguments),
        Chore::Bench(arguments) => bench::run(&arguments),
        Chore::Fuzz(arguments) => fuzz::run(&arguments),
        Chore::Vm(arguments) => vm::run(&arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
