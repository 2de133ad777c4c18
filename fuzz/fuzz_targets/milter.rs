//! Feeds `kenin_fuzz::milter`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::milter(data));
