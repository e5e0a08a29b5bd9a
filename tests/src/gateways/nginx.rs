//! nginx: four workers, a pool to each upstream, its usual rules for another try.

use std::fmt::Write as _;

use anyhow::Result;

use super::ground::Ground;
use super::{Recipe, Site, Speaks};

pub(super) fn recipe(ground: &Ground) -> Result<Recipe> {
    let mut sites = String::new();
    for site in &ground.plan.sites {
        sites += &server(ground, site)?;
    }
    let text = format!(
        "daemon off; worker_processes 4; pid nginx.pid; user nobody nogroup; worker_rlimit_core 0;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000; {serves} server_names_hash_bucket_size 128;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
{sites}}}
",
        serves = serves(ground)
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
    write!(
        text,
        "    keepalive 64; {keeps}
  }}
  server {{
    listen {addr} backlog=4096;
    location / {{ {rule}
      {passed}
    }}
  }}
",
        keeps = keeps(ground),
        addr = site.addr,
        rule = rule(site),
        passed = passed(ground, site, &name)?
    )?;
    Ok(text)
}

fn rule(site: &Site) -> String {
    site.rule
        .map_or_else(String::new, |status| format!("return {status};"))
}

/// The words that hand a request on.
fn passed(ground: &Ground, site: &Site, name: &str) -> Result<String> {
    let timeouts = |what: &str| {
        let wait = ground.plan.wait();
        format!("{what}_connect_timeout 2s; {what}_read_timeout {wait}s;")
    };
    Ok(match &ground.plan.speaks {
        Speaks::Http => http(ground, site, name)? + &timeouts("proxy"),
        Speaks::Fastcgi(script) => format!(
            "fastcgi_pass {name}; fastcgi_param SCRIPT_FILENAME {};{} {}",
            script.display(),
            params("fastcgi"),
            timeouts("fastcgi")
        ),
        Speaks::Uwsgi => format!(
            "uwsgi_pass {name};{} {}",
            params("uwsgi"),
            timeouts("uwsgi")
        ),
    })
}

fn http(ground: &Ground, site: &Site, name: &str) -> Result<String> {
    let scheme = if site.tls.is_some() { "https" } else { "http" };
    let verify = ground.authority(site)?.map_or_else(String::new, |file| {
        format!(
            "proxy_ssl_verify on; proxy_ssl_trusted_certificate {file}; proxy_ssl_verify_depth 2;"
        )
    });
    Ok(format!(
        "proxy_pass {scheme}://{name};
      proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
      proxy_ssl_name shop.test; proxy_ssl_server_name on; {verify} proxy_buffer_size 4k; "
    ))
}

/// As the distribution's `fastcgi_params` and `uwsgi_params` name them.
fn params(what: &str) -> String {
    let all = [
        ("QUERY_STRING", "$query_string"),
        ("REQUEST_METHOD", "$request_method"),
        ("CONTENT_TYPE", "$content_type"),
        ("CONTENT_LENGTH", "$content_length"),
        ("REQUEST_URI", "$request_uri"),
        ("PATH_INFO", "$document_uri"),
        ("SERVER_PROTOCOL", "$server_protocol"),
        ("SERVER_NAME", "$server_name"),
        ("SERVER_PORT", "$server_port"),
    ];
    let param = |(name, value)| format!(" {what}_param {name} {value};");
    all.into_iter().map(param).collect()
}

fn keeps(ground: &Ground) -> String {
    let keeps = ground.plan.keeps;
    keeps.map_or_else(String::new, |idle| {
        format!("keepalive_timeout {}ms;", idle.as_millis())
    })
}

fn serves(ground: &Ground) -> String {
    let serves = ground.plan.serves;
    serves.map_or_else(String::new, |idle| {
        format!("keepalive_timeout {}ms;", idle.as_millis())
    })
}
