//! Twins of certificates and revocation lists that others made, and whose private keys nobody has: every key is
//! another, all is signed anew, and the rest stays as it is, octet by octet. What was signed wrongly is signed
//! wrongly again. So a published suite of paths can sign mail.
//!
//! Made for NIST's PKITS: certificates of version 3, lists of version 2, RSA with SHA-256, and issuers that are
//! named by key identifiers. These stay too: they are only names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Verifier;

use super::certificates::{Person, extension, rfc822};
use super::cms::{SignedForm, SignerForm};
use super::der::{SEQUENCE, bits, cat, content, explicit, oid, seq, tlv};
use super::keys::{Alg, Hash, Key};
use super::mime;

const ALT_NAME: &str = "2.5.29.17";
const SUBJECT_KEY_ID: &str = "2.5.29.14";
const AUTHORITY_KEY_ID: &str = "2.5.29.35";
const EMAIL_ADDRESS: &str = "1.2.840.113549.1.9.1";

/// How twins are signed.
const ALGORITHM: Alg = Alg::Ecdsa(Hash::Sha256);

/// The fields of a certificate (RFC 5280 §4.1), by their place.
const SERIAL: usize = 1;
const CERTIFICATE_ALGORITHM: usize = 2;
const ISSUER: usize = 3;
const SUBJECT: usize = 5;
const SPKI: usize = 6;
/// The algorithm in a list (RFC 5280 §5.1).
const LIST_ALGORITHM: usize = 1;

/// A folder with `certs` and `crls` in DER, and the keys of its twins.
pub struct Twins {
    folder: PathBuf,
    /// The new key for every SubjectPublicKeyInfo.
    keys: HashMap<Vec<u8>, Key>,
    /// The SubjectPublicKeyInfo behind every key identifier.
    named: HashMap<Vec<u8>, Vec<u8>>,
}

impl Twins {
    /// Of everything in the folder.
    pub fn of(folder: &Path) -> Self {
        let mut twins = Self {
            folder: folder.to_owned(),
            keys: HashMap::new(),
            named: HashMap::new(),
        };
        for file in std::fs::read_dir(folder.join("certs")).unwrap() {
            let original = std::fs::read(file.unwrap().path()).unwrap();
            let fields = fields(&original);
            if let Some(id) = value(&extensions(&fields), SUBJECT_KEY_ID) {
                twins
                    .named
                    .insert(content(id).to_vec(), fields[SPKI].to_vec());
            }
            twins
                .keys
                .entry(fields[SPKI].to_vec())
                .or_insert_with(Key::p256);
        }
        twins
    }

    /// The twin of a certificate.
    pub fn certificate(&self, file: &str) -> Vec<u8> {
        self.changed_certificate(&self.read("certs", file), |_| {})
    }

    /// The twin of a revocation list.
    pub fn crl(&self, file: &str) -> Vec<u8> {
        self.issue(&self.read("crls", file), |fields| {
            fields[LIST_ALGORITHM] = ALGORITHM.identifier();
        })
    }

    /// Whoever holds the twin of this certificate. Where no mail address is in it, this one is added.
    pub fn signer(&self, file: &str, address: &str) -> Signer {
        let original = self.read("certs", file);
        let fields = fields(&original);
        let own = mail_address(&fields);
        let certificate = self.changed_certificate(&original, |fields| {
            if own.is_none() {
                add_address(fields, address);
            }
        });
        let person = Person {
            key: self.keys[fields[SPKI]].clone(),
            certificate,
            issuer: fields[ISSUER].to_vec(),
            serial: content(fields[SERIAL]).to_vec(),
        };
        Signer {
            person,
            // Serial numbers may be negative, and no Person has such a one.
            id: seq([fields[ISSUER], fields[SERIAL]]),
            address: match own {
                Some(own) => String::from_utf8(own.to_vec()).unwrap(),
                None => address.to_owned(),
            },
        }
    }

    fn read(&self, folder: &str, file: &str) -> Vec<u8> {
        std::fs::read(self.folder.join(folder).join(file)).unwrap()
    }

    fn changed_certificate(&self, original: &[u8], change: impl FnOnce(&mut [Vec<u8>])) -> Vec<u8> {
        self.issue(original, |fields| {
            fields[CERTIFICATE_ALGORITHM] = ALGORITHM.identifier();
            fields[SPKI] = self.keys[&fields[SPKI]].spki();
            change(fields);
        })
    }

    /// Signs the changed fields by whose twin signed the original, as rightly or wrongly.
    fn issue(&self, original: &[u8], change: impl FnOnce(&mut [Vec<u8>])) -> Vec<u8> {
        let parts = split(content(original));
        let before = fields(original);
        let issuer = self.issuer(&before);
        // The first octet of a BIT STRING counts unused bits.
        let is_good = is_signed_by(parts[0], &content(parts[2])[1..], issuer);
        let mut after: Vec<Vec<u8>> = before.iter().map(|field| field.to_vec()).collect();
        change(&mut after);
        let tbs = seq(&after);
        let mut signature = self.keys[issuer].sign(ALGORITHM, &tbs);
        if !is_good {
            *signature.last_mut().unwrap() ^= 1;
        }
        seq([tbs, ALGORITHM.identifier(), bits(&signature)])
    }

