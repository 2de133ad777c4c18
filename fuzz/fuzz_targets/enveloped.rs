//! Feeds `kenin_fuzz::enveloped`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::enveloped(data));
