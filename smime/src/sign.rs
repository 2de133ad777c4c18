//! An honest signer: clear-signed, opaque and streamed opaque mail from a MIME entity (RFC 8551 §3.5).
//!
//! It never signs what could be read as signed attributes, and never alters the entity.

use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{
    Aes, ContentKind, Digest, DigestAlgorithm, KeyError, SignatureAlgorithm, SigningKey,
};
use kenin_pki::der::write::{self, Enclosure};
use kenin_pki::der::{OCTET_STRING, SEQUENCE, context_constructed};
use kenin_pki::oid;
use kenin_pki::time::UnixTime;

use crate::base64_lines::{self, Base64Lines, push_base64};
use crate::{canonical, cms};

/// The shape of the signed mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// multipart/signed with a detached signature.
    Clear,
    /// application/pkcs7-mime, DER.
    Opaque,
    /// application/pkcs7-mime, BER with indefinite lengths and the content in chunks.
    OpaqueStreamed,
}

/// What to sign with, and how.
pub struct Signer<'a> {
    /// The private key.
    pub key: &'a dyn SigningKey,
    /// Its certificate.
    pub certificate: &'a Certificate,
    /// Further certificates to include.
    pub chain: &'a [Certificate],
    /// Digest of the content.
    pub digest: DigestAlgorithm,
    /// Signature algorithm.
    pub algorithm: SignatureAlgorithm,
    /// The claimed time; none, no attribute.
    pub signing_time: Option<UnixTime>,
    /// Ciphers that whoever answers may encrypt with, the best one first (RFC 8551 §2.5.2); none, no attribute. Only
    /// for signers whose mail somebody can open.
    pub capabilities: &'a [ContentKind],
}

/// The capabilities of whoever opens mail with this crate: what has a tag first, then what everybody writes.
pub const CAPABILITIES: [ContentKind; 4] = [
    ContentKind::AesGcm(Aes::Bits256),
    ContentKind::AesGcm(Aes::Bits128),
    ContentKind::AesCbc(Aes::Bits256),
    ContentKind::AesCbc(Aes::Bits128),
];

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The content could later be passed off as the signed attributes of something else.
    #[error("the content is a set of signed attributes")]
    ContentIsAttributes,
    /// The key could not sign.
    #[error("the key could not sign: {0}")]
    Key(#[from] KeyError),
}

impl<'a> Signer<'a> {
    /// A signer that uses the key's own algorithm, the digest that goes with it, and no signing time.
    #[must_use]
    pub fn new(key: &'a dyn SigningKey, certificate: &'a Certificate) -> Self {
        let certified = certificate.public_key();
        // A certificate may say of an RSA key that it signs by PSS alone, and how, and the key's file not.
        let algorithm = match certified.algorithm() == oid::RSASSA_PSS {
            true => certified.default_algorithm(),
            false => key.default_algorithm(),
        };
        Self {
            key,
            certificate,
            chain: &[],
            digest: algorithm.digest(),
            algorithm,
            signing_time: None,
            capabilities: &[],
        }
    }

    /// Signs a MIME entity (header fields `Content-…`, empty line, body) and returns the signed entity:
    /// header fields from `MIME-Version` on, empty line, body. Message header fields (From, Subject …)
    /// go before it. Lone line feeds become CRLF; nothing else changes.
    pub fn sign(&self, entity: &[u8], form: Form) -> Result<Vec<u8>, SignError> {
        let entity = canonical::form(entity);
        match form {
            Form::Clear => {
                let digest = self.digest_of(&entity)?;
                let signature = self.shell(&digest, None)?;
                let boundary = boundary_from(&digest, &entity);
                Ok(self.clear(&entity, &signature, &boundary))
            }
            Form::Opaque => self.sign_whole(&entity),
            Form::OpaqueStreamed => Ok(opaque(&[&self.sign_cms_streamed(&entity)?])),
        }
    }

    /// An opaque entity around octets that stay as they are: for a content whose line ends are its own business.
    pub fn sign_whole(&self, content: &[u8]) -> Result<Vec<u8>, SignError> {
        let shell = self.shell(&self.digest_of(content)?, Some(content.len()))?;
        Ok(opaque(&[shell.head(), content, shell.tail()]))
    }

    /// A bare DER SignedData, detached or around the content, which is taken as it is.
    pub fn sign_cms(&self, content: &[u8], detached: bool) -> Result<Vec<u8>, SignError> {
        let digest = self.digest_of(content)?;
        let content = if detached { &[] } else { content };
        let shell = self.shell(&digest, (!detached).then_some(content.len()))?;
        Ok([shell.head(), content, shell.tail()].concat())
    }

