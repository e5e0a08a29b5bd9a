//! A firewall rejects: its RST or ICMP answers in the upstream's name.

use anyhow::Result;
use probe502_tests::firewall::Firewall;
use probe502_tests::skip::unable;
use probe502_tests::stage::Stage;
use probe502_tests::watch::Sure;

fn rejected(way: &str) -> Result<()> {
    let mut stage = Stage::faulty(&[])?;
    let rule = format!("tcp dport {} reject with {way}", stage.upstream.port);
    let _firewall = Firewall::rule("input", &rule)?;
    let answer = stage.fault("ok")?;
    stage
        .watch
        .expect(&answer, "net.filtered.reject", Sure::Proven);
    stage.end()
}

#[test]
fn a_reject_with_a_tcp_reset() -> Result<()> {
    if unable() {
        return Ok(());
    }
    rejected("tcp reset")
}

#[test]
fn a_reject_with_port_unreachable() -> Result<()> {
    if unable() {
        return Ok(());
    }
    rejected("icmp type port-unreachable")
}

#[test]
fn a_reject_with_admin_prohibited() -> Result<()> {
    if unable() {
        return Ok(());
    }
    rejected("icmp type admin-prohibited")
}

#[test]
fn a_reject_on_a_connection_in_use() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::faulty(&["--share", "threads"])?;
    let mut client = stage.gateway.client()?;
    anyhow::ensure!(client.get("/ok")?.status == 200);
    let rule = format!("tcp dport {} reject with tcp reset", stage.upstream.port);
    let _firewall = Firewall::rule("input", &rule)?;
    let answer = client.post("/fault/ok/in-use")?;
    stage
        .watch
        .expect(&answer, "net.filtered.reject", Sure::Proven);
    stage.end()
}
