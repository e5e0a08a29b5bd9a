//! Verdicts on disk: an SQLite file that one agent writes and anyone may read meanwhile.

#[cfg(test)]
mod example;
mod reader;
mod store;
mod writer;

pub use reader::{Reader, Search};
pub use writer::{Bounds, Writer};

use std::sync::Arc;

use probe502_core::verdict::{Upstream, Verdict};

/// Where the packages keep it.
pub const PLACE: &str = "/var/lib/probe502/history.db";

/// The layout of the tables (`PRAGMA user_version`).
const VERSION: i64 = 1;

/// A verdict as it is kept: the columns that searches go by, and the whole as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    id: String,
    time: String,
    status: u16,
    cause: &'static str,
    upstream: Option<String>,
    gateway: String,
    json: Arc<str>,
}

impl Row {
    /// What is kept of a verdict: everything.
    pub fn of(verdict: &Verdict) -> serde_json::Result<Self> {
        Ok(Self {
            id: verdict.id.clone(),
            time: verdict.time.clone(),
            status: verdict.status,
            cause: verdict.cause.id(),
            upstream: verdict.upstream.as_ref().map(called),
            gateway: verdict.gateway.who.comm.clone(),
            json: verdict.to_json()?.into(),
        })
    }

    /// The whole.
    pub fn json(&self) -> Arc<str> {
        Arc::clone(&self.json)
    }

    /// The memory that it takes, about.
    fn bytes(&self) -> usize {
        let texts = [&self.id, &self.time, &self.gateway];
        let texts: usize = texts.into_iter().map(String::len).sum();
        let upstream = self.upstream.as_ref().map_or(0, String::len);
        size_of::<Self>() + texts + upstream + self.json.len()
    }
}

/// All that people call an upstream: its address, unit, workload and pod.
fn called(upstream: &Upstream) -> String {
    let who = upstream.who.as_ref();
    let mut names = vec![upstream.addr.clone()];
    names.extend(who.and_then(|who| who.unit.clone()));
    if let Some(cluster) = who.and_then(|who| who.kubernetes.as_ref()) {
        let within = |name: &String| format!("{}/{name}", cluster.namespace);
        names.extend(cluster.workload.iter().map(within));
        names.push(within(&cluster.pod));
    }
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use probe502_core::verdict::Cluster;

    use super::*;
    use crate::output::example;

    #[test]
    fn an_upstream_is_found_by_every_name() {
        let mut upstream = example::verdict().upstream.expect("an upstream");
        assert_eq!(called(&upstream), "10.4.1.7:8000");
        if let Some(who) = &mut upstream.who {
            who.kubernetes = Some(Cluster {
                namespace: "shop".to_owned(),
                pod: "orders-x2x4z".to_owned(),
                workload: Some("orders".to_owned()),
                ..Cluster::default()
            });
        }
        let names = "10.4.1.7:8000 shop/orders shop/orders-x2x4z";
        assert_eq!(called(&upstream), names);
    }
}
