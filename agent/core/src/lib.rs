//! What it means: events in, verdicts out. No clock, no file, no socket, no kernel.
#![forbid(unsafe_code)]

pub mod cause;
pub mod correlator;
pub mod decode;
pub mod event;
pub mod story;
pub mod units;
pub mod verdict;
