//! One target function a parser. `fuzz/run NAME` feeds them by libFuzzer; `cargo test` replays the
//! kept corpus and every past crash through the same functions, so that neither can rot, and a few
//! inputs beside each.
//!
//! A target asserts a property of its parser, not only that it does not panic. What only the gateway
//! reads is private there: its targets are in `gateway/src/fuzzing.rs`, and its tests write their corpora.

mod certstore;
mod keys;
mod lists;
mod mail;
mod milter;
mod pki;
mod smtp;

pub use certstore::{http_answer, ldap_message, place};
pub use kenin::fuzzing::{held_mail, kenin_toml, worker_frame};
pub use keys::{guarded_key, key_frame, key_import, sealed_key, token_uri};
pub use lists::{index_file, long_list};
pub use mail::{
    answered, compressed, entity, enveloped, hidden_header, mail_toml, mailbox, scrub, signed_data,
    stamp_writer, trust_toml,
};
pub use milter::milter;
pub use pki::{ber, certificate, crl, ocsp, path};
pub use smtp::{smtp_client, smtp_server};

/// A function that is fed arbitrary bytes and panics when the parser breaks a promise.
pub type Target = fn(&[u8]);

/// Every target by name; the corpus of each is `fuzz/corpus/NAME/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("answered", answered),
    ("ber", ber),
    ("certificate", certificate),
    ("compressed", compressed),
    ("crl", crl),
    ("entity", entity),
    ("enveloped", enveloped),
    ("guarded_key", guarded_key),
    ("held_mail", held_mail),
    ("hidden_header", hidden_header),
    ("http_answer", http_answer),
    ("index_file", index_file),
    ("kenin_toml", kenin_toml),
    ("key_frame", key_frame),
    ("key_import", key_import),
    ("ldap_message", ldap_message),
    ("long_list", long_list),
    ("mail_toml", mail_toml),
    ("mailbox", mailbox),
    ("milter", milter),
    ("ocsp", ocsp),
    ("path", path),
    ("place", place),
    ("scrub", scrub),
    ("sealed_key", sealed_key),
    ("signed_data", signed_data),
    ("smtp_client", smtp_client),
    ("smtp_server", smtp_server),
    ("stamp_writer", stamp_writer),
    ("token_uri", token_uri),
    ("trust_toml", trust_toml),
    ("worker_frame", worker_frame),
];
