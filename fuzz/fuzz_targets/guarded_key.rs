//! Feeds `kenin_fuzz::guarded_key`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::guarded_key(data));
