//! Feeds `kenin_fuzz::key_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::key_frame(data));
