//! Records as a kernel would hand them over, of any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| probe502_fuzz::decode(bytes));
