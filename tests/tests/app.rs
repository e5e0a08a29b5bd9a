//! The application lives and closes or resets: each way has its own label.

use anyhow::Result;
use probe502_tests::skip::unable;
use probe502_tests::stage::Stage;

#[test]
fn closing_without_an_answer() -> Result<()> {
    if unable() {
        return Ok(());
    }
    Stage::breaks("close-without-answer")
}

#[test]
fn closing_in_the_status_line() -> Result<()> {
    if unable() {
        return Ok(());
    }
    Stage::breaks("partial-status")
}

#[test]
fn closing_in_the_header() -> Result<()> {
    if unable() {
        return Ok(());
    }
    Stage::breaks("partial-header")
}

#[test]
fn closing_with_the_body_unread() -> Result<()> {
    if unable() {
        return Ok(());
    }
    Stage::breaks("reset-unread")
}

#[test]
fn closing_with_linger_zero() -> Result<()> {
    if unable() {
        return Ok(());
    }
    Stage::breaks("reset-linger")
}

#[test]
fn closing_with_the_whole_request_unread() -> Result<()> {
    if unable() {
        return Ok(());
    }
    Stage::breaks("reset-unseen")
}

#[test]
fn resetting_in_the_header() -> Result<()> {
    if unable() {
        return Ok(());
    }
    Stage::breaks("partial-header-reset")
}
