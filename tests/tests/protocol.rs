//! Bytes that the gateway cannot use.

use anyhow::Result;
use probe502_tests::client::next_id;
use probe502_tests::gateways::{Gateway, Kind};
use probe502_tests::skip::unable;
use probe502_tests::stage::Stage;
use probe502_tests::upstream::Upstream;
use probe502_tests::watch::{Sure, Watch};

#[test]
fn a_header_of_64_kib() -> Result<()> {
    if unable() {
        return Ok(());
    }
    Stage::breaks("header-too-big")
}

#[test]
fn a_header_line_without_a_colon() -> Result<()> {
    if unable() {
        return Ok(());
    }
    Stage::breaks("malformed-header")
}

#[test]
fn a_header_too_big_in_small_pieces() -> Result<()> {
    if unable() {
        return Ok(());
    }
    breaks("header-in-pieces", "protocol.header-too-big")
}

#[test]
fn a_status_line_in_pieces_is_passed_on() -> Result<()> {
    if unable() {
        return Ok(());
    }
    breaks("says-502-in-pieces", "relayed.upstream")
}

fn breaks(name: &str, cause: &str) -> Result<()> {
    let mut stage = Stage::faulty(&[])?;
    let answer = stage.fault(name)?;
    stage.watch.expect(&answer, cause, Sure::Proven);
    stage.end()
}

/// nginx of this age knows no interim answers; HAProxy does.
#[test]
fn an_answer_after_early_hints_is_passed_on() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    let gateway = Gateway::before(Kind::Haproxy, &upstream.addr)?;
    let mut watch = Watch::on(gateway.port(), &[])?;
    let answer = gateway.get(&format!("/fault/says-502-after-hints/{}", next_id()))?;
    watch.expect(&answer, "relayed.upstream", Sure::Proven);
    watch.end().map(drop)
}
