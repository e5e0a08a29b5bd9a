//! The ways to break, each with what must be said of it.

use std::net::Ipv4Addr;

use anyhow::{Context as _, ensure};
use probe502_core::cause::Cause;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use super::actor::Actor;
use super::oom::MemoryLimit;
use super::stage::{self, Answer, Stage, free_address};
use super::upstream::{self, Way};

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

/// A scene as it is told: its route, its upstream's way to break, what is broken, and the causes
/// that are right to say of it.
pub struct Script {
    pub scene: Scene,
    pub name: &'static str,
    way: Way,
    pub broken: &'static str,
    pub right: &'static [Cause],
}

const fn script(
    scene: Scene,
    name: &'static str,
    way: Way,
    broken: &'static str,
    right: &'static [Cause],
) -> Script {
    Script {
        scene,
        name,
        way,
        broken,
        right,
    }
}

/// In the order in which they play.
#[rustfmt::skip]
pub const SCRIPTS: &[Script] = &[
    script(Scene::Absent, "absent", Way::Answer, "nothing listens on the port", &[Cause::ListenerAbsent]),
    // Where this host has other services, nothing shows which one is meant.
    script(Scene::OtherPort, "other-port", Way::Answer, "the service listens on another port", &[Cause::ListenerOtherPort, Cause::ListenerAbsent]),
    script(Scene::OtherAddress, "other-address", Way::Answer, "the service listens on 127.0.0.2 only", &[Cause::ListenerOtherAddress]),
    script(Scene::Closed, "closed", Way::Answer, "the service closed its listener and lives on", &[Cause::ListenerClosed]),
    script(Scene::ClosedQueued, "queued", Way::Ignore, "the listener is closed while the request waits in its queue", &[Cause::ListenerClosedQueued]),
    script(Scene::KilledByParent, "parent", Way::Wait, "the worker is killed by its parent", &[Cause::KilledByParent]),
    script(Scene::KilledByUser, "user", Way::Wait, "the worker is killed from a shell", &[Cause::KilledByUser]),
    script(Scene::Crash, "crash", Way::Abort, "the worker aborts on the request", &[Cause::Crash]),
    script(Scene::RefusedAfterCrash, "after-crash", Way::Answer, "the service crashed before the request came", &[Cause::Crash]),
    script(Scene::Exit, "exit", Way::Exit, "the worker exits with status 1", &[Cause::Exit]),
    script(Scene::OutOfMemory, "memory", Way::Allocate, "the worker meets its cgroup's memory limit", &[Cause::OomCgroup]),
    script(Scene::ClosedWithoutAnswer, "close", Way::Close, "the application closes without an answer", &[Cause::AppClosedWithoutAnswer]),
    script(Scene::HalfHeader, "half-header", Way::HalfHeader, "the application closes within the header", &[Cause::AppClosedMidHeader]),
    script(Scene::Unread, "unread", Way::Unread, "the application closes with the request unread", &[Cause::AppResetUnread]),
    script(Scene::Linger, "linger", Way::Linger, "the application closes with SO_LINGER 0", &[Cause::AppResetLinger]),
    script(Scene::KeepaliveRace, "race", Way::IdleClose, "the upstream closes an idle connection as it is used", &[Cause::KeepaliveRace]),
    script(Scene::Malformed, "malformed", Way::Malformed, "the answer holds a line that is no header", &[Cause::Malformed]),
    script(Scene::BigHeader, "big-header", Way::BigHeader, "the answer's header is 32 KiB long", &[Cause::HeaderTooBig]),
    script(Scene::Relayed, "relayed", Way::Say502, "the upstream answers 502 itself", &[Cause::RelayedUpstream]),
];

impl Script {
    /// Breaks it, and asks the gateway. The upstream stays: its end would be a cause of its own.
    pub async fn play(&self, stage: &mut Stage) -> anyhow::Result<(Answer, Actor)> {
        let (scene, name) = (self.scene, self.name);
        if scene == Scene::OtherPort {
            stage.dismiss_good().await?;
        }
        let ip = if scene == Scene::OtherAddress {
            ELSEWHERE
        } else {
            Ipv4Addr::LOCALHOST
        };
        let mut upstream = stage::upstream(self.way, ip).await?;
        let mut target = upstream.address;
        if matches!(scene, Scene::Absent | Scene::OtherPort) {
            target = free_address(Ipv4Addr::LOCALHOST)?;
        }
        if scene == Scene::OtherAddress {
            target.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        stage
            .route(name, target, scene == Scene::KeepaliveRace)
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
        &self,
        stage: &Stage,
        name: &str,
        upstream: &mut Actor,
    ) -> anyhow::Result<Answer> {
        if matches!(self.scene, Scene::KilledByParent | Scene::KilledByUser) {
            return both(stage.ask(name, "order"), self.kill(upstream)).await;
        }
        if self.scene == Scene::ClosedQueued {
            let close = async {
                tokio::time::sleep(upstream::IDLE).await;
                upstream.tell("close").await
            };
            return both(stage.ask(name, "order"), close).await;
        }
        if self.scene == Scene::OutOfMemory {
            let limit = MemoryLimit::make()?;
            limit
                .hold(upstream.pid)
                .context("cannot put the upstream under the limit")?;
            return both(stage.ask(name, "order"), upstream.gone()).await;
        }
        if self.scene == Scene::Closed {
            upstream.tell("close").await?;
        }
        if self.scene == Scene::RefusedAfterCrash {
            upstream.doom("abort").await?;
        }
        if self.scene == Scene::KeepaliveRace {
            stage.ask(name, "first").await?;
            tokio::time::sleep(upstream::IDLE * 5 / 4).await;
        }
        stage.ask(name, "order").await
    }

    /// Once the upstream has read the request.
    async fn kill(&self, upstream: &mut Actor) -> anyhow::Result<()> {
        upstream.hear().await?;
        if self.scene == Scene::KilledByUser {
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
