//! SMIMECapabilities (RFC 8551 §2.5.2): what a signer says that can be read, or an issuer of a holder (RFC 4262). A wish, in
//! the order of who says it; what is not known here is passed over.

use kenin_pki::ber::{Cursor, Limits, Tag, Tape};
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{Aes, ContentKind, DigestAlgorithm, OaepParameters};
use kenin_pki::der::write;
use kenin_pki::oid::{self, Oid};

use super::{algorithm, oids};
use crate::facts::Capabilities;

impl Capabilities {
    /// What a certificate says that its holder can read (RFC 4262 §2). Nothing where it says nothing, or nothing that can
    /// be read.
    #[must_use]
    pub fn of_certificate(certificate: &Certificate) -> Option<Self> {
        let mut extensions = certificate.extensions().iter();
        let extension = extensions.find(|one| oids::SMIME_CAPABILITIES == one.oid.as_oid())?;
        let tape = Tape::parse(&extension.value, &LIMITS).ok()?;
        read(tape.root())
    }
}

/// Reads the one value of the attribute.
pub(super) fn read(value: Cursor<'_, '_>) -> Option<Capabilities> {
    let mut read = Capabilities::default();
    let all = value.is(Tag::SEQUENCE).then(|| value.children())?;
    for capability in all {
        let capability = algorithm(capability)?;
        let named = capability.oid();
        read.oaep |= named == oid::RSAES_OAEP && is_as_written(capability.parameters());
        let kind = KINDS.iter().find(|(oid, _)| *oid == named);
        if let Some((_, kind)) = kind
            && !read.ciphers.contains(kind)
        {
            read.ciphers.push(*kind);
        }
    }
    Some(read)
}

/// Whether who reads OAEP by these parameters reads what is written here: SHA-256 for both, and no label. Who names none
/// reads it by all; an empty SEQUENCE names SHA-1 (RFC 4055 §4.1).
fn is_as_written(parameters: Option<&[u8]>) -> bool {
    let own = OaepParameters::new(DigestAlgorithm::Sha256);
    parameters.is_none_or(|named| OaepParameters::from_der(named) == Ok(own))
}

/// Writes the value of the attribute: these ciphers, the best one first. They have no parameters here.
pub(crate) fn to_der(ciphers: &[ContentKind]) -> Vec<u8> {
    let capability = |kind: &ContentKind| {
        let (oid, _) = KINDS.iter().find(|(_, known)| known == kind)?;
        Some(write::seq(&[write::oid(*oid)]))
    };
    write::seq(&ciphers.iter().filter_map(capability).collect::<Vec<_>>())
}

/// More than any issuer writes.
const LIMITS: Limits = Limits {
    depth: 8,
    elements: 1000,
};
const KINDS: [(Oid<'static>, ContentKind); 7] = [
    (oid::AES256_GCM, ContentKind::AesGcm(Aes::Bits256)),
    (oid::AES192_GCM, ContentKind::AesGcm(Aes::Bits192)),
    (oid::AES128_GCM, ContentKind::AesGcm(Aes::Bits128)),
    (oid::CHACHA20_POLY1305, ContentKind::ChaCha20Poly1305),
    (oid::AES256_CBC, ContentKind::AesCbc(Aes::Bits256)),
    (oid::AES192_CBC, ContentKind::AesCbc(Aes::Bits192)),
    (oid::AES128_CBC, ContentKind::AesCbc(Aes::Bits128)),
];

#[cfg(test)]
mod tests {
    use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};
    use kenin_pki::issue::{CertificateBuilder, common_name};
    use kenin_pki::oid::OidBuf;

    use super::*;

    fn certificate(value: Option<&[u8]>) -> Certificate {
        let key = SoftKey::generate(KeyType::P256).unwrap();
        let mut builder = CertificateBuilder::new(common_name("A").unwrap(), key.public_key());
        if let Some(value) = value {
            let named = OidBuf::from_dotted("1.2.840.113549.1.9.15").unwrap();
            builder = builder.extension(named.as_oid(), false, value);
        }
        builder.self_signed(&key).unwrap()
    }

    /// Who reads OAEP with SHA-1 only could not open what is wrapped with SHA-256.
    #[test]
    fn oaep_is_read_by_whom_it_is_written_for() {
        let oaep = |parameters: Option<Vec<u8>>| {
            let mut capability = vec![write::oid(oid::RSAES_OAEP)];
            capability.extend(parameters);
            let value = write::seq(&[write::seq(&capability)]);
            let said = Capabilities::of_certificate(&certificate(Some(&value)));
            said.unwrap().oaep
        };
        let named = |digest| Some(OaepParameters::new(digest).to_der());
        assert!(oaep(None));
        assert!(oaep(named(DigestAlgorithm::Sha256)));
        for other in [DigestAlgorithm::Sha1, DigestAlgorithm::Sha512] {
            assert!(!oaep(named(other)), "{other:?}");
        }
        assert!(!oaep(Some(write::null())));
    }

    #[test]
    fn a_certificate_may_say_what_its_holder_reads() {
        let ciphers = [
            ContentKind::AesCbc(Aes::Bits256),
            ContentKind::AesGcm(Aes::Bits128),
        ];
        let said = Capabilities::of_certificate(&certificate(Some(&to_der(&ciphers))));
        assert_eq!(said.unwrap().ciphers, ciphers);
        for silent in [None, Some(&b"x"[..]), Some(&b"\x05\x00"[..])] {
            assert_eq!(Capabilities::of_certificate(&certificate(silent)), None);
        }
    }
}
