//! Caddy: `reverse_proxy` with its default pool and no second try.

use std::fmt::Write as _;

use anyhow::Result;

use super::ground::Ground;
use super::{Recipe, Server, Site};

pub(super) fn recipe(ground: &Ground) -> Result<Recipe> {
    let mut text = format!(
        "{{\n  admin off\n  auto_https off\n  persist_config off\n  storage file_system {}\n}}\n",
        ground.inside("storage")
    );
    for site in &ground.plan.sites {
        text += &block(ground, site)?;
    }
    let file = ground.write("Caddyfile", &text)?;
    let words = [
        &ground.program,
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        &file,
    ];
    Ok(Recipe {
        words: words.map(str::to_owned).to_vec(),
        logs: Vec::new(),
    })
}

fn block(ground: &Ground, site: &Site) -> Result<String> {
    let (host, port) = (site.addr.ip(), site.addr.port());
    let mut servers = Vec::new();
    for server in &site.servers {
        servers.push(match server {
            Server::Tcp(addr) => addr.clone(),
            Server::Unix(path) => format!("unix/{}", ground.socket(path)?),
        });
    }
    if let Some(status) = site.rule {
        return Ok(format!(
            "http://:{port} {{\n  bind {host}\n  respond {status}\n}}\n"
        ));
    }
    let mut more = String::new();
    if let Some(idle) = ground.plan.keeps {
        writeln!(more, "      keepalive {}ms", idle.as_millis())?;
    }
    if site.tls.is_some() {
        more += "      tls\n      tls_server_name shop.test\n";
        match ground.authority(site)? {
            Some(file) => writeln!(more, "      tls_trust_pool file {file}")?,
            None => more += "      tls_insecure_skip_verify\n",
        }
    }
    let marks = if ground.plan.marks_down {
        "    fail_duration 30s\n"
    } else {
        ""
    };
    let (servers, wait) = (servers.join(" "), ground.plan.wait());
    Ok(format!(
        "http://:{port} {{
  bind {host}
  reverse_proxy {servers} {{
    header_up Host {{host}}
{marks}    transport http {{
      dial_timeout 2s
      response_header_timeout {wait}s
{more}    }}
  }}
}}
"
    ))
}
