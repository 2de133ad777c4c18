//! Feeds `kenin_fuzz::sealed_key`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::sealed_key(data));
