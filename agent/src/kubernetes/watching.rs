//! The conversation with the API server: list, watch from there, and begin anew when it breaks.

use std::pin::pin;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt as _;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::ApiResource;
use kube::{Api, Error};

use super::access::Access;
use super::pods::{Known, Told};
use super::{News, Word, reaching};

/// The pauses between two tries grow from one to the other, until one lasts longer than its pause.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// Who answers nothing for so long is taken for gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// kube asks the server to end a watch after 290 s, and a bookmark comes each minute: a watch that is
/// silent for longer is a connection that nobody holds any more.
const SILENCE: Duration = Duration::from_secs(300);
/// What a history that was compacted is answered with: HTTP 410.
const GONE: u16 = 410;

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    /// What is asked for has left the server's memory.
    #[error("what came since is forgotten there")]
    Forgotten,
    #[error("{0}")]
    Refused(String),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// Nobody listens any more.
    #[error("unheard")]
    Unheard,
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        let Error::Api(status) = &error else {
            return Self::Refused(words(error));
        };
        match status.code {
            GONE => Self::Forgotten,
            code => Self::Refused(format!("{code} {}", status.message)),
        }
    }
}

/// Watches the pods of a node until nobody listens.
pub async fn forever(node: &str, tell: &SyncSender<News>) {
    let mut watching = Watching {
        node,
        tell,
        told: Told::default(),
        listed: None,
        said: None,
    };
    let (mut pause, mut fresh) = (FIRST, false);
    loop {
        let Err(broken) = watching.converse(fresh).await;
        let lasted = watching.listed.take().map(|since| since.elapsed());
        if lasted.is_some_and(|lasted| lasted > pause) {
            pause = FIRST;
        }
        fresh = matches!(broken, Broken::Forgotten);
        let heard = match broken {
            Broken::Unheard => return,
            // A fresh list is the answer, and no failure.
            Broken::Forgotten => Ok(()),
            Broken::Refused(_) | Broken::Silent => watching.unwell(&broken.to_string()),
        };
        if heard.is_err() {
            return;
        }
        tokio::time::sleep(scattered(pause)).await;
        pause = (pause * 2).min(LONGEST);
    }
}

struct Watching<'a> {
    node: &'a str,
    tell: &'a SyncSender<News>,
    told: Told,
    /// Since when this conversation goes well.
    listed: Option<Instant>,
    /// What was said last of how it goes, empty for well; the same again is not said.
    said: Option<String>,
}

/// A conversation only ends by breaking.
enum Never {}

