//! `HAProxy`: two threads, its own retries and its own pool.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;

use super::ground::Ground;
use super::{Recipe, Server, Site};

/// How often it checks servers.
const EVERY: Duration = Duration::from_millis(500);

pub(super) fn recipe(ground: &Ground) -> Result<Recipe> {
    let mut text = format!(
        "global
  nbthread 2
  user nobody
  group nogroup
  log stderr format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 2s
  timeout client 60s
  timeout server {wait}s
",
        wait = ground.plan.wait()
    );
    for site in &ground.plan.sites {
        text += &listener(ground, site)?;
    }
    let file = ground.write("haproxy.cfg", &text)?;
    let words = [&ground.program, "-db", "-f", &file];
    Ok(Recipe {
        words: words.map(str::to_owned).to_vec(),
        logs: Vec::new(),
    })
}

fn listener(ground: &Ground, site: &Site) -> Result<String> {
    let tls = match (&site.tls, ground.authority(site)?) {
        (Some(_), Some(file)) => {
            format!(" ssl verify required ca-file {file} sni str(shop.test) verifyhost shop.test")
        }
        (Some(_), None) => " ssl verify none sni str(shop.test)".to_owned(),
        (None, _) => String::new(),
    };
    // One server is not checked, as in the distribution's example; several are, or none were ever down.
    let every = ground.plan.checks.unwrap_or(EVERY).as_millis();
    let check = if site.servers.len() > 1 {
        format!(" check inter {every}ms fall 2 rise 2")
    } else {
        String::new()
    };
    let keeps = ground.plan.keeps.map_or_else(String::new, |idle| {
        format!(" pool-purge-delay {}ms", idle.as_millis())
    });
    let mut text = format!(
        "listen site{}\n  bind {} backlog 4096\n",
        site.addr.port(),
        site.addr
    );
    // A refusal in words of its own: its page for want of a server has the same.
    text += "  http-request deny deny_status 503 if { path_beg /denied }\n";
    if let Some(status) = site.rule {
        writeln!(text, "  http-request return status {status}")?;
    }
    for (number, server) in site.servers.iter().enumerate() {
        let place = match server {
            Server::Tcp(addr) => addr.clone(),
            Server::Unix(path) => format!("unix@{}", ground.socket(path)?),
        };
        writeln!(text, "  server s{number} {place}{tls}{check}{keeps}")?;
    }
    Ok(text)
}
