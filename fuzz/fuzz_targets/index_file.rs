//! Feeds `kenin_fuzz::index_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::index_file(data));
