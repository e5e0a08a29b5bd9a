//! Bytes that the gateway could not use.

use super::asked;
use crate::accuracy::{Fault, truth};

const BAD: &[&str] = &["bad-answer"];

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "malformed-header",
        truth(&["protocol.malformed"], BAD),
        |luck, _| asked(luck, "malformed-header"),
    ),
    Fault::new(
        "header-too-big",
        truth(&["protocol.header-too-big"], BAD),
        |luck, _| asked(luck, "header-too-big"),
    ),
];
