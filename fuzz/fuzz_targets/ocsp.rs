//! Feeds `kenin_fuzz::ocsp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::ocsp(data));
