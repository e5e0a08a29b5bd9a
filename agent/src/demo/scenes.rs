//! The ways to break, each with what must be said of it.

use std::net::Ipv4Addr;

use anyhow::{Context as _, ensure};
use probe502_core::cause::Cause;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use super::actor::Actor;
use super::oom::MemoryLimit;
use super::stage::{self, Answer, Stage, free_address};
use super::upstream;

/// Loopback too, but not where the gateway asks.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// One way to break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    Absent,
    OtherPort,
    OtherAddress,
    Closed,
    ClosedQueued,
    KilledByParent,
    KilledByUser,
    Crash,
    RefusedAfterCrash,
    Exit,
    OutOfMemory,
    ClosedWithoutAnswer,
    HalfHeader,
    Unread,
    Linger,
    KeepaliveRace,
    Malformed,
    BigHeader,
    Relayed,
}

/// How a scene is told: its route, what is broken, and the causes that are right.
pub struct Script {
    pub name: &'static str,
    pub broken: &'static str,
    pub right: &'static [Cause],
}

impl Scene {
    /// In the order in which they play.
    pub const ALL: &[Self] = &[
        Self::Absent,
        Self::OtherPort,
        Self::OtherAddress,
        Self::Closed,
        Self::ClosedQueued,
        Self::KilledByParent,
        Self::KilledByUser,
        Self::Crash,
        Self::RefusedAfterCrash,
        Self::Exit,
        Self::OutOfMemory,
        Self::ClosedWithoutAnswer,
        Self::HalfHeader,
        Self::Unread,
        Self::Linger,
        Self::KeepaliveRace,
        Self::Malformed,
        Self::BigHeader,
        Self::Relayed,
    ];

    /// What is broken, and what is right to say of it.
    pub const fn script(self) -> Script {
        let (name, broken, right): (_, _, &[Cause]) = match self {
            Self::Absent => (
                "absent",
                "nothing listens on the port",
                &[Cause::ListenerAbsent],
            ),
            Self::OtherPort => (
                "other-port",
                "the service listens on another port",
                // Where this host has other services, nothing shows which one is meant.
                &[Cause::ListenerOtherPort, Cause::ListenerAbsent],
            ),
            Self::OtherAddress => (
                "other-address",
                "the service listens on 127.0.0.2 only",
                &[Cause::ListenerOtherAddress],
            ),
            Self::Closed => (
                "closed",
                "the service closed its listener and lives on",
                &[Cause::ListenerClosed],
            ),
            Self::ClosedQueued => (
                "queued",
                "the listener is closed while the request waits in its queue",
                &[Cause::ListenerClosedQueued],
            ),
            Self::KilledByParent => (
                "parent",
                "the worker is killed by its parent",
                &[Cause::KilledByParent],
            ),
            Self::KilledByUser => (
                "user",
                "the worker is killed from a shell",
                &[Cause::KilledByUser],
            ),
            Self::Crash => ("crash", "the worker aborts on the request", &[Cause::Crash]),
            Self::RefusedAfterCrash => (
                "after-crash",
                "the service crashed before the request came",
                &[Cause::Crash],
            ),
            Self::Exit => ("exit", "the worker exits with status 1", &[Cause::Exit]),
            Self::OutOfMemory => (
                "memory",
                "the worker meets its cgroup's memory limit",
                &[Cause::OomCgroup],
            ),
            Self::ClosedWithoutAnswer => (
                "close",
                "the application closes without an answer",
                &[Cause::AppClosedWithoutAnswer],
            ),
            Self::HalfHeader => (
                "half-header",
                "the application closes within the header",
                &[Cause::AppClosedMidHeader],
            ),
            Self::Unread => (
                "unread",
                "the application closes with the request unread",
                &[Cause::AppResetUnread],
            ),
            Self::Linger => (
                "linger",
                "the application closes with SO_LINGER 0",
                &[Cause::AppResetLinger],
            ),
            Self::KeepaliveRace => (
                "race",
                "the upstream closes an idle connection as it is used",
                &[Cause::KeepaliveRace],
            ),
            Self::Malformed => (
                "malformed",
                "the answer holds a line that is no header",
                &[Cause::Malformed],
            ),
            Self::BigHeader => (
                "big-header",
                "the answer's header is 32 KiB long",
                &[Cause::HeaderTooBig],
            ),
            Self::Relayed => (
                "relayed",
                "the upstream answers 502 itself",
                &[Cause::RelayedUpstream],
            ),
        };
        Script {
            name,
            broken,
            right,
        }
    }

