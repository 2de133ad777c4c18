//! Feeds `kenin_fuzz::ber`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::ber(data));
