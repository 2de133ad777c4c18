//! Feeds `kenin_fuzz::signed_data`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::signed_data(data));