    /// The SignedData of this digest around a content of so many octets, or around none.
    fn shell(&self, digest: &Digest, content: Option<usize>) -> Result<Enclosure, SignError> {
        let signer = self.signer_info(digest)?;
        let inner = match content {
            Some(length) => Enclosure::around(length)
                .element(OCTET_STRING, &[], &[])
                .element(context_constructed(0), &[], &[]),
            None => Enclosure::around(0),
        };
        let before = [
            write::integer(1),
            write::set_of(&[self.digest_identifier()]),
        ];
        let after = [self.certificates(), write::set_of(&[signer])];
        Ok(inner
            .element(SEQUENCE, &known(cms::DATA), &[])
            .element(SEQUENCE, &write::concat(&before), &write::concat(&after))
            .element(context_constructed(0), &[], &[])
            .element(SEQUENCE, &known(cms::SIGNED_DATA), &[]))
    }

    /// A bare SignedData around the content, as programs write it that stream: indefinite lengths, and
    /// the content as a constructed string of chunks.
    pub fn sign_cms_streamed(&self, content: &[u8]) -> Result<Vec<u8>, SignError> {
        const OPEN_SEQUENCE: [u8; 2] = [0x30, 0x80];
        const OPEN_EXPLICIT: [u8; 2] = [0xa0, 0x80];
        const OPEN_STRING: [u8; 2] = [0x24, 0x80];
        const CLOSE: [u8; 2] = [0, 0];
        let signer = self.signer_info(&self.digest_of(content)?)?;
        let mut out = Vec::with_capacity(content.len() + content.len() / 200 + 4096);
        out.extend(OPEN_SEQUENCE);
        out.extend(known(cms::SIGNED_DATA));
        out.extend(OPEN_EXPLICIT);
        out.extend(OPEN_SEQUENCE);
        out.extend(write::integer(1));
        out.extend(write::set_of(&[self.digest_identifier()]));
        out.extend(OPEN_SEQUENCE);
        out.extend(known(cms::DATA));
        out.extend(OPEN_EXPLICIT);
        out.extend(OPEN_STRING);
        for chunk in content.chunks(1000) {
            out.extend(write::octet_string(chunk));
        }
        // The string, its wrapper and EncapsulatedContentInfo.
        out.extend(CLOSE.repeat(3));
        out.extend(self.certificates());
        out.extend(write::set_of(&[signer]));
        // SignedData, its wrapper and ContentInfo.
        out.extend(CLOSE.repeat(3));
        Ok(out)
    }

    fn digest_of(&self, content: &[u8]) -> Result<Digest, SignError> {
        if cms::is_signed_attributes(content) {
            return Err(SignError::ContentIsAttributes);
        }
        Ok(self.digest.digest(content))
    }

    fn signer_info(&self, digest: &Digest) -> Result<Vec<u8>, SignError> {
        let attributes = self.attributes(digest);
        let signature = self.key.sign(self.algorithm, &write::set_of(&attributes))?;
        let issuer = self.certificate.issuer().der().to_vec();
        let serial = write::element(0x02, self.certificate.serial());
        Ok(write::seq(&[
            write::integer(1),
            write::seq(&[issuer, serial]),
            self.digest_identifier(),
            write::element(0xa0, &write::set_of_content(&attributes)),
            self.algorithm.to_identifier().to_der(),
            write::octet_string(&signature),
        ]))
    }

    /// content-type, message-digest, signing-time, ESS signing-certificate-v2, CMSAlgorithmProtection,
    /// SMIMECapabilities.
    fn attributes(&self, digest: &Digest) -> Vec<Vec<u8>> {
        let fingerprint = write::octet_string(self.certificate.sha256());
        // SHA-256 is the default hash of an ESSCertIDv2 and is left out.
        let certificate = write::seq(&[write::seq(&[write::seq(&[fingerprint])])]);
        let signature = self.algorithm.to_identifier().to_der();
        let protection = write::seq(&[self.digest_identifier(), write::retag(0xa1, signature)]);
        let mut attributes = vec![
            attribute(cms::CONTENT_TYPE, &known(cms::DATA)),
            attribute(cms::MESSAGE_DIGEST, &write::octet_string(digest.as_ref())),
            attribute(cms::SIGNING_CERTIFICATE_V2, &certificate),
            attribute(cms::ALGORITHM_PROTECTION, &protection),
        ];
        if let Some(time) = self.signing_time {
            attributes.push(attribute(cms::SIGNING_TIME, &write::time(time)));
        }
        if !self.capabilities.is_empty() {
            let value = cms::capabilities::to_der(self.capabilities);
            attributes.push(attribute(cms::SMIME_CAPABILITIES, &value));
        }
        attributes
    }

    fn digest_identifier(&self) -> Vec<u8> {
        write::seq(&[write::oid(self.digest.oid())])
    }

