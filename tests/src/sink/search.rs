//! What a sink looks for in the mail that it keeps.

use openssl::cms::CmsContentInfo;
use openssl::pkey::PKey;
use openssl::x509::X509;

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
        let text = String::from_utf8_lossy(mail.split().1);
        let digits: String = text.split_whitespace().collect();
        let object = openssl::base64::decode_block(&digits).ok()?;
        let object = CmsContentInfo::from_der(&object).ok()?;
        let key = PKey::private_key_from_pem(&self.reader.key.pem()).ok()?;
        let certificate = X509::from_der(&self.reader.certificate).ok()?;
        let inside = object.decrypt(&key, &certificate).ok()?;
        Some(openssl::sha::sha256(split(&inside).1))
    }
}
