//! Forged CMS SignedData: every field may be absent, doubled or wrong. RFC 5652.

use super::certificates::Person;
use super::der::{
    cat, chunked_octets, explicit, indefinite, int, long, octets, oid, seq, set_of, sorted, time,
    tlv,
};
use super::keys::{Alg, Hash, Key};

/// id-data.
pub const DATA: &str = "1.2.840.113549.1.7.1";
/// id-signedData.
pub const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
/// id-contentType.
pub const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
/// id-messageDigest.
pub const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
/// id-signingTime.
pub const SIGNING_TIME: &str = "1.2.840.113549.1.9.5";
/// id-countersignature.
pub const COUNTERSIGNATURE: &str = "1.2.840.113549.1.9.6";

/// An Attribute with encoded values.
pub fn attribute(kind: &str, values: &[Vec<u8>]) -> Vec<u8> {
    seq([oid(kind), set_of(values)])
}

/// content-type.
pub fn content_type_attribute(kind: &str) -> Vec<u8> {
    attribute(CONTENT_TYPE, &[oid(kind)])
}

/// message-digest of some bytes.
pub fn message_digest_attribute(hash: Hash, content: &[u8]) -> Vec<u8> {
    attribute(MESSAGE_DIGEST, &[octets(&hash.of(content))])
}

/// signing-time.
pub fn signing_time_attribute(text: &str) -> Vec<u8> {
    attribute(SIGNING_TIME, &[time(text)])
}

/// ESS signing-certificate-v2 with the default digest, SHA-256 (RFC 5035 §4).
pub fn signing_certificate_v2(certificates: &[&[u8]]) -> Vec<u8> {
    let ids = seq(certificates
        .iter()
        .map(|c| seq([octets(&Hash::Sha256.of(c))])));
    attribute("1.2.840.113549.1.9.16.2.47", &[seq([ids])])
}

/// ESS signing-certificate-v2 that names its digest algorithm.
pub fn signing_certificate_v2_with(hash: Hash, certificate: &[u8]) -> Vec<u8> {
    let id = seq([hash.identifier(), octets(&hash.of(certificate))]);
    attribute("1.2.840.113549.1.9.16.2.47", &[seq([seq([id])])])
}

/// ESS signing-certificate, SHA-1 (RFC 2634 §5.4).
pub fn signing_certificate_v1(certificate: &[u8]) -> Vec<u8> {
    let id = seq([octets(&Hash::Sha1.of(certificate))]);
    attribute("1.2.840.113549.1.9.16.2.12", &[seq([seq([id])])])
}

/// CMSAlgorithmProtection (RFC 6211).
pub fn algorithm_protection(digest: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut inner = digest.to_vec();
    let mut tagged = signature.to_vec();
    tagged[0] = 0xa1;
    inner.extend(tagged);
    attribute("1.2.840.113549.1.9.52", &[tlv(0x30, &inner)])
}

/// What a mail program signs: content-type, signing-time, message-digest.
pub fn usual_attributes(hash: Hash, content: &[u8]) -> Vec<Vec<u8>> {
    vec![
        content_type_attribute(DATA),
        signing_time_attribute("20260501120000Z"),
        message_digest_attribute(hash, content),
    ]
}

/// How signedAttrs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Coding {
    Der,
    Unsorted,
    Indefinite,
    LongLength,
}

/// A SignerInfo before it is signed.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct SignerForm {
    pub key: Key,
    pub version: i64,
    pub sid: Vec<u8>,
    pub algorithm: Alg,
    pub hash: Hash,
    /// `None`: no signedAttrs at all.
    pub attributes: Option<Vec<Vec<u8>>>,
    pub coding: Coding,
    /// Sign the attributes as they are sent, even where they are not DER.
    pub over_sent: bool,
    pub digest_identifier: Option<Vec<u8>>,
    pub signature_identifier: Option<Vec<u8>>,
    pub unsigned: Vec<Vec<u8>>,
    /// In place of the true signature.
    pub signature: Option<Vec<u8>>,
}

impl SignerForm {
    /// An honest signature by this person over this content.
    pub fn new(person: &Person, content: &[u8]) -> Self {
        Self::with(person, person.key.usual(), content)
    }

    /// An honest signature with a chosen algorithm.
    pub fn with(person: &Person, algorithm: Alg, content: &[u8]) -> Self {
        Self {
            key: person.key.clone(),
            version: 1,
            sid: person.issuer_and_serial(),
            algorithm,
            hash: algorithm.hash(),
            attributes: Some(usual_attributes(algorithm.hash(), content)),
            coding: Coding::Der,
            over_sent: false,
            digest_identifier: None,
            signature_identifier: None,
            unsigned: Vec::new(),
            signature: None,
        }
    }

    /// What is signed: DER SET OF attributes.
    pub fn to_be_signed(&self, content: &[u8]) -> Vec<u8> {
        match &self.attributes {
            None => content.to_vec(),
            Some(_) if self.over_sent => {
                let mut sent = self.sent_attributes();
                sent[0] = 0x31;
                sent
            }
            Some(all) => set_of(all),
        }
    }

    fn sent_attributes(&self) -> Vec<u8> {
        let all = self.attributes.clone().unwrap_or_default();
        match self.coding {
            Coding::Der => tlv(0xa0, &sorted(&all)),
            Coding::Unsorted => {
                let mut order = all;
                order.sort_unstable();
                order.reverse();
                tlv(0xa0, &cat(order))
            }
            Coding::Indefinite => indefinite(0xa0, &sorted(&all)),
            Coding::LongLength => long(0xa0, &sorted(&all), 3),
        }
    }

