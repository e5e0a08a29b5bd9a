//! Which verdicts are asked for.

use std::net::SocketAddr;

use probe502_core::cause::Cause;
use probe502_core::notice::{Deploy, Dialler, NearMiss, Warning};
use probe502_core::verdict::{Kind, Upstream, Verdict, Who};

/// A verdict passes where every list that is not empty holds something of it.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Listening ports of gateways, or ports of upstreams.
    pub ports: Vec<u16>,
    /// Status codes.
    pub statuses: Vec<u16>,
    /// Failures without an answer too.
    pub silent: bool,
    /// Names of the gateway's or the upstream's process or script.
    pub processes: Vec<String>,
    /// Causes.
    pub causes: Vec<Cause>,
}

impl Filter {
    /// Whether the verdict is asked for.
    pub fn passes(&self, verdict: &Verdict) -> bool {
        (self.silent || verdict.kind == Kind::Answer) && self.concerns(verdict)
    }

    /// The same, whatever the client got.
    pub fn concerns(&self, verdict: &Verdict) -> bool {
        any(&self.ports, |port| ports(verdict).contains(port))
            && (verdict.kind == Kind::Silent
                || any(&self.statuses, |status| *status == verdict.status))
            && any(&self.processes, |name| {
                names(verdict).contains(&name.as_str())
            })
            && any(&self.causes, |cause| *cause == verdict.cause)
    }
}

impl Filter {
    /// Whether a near miss is asked for.
    pub fn passes_near(&self, near: &NearMiss) -> bool {
        let addresses = [&near.attempt.addr, &near.upstream.addr];
        let addresses = addresses.into_iter().chain(&near.gateway.listens);
        let ports: Vec<u16> = addresses.filter_map(|address| port(address)).collect();
        let upstream = near.upstream.who.as_ref();
        let names = who(upstream.into_iter().chain([&near.gateway.who]));
        any(&self.ports, |port| ports.contains(port))
            && any(&self.processes, |name| names.contains(&name.as_str()))
            && any(&self.causes, |cause| *cause == near.cause)
    }

    /// Whether a warning is asked for.
    pub fn passes_warning(&self, warning: &Warning) -> bool {
        self.passes_pair(&warning.gateway, &warning.upstream)
            && any(&self.causes, |cause| *cause == warning.of)
    }

    /// Whether a gateway and its upstream are watched.
    pub fn passes_pair(&self, gateway: &Dialler, upstream: &Upstream) -> bool {
        let addresses = gateway.listens.iter().chain([&upstream.addr]);
        let ports: Vec<u16> = addresses.filter_map(|address| port(address)).collect();
        let upstream = upstream.who.as_ref();
        let names = who(upstream.into_iter().chain([&gateway.who]));
        any(&self.ports, |port| ports.contains(port))
            && any(&self.processes, |name| names.contains(&name.as_str()))
    }

    /// Whether a deploy is asked for: by what failed, where causes are asked for.
    pub fn passes_deploy(&self, deploy: &Deploy) -> bool {
        let ports: Vec<u16> = deploy.listens.iter().filter_map(|it| port(it)).collect();
        let names = who([&deploy.old].into_iter().chain(&deploy.new));
        let causes: Vec<Cause> = deploy.causes.iter().map(|one| one.cause).collect();
        any(&self.ports, |port| ports.contains(port))
            && any(&self.processes, |name| names.contains(&name.as_str()))
            && any(&self.causes, |cause| causes.contains(cause))
    }
}

fn port(address: &str) -> Option<u16> {
    Some(address.parse::<SocketAddr>().ok()?.port())
}

fn who<'a>(everyone: impl Iterator<Item = &'a Who>) -> Vec<&'a str> {
    everyone
        .flat_map(|who| [Some(who.comm.as_str()), who.script.as_deref()])
        .flatten()
        .collect()
}

fn any<T>(wanted: &[T], test: impl FnMut(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(test)
}

fn ports(verdict: &Verdict) -> Vec<u16> {
    let upstreams = verdict.attempts.iter().map(|attempt| &attempt.addr);
    let deciding = verdict.upstream.iter().map(|upstream| &upstream.addr);
    let addresses = upstreams.chain(deciding).chain([&verdict.gateway.listen]);
    addresses.filter_map(|address| port(address)).collect()
}

fn names(verdict: &Verdict) -> Vec<&str> {
    let upstream = verdict
        .upstream
        .as_ref()
        .and_then(|upstream| upstream.who.as_ref());
    who(upstream.into_iter().chain([&verdict.gateway.who]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::example;

    #[test]
    fn without_a_wish_everything_passes() {
        assert!(Filter::default().passes(&example::verdict()));
    }

    #[test]
    fn a_port_is_the_gateways_or_the_upstreams() {
        let verdict = example::verdict();
        let passes = |port| {
            Filter {
                ports: vec![port],
                ..Filter::default()
            }
            .passes(&verdict)
        };
        assert!(passes(80) && passes(8000));
        assert!(!passes(51422));
    }

    #[test]
    fn a_process_goes_by_its_name_or_its_scripts() {
        let verdict = example::verdict();
        let passes = |name: &str| {
            Filter {
                processes: vec![name.to_owned()],
                ..Filter::default()
            }
            .passes(&verdict)
        };
        assert!(passes("nginx") && passes("gunicorn") && passes("python3"));
        assert!(!passes("haproxy"));
    }

    #[test]
    fn every_wish_must_be_met() {
        let verdict = example::verdict();
        let wish = |causes, statuses| Filter {
            causes,
            statuses,
            ..Filter::default()
        };
        assert!(wish(vec![Cause::OomCgroup], vec![502]).passes(&verdict));
        assert!(!wish(vec![Cause::OomCgroup], vec![503]).passes(&verdict));
        assert!(!wish(vec![Cause::Crash], vec![502]).passes(&verdict));
    }
}
