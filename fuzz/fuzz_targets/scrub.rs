//! Feeds `kenin_fuzz::scrub`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::scrub(data));
