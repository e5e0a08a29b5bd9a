//! Hooks that are attached while something asks for them, because they cost every task.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use aya::Ebpf;
use aya::programs::BtfTracePoint;
use aya::programs::tp_btf::BtfTracePointLinkId;

/// Sees every system call's end.
const CALLS: &str = "call_failed";
/// See every message of every UNIX socket.
const UNIX: [&str; 3] = ["unix_ready", "unix_read", "unix_written"];

/// How long calls are watched after the last failure that asked: retries and impatient clients come
/// within.
const WHILE: Duration = Duration::from_secs(10);
/// Rests after calls were watched for nothing: an answer of the gateway's own fails no call.
const PAUSES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(900));

/// What is attached, and until when.
#[derive(Default)]
pub struct OnCall {
    calls: Option<BtfTracePointLinkId>,
    until: Option<Instant>,
    /// Failed calls that had been told of when they began to be watched.
    before: u64,
    pause: Duration,
    rests_until: Option<Instant>,
    watches_unix: bool,
}

impl OnCall {
    /// Watches UNIX connections from now on; whether nobody had before.
    pub fn watch_unix(&mut self, programs: &mut Ebpf) -> anyhow::Result<bool> {
        if std::mem::replace(&mut self.watches_unix, true) {
            return Ok(false);
        }
        for name in UNIX {
            // One that this kernel refused stays away; `doctor` says why.
            let _ = program(programs, name)?.attach();
        }
        Ok(true)
    }

    /// Whether UNIX connections are watched.
    pub fn watches_unix(&self) -> bool {
        self.watches_unix
    }

    /// Watches failed calls for a while, or longer; `told` is how many were told of so far.
    pub fn watch_calls(
        &mut self,
        programs: &mut Ebpf,
        (now, told): (Instant, u64),
    ) -> anyhow::Result<()> {
        if self.calls.is_none() {
            if self.rests_until.is_some_and(|until| now < until) {
                return Ok(());
            }
            self.calls = program(programs, CALLS)?.attach().ok();
            self.before = told;
        }
        self.until = Some(now + WHILE);
        Ok(())
    }

    /// Lets go of the calls once nobody has asked for a while, or once they told nothing.
    pub fn rest(&mut self, programs: &mut Ebpf, (now, told): (Instant, u64)) -> anyhow::Result<()> {
        if self.until.is_none_or(|until| now < until) {
            return Ok(());
        }
        self.until = None;
        self.pause = if told > self.before {
            Duration::ZERO
        } else {
            (self.pause * 2).clamp(PAUSES.0, PAUSES.1)
        };
        self.rests_until = Some(now + self.pause);
        if let Some(link) = self.calls.take() {
            program(programs, CALLS)?.detach(link)?;
        }
        Ok(())
    }
}

fn program<'a>(programs: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut BtfTracePoint> {
    let program = programs
        .program_mut(name)
        .with_context(|| format!("the object has no program {name}"))?;
    Ok(program.try_into()?)
}
