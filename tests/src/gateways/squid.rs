//! Squid as an accelerator in one process: each upstream is a parent.

use std::fmt::Write as _;

use anyhow::Result;

use super::ground::{Ground, tcp};
use super::{Recipe, Site, Trust};

pub(super) fn recipe(ground: &Ground) -> Result<Recipe> {
    let mut text = format!(
        "visible_hostname shop.test
pid_filename {dir}/squid.pid
cache_log {dir}/cache.log
access_log none
cache_store_log none
coredump_dir {dir}
netdb_filename none
cache deny all
http_access allow all
never_direct allow all
connect_timeout 2 seconds
peer_connect_timeout 2 seconds
read_timeout {wait} seconds
shutdown_lifetime 0 seconds
pinger_enable off
max_filedescriptors 65535
",
        dir = ground.inside.display(),
        wait = ground.plan.wait()
    );
    for site in &ground.plan.sites {
        text += &port(ground, site)?;
    }
    let file = ground.write("squid.conf", &text)?;
    let words = [&ground.program, "-N", "-f", &file];
    Ok(Recipe {
        words: words.map(str::to_owned).to_vec(),
        logs: vec![ground.dir.join("cache.log")],
    })
}

fn port(ground: &Ground, site: &Site) -> Result<String> {
    let name = format!("site{}", site.addr.port());
    let tls = match (&site.tls, ground.authority(site)?) {
        (Some(Trust::Authority(_)), Some(file)) => {
            format!(" tls sslcafile={file} ssldomain=shop.test")
        }
        (Some(_), _) => " tls sslflags=DONT_VERIFY_PEER".to_owned(),
        (None, _) => String::new(),
    };
    let mut text = format!(
        "http_port {} accel defaultsite=shop.test name={name}\nacl {name} myportname {name}\n",
        site.addr
    );
    for (number, server) in site.servers.iter().enumerate() {
        let (host, port) = tcp(server)?;
        writeln!(
            text,
            "cache_peer {host} parent {port} 0 no-query no-digest originserver round-robin name={name}_{number}{tls}
cache_peer_access {name}_{number} allow {name}"
        )?;
    }
    Ok(text)
}