impl Watching<'_> {
    /// A client of its own each time: tokens, authorities and addresses may have changed.
    async fn converse(&mut self, fresh: bool) -> Result<Never, Broken> {
        let pods = api()?;
        let mut version = self.list(&pods, fresh).await?;
        loop {
            let began = Instant::now();
            version = self.watch(&pods, version).await?;
            // A server that ends each watch at once is not asked in a circle.
            if began.elapsed() < FIRST {
                tokio::time::sleep(FIRST).await;
            }
        }
    }

    /// From the server's memory, as kubelets read: a list out of its database, for every node of a
    /// large cluster, is dear. Only where that memory is what failed it must be fresh.
    async fn list(&mut self, pods: &Api<Known>, fresh: bool) -> Result<String, Broken> {
        let params = ListParams::default().fields(&self.selector());
        let params = if fresh { params } else { params.match_any() };
        let list = patient(async { Ok(pods.list(&params).await?) }).await?;
        let version = list.metadata.resource_version.unwrap_or_default();
        for news in self.told.anew(list.items) {
            self.send(News::Pods(news))?;
        }
        self.listed = Some(Instant::now());
        self.well()?;
        Ok(version)
    }

    /// Until the server ends it; returns up to where it told.
    async fn watch(&mut self, pods: &Api<Known>, mut version: String) -> Result<String, Broken> {
        let params = WatchParams::default().fields(&self.selector());
        let events = patient(async { Ok(pods.watch(&params, &version).await?) }).await?;
        let mut events = pin!(events);
        loop {
            let next = tokio::time::timeout(SILENCE, events.next()).await;
            let Some(event) = next.map_err(|_| Broken::Silent)? else {
                return Ok(version);
            };
            let (pod, gone) = match event? {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => (pod, false),
                WatchEvent::Deleted(pod) => (pod, true),
                WatchEvent::Bookmark(mark) => {
                    version = mark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(status) => return Err(Error::Api(status).into()),
            };
            if let Some(now) = &pod.metadata.resource_version {
                version.clone_from(now);
            }
            let news = if gone {
                self.told.gone(&pod)
            } else {
                self.told.changed(&pod)
            };
            if !news.is_empty() {
                self.send(News::Pods(news))?;
            }
        }
    }

    fn selector(&self) -> String {
        format!("spec.nodeName={}", self.node)
    }

    fn well(&mut self) -> Result<(), Broken> {
        let pods = self.told.count();
        let words = format!("the API server names {pods} pods of node {}", self.node);
        self.say(true, "", words)
    }

    fn unwell(&mut self, why: &str) -> Result<(), Broken> {
        let words = format!("the Kubernetes API server names no pods, trying again: {why}");
        self.say(false, why, words)
    }

    fn say(&mut self, well: bool, gist: &str, text: String) -> Result<(), Broken> {
        if self.said.as_deref() == Some(gist) {
            return Ok(());
        }
        self.said = Some(gist.to_owned());
        self.send(News::Word(Word { well, text }))
    }

    /// Waits where the loop is behind: this thread has nothing else to do.
    fn send(&self, news: News) -> Result<(), Broken> {
        self.tell.send(news).map_err(|_| Broken::Unheard)
    }
}

fn api() -> Result<Api<Known>, Broken> {
    let client = Access::find().and_then(reaching::client);
    let client = client.map_err(|error| Broken::Refused(format!("{error:#}")))?;
    let pod = ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&());
    Ok(Api::all_with(client, &pod))
}

async fn patient<T>(asked: impl Future<Output = Result<T, Broken>>) -> Result<T, Broken> {
    let answered = tokio::time::timeout(PATIENCE, asked).await;
    answered.map_err(|_| Broken::Silent)?
}

/// kube's own words would bring the words of all that it could do, YAML's with excerpts.
fn words(error: Error) -> String {
    if let Error::Service(error) = error {
        with_reasons(&*error)
    } else if let Error::HyperError(error) = error {
        with_reasons(&error)
    } else if let Error::ReadEvents(error) = error {
        with_reasons(&error)
    } else if let Error::SerdeError(error) = error {
        format!("its answer is not understood: {error}")
    } else {
        "its answer is not understood".to_owned()
    }
}

/// An error with those below it: "error trying to connect" alone helps nobody.
fn with_reasons(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let reason = error.to_string();
        if !words.contains(&reason) {
            words = format!("{words}: {reason}");
        }
        below = error.source();
    }
    words
}

/// Up to a quarter longer, so that the agents of a cluster do not come back all at once.
fn scattered(pause: Duration) -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let share = since.unwrap_or_default().subsec_nanos() % 256;
    pause + pause * share / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_scattered_and_bounded() {
        for pause in [FIRST, LONGEST] {
            let scattered = scattered(pause);
            assert!(pause <= scattered && scattered <= pause * 5 / 4);
        }
    }

    #[test]
    fn a_history_that_left_the_servers_memory_is_no_error_of_its() {
        let status = |code| {
            Error::Api(
                kube::core::Status {
                    code,
                    ..Default::default()
                }
                .boxed(),
            )
        };
        assert!(matches!(Broken::from(status(410)), Broken::Forgotten));
        assert!(matches!(Broken::from(status(403)), Broken::Refused(_)));
    }
}