    /// The upstream that most scenes need.
    const fn way(self) -> &'static str {
        match self {
            Self::Absent | Self::OtherPort | Self::OtherAddress | Self::Closed => "answer",
            Self::RefusedAfterCrash => "answer",
            Self::ClosedQueued => "ignore",
            Self::KilledByParent | Self::KilledByUser => "wait",
            Self::Crash => "abort",
            Self::Exit => "exit",
            Self::OutOfMemory => "allocate",
            Self::ClosedWithoutAnswer => "close",
            Self::HalfHeader => "half-header",
            Self::Unread => "unread",
            Self::Linger => "linger",
            Self::KeepaliveRace => "idle-close",
            Self::Malformed => "malformed",
            Self::BigHeader => "big-header",
            Self::Relayed => "say502",
        }
    }

    /// Breaks it, and asks the gateway. The upstream stays: its end would be a cause of its own.
    pub async fn play(self, stage: &mut Stage) -> anyhow::Result<(Answer, Actor)> {
        let name = self.script().name;
        if self == Self::OtherPort {
            stage.dismiss_good().await?;
        }
        let ip = if self == Self::OtherAddress {
            ELSEWHERE
        } else {
            Ipv4Addr::LOCALHOST
        };
        let mut upstream = stage::upstream(self.way(), ip).await?;
        let mut target = upstream.address;
        if matches!(self, Self::Absent | Self::OtherPort) {
            target = free_address(Ipv4Addr::LOCALHOST)?;
        }
        if self == Self::OtherAddress {
            target.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        stage
            .route(name, target, self == Self::KeepaliveRace)
            .await?;
        let answer = self.break_and_ask(stage, name, &mut upstream).await?;
        ensure!(
            answer.status == 502,
            "the demo's gateway answered {}, not 502",
            answer.status
        );
        Ok((answer, upstream))
    }

    async fn break_and_ask(
        self,
        stage: &Stage,
        name: &str,
        upstream: &mut Actor,
    ) -> anyhow::Result<Answer> {
        if matches!(self, Self::KilledByParent | Self::KilledByUser) {
            return both(stage.ask(name, "order"), self.kill(upstream)).await;
        }
        if self == Self::ClosedQueued {
            let close = async {
                tokio::time::sleep(upstream::IDLE).await;
                upstream.tell("close").await
            };
            return both(stage.ask(name, "order"), close).await;
        }
        if self == Self::OutOfMemory {
            let limit = MemoryLimit::make()?;
            limit
                .hold(upstream.pid)
                .context("cannot put the upstream under the limit")?;
            return both(stage.ask(name, "order"), upstream.gone()).await;
        }
        if self == Self::Closed {
            upstream.tell("close").await?;
        }
        if self == Self::RefusedAfterCrash {
            upstream.doom("abort").await?;
        }
        if self == Self::KeepaliveRace {
            stage.ask(name, "first").await?;
            tokio::time::sleep(upstream::IDLE * 5 / 4).await;
        }
        stage.ask(name, "order").await
    }

    /// Once the upstream has read the request.
    async fn kill(self, upstream: &mut Actor) -> anyhow::Result<()> {
        upstream.hear().await?;
        if self == Self::KilledByUser {
            let order = format!("kill -KILL {}", upstream.pid.0);
            Command::new("sh")
                .arg("-c")
                .arg(order)
                .status()
                .await
                .context("cannot run sh")?;
            return Ok(());
        }
        let pid = Pid::from_raw(upstream.pid.0.cast_signed()).context("no such process")?;
        Ok(kill_process(pid, Signal::KILL)?)
    }
}

async fn both(
    ask: impl Future<Output = anyhow::Result<Answer>>,
    act: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Answer> {
    let (answer, acted) = tokio::join!(ask, act);
    acted?;
    answer
}
