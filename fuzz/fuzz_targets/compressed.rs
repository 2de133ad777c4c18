//! Feeds `kenin_fuzz::compressed`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::compressed(data));
