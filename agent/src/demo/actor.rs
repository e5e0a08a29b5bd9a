//! A process of the demo: this same program under another verb, talked to over its pipes.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use probe502_core::units::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// An answer that takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(5);

/// The program itself, even where its file has been replaced meanwhile.
const SELF: &str = "/proc/self/exe";

/// A child that listens.
pub struct Actor {
    child: Child,
    orders: ChildStdin,
    words: Lines<BufReader<ChildStdout>>,
    pub pid: Pid,
    pub address: SocketAddr,
}

impl Actor {
    /// Starts it and waits until it listens.
    pub async fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(SELF);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .context("cannot start a process of the demo")?;
        let pid = Pid(child.id().context("a process of the demo ended at once")?);
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let orders = stdin.context("no pipe to a process of the demo")?;
        let words = BufReader::new(stdout.context("no pipe from a process of the demo")?).lines();
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut actor = Self {
            child,
            orders,
            words,
            pid,
            address,
        };
        let said = actor.hear().await?;
        let address = said
            .strip_prefix("listening ")
            .and_then(|address| address.parse().ok());
        actor.address = address.with_context(|| format!("a process of the demo said '{said}'"))?;
        Ok(actor)
    }

    /// Gives it an order and waits for its word.
    pub async fn tell(&mut self, order: &str) -> anyhow::Result<()> {
        self.orders
            .write_all(format!("{order}\n").as_bytes())
            .await?;
        self.hear().await.map(drop)
    }

    /// Gives it an order that ends it.
    pub async fn doom(&mut self, order: &str) -> anyhow::Result<()> {
        self.orders
            .write_all(format!("{order}\n").as_bytes())
            .await?;
        self.gone().await
    }

    /// Its next word.
    pub async fn hear(&mut self) -> anyhow::Result<String> {
        let word = tokio::time::timeout(PATIENCE, self.words.next_line()).await;
        match word.context("a process of the demo says nothing")?? {
            Some(word) => Ok(word),
            None => bail!("a process of the demo ended before its time"),
        }
    }

    /// Waits until it has ended.
    pub async fn gone(&mut self) -> anyhow::Result<()> {
        let gone = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        gone.context("a process of the demo does not end")??;
        Ok(())
    }

    /// Closes its stdin, which ends it.
    pub async fn dismiss(self) -> anyhow::Result<()> {
        let Self {
            mut child, orders, ..
        } = self;
        drop(orders);
        if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
            child.kill().await?;
        }
        Ok(())
    }
}
