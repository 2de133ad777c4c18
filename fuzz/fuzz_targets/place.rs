//! Feeds `kenin_fuzz::place`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::place(data));
