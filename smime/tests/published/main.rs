//! Published mail and CMS objects, read in place: what programs other than ours have written.
//!
//! `KENIN_DATA` names the folder, else it is `../shared/data` beside the project. Where it is absent the
//! tests say so and pass, unless `KENIN_REQUIRE_DATA=1`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod encrypted;
mod mime;
mod ml_dsa;
mod rfc4134;
mod rfc9216;
mod thunderbird;

use std::path::PathBuf;

use kenin_smime::{Check, Examined, Limits, canonical};

/// The folder of one suite.
fn suite(name: &str) -> Option<PathBuf> {
    let base = std::env::var_os("KENIN_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let folder = base.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    let required = std::env::var_os("KENIN_REQUIRE_DATA").is_some_and(|value| value == "1");
    assert!(!required, "{} is required and absent", folder.display());
    eprintln!("SKIPPED: {} is absent", folder.display());
    None
}

fn read(folder: &std::path::Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A mail file, with the line ends that an SMTP client would have sent.
fn mail(folder: &std::path::Path, name: &str) -> Vec<u8> {
    canonical::to_crlf(&read(folder, name))
}

fn examine(raw: &[u8]) -> Examined {
    kenin_smime::examine(raw, &Limits::default(), &[])
}

/// Content and signature of the first signer of the root signature.
fn checks(examined: &Examined) -> Option<(Check, Check)> {
    let signer = examined.root_signature()?.signers.first()?;
    Some((signer.content, signer.signature()))
}
