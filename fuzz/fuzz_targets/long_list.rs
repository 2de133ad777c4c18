//! Feeds `kenin_fuzz::long_list`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::long_list(data));
