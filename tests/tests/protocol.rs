//! Bytes that the gateway cannot use.

use anyhow::Result;
use probe502_tests::skip::unable;
use probe502_tests::stage::Stage;

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
