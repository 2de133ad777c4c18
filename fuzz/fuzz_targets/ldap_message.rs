//! Feeds `kenin_fuzz::ldap_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kenin_fuzz::ldap_message(data));
