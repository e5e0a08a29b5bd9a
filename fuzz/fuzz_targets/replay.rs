//! A recording's lines, of any text.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| probe502_fuzz::replay(bytes));
