//! Feeds `kenin_fuzz::trust_toml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::trust_toml(data));