    /// The SignerInfo over this content.
    pub fn encode(&self, content: &[u8]) -> Vec<u8> {
        let signature = self
            .signature
            .clone()
            .unwrap_or_else(|| self.key.sign(self.algorithm, &self.to_be_signed(content)));
        let mut parts = vec![
            int(self.version),
            self.sid.clone(),
            self.digest_identifier
                .clone()
                .unwrap_or_else(|| self.hash.identifier()),
        ];
        if self.attributes.is_some() {
            parts.push(self.sent_attributes());
        }
        parts.push(
            self.signature_identifier
                .clone()
                .unwrap_or_else(|| self.algorithm.identifier()),
        );
        parts.push(octets(&signature));
        if !self.unsigned.is_empty() {
            parts.push(tlv(0xa1, &sorted(&self.unsigned)));
        }
        seq(parts)
    }
}

/// The eContent of a SignedData.
#[derive(Clone)]
#[allow(missing_docs)]
pub enum Content {
    Absent,
    Whole(Vec<u8>),
    Chunked(Vec<u8>, usize),
}

/// A SignedData before it is written.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct SignedForm {
    pub version: i64,
    pub digests: Vec<Vec<u8>>,
    pub content_type: &'static str,
    pub content: Content,
    pub certificates: Vec<Vec<u8>>,
    pub crls: Vec<Vec<u8>>,
    /// Encoded SignerInfos, in the order they are sent.
    pub signers: Vec<Vec<u8>>,
    /// Indefinite lengths outside, as streaming writers do.
    pub ber: bool,
}

impl SignedForm {
    /// Detached, no certificates, no signers.
    pub fn empty() -> Self {
        Self {
            version: 1,
            digests: vec![Hash::Sha256.identifier()],
            content_type: DATA,
            content: Content::Absent,
            certificates: Vec::new(),
            crls: Vec::new(),
            signers: Vec::new(),
            ber: false,
        }
    }

    /// Detached with one signer and these certificates.
    pub fn detached(form: &SignerForm, content: &[u8], certificates: &[&[u8]]) -> Self {
        Self {
            digests: vec![
                form.digest_identifier
                    .clone()
                    .unwrap_or_else(|| form.hash.identifier()),
            ],
            certificates: certificates.iter().map(|c| c.to_vec()).collect(),
            signers: vec![form.encode(content)],
            ..Self::empty()
        }
    }

    /// The same with the content inside.
    pub fn attached(mut self, content: &[u8]) -> Self {
        self.content = Content::Whole(content.to_vec());
        self
    }

    /// ContentInfo.
    pub fn encode(&self) -> Vec<u8> {
        let mut inner = vec![oid(self.content_type)];
        match &self.content {
            Content::Absent => {}
            Content::Whole(bytes) => inner.push(explicit(0, &octets(bytes))),
            Content::Chunked(bytes, n) => inner.push(indefinite(0xa0, &chunked_octets(bytes, *n))),
        }
        let chunked = matches!(self.content, Content::Chunked(..));
        let encapsulated = if chunked {
            indefinite(0x30, &cat(inner))
        } else {
            seq(inner)
        };
        let mut parts = vec![int(self.version), set_of(&self.digests), encapsulated];
        if !self.certificates.is_empty() {
            parts.push(tlv(0xa0, &cat(&self.certificates)));
        }
        if !self.crls.is_empty() {
            parts.push(tlv(0xa1, &cat(&self.crls)));
        }
        parts.push(tlv(0x31, &cat(&self.signers)));
        content_info(SIGNED_DATA, &parts, self.ber || chunked)
    }
}

/// A ContentInfo around the parts of a SEQUENCE.
pub fn content_info(kind: &str, parts: &[Vec<u8>], ber: bool) -> Vec<u8> {
    let body = cat(parts);
    if ber {
        let inner = indefinite(0xa0, &indefinite(0x30, &body));
        indefinite(0x30, &cat([oid(kind), inner]))
    } else {
        seq([oid(kind), explicit(0, &seq([body]))])
    }
}

/// An honest detached signature of one person with the person's chain.
pub fn detached(person: &Person, chain: &[&[u8]], content: &[u8]) -> Vec<u8> {
    honest(person, chain, content).encode()
}

/// An honest opaque signature.
pub fn opaque(person: &Person, chain: &[&[u8]], content: &[u8]) -> Vec<u8> {
    honest(person, chain, content).attached(content).encode()
}

/// An honest detached form.
pub fn honest(person: &Person, chain: &[&[u8]], content: &[u8]) -> SignedForm {
    let mut certificates = vec![&person.certificate[..]];
    certificates.extend(chain);
    SignedForm::detached(&SignerForm::new(person, content), content, &certificates)
}

/// EnvelopedData that nobody can open: one recipient that does not exist.
pub fn enveloped() -> Vec<u8> {
    let rid = seq([super::certificates::cn("Nobody"), int(1)]);
    let rsa = seq([oid("1.2.840.113549.1.1.1"), super::der::null()]);
    let ktri = seq([int(0), rid, rsa, octets(&[0x5a; 256])]);
    let aes = seq([oid("2.16.840.1.101.3.4.1.42"), octets(&[9; 16])]);
    let info = seq([oid(DATA), aes, tlv(0x80, &[0x77; 64])]);
    content_info(
        "1.2.840.113549.1.7.3",
        &[int(0), set_of(&[ktri]), info],
        false,
    )
}
