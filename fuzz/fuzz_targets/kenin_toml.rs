//! Feeds `kenin_fuzz::kenin_toml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::kenin_toml(data));
