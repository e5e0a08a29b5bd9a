//! Varnish: every request passes; its log is in shared memory.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::ground::{Ground, tcp};
use super::{Recipe, Server, Site};

pub(super) fn recipe(ground: &Ground) -> Result<Recipe> {
    let (mut backends, mut chosen) = (String::new(), String::new());
    let (mut directors, mut listens) = (String::new(), Vec::new());
    for site in &ground.plan.sites {
        ensure!(site.tls.is_none(), "varnish speaks no TLS to upstreams");
        let name = format!("site{}", site.addr.port());
        backends += &backend(ground, site, &name)?;
        writeln!(directors, "  new {name} = directors.round_robin();")?;
        for number in 0..site.servers.len() {
            writeln!(directors, "  {name}.add_backend({name}_{number});")?;
        }
        writeln!(
            chosen,
            "  if (local.socket == \"{name}\") {{ set req.backend_hint = {name}.backend(); }}"
        )?;
        if let Some(status) = site.rule {
            writeln!(
                chosen,
                "  if (local.socket == \"{name}\") {{ return (synth({status})); }}"
            )?;
        }
        listens.extend(["-a".to_owned(), format!("{name}={}", site.addr)]);
    }
    let text = format!(
        "vcl 4.1;\nimport directors;\nbackend none none;\n{backends}
sub vcl_init {{\n{directors}}}
sub vcl_recv {{\n  unset req.http.X-Forwarded-For;\n{chosen}  return (pass);\n}}\n"
    );
    let file = ground.write("default.vcl", &text)?;
    let fixed = [
        &ground.program,
        "-F",
        "-f",
        &file,
        "-n",
        &ground.inside("varnish"),
        "-s",
        "malloc,64m",
        "-p",
        "thread_pool_min=50",
        "-p",
        "vsl_space=16m",
    ];
    let words = fixed.into_iter().map(|word| word.to_string());
    Ok(Recipe {
        words: words.chain(listens).collect(),
        logs: Vec::new(),
    })
}

fn backend(ground: &Ground, site: &Site, name: &str) -> Result<String> {
    let (mut text, wait) = (String::new(), ground.plan.wait());
    for (number, server) in site.servers.iter().enumerate() {
        let place = match server {
            Server::Tcp(_) => {
                let (host, port) = tcp(server)?;
                format!(".host = \"{host}\"; .port = \"{port}\";")
            }
            Server::Unix(path) => format!(".path = \"{}\";", ground.socket(path)?),
        };
        writeln!(
            text,
            "backend {name}_{number} {{ {place} .connect_timeout = 2s; .first_byte_timeout = {wait}s; .between_bytes_timeout = {wait}s; }}"
        )?;
    }
    Ok(text)
}

/// All that is left of its log.
pub(super) fn log(dir: &Path) -> String {
    let read = Command::new("varnishlog")
        .args(["-d", "-g", "raw", "-n"])
        .arg(dir.join("varnish"))
        .output();
    read.map_or_else(
        |error| error.to_string(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}
