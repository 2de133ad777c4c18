//! Feeds `kenin_fuzz::worker_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::worker_frame(data));