    /// The original key of whoever issued this; a certificate that does not say it is its own issuer's.
    fn issuer<'a>(&'a self, fields: &[&'a [u8]]) -> &'a [u8] {
        let id = value(&extensions(fields), AUTHORITY_KEY_ID).and_then(|value| {
            let mut parts = split(content(value)).into_iter();
            parts.find(|part| part[0] == 0x80)
        });
        match id {
            Some(id) => self.named[content(id)].as_slice(),
            None => fields[SPKI],
        }
    }
}

/// Somebody whose certificate is a twin.
pub struct Signer {
    person: Person,
    /// IssuerAndSerialNumber as it stands in the certificate.
    id: Vec<u8>,
    address: String,
}

/// A clear-signed mail and what is in it.
pub struct Signed {
    /// The mail.
    pub mail: Vec<u8>,
    /// The ContentInfo.
    pub cms: Vec<u8>,
    /// The content that is signed.
    pub content: Vec<u8>,
}

impl Signer {
    /// A clear-signed mail from the signer's own address, with these certificates beside the signer's, and these
    /// revocation lists.
    pub fn signed(&self, chain: &[Vec<u8>], lists: &[Vec<u8>], body: &str) -> Signed {
        let part = mime::text(body);
        let mut form = SignerForm::new(&self.person, &part);
        form.sid.clone_from(&self.id);
        let mut certificates = vec![self.person.certificate.as_slice()];
        certificates.extend(chain.iter().map(Vec::as_slice));
        let mut signed = SignedForm::detached(&form, &part, &certificates);
        signed.crls = lists.to_vec();
        let cms = signed.encode();
        Signed {
            mail: mime::clear_signed(&mime::headers(&self.address), &part, &cms),
            cms,
            content: part,
        }
    }
}

/// The elements in the content of a definite-length element.
fn split(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let first = usize::from(rest[1]);
        let (header, length) = if first < 0x80 {
            (2, first)
        } else {
            let octets = &rest[2..2 + (first & 0x7f)];
            let length = octets
                .iter()
                .fold(0, |sum, octet| (sum << 8) | usize::from(*octet));
            (2 + octets.len(), length)
        };
        let (element, after) = rest.split_at(header + length);
        elements.push(element);
        rest = after;
    }
    elements
}

/// The fields of what is signed in a certificate or list.
fn fields(signed: &[u8]) -> Vec<&[u8]> {
    let parts = split(content(signed));
    split(content(parts[0]))
}

/// The extensions, which stand last in both.
fn extensions<'a>(fields: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let tagged = fields[fields.len() - 1];
    split(content(content(tagged)))
}

/// The value of an extension, without the OCTET STRING around it.
fn value<'a>(extensions: &[&'a [u8]], kind: &str) -> Option<&'a [u8]> {
    let kind = oid(kind);
    extensions.iter().copied().find_map(|extension| {
        let parts = split(content(extension));
        (parts[0] == kind).then(|| content(parts[parts.len() - 1]))
    })
}

/// The first mail address in a certificate: of subjectAltName, else of the subject.
fn mail_address<'a>(fields: &[&'a [u8]]) -> Option<&'a [u8]> {
    let names = value(&extensions(fields), ALT_NAME).map(|value| split(content(value)));
    let named = names
        .unwrap_or_default()
        .into_iter()
        .find(|name| name[0] == 0x81);
    let kind = oid(EMAIL_ADDRESS);
    let in_subject = || {
        let rdns = split(content(fields[SUBJECT])).into_iter();
        let attributes = rdns.flat_map(|rdn| split(content(rdn)));
        attributes
            .map(|attribute| split(content(attribute)))
            .find(|pair| pair[0] == kind)
            .map(|pair| pair[1])
    };
    named.or_else(in_subject).map(content)
}

/// Adds a mail address to the subjectAltName, which may not be there.
fn add_address(fields: &mut [Vec<u8>], address: &str) {
    let last = fields.len() - 1;
    let mut all: Vec<Vec<u8>> = split(content(content(&fields[last])))
        .into_iter()
        .map(<[u8]>::to_vec)
        .collect();
    let kind = oid(ALT_NAME);
    let place = all.iter().position(|one| split(content(one))[0] == kind);
    let address = rfc822(address.as_bytes());
    let names = match place {
        Some(place) => {
            let old = all.remove(place);
            let parts = split(content(&old));
            let before = content(content(parts[parts.len() - 1]));
            let names = tlv(SEQUENCE, &cat([before, address.as_slice()]));
            extension(ALT_NAME, parts.len() == 3, &names)
        }
        None => extension(ALT_NAME, false, &seq([address])),
    };
    all.push(names);
    fields[last] = explicit(3, &seq(&all));
}

fn is_signed_by(tbs: &[u8], signature: &[u8], spki: &[u8]) -> bool {
    let key = PKey::public_key_from_der(spki).unwrap();
    let mut verifier = Verifier::new(MessageDigest::sha256(), &key).unwrap();
    verifier.verify_oneshot(signature, tbs).unwrap_or(false)
}
