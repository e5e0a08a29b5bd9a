//! What this node's pods are called: a watch on the API server, on a thread of its own, because
//! networks wait.

mod access;
mod pods;
mod reaching;
mod watching;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::Context as _;
use probe502_core::event::Pod;

/// News that wait for the loop's next turn; past them the watch waits, and with it the API server.
const QUEUE: usize = 256;

/// What the watch has to say.
#[derive(Debug)]
pub enum News {
    /// One pod and its containers are called so, or are no more.
    Pods(Vec<Pod>),
    /// How it goes from now on.
    Word(Word),
}

/// How the watch goes, for whoever runs the agent.
#[derive(Debug, PartialEq, Eq)]
pub struct Word {
    /// It works, or works again; else what is known stays, and it is tried again.
    pub well: bool,
    /// In words.
    pub text: String,
}

/// The loop's side of the watch. Dropping it ends the watch with its next news.
pub struct Names {
    news: Receiver<News>,
}

impl Names {
    /// Starts to watch; whatever goes wrong is news, and is tried again.
    pub fn start() -> anyhow::Result<Self> {
        let (tell, news) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("kubernetes".to_owned());
        thread
            .spawn(move || run(&tell))
            .context("cannot start a thread")?;
        Ok(Self { news })
    }

    /// What came since the last call; never waits.
    pub fn poll(&self) -> Vec<News> {
        self.news.try_iter().take(QUEUE).collect()
    }
}

fn run(tell: &SyncSender<News>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(watching::forever(&node(), tell)),
        // Who would listen may have gone.
        Err(error) => {
            let text = format!("pods have no names: {error}");
            _ = tell.send(News::Word(Word { well: false, text }));
        }
    }
}

/// A pod is told its node by the downward API; the kubelet's default is the host's name in lower case.
fn node() -> String {
    let told = std::env::var("NODE_NAME").ok();
    told.filter(|name| !name.is_empty()).unwrap_or_else(|| {
        let own = rustix::system::uname();
        own.nodename().to_string_lossy().to_lowercase()
    })
}
