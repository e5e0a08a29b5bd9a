//! How gateways word what their upstream socket saw: by the sight, since their logs know no more.

mod cloud;
mod golang;
mod native;
mod sight;

use std::str::FromStr;

use sight::sight;
pub use sight::{Sight, sights};

use crate::cause::Cause;
use crate::evidence::Evidence;
use crate::verdict::Who;

/// A gateway whose words are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the products'")]
pub enum Product {
    Nginx,
    Haproxy,
    Envoy,
    Apache,
    Caddy,
    Traefik,
    Alb,
    Gcp,
}

/// What a word cannot know beforehand: numbers, names, certificates.
pub const ANYTHING: &str = "…";

impl Product {
    /// Every product.
    pub const ALL: [Self; 8] = [
        Self::Nginx,
        Self::Haproxy,
        Self::Envoy,
        Self::Apache,
        Self::Caddy,
        Self::Traefik,
        Self::Alb,
        Self::Gcp,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Apache => "apache",
            Self::Caddy => "caddy",
            Self::Traefik => "traefik",
            Self::Alb => "alb",
            Self::Gcp => "gcp",
        }
    }

    /// Its name for people, and where its words stand.
    #[must_use]
    pub const fn place(self) -> &'static str {
        match self {
            Self::Nginx => "nginx, error_log",
            Self::Haproxy => "HAProxy, termination state in the HTTP log",
            Self::Envoy => "Envoy, %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% in the access log",
            Self::Apache => "Apache httpd, ErrorLog",
            Self::Caddy => "Caddy, http.log.error",
            Self::Traefik => "Traefik, its log at level DEBUG",
            Self::Alb => {
                "AWS ALB, access log: elb_status_code target_status_code, and the three times"
            }
            Self::Gcp => "Google Cloud load balancer, statusDetails in its log",
        }
    }

    /// Which product a program is, by its executable's name; forks keep their origin's words.
    #[must_use]
    pub fn of(who: &Who) -> Option<Self> {
        let exe = who.exe.as_deref().and_then(|exe| exe.rsplit('/').next());
        // A replaced executable is shown so by /proc.
        let exe = exe.map(|exe| exe.trim_end_matches(" (deleted)"));
        exe.and_then(Self::by_program)
            .or_else(|| Self::by_program(&who.comm))
    }

    fn by_program(name: &str) -> Option<Self> {
        match name {
            "nginx" | "openresty" | "angie" | "freenginx" => Some(Self::Nginx),
            "haproxy" => Some(Self::Haproxy),
            "envoy" => Some(Self::Envoy),
            "apache2" | "httpd" => Some(Self::Apache),
            "caddy" => Some(Self::Caddy),
            "traefik" => Some(Self::Traefik),
            _ => None,
        }
    }

    /// Its words for a sight, any one of them; none where it says nothing.
    #[must_use]
    pub const fn words(self, sight: Sight) -> &'static [&'static str] {
        match self {
            Self::Nginx => native::nginx(sight),
            Self::Haproxy => native::haproxy(sight),
            Self::Envoy => native::envoy(sight),
            Self::Apache => native::apache(sight),
            Self::Caddy | Self::Traefik => golang::words(sight),
            Self::Alb => cloud::alb(sight),
            Self::Gcp => cloud::gcp(sight),
        }
    }
}

impl FromStr for Product {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|product| product.name() == name);
        known.copied().ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|product| product.name()).collect();
            format!("no such product; there are {}", names.join(", "))
        })
    }
}

/// What stands for `{address}`, `{errno}`, `{error}` and `{network}` in the words.
#[derive(Clone, Debug)]
pub struct Blanks {
    /// The upstream's address or path.
    pub address: String,
    /// `connect(2)`'s error.
    pub errno: u16,
}

impl Blanks {
    /// For a page: no incident's values.
    #[must_use]
    pub fn general(sight: Sight) -> Self {
        Self {
            address: "ADDRESS".to_owned(),
            errno: sight.errno(),
        }
    }

