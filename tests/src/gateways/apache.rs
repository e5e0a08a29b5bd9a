//! Apache with `mod_proxy_http` and the event MPM; several upstreams are a balancer.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;

use super::ground::Ground;
use super::{Recipe, Server, Site, Speaks};

/// How long a client may idle, if the plan says nothing.
const IDLE_CLIENT: Duration = Duration::from_secs(60);

const MODULES: &[(&str, &str)] = &[
    ("mpm_event", "mpm_event"),
    ("authz_core", "authz_core"),
    ("proxy", "proxy"),
    ("proxy_http", "proxy_http"),
    ("proxy_fcgi", "proxy_fcgi"),
    ("slotmem_shm", "slotmem_shm"),
    ("proxy_balancer", "proxy_balancer"),
    ("lbmethod_byrequests", "lbmethod_byrequests"),
    ("socache_shmcb", "socache_shmcb"),
    ("ssl", "ssl"),
    ("alias", "alias"),
];

pub(super) fn recipe(ground: &Ground) -> Result<Recipe> {
    let mut text = format!(
        "ServerRoot {dir}
DefaultRuntimeDir {dir}
PidFile {dir}/httpd.pid
ErrorLog {dir}/error.log
ServerName shop.test
User www-data
Group www-data
StartServers 1
ServerLimit 4
ThreadLimit 512
ThreadsPerChild 256
MinSpareThreads 1
MaxSpareThreads 1024
MaxRequestWorkers 1024
ListenBacklog 4096
KeepAliveTimeout {serves}ms
MaxKeepAliveRequests 0
ProxyTimeout {wait}
",
        dir = ground.inside.display(),
        serves = ground.plan.serves.unwrap_or(IDLE_CLIENT).as_millis(),
        wait = ground.plan.wait()
    );
    for (name, file) in MODULES {
        writeln!(
            text,
            "LoadModule {name}_module /usr/lib/apache2/modules/mod_{file}.so"
        )?;
    }
    for site in &ground.plan.sites {
        text += &host(ground, site)?;
    }
    let file = ground.write("httpd.conf", &text)?;
    let words = [&ground.program, "-D", "FOREGROUND", "-f", &file];
    Ok(Recipe {
        words: words.map(str::to_owned).to_vec(),
        logs: vec![ground.dir.join("error.log")],
    })
}

fn host(ground: &Ground, site: &Site) -> Result<String> {
    let addr = site.addr;
    let wait = ground.plan.wait();
    let mut text = format!("Listen {addr}\n<VirtualHost {addr}>\nProxyPreserveHost On\n");
    text += &tls(ground, site)?;
    if let Some(status) = site.rule {
        writeln!(text, "RedirectMatch {status} .*\n</VirtualHost>")?;
        return Ok(text);
    }
    if let Speaks::Fastcgi(script) = &ground.plan.speaks {
        let script = script.display();
        writeln!(text, "ProxyFCGISetEnvIf true SCRIPT_FILENAME {script}")?;
    }
    let keeps = ground
        .plan
        .keeps
        .map_or_else(String::new, |idle| format!(" ttl={}", idle.as_secs()));
    if let [server] = site.servers.as_slice() {
        let to = worker(ground, site, server)?;
        writeln!(
            text,
            "ProxyPass / {to}/ connectiontimeout=2 timeout={wait}{keeps}"
        )?;
    } else {
        let name = format!("balancer://site{}", addr.port());
        writeln!(text, "<Proxy {name}>")?;
        for server in &site.servers {
            let to = worker(ground, site, server)?;
            writeln!(
                text,
                "BalancerMember {to} connectiontimeout=2 timeout={wait}{keeps}"
            )?;
        }
        if ground.plan.marks_down {
            text += "ProxySet forcerecovery=off\n";
        }
        writeln!(text, "</Proxy>\nProxyPass / {name}/")?;
    }
    text += "</VirtualHost>\n";
    Ok(text)
}

fn worker(ground: &Ground, site: &Site, server: &Server) -> Result<String> {
    let scheme = match (&site.tls, &ground.plan.speaks) {
        (Some(_), _) => "https",
        (None, Speaks::Fastcgi(_)) => "fcgi",
        (None, Speaks::Http | Speaks::Uwsgi) => "http",
    };
    Ok(match server {
        Server::Tcp(addr) => format!("{scheme}://{addr}"),
        Server::Unix(path) => format!("unix:{}|{scheme}://shop.test", ground.socket(path)?),
    })
}

fn tls(ground: &Ground, site: &Site) -> Result<String> {
    if site.tls.is_none() {
        return Ok(String::new());
    }
    let verify = ground.authority(site)?.map_or_else(
        || "SSLProxyVerify none\nSSLProxyCheckPeerName off\nSSLProxyCheckPeerExpire off\n".into(),
        |file| format!("SSLProxyVerify require\nSSLProxyCACertificateFile {file}\n"),
    );
    Ok(format!("SSLProxyEngine on\n{verify}"))
}
