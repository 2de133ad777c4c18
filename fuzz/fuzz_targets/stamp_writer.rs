//! Feeds `kenin_fuzz::stamp_writer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::stamp_writer(data));
