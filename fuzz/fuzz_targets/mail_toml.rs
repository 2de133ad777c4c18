//! Feeds `kenin_fuzz::mail_toml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::mail_toml(data));
