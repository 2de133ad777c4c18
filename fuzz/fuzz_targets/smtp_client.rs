//! Feeds `kenin_fuzz::smtp_client`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::smtp_client(data));