    fn certificates(&self) -> Vec<u8> {
        let mut all = vec![self.certificate.der()];
        all.extend(self.chain.iter().map(Certificate::der));
        write::element(0xa0, &write::set_of_content(&all))
    }

    fn clear(&self, entity: &[u8], signature: &Enclosure, boundary: &str) -> Vec<u8> {
        let micalg = match self.digest {
            DigestAlgorithm::Sha1 => "sha-1",
            DigestAlgorithm::Sha224 => "sha-224",
            DigestAlgorithm::Sha256 => "sha-256",
            DigestAlgorithm::Sha384 => "sha-384",
            DigestAlgorithm::Sha512 => "sha-512",
            other => other.name(),
        };
        let mut out = format!(
            "MIME-Version: 1.0\r\n\
             Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\";\r\n\
             \tmicalg={micalg}; boundary=\"{boundary}\"\r\n\
             \r\n\
             --{boundary}\r\n"
        )
        .into_bytes();
        out.reserve(
            entity
                .len()
                .saturating_add(base64_lines::length(signature.len()))
                + 512,
        );
        out.extend_from_slice(entity);
        out.extend_from_slice(
            format!(
                "\r\n--{boundary}\r\n\
                 Content-Type: application/pkcs7-signature; name=\"smime.p7s\"\r\n\
                 Content-Transfer-Encoding: base64\r\n\
                 Content-Disposition: attachment; filename=\"smime.p7s\"\r\n\
                 \r\n"
            )
            .as_bytes(),
        );
        push_base64(&mut out, &[signature.head(), signature.tail()].concat());
        out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        out
    }
}

/// Around an object in pieces.
fn opaque(object: &[&[u8]]) -> Vec<u8> {
    let mut out = b"MIME-Version: 1.0\r\n\
        Content-Type: application/pkcs7-mime; smime-type=signed-data; name=\"smime.p7m\"\r\n\
        Content-Transfer-Encoding: base64\r\n\
        Content-Disposition: attachment; filename=\"smime.p7m\"\r\n\
        \r\n"
        .to_vec();
    let length = object.iter().map(|some| some.len()).sum();
    out.reserve(base64_lines::length(length));
    let mut lines = Base64Lines::default();
    for some in object {
        lines.push(some, &mut out);
    }
    lines.finish(&mut out);
    out
}

/// A boundary that does not occur in the entity; the same entity gets the same one.
#[must_use]
pub fn boundary_for(entity: &[u8]) -> String {
    boundary_from(&DigestAlgorithm::Sha256.digest(entity), entity)
}

/// The same with a digest that is known already.
fn boundary_from(digest: &Digest, entity: &[u8]) -> String {
    let hex: String = digest
        .as_ref()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut number = 0_u32;
    loop {
        let boundary = format!("=_kenin_{number}_{hex}");
        if memchr::memmem::find(entity, boundary.as_bytes()).is_none() {
            return boundary;
        }
        number += 1;
    }
}

fn known(oid: cms::Known) -> Vec<u8> {
    write::element(0x06, oid.content())
}

fn attribute(oid: cms::Known, value: &[u8]) -> Vec<u8> {
    write::seq(&[known(oid), write::set_of(&[value])])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Capabilities;
    use crate::limits::Limits;
    use crate::testing::bob;

    /// What is read of a signer's capabilities; nothing where the signature is not right.
    fn said(object: &[u8]) -> Option<Capabilities> {
        let examined = crate::examine_cms(object, None, &Limits::default(), &[]);
        let signer = &examined.root_signature().unwrap().signers[0];
        assert_eq!(signer.defect, None);
        signer.capabilities.clone()
    }

    #[test]
    fn capabilities_are_said_in_order_and_read_again() {
        let all = [
            ContentKind::ChaCha20Poly1305,
            ContentKind::AesCbc(Aes::Bits192),
            ContentKind::AesGcm(Aes::Bits192),
        ];
        for ciphers in [&CAPABILITIES[..], &all] {
            let signer = Signer {
                capabilities: ciphers,
                ..Signer::new(&bob().key, &bob().certificate)
            };
            let expected = Capabilities {
                ciphers: ciphers.to_vec(),
                oaep: false,
            };
            let object = signer.sign_cms(b"x", false).unwrap();
            assert_eq!(said(&object), Some(expected));
        }
        let silent = Signer::new(&bob().key, &bob().certificate);
        assert_eq!(said(&silent.sign_cms(b"x", false).unwrap()), None);
    }

    #[test]
    fn a_boundary_that_occurs_in_the_text_is_not_used() {
        let first = boundary_for(b"text");
        let entity = format!("text {first}");
        let second = boundary_for(entity.as_bytes());
        assert!(!entity.contains(&second));
    }
}
