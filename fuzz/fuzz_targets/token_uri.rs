//! Feeds `kenin_fuzz::token_uri`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::token_uri(data));
