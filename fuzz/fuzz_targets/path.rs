//! Feeds `kenin_fuzz::path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::path(data));
