//! The scenarios' events in any order, any of them missing or told again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| probe502_fuzz::order(bytes));
