//! What is said of a mail that came encrypted and was opened here: who vouches for its content. Of mail that was not
//! opened nothing is said at all.

use kenin_pki::crypto::ContentCipher;

use crate::judge::cipher_name;
use crate::verdict::{EncryptionVerdict, Verdict};

/// Who vouches that the content of an opened mail is the one that was encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vouched {
    /// The cipher: it has a tag, and nobody without the content-encryption key changed anything.
    Cipher,
    /// A signature inside that passed.
    Signature,
    /// Nobody: whoever had the mail on its way may have changed parts of it.
    Nobody,
}

impl Vouched {
    /// Of the innermost layer that was opened; nothing where none was.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Option<Self> {
        let mut opened = verdict.encryption.iter().filter(|layer| layer.opened);
        let innermost = opened.next_back()?;
        Some(match (innermost.integrity.as_str(), verdict.is_pass()) {
            ("aead", _) => Self::Cipher,
            (_, true) => Self::Signature,
            (_, false) => Self::Nobody,
        })
    }

    /// The word in the stamp.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cipher => "aead",
            Self::Signature => "signature",
            Self::Nobody => "none",
        }
    }
}

impl EncryptionVerdict {
    /// A layer that was opened here, with this cipher, for so many recipients.
    #[must_use]
    pub fn of_opened(section: String, cipher: &ContentCipher, recipients: usize) -> Self {
        let identifier = cipher.to_identifier();
        let integrity = match cipher.is_aead() {
            true => "aead",
            false => "none",
        };
        Self {
            section,
            opened: true,
            reason: "opened",
            content: cipher_name(&identifier.oid().to_string()).to_owned(),
            integrity: integrity.to_owned(),
            recipients,
        }
    }
}

/// The field of the stamp; nothing where nothing was opened.
pub(crate) fn field(verdict: &Verdict) -> Option<Vec<u8>> {
    let vouched = Vouched::of(verdict)?;
    let sender = match verdict.is_pass() {
        true => "proven",
        false => "not-proven",
    };
    let text = format!(
        "X-Kenin-Decryption: opened; integrity={}; sender={sender}\r\n",
        vouched.as_str()
    );
    Some(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    fn layer(opened: bool, integrity: &str) -> EncryptionVerdict {
        EncryptionVerdict {
            section: "1".to_owned(),
            opened,
            reason: "opened",
            content: "aes-256-cbc".to_owned(),
            integrity: integrity.to_owned(),
            recipients: 1,
        }
    }

    fn verdict(reason: Reason, layers: &[(bool, &str)]) -> Verdict {
        let layers = layers.iter().map(|(opened, word)| layer(*opened, word));
        Verdict {
            result: Some(reason.result()),
            reason: Some(reason),
            encryption: layers.collect(),
            ..crate::testing::unsigned()
        }
    }

    /// DEC-01: only the innermost layer, or a signature that passed, says that nobody changed the content.
    #[test]
    fn who_vouches_for_a_content() {
        let (none, aead, closed) = ((true, "none"), (true, "aead"), (false, "aead"));
        for (reason, layers, wanted) in [
            (Reason::NotSigned, &[][..], None),
            (Reason::NotSigned, &[closed], None),
            (Reason::NotSigned, &[aead], Some(Vouched::Cipher)),
            (Reason::NotSigned, &[none], Some(Vouched::Nobody)),
            (Reason::Ok, &[none], Some(Vouched::Signature)),
            (Reason::Ok, &[aead], Some(Vouched::Cipher)),
            (Reason::DigestMismatch, &[none], Some(Vouched::Nobody)),
            // Anybody can put a new layer around one that was changed.
            (Reason::NotSigned, &[aead, none], Some(Vouched::Nobody)),
            (Reason::NotSigned, &[none, aead], Some(Vouched::Cipher)),
            (Reason::NotSigned, &[none, closed], Some(Vouched::Nobody)),
        ] {
            let verdict = verdict(reason, layers);
            assert_eq!(Vouched::of(&verdict), wanted, "{reason:?} {layers:?}");
        }
    }

    #[test]
    fn the_field_says_integrity_and_sender() {
        let said = |reason, layers| {
            field(&verdict(reason, layers)).map(|field| String::from_utf8(field).unwrap())
        };
        assert_eq!(said(Reason::NotSigned, &[]), None);
        assert_eq!(
            said(Reason::NotSigned, &[(true, "none")]).unwrap(),
            "X-Kenin-Decryption: opened; integrity=none; sender=not-proven\r\n"
        );
        assert_eq!(
            said(Reason::Ok, &[(true, "none")]).unwrap(),
            "X-Kenin-Decryption: opened; integrity=signature; sender=proven\r\n"
        );
    }

    #[test]
    fn a_layer_names_its_cipher() {
        use kenin_pki::crypto::{Aes, ContentKind};
        for (kind, content, integrity) in [
            (ContentKind::AesCbc(Aes::Bits128), "aes-128-cbc", "none"),
            (ContentKind::AesGcm(Aes::Bits256), "aes-256-gcm", "aead"),
            (ContentKind::ChaCha20Poly1305, "chacha20-poly1305", "aead"),
        ] {
            let (cipher, _) = ContentCipher::fresh(kind).unwrap();
            let layer = EncryptionVerdict::of_opened("1".to_owned(), &cipher, 2);
            assert_eq!(
                (layer.content.as_str(), layer.integrity.as_str()),
                (content, integrity)
            );
            assert!(layer.opened);
        }
    }
}