    /// The words with the blanks filled.
    #[must_use]
    pub fn fill(&self, words: &str) -> String {
        let error = error(self.errno);
        let mut filled = String::with_capacity(words.len() + self.address.len());
        let mut rest = words;
        while let Some((before, blank, behind)) = next(rest) {
            filled.push_str(before);
            match blank {
                "address" => filled.push_str(&self.address),
                "errno" => filled.push_str(&self.errno.to_string()),
                "error" => filled.push_str(error),
                "error_" => filled.push_str(&error.replace(' ', "_")),
                "lower" => filled.push_str(&error.to_lowercase()),
                // Braces of the gateway's own.
                "" => filled.push('}'),
                other => filled.extend(["{", other, "}"]),
            }
            rest = behind;
        }
        filled.push_str(rest);
        filled
    }
}

/// What stands before the next innermost pair of braces, within it and behind it; nothing within a brace that
/// closes no pair.
fn next(words: &str) -> Option<(&str, &str, &str)> {
    let (opened, behind) = words.split_once('}')?;
    let (before, blank) = opened.rsplit_once('{').unwrap_or((opened, ""));
    Some((before, blank, behind))
}

/// The C library's words for the errors that `connect(2)` and `socket(2)` give (glibc, strerror(3)).
const fn error(errno: u16) -> &'static str {
    match errno {
        1 => "Operation not permitted",
        2 => "No such file or directory",
        11 => "Resource temporarily unavailable",
        12 => "Cannot allocate memory",
        13 => "Permission denied",
        22 => "Invalid argument",
        23 => "Too many open files in system",
        24 => "Too many open files",
        99 => "Cannot assign requested address",
        101 => "Network is unreachable",
        104 => "Connection reset by peer",
        105 => "No buffer space available",
        110 => "Connection timed out",
        111 => "Connection refused",
        113 => "No route to host",
        _ => ANYTHING,
    }
}

/// How the gateway that answered has worded this very event in its own log: any one of these.
#[must_use]
pub(crate) fn gateway_says(evidence: &Evidence, cause: Cause, gateway: &Who) -> Vec<String> {
    let product = Product::of(gateway);
    let (Some(product), Some(sight)) = (product, sight(evidence, cause)) else {
        return Vec::new();
    };
    let mut blanks = Blanks::general(sight);
    if let Some(attempt) = evidence.deciding() {
        let flow = &attempt.flow;
        blanks.address = flow.target().to_string();
        let failed = [flow.error.0, flow.soft_error.0];
        let errno = failed.into_iter().find(|errno| *errno != 0);
        blanks.errno = errno.filter(|_| !flow.established).unwrap_or(blanks.errno);
    }
    let words = product.words(sight).iter();
    words.map(|words| blanks.fill(words)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(exe: Option<&str>, comm: &str) -> Who {
        Who {
            exe: exe.map(str::to_owned),
            comm: comm.to_owned(),
            ..Who::default()
        }
    }

    #[test]
    fn a_product_is_known_by_its_program() {
        for (exe, comm, expected) in [
            (Some("/usr/sbin/nginx"), "nginx", Some(Product::Nginx)),
            (Some("/usr/sbin/nginx (deleted)"), "x", Some(Product::Nginx)),
            (Some("/opt/envoy"), "wrk:worker_0", Some(Product::Envoy)),
            (None, "haproxy", Some(Product::Haproxy)),
            (Some("/usr/bin/python3"), "gunicorn", None),
            (Some("/usr/bin/nginxen"), "nginxen", None),
        ] {
            assert_eq!(Product::of(&who(exe, comm)), expected, "{exe:?} {comm}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for product in Product::ALL {
            assert_eq!(product.name().parse(), Ok(product));
        }
        assert!(Product::from_str("apache3").is_err());
    }

    #[test]
    fn blanks_are_filled() {
        let blanks = Blanks {
            address: "10.0.0.1:80".to_owned(),
            errno: 113,
        };
        let filled = blanks.fill("{address} ({errno}: {error}) {error_} {lower}");
        let expected = "10.0.0.1:80 (113: No route to host) No_route_to_host no route to host";
        assert_eq!(filled, expected);
        for sight in Sight::ALL {
            for product in Product::ALL {
                for words in product.words(sight) {
                    let filled = Blanks::general(sight).fill(words);
                    let known = ["{address}", "{err", "{lower"];
                    assert!(!known.iter().any(|blank| filled.contains(blank)));
                }
            }
        }
    }
}
