//! A failed answer's story in which both ends said and heard any bytes: HTTP, TLS, or neither.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| probe502_fuzz::heads(bytes));
