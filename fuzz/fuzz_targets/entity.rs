//! Feeds `kenin_fuzz::entity`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::entity(data));
