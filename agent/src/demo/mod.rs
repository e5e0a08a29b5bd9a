//! A small gateway and breakable upstreams on loopback, and the ways in which they break.

mod actor;
pub mod gateway;
pub mod message;
pub mod oom;
pub mod scenes;
pub mod stage;
pub mod upstream;

use std::os::fd::AsFd as _;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::unix::pipe::Receiver;

/// Names this process as the kernel shows it, and keeps the crashes that are wanted from leaving
/// core files behind.
fn costume(name: &std::ffi::CStr) -> rustix::io::Result<()> {
    rustix::thread::set_name(name)?;
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
}

/// What the demo says on this process's stdin. A pipe, read without a second thread: the gateway
/// has to be the one thread that it claims to be.
fn orders() -> anyhow::Result<Lines<BufReader<Receiver>>> {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned()?;
    let pipe =
        Receiver::from_owned_fd(stdin).context("the demo's processes take orders by pipe")?;
    Ok(BufReader::new(pipe).lines())
}
