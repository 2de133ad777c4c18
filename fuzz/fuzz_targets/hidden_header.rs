//! Feeds `kenin_fuzz::hidden_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::hidden_header(data));
