//! Feeds `kenin_fuzz::held_mail`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::held_mail(data));
