//! Feeds `kenin_fuzz::key_import`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::key_import(data));
