//! Envoy: two workers, static clusters, no retry policy.

use anyhow::Result;
use serde_json::{Value, json};

use super::ground::{Ground, tcp};
use super::{Recipe, Server, Site};

/// The default line lacks the details.
const LINE: &str =
    "%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n";

pub(super) fn recipe(ground: &Ground) -> Result<Recipe> {
    let mut listeners = Vec::new();
    let mut clusters = Vec::new();
    for site in &ground.plan.sites {
        listeners.push(listener(site, ground.plan.wait()));
        clusters.push(cluster(ground, site)?);
    }
    let text = json!({"static_resources": {"listeners": listeners, "clusters": clusters}});
    let file = ground.write("envoy.json", &text.to_string())?;
    let words = [
        &ground.program,
        "-c",
        &file,
        "--concurrency",
        "2",
        "--disable-hot-restart",
        // Its access log is flushed every ten seconds otherwise.
        "--file-flush-interval-msec",
        "100",
        "-l",
        "info",
    ];
    Ok(Recipe {
        words: words.map(str::to_owned).to_vec(),
        logs: Vec::new(),
    })
}

fn name(site: &Site) -> String {
    format!("site{}", site.addr.port())
}

fn listener(site: &Site, wait: u64) -> Value {
    let mut route = json!({"match": {"prefix": "/"}});
    match site.rule {
        Some(status) => route["direct_response"] = json!({"status": status}),
        None => route["route"] = json!({"cluster": name(site), "timeout": format!("{wait}s")}),
    }
    let routes = json!([route]);
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name(site),
        "access_log": [{"name": "envoy.access_loggers.stdout", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"text_format_source": {"inline_string": LINE}}}}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    });
    json!({
        "name": name(site),
        "address": socket_address(&site.addr.ip().to_string(), site.addr.port()),
        "tcp_backlog_size": 4096,
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
    })
}

fn cluster(ground: &Ground, site: &Site) -> Result<Value> {
    let mut endpoints = Vec::new();
    for server in &site.servers {
        let address = match server {
            Server::Tcp(_) => {
                let (host, port) = tcp(server)?;
                socket_address(host, port)
            }
            Server::Unix(path) => json!({"pipe": {"path": ground.socket(path)?}}),
        };
        endpoints.push(json!({"endpoint": {"address": address}}));
    }
    let most = json!({"max_connections": 8192, "max_pending_requests": 8192, "max_requests": 8192});
    let mut cluster = json!({
        "name": name(site), "type": "STATIC", "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [most]},
        "load_assignment": {"cluster_name": name(site),
            "endpoints": [{"lb_endpoints": endpoints}]},
    });
    if let Some(idle) = ground.plan.keeps {
        let options = json!({
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "common_http_protocol_options": {"idle_timeout": format!("{}s", idle.as_secs_f64())},
            "explicit_http_config": {"http_protocol_options": {}},
        });
        cluster["typed_extension_protocol_options"] =
            json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options});
    }
    if site.tls.is_some() {
        cluster["transport_socket"] = transport(ground.authority(site)?);
    }
    Ok(cluster)
}

fn transport(authority: Option<String>) -> Value {
    let mut context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "shop.test",
    });
    if let Some(file) = authority {
        context["common_tls_context"] = json!({"validation_context": {
            "trusted_ca": {"filename": file},
            "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "shop.test"}}],
        }});
    }
    json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
}

fn socket_address(host: &str, port: u16) -> Value {
    json!({"socket_address": {"address": host, "port_value": port}})
}
