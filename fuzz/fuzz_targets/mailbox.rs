//! Feeds `kenin_fuzz::mailbox`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::mailbox(data));
