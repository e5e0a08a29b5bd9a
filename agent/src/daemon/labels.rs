//! The names that metrics give gateways and upstreams: what people call them, and never without bound.

use std::collections::BTreeSet;

use probe502_core::verdict::{Cluster, Upstream, Who};

/// What takes the place of every further name.
pub const OTHER: &str = "_other";
/// What takes the place of a name that is not known.
pub const NONE: &str = "";

/// Programs that are gateways on one host: more are scans or tests.
const GATEWAYS: usize = 20;
/// Characters of a name: a systemd unit's longest is 255, what tells it apart comes first.
const LENGTH: usize = 128;
/// A container's id as its runtime abbreviates it.
const SHORT_ID: usize = 12;

/// Names up to a bound; what comes later is [`OTHER`].
#[derive(Debug)]
struct Names {
    known: BTreeSet<String>,
    bound: usize,
    refused: u64,
}

impl Names {
    fn new(bound: usize) -> Self {
        Self {
            known: BTreeSet::new(),
            bound,
            refused: 0,
        }
    }

    fn take(&mut self, name: &str) -> String {
        let name = plain(name);
        if self.known.contains(&name) {
            return name;
        }
        if self.known.len() >= self.bound {
            self.refused += 1;
            return OTHER.to_owned();
        }
        self.known.insert(name.clone());
        name
    }
}

/// The two labels whose values are not a closed set.
#[derive(Debug)]
pub struct Labels {
    gateways: Names,
    upstreams: Names,
}

impl Labels {
    /// With so many upstreams at most.
    pub fn new(upstreams: usize) -> Self {
        Self {
            gateways: Names::new(GATEWAYS),
            upstreams: Names::new(upstreams),
        }
    }

    /// Holds so many upstreams from now on; those that have a name keep it.
    pub fn rebound(&mut self, upstreams: usize) {
        self.upstreams.bound = upstreams;
    }

    /// The gateway's program.
    pub fn gateway(&mut self, who: &Who) -> String {
        self.gateways.take(&program(who))
    }

    /// The upstream as its operators call it.
    pub fn upstream(&mut self, upstream: Option<&Upstream>) -> String {
        upstream.map_or_else(
            || NONE.to_owned(),
            |named| self.upstreams.take(&called(named)),
        )
    }

    /// How often a name was one too many since this was asked last.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.gateways.refused) + std::mem::take(&mut self.upstreams.refused)
    }

    /// Names in use and their bound, of upstreams.
    pub fn held(&self) -> (usize, usize) {
        (self.upstreams.known.len(), self.upstreams.bound)
    }
}

/// Whatever a process calls itself: one line, and not without end.
fn plain(name: &str) -> String {
    let shown = |one: char| if one.is_control() { '?' } else { one };
    name.chars().take(LENGTH).map(shown).collect()
}

fn program(who: &Who) -> String {
    let exe = who.exe.as_deref().and_then(|exe| exe.rsplit('/').next());
    let exe = exe.filter(|name| !name.is_empty());
    who.script
        .as_deref()
        .or(exe)
        .unwrap_or(&who.comm)
        .to_owned()
}

/// The workload, else the unit, else the container, else the address.
fn called(upstream: &Upstream) -> String {
    let who = upstream.who.as_ref();
    let workload = who.and_then(|who| who.kubernetes.as_ref()).map(workload);
    let unit = who.and_then(|who| who.unit.as_deref());
    let container = who.and_then(|who| who.container.as_deref());
    let container = container.map(|id| id.get(..SHORT_ID).unwrap_or(id));
    // A login session's scope says who started it, not what it is.
    let unit = unit.filter(|unit| unit.ends_with(".service"));
    let known = unit.or(container).unwrap_or(&upstream.addr);
    workload.unwrap_or_else(|| known.to_owned())
}

/// A pod that nothing runs but its author is its own workload.
fn workload(cluster: &Cluster) -> String {
    let name = cluster.workload.as_ref().unwrap_or(&cluster.pod);
    format!("{}/{name}", cluster.namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(addr: &str, who: Option<Who>) -> Upstream {
        Upstream {
            addr: addr.to_owned(),
            real: None,
            who,
        }
    }

    #[test]
    fn an_upstream_goes_by_what_people_call_it() {
        let unit = Who {
            unit: Some("shop.service".into()),
            ..Who::default()
        };
        let container = Who {
            container: Some("3fa9c1d2e4b5a6978877".into()),
            ..Who::default()
        };
        let session = Who {
            unit: Some("session-3.scope".into()),
            ..Who::default()
        };
        let pod = |workload: Option<&str>| Who {
            kubernetes: Some(Cluster {
                namespace: "shop".into(),
                pod: "orders-7f6c9d8b5-x2x4z".into(),
                workload: workload.map(str::to_owned),
                ..Cluster::default()
            }),
            ..container.clone()
        };
        let (worked, bare) = (pod(Some("orders")), pod(None));
        let called = |who| called(&upstream("10.0.0.1:80", who));
        assert_eq!(called(Some(worked)), "shop/orders");
        assert_eq!(called(Some(bare)), "shop/orders-7f6c9d8b5-x2x4z");
        assert_eq!(called(Some(unit)), "shop.service");
        assert_eq!(called(Some(container)), "3fa9c1d2e4b5");
        assert_eq!(called(Some(session)), "10.0.0.1:80");
        assert_eq!(called(None), "10.0.0.1:80");
    }

    #[test]
    fn names_are_bounded_and_the_rest_is_counted() {
        let mut labels = Labels::new(2);
        let mut of = |port: u16| labels.upstream(Some(&upstream(&format!("[::1]:{port}"), None)));
        assert_eq!(
            (of(1), of(2), of(3), of(1)),
            (
                "[::1]:1".to_owned(),
                "[::1]:2".to_owned(),
                OTHER.to_owned(),
                "[::1]:1".to_owned()
            )
        );
        assert_eq!((labels.take_refused(), labels.held()), (1, (2, 2)));
        assert_eq!(labels.upstream(None), NONE);
    }

    #[test]
    fn no_name_breaks_a_line_or_fills_a_page() {
        let mut labels = Labels::new(2);
        let long = format!("a\n\u{1b}[31m{}", "x".repeat(10_000));
        let label = labels.upstream(Some(&upstream(&long, None)));
        assert_eq!(label.chars().count(), LENGTH);
        assert!(label.starts_with("a??[31mxxx"));
    }

    #[test]
    fn a_gateway_goes_by_its_program() {
        let mut labels = Labels::new(1);
        let who = Who {
            comm: "nginx".into(),
            exe: Some("/usr/sbin/nginx".into()),
            ..Who::default()
        };
        assert_eq!(labels.gateway(&who), "nginx");
        assert_eq!(
            labels.gateway(&Who {
                comm: "haproxy".into(),
                ..Who::default()
            }),
            "haproxy"
        );
    }
}
