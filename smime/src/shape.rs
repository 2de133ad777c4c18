//! What protects a message already, by its outermost layer: whoever protects it further leaves that alone.
//!
//! That a header says "encrypted" proves nothing. Only an object that is one counts.

use crate::cms::{self, Envelope};
use crate::examine::header_fits;
use crate::facts::LayerKind;
use crate::header_protection::{is_protected, read};
use crate::layer;
use crate::limits::Limits;
use crate::mime::{ContentType, PartKind, Tree, slice};

/// What protects a message already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Nothing, to every reader.
    Open,
    /// A signature, or something else whose octets must stay as they are; or readers differ about what it is.
    Kept,
    /// It is an EnvelopedData or AuthEnvelopedData for somebody, as a whole. By which algorithm is not asked.
    Encrypted,
}

impl Shape {
    /// The shape of a whole message.
    #[must_use]
    pub fn of(raw: &[u8], limits: &Limits) -> Self {
        if raw.len() > limits.message_size || !header_fits(raw, limits.header_size) {
            return Self::Kept;
        }
        if let Some(object) = layer::root_object(raw, limits) {
            return match is_encrypted(&object, limits) {
                true => Self::Encrypted,
                false => Self::Kept,
            };
        }
        let (header, _) = read(raw);
        let content_type = header
            .content_type
            .clone()
            .map(|value| ContentType::parse(slice(raw, value)))
            .unwrap_or_default();
        let unsure = header.odd || header.content_type_odd || content_type.type_odd;
        match unsure || is_protected(&content_type.essence) {
            true => Self::Kept,
            false => Self::Open,
        }
    }
}

/// The messages that are attached to a message (message/rfc822, RFC 2046 §5.2.1), header and body, as they stand in it: those
/// that come first, and none of what is too large or too deep to be looked through.
#[must_use]
pub fn attached<'r>(raw: &'r [u8], limits: &Limits) -> Vec<&'r [u8]> {
    if raw.len() > limits.message_size || !header_fits(raw, limits.header_size) {
        return Vec::new();
    }
    let Ok(tree) = Tree::read(raw, 0..raw.len(), limits, |_| ()) else {
        return Vec::new();
    };
    let messages = tree.parts.iter();
    let messages = messages.filter(|part| part.kind == PartKind::Message);
    let bodies = messages.map(|part| slice(raw, part.body()));
    bodies.take(MAX_ATTACHED).collect()
}

/// Nobody forwards more in one message.
const MAX_ATTACHED: usize = 64;

fn is_encrypted(object: &[u8], limits: &Limits) -> bool {
    let read = || {
        let (tape, _) = cms::read_tape(object, limits).ok()?;
        let (kind, content) = cms::content_info(tape.root()).ok()?;
        let enveloped = matches!(kind, LayerKind::Enveloped | LayerKind::AuthEnveloped);
        let envelope = Envelope::read(content, kind, limits).ok()?;
        Some(enveloped && envelope.recipients > 0 && envelope.algorithm_oid.is_some())
    };
    read().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use kenin_pki::crypto::{Aes, ContentKind};
    use kenin_pki::der::write;

    use super::*;
    use crate::encrypt::Protect;
    use crate::sign::{Form, Signer};
    use crate::testing::{Shape as Parts, bob, mail, rita};

    fn of(raw: &[u8]) -> Shape {
        Shape::of(raw, &Limits::default())
    }

    fn object(cipher: ContentKind) -> Vec<u8> {
        let protect = Protect {
            recipients: &[bob().addressee(), rita().addressee()],
            cipher,
        };
        protect.protect_cms(b"\r\nsecret\r\n").unwrap()
    }

    #[test]
    fn what_nothing_protects_is_open() {
        for text in [
            "Subject: x\r\n\r\nbody\r\n",
            "Content-Type: text/plain\r\n\r\nbody\r\n",
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
            "Content-Type: application/octet-stream; name=a.zip\r\n\r\nx\r\n",
            "",
        ] {
            assert_eq!(of(text.as_bytes()), Shape::Open, "{text}");
        }
    }

    #[test]
    fn what_is_encrypted_is_known_by_its_object() {
        for cipher in [
            ContentKind::AesCbc(Aes::Bits256),
            ContentKind::AesGcm(Aes::Bits256),
        ] {
            assert_eq!(of(&mail(&object(cipher))), Shape::Encrypted);
        }
        // Whatever its algorithm, and however it was written.
        let honest = Parts::of(&object(ContentKind::AesCbc(Aes::Bits256)));
        assert_eq!(of(&mail(&honest.streamed(4))), Shape::Encrypted);
        let unknown = Parts {
            algorithm: write::seq(&[write::oid("1.2.3.4")]),
            ..honest
        };
        assert_eq!(of(&mail(&unknown.write())), Shape::Encrypted);
    }

    /// Who has to encrypt must not get around it by a label.
    #[test]
    fn a_label_makes_nothing_encrypted() {
        let label = "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n";
        for body in [
            "\r\nplain text\r\n",
            "Content-Transfer-Encoding: base64\r\n\r\ncGxhaW4=\r\n",
            "\r\n",
        ] {
            assert_eq!(of(format!("{label}{body}").as_bytes()), Shape::Kept);
        }
        let honest = Parts::of(&object(ContentKind::AesCbc(Aes::Bits256)));
        let for_nobody = Parts {
            recipients: Vec::new(),
            ..honest
        };
        assert_eq!(of(&mail(&for_nobody.write())), Shape::Kept);
        let signed = Signer::new(&bob().key, &bob().certificate);
        let signed = signed.sign_cms(b"\r\nplain\r\n", false).unwrap();
        assert_eq!(of(&mail(&signed)), Shape::Kept);
        // An attachment that is encrypted makes no mail that is.
        let inner = mail(&object(ContentKind::AesCbc(Aes::Bits256)));
        let mut mixed =
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nplain\r\n--b\r\n"
                .to_vec();
        mixed.extend_from_slice(&inner);
        mixed.extend_from_slice(b"\r\n--b--\r\n");
        assert_eq!(of(&mixed), Shape::Open);
    }

    #[test]
    fn what_must_keep_its_octets_is_kept() {
        let signer = Signer::new(&bob().key, &bob().certificate);
        let entity = b"Content-Type: text/plain\r\n\r\nx\r\n";
        for form in [Form::Clear, Form::Opaque, Form::OpaqueStreamed] {
            assert_eq!(of(&signer.sign(entity, form).unwrap()), Shape::Kept);
        }
        for text in [
            "Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b--\r\n",
            "Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nx\r\n",
            "Content-Type: multipart/signed\r\n\r\nx\r\n",
        ] {
            assert_eq!(of(text.as_bytes()), Shape::Kept, "{text}");
        }
    }
}
