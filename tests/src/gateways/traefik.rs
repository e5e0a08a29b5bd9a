//! Traefik: an entry point, a router and a service for each site.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::ground::{Ground, tcp};
use super::{Recipe, Site};
use crate::client::Client;
use crate::upstream::endpoint;

/// Answered by Traefik itself, once it has read its routes.
const READY: &str = "/probe502-gateway-is-ready";

pub(super) fn is_ready(gateway: SocketAddr) -> bool {
    let answer = Client::connect(gateway).and_then(|mut client| client.get(READY));
    answer.is_ok_and(|answer| answer.status == 200)
}

pub(super) fn recipe(ground: &Ground) -> Result<Recipe> {
    let mut entries = Map::new();
    let (mut routers, mut services) = (Map::new(), Map::new());
    let mut transports = Map::new();
    for site in &ground.plan.sites {
        let name = format!("site{}", site.addr.port());
        entries.insert(name.clone(), json!({"address": site.addr.to_string()}));
        routers.insert(
            name.clone(),
            json!({"rule": "PathPrefix(`/`)", "entryPoints": [name], "service": name}),
        );
        services.insert(name.clone(), service(site, &name)?);
        transports.insert(name, transport(ground, site)?);
    }
    routers.insert(
        "ready".into(),
        json!({"rule": format!("Path(`{READY}`)"), "service": "ping@internal"}),
    );
    let dynamic = json!({"http": {
        "routers": routers, "services": services, "serversTransports": transports}});
    // JSON is YAML.
    let dynamic = ground.write("dynamic.yaml", &dynamic.to_string())?;
    let fixed = json!({
        "global": {"checkNewVersion": false, "sendAnonymousUsage": false},
        "log": {"level": "DEBUG"}, "ping": {"manualRouting": true},
        "entryPoints": entries,
        "providers": {"file": {"filename": dynamic}},
    });
    let file = ground.write("traefik.yaml", &fixed.to_string())?;
    Ok(Recipe {
        words: vec![ground.program.clone(), format!("--configFile={file}")],
        logs: Vec::new(),
    })
}

fn service(site: &Site, transport: &str) -> Result<Value> {
    let scheme = if site.tls.is_some() { "https" } else { "http" };
    let mut servers = Vec::new();
    for server in &site.servers {
        let (host, port) = tcp(server)?;
        servers.push(json!({"url": format!("{scheme}://{}", endpoint(host, port))}));
    }
    Ok(json!({"loadBalancer": {
        "servers": servers, "serversTransport": transport, "passHostHeader": true}}))
}

fn transport(ground: &Ground, site: &Site) -> Result<Value> {
    let wait = format!("{}s", ground.plan.wait());
    let mut transport = json!({
        "forwardingTimeouts": {"dialTimeout": "2s", "responseHeaderTimeout": wait},
        "serverName": "shop.test",
    });
    if let Some(idle) = ground.plan.keeps {
        transport["forwardingTimeouts"]["idleConnTimeout"] =
            json!(format!("{}ms", idle.as_millis()));
    }
    match ground.authority(site)? {
        Some(file) => transport["rootCAs"] = json!([file]),
        None => transport["insecureSkipVerify"] = json!(true),
    }
    Ok(transport)
}
