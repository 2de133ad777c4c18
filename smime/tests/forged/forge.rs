//! Makes signed objects of any shape, right and wrong.

use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{DigestAlgorithm, KeyType, SignatureAlgorithm, SigningKey, SoftKey};
use kenin_pki::der::write;
use kenin_pki::issue::CertificateBuilder;
use kenin_pki::name::NameBuilder;
use kenin_pki::oid;
use kenin_pki::time::UnixTime;

pub(crate) const DATA: &str = "1.2.840.113549.1.7.1";
pub(crate) const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
pub(crate) const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
pub(crate) const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
pub(crate) const SIGNING_TIME: &str = "1.2.840.113549.1.9.5";
pub(crate) const PROTECTION: &str = "1.2.840.113549.1.9.52";
pub(crate) const ESS_V1: &str = "1.2.840.113549.1.9.16.2.12";
pub(crate) const ESS_V2: &str = "1.2.840.113549.1.9.16.2.47";
pub(crate) const COUNTERSIGNATURE: &str = "1.2.840.113549.1.9.6";

/// Somebody with a key and a self-signed certificate.
pub(crate) struct Person {
    pub(crate) key: SoftKey,
    pub(crate) certificate: Certificate,
}

impl Person {
    pub(crate) fn new(name: &str, kind: KeyType) -> Self {
        let key = SoftKey::generate(kind).unwrap();
        let certificate = certificate(name, &key, 7);
        Self { key, certificate }
    }
}

pub(crate) fn certificate(name: &str, key: &SoftKey, serial: u8) -> Certificate {
    let subject = NameBuilder::default()
        .with(oid::COMMON_NAME, name)
        .build()
        .unwrap();
    CertificateBuilder::new(subject, key.public_key())
        .serial(&[serial])
        .validity(UnixTime(0), UnixTime(4_000_000_000))
        .mail(&[&format!("{name}@example.jp")])
        .self_signed(key)
        .unwrap()
}

pub(crate) fn attribute(oid: &str, values: &[Vec<u8>]) -> Vec<u8> {
    write::seq(&[write::oid(oid), write::set_of(values)])
}

pub(crate) fn identifier(digest: DigestAlgorithm) -> Vec<u8> {
    write::seq(&[write::oid(digest.oid())])
}

/// The attributes that every signer needs.
pub(crate) fn attributes(content: &[u8], digest: DigestAlgorithm) -> Vec<Vec<u8>> {
    vec![
        attribute(CONTENT_TYPE, &[write::oid(DATA)]),
        attribute(
            MESSAGE_DIGEST,
            &[write::octet_string(digest.digest(content).as_ref())],
        ),
    ]
}

pub(crate) fn sorted(attributes: &[Vec<u8>]) -> Vec<u8> {
    write::set_of_content(attributes)
}

/// One SignerInfo, of parts that can be wrong one by one.
pub(crate) struct SignerShape {
    pub(crate) sid: Vec<u8>,
    pub(crate) digest: Vec<u8>,
    /// Content octets of the signed attributes, in the order to be written.
    pub(crate) attributes: Option<Vec<u8>>,
    pub(crate) algorithm: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) unsigned: Option<Vec<u8>>,
}

impl SignerShape {
    /// Right in every way, over these attributes.
    pub(crate) fn new(person: &Person, digest: DigestAlgorithm, attributes: Vec<u8>) -> Self {
        let algorithm = algorithm_of(person, digest);
        let signed = write::element(0x31, &attributes);
        Self {
            sid: sid(&person.certificate),
            digest: identifier(digest),
            attributes: Some(attributes),
            algorithm: algorithm.to_identifier().to_der(),
            signature: person.key.sign(algorithm, &signed).unwrap(),
            unsigned: None,
        }
    }

    /// Without signed attributes.
    pub(crate) fn bare(person: &Person, digest: DigestAlgorithm, content: &[u8]) -> Self {
        let algorithm = algorithm_of(person, digest);
        Self {
            signature: person.key.sign(algorithm, content).unwrap(),
            attributes: None,
            ..Self::new(person, digest, Vec::new())
        }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut parts = vec![write::integer(1), self.sid.clone(), self.digest.clone()];
        parts.extend(
            self.attributes
                .as_ref()
                .map(|content| write::element(0xa0, content)),
        );
        parts.push(self.algorithm.clone());
        parts.push(write::octet_string(&self.signature));
        parts.extend(
            self.unsigned
                .as_ref()
                .map(|content| write::element(0xa1, content)),
        );
        write::seq(&parts)
    }
}

pub(crate) fn sid(certificate: &Certificate) -> Vec<u8> {
    let serial = write::element(2, certificate.serial());
    write::seq(&[certificate.issuer().der().to_vec(), serial])
}

pub(crate) fn algorithm_of(person: &Person, digest: DigestAlgorithm) -> SignatureAlgorithm {
    match person.key.default_algorithm() {
        SignatureAlgorithm::RsaPkcs1(_) => SignatureAlgorithm::RsaPkcs1(digest),
        SignatureAlgorithm::Ecdsa(_) => SignatureAlgorithm::Ecdsa(digest),
        other => other,
    }
}

/// A right signer over `content`.
pub(crate) fn honest(person: &Person, content: &[u8]) -> Vec<u8> {
    let digest = DigestAlgorithm::Sha256;
    SignerShape::new(person, digest, sorted(&attributes(content, digest))).write()
}

/// A SignedData.
pub(crate) fn signed_data(
    content: Option<&[u8]>,
    certificates: &[&[u8]],
    signers: &[Vec<u8>],
) -> Vec<u8> {
    let mut encapsulated = vec![write::oid(DATA)];
    encapsulated.extend(content.map(|c| write::explicit(0, &write::octet_string(c))));
    let mut parts = vec![
        write::integer(1),
        write::set_of(&[identifier(DigestAlgorithm::Sha256)]),
        write::seq(&encapsulated),
    ];
    if !certificates.is_empty() {
        parts.push(write::element(0xa0, &write::concat(certificates)));
    }
    parts.push(write::element(0x31, &write::concat(signers)));
    content_info(SIGNED_DATA, &write::seq(&parts))
}

pub(crate) fn content_info(oid: &str, content: &[u8]) -> Vec<u8> {
    write::seq(&[write::oid(oid), write::explicit(0, content)])
}

/// base64 in lines.
pub(crate) fn base64(bytes: &[u8]) -> String {
    bytes
        .chunks(57)
        .map(|line| base64_simd::STANDARD.encode_to_string(line) + "\r\n")
        .collect()
}

/// multipart/signed around an entity and a signature, with no message header.
pub(crate) fn clear(entity: &str, signature: &[u8]) -> String {
    format!(
        "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\";\r\n\
         \tmicalg=sha-256; boundary=\"b1\"\r\n\r\n--b1\r\n{entity}\r\n--b1\r\n\
         Content-Type: application/pkcs7-signature; name=smime.p7s\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}--b1--\r\n",
        base64(signature)
    )
}

/// application/pkcs7-mime around an object.
pub(crate) fn opaque(label: &str, object: &[u8]) -> String {
    format!(
        "Content-Type: application/pkcs7-mime{label}; name=smime.p7m\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}",
        base64(object)
    )
}
