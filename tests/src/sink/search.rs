//! What a sink looks for in the mail that it keeps.

use super::{Received, split};
use crate::forge::certificates::Person;
use crate::forge::enveloped;

/// A text that not everybody may see, and somebody whose encrypted mail is opened, by OpenSSL.
#[allow(missing_docs)]
pub struct Search {
    pub canary: String,
    pub reader: Person,
}

impl Search {
    /// Whether the text can be read in a mail.
    pub(super) fn shows(&self, mail: &Received) -> bool {
        enveloped::shows(&mail.raw, &self.canary)
    }

    /// SHA-256 of the body that a mail opens to; nothing where it does not.
    pub(super) fn inside(&self, mail: &Received) -> Option<[u8; 32]> {
        let kind = mail.fields("Content-Type").concat();
        if !kind.starts_with("application/pkcs7-mime") {
            return None;
        }
        let inside = enveloped::opens_to(&self.reader, &mail.raw)?;
        Some(openssl::sha::sha256(split(&inside).1))
    }
}
