//! Feeds `kenin_fuzz::answered`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::answered(data));
