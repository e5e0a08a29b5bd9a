//! nginx: four workers, a pool to each upstream, its usual rules for another try.

use std::fmt::Write as _;

use anyhow::Result;

use super::ground::Ground;
use super::{Recipe, Site};

pub(super) fn recipe(ground: &Ground) -> Result<Recipe> {
    let mut sites = String::new();
    for site in &ground.plan.sites {
        sites += &server(ground, site)?;
    }
    let text = format!(
        "daemon off; worker_processes 4; pid nginx.pid; user nobody nogroup; worker_rlimit_core 0;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000; server_names_hash_bucket_size 128;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
{sites}}}
"
    );
    let file = ground.write("nginx.conf", &text)?;
    let prefix = ground.inside("");
    let words = [
        &ground.program,
        "-p",
        &prefix,
        "-e",
        "error.log",
        "-c",
        &file,
    ];
    Ok(Recipe {
        words: words.map(str::to_owned).to_vec(),
        logs: vec![ground.dir.join("error.log")],
    })
}

fn server(ground: &Ground, site: &Site) -> Result<String> {
    let name = format!("site{}", site.addr.port());
    let mut text = format!("  upstream {name} {{\n");
    for server in &site.servers {
        writeln!(text, "    server {};", ground.place(server)?)?;
    }
    let scheme = if site.tls.is_some() { "https" } else { "http" };
    let verify = ground.authority(site)?.map_or_else(String::new, |file| {
        format!(
            "proxy_ssl_verify on; proxy_ssl_trusted_certificate {file}; proxy_ssl_verify_depth 2;"
        )
    });
    write!(
        text,
        "    keepalive 64;
  }}
  server {{
    listen {addr} backlog=4096;
    location / {{ {rule}
      proxy_pass {scheme}://{name};
      proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
      proxy_ssl_name shop.test; proxy_ssl_server_name on; {verify}
      proxy_connect_timeout 2s; proxy_read_timeout {wait}s; proxy_buffer_size 4k;
    }}
  }}
",
        addr = site.addr,
        rule = rule(site),
        wait = ground.plan.wait()
    )?;
    Ok(text)
}

fn rule(site: &Site) -> String {
    site.rule
        .map_or_else(String::new, |status| format!("return {status};"))
}
