//! SMIMECapabilities (RFC 8551 §2.5.2): what a signer says that can be read. A wish, in the signer's order; what is not
//! known here is passed over.

use kenin_pki::ber::{Cursor, Tag};
use kenin_pki::crypto::{Aes, ContentKind};
use kenin_pki::der::write;
use kenin_pki::oid::{self, Oid};

use super::algorithm;
use crate::facts::Capabilities;

/// Reads the one value of the attribute.
pub(super) fn read(value: Cursor<'_, '_>) -> Option<Capabilities> {
    let mut read = Capabilities::default();
    let all = value.is(Tag::SEQUENCE).then(|| value.children())?;
    for capability in all {
        let capability = algorithm(capability)?;
        let named = capability.oid();
        read.oaep |= named == oid::RSAES_OAEP;
        let kind = KINDS.iter().find(|(oid, _)| *oid == named);
        if let Some((_, kind)) = kind
            && !read.ciphers.contains(kind)
        {
            read.ciphers.push(*kind);
        }
    }
    Some(read)
}

/// Writes the value of the attribute: these ciphers, the best one first. They have no parameters here.
pub(crate) fn to_der(ciphers: &[ContentKind]) -> Vec<u8> {
    let capability = |kind: &ContentKind| {
        let (oid, _) = KINDS.iter().find(|(_, known)| known == kind)?;
        Some(write::seq(&[write::oid(*oid)]))
    };
    write::seq(&ciphers.iter().filter_map(capability).collect::<Vec<_>>())
}

const KINDS: [(Oid<'static>, ContentKind); 7] = [
    (oid::AES256_GCM, ContentKind::AesGcm(Aes::Bits256)),
    (oid::AES192_GCM, ContentKind::AesGcm(Aes::Bits192)),
    (oid::AES128_GCM, ContentKind::AesGcm(Aes::Bits128)),
    (oid::CHACHA20_POLY1305, ContentKind::ChaCha20Poly1305),
    (oid::AES256_CBC, ContentKind::AesCbc(Aes::Bits256)),
    (oid::AES192_CBC, ContentKind::AesCbc(Aes::Bits192)),
    (oid::AES128_CBC, ContentKind::AesCbc(Aes::Bits128)),
];
