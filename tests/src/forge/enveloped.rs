//! Encrypted objects: made by OpenSSL, taken apart, changed and put together again.

use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::pkey::PKey;
use openssl::stack::Stack;
use openssl::symm::Cipher;
use openssl::x509::X509;

use super::certificates::{Person, key_usage};
use super::cms::content_info;
use super::der::{bits, cat, content, elements, explicit, octets, oid, seq, set_of, tlv};
use super::keys::Key;
use super::{Town, mime};
use crate::sink::split;

/// Content type EnvelopedData.
pub const ENVELOPED: &str = "1.2.840.113549.1.7.3";
/// Content type AuthEnvelopedData.
pub const AUTH_ENVELOPED: &str = "1.2.840.113549.1.9.16.1.23";
/// AES-256-CBC.
pub const AES_256_CBC: &str = "2.16.840.1.101.3.4.1.42";
/// AES-256-OFB.
pub const AES_256_OFB: &str = "2.16.840.1.101.3.4.1.43";
/// AES-256-GCM.
pub const AES_256_GCM: &str = "2.16.840.1.101.3.4.1.46";

/// How a content is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// AES-256-GCM: what is changed is noticed.
    Gcm,
    /// AES-256-CBC: it is not.
    Cbc,
    /// Triple DES, as old programs did.
    TripleDes,
}

/// Somebody whose certificate mail may be encrypted for, an RSA key, issued in the town.
pub fn reader(name: &str, address: &str) -> Person {
    of_key(name, address, Key::rsa(2048), 0xe0)
}

/// The same with a key of P-256.
pub fn reader_by_agreement(name: &str, address: &str) -> Person {
    of_key(name, address, Key::p256(), 0xc8)
}

fn of_key(name: &str, address: &str, key: Key, usage: u8) -> Person {
    let issuer = &Town::get().issuer;
    let mut form = issuer.person_form(name, address, &key);
    form.extensions[1] = key_usage(usage);
    issuer.issue(&form, key)
}

/// A content encrypted for these people, by OpenSSL.
pub fn encrypted(way: Way, readers: &[&Person], entity: &[u8]) -> Vec<u8> {
    let mut certificates = Stack::new().unwrap();
    for reader in readers {
        let certificate = X509::from_der(&reader.certificate).unwrap();
        certificates.push(certificate).unwrap();
    }
    let cipher = match way {
        Way::Gcm => Cipher::aes_256_gcm(),
        Way::Cbc => Cipher::aes_256_cbc(),
        Way::TripleDes => Cipher::des_ede3_cbc(),
    };
    let made = CmsContentInfo::encrypt(&certificates, entity, cipher, CMSOptions::BINARY);
    made.unwrap().to_der().unwrap()
}

/// What OpenSSL opens a mail to whose body is an encrypted object, as the one whom this certificate names and with this key;
/// nothing where it does not open.
pub fn opens_to(reader: &Person, mail: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(split(mail).1);
    let digits: String = text.split_whitespace().collect();
    let object = openssl::base64::decode_block(&digits).ok()?;
    let object = CmsContentInfo::from_der(&object).ok()?;
    let key = PKey::private_key_from_pem(&reader.key.pem()).ok()?;
    let certificate = X509::from_der(&reader.certificate).ok()?;
    object.decrypt(&key, &certificate).ok()
}

/// The header of a mail from somebody with a Message-ID.
pub fn fields(from: &str, id: &str) -> Vec<u8> {
    format!(
        "From: {from}\r\nTo: reader@opened.example\r\nSubject: Outside\r\n\
         Date: Fri, 01 May 2026 12:00:00 +0000\r\nMessage-ID: <{id}>\r\nMIME-Version: 1.0\r\n"
    )
    .into_bytes()
}

/// A mail that is an encrypted object.
pub fn mail(header: &[u8], object: &[u8]) -> Vec<u8> {
    let smime_type = match Parts::of(object).kind == oid(ENVELOPED) {
        true => "enveloped-data",
        false => "authEnveloped-data",
    };
    mime::opaque(header, smime_type, object)
}

/// What an encrypted object is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Its content type, an OBJECT IDENTIFIER.
    pub kind: Vec<u8>,
    /// The version, an INTEGER.
    pub version: Vec<u8>,
    /// Each RecipientInfo.
    pub recipients: Vec<Vec<u8>>,
    /// The cipher, an OBJECT IDENTIFIER.
    pub cipher: Vec<u8>,
    /// The cipher's parameters, an element.
    pub parameters: Vec<u8>,
    /// encryptedContent, its octets.
    pub content: Vec<u8>,
    /// mac, its octets.
    pub mac: Option<Vec<u8>>,
}

impl Parts {
    /// Of an object that OpenSSL made.
    pub fn of(object: &[u8]) -> Self {
        let info = elements(object);
        let data = elements(elements(info[1])[0]);
        let encrypted = elements(data[2]);
        let algorithm = elements(encrypted[1]);
        let owned = <[u8]>::to_vec;
        Self {
            kind: owned(info[0]),
            version: owned(data[0]),
            recipients: elements(data[1]).into_iter().map(owned).collect(),
            cipher: owned(algorithm[0]),
            parameters: owned(algorithm[1]),
            content: owned(content(encrypted[2])),
            mac: data.get(3).map(|mac| owned(content(mac))),
        }
    }

    /// Put together.
    pub fn object(&self) -> Vec<u8> {
        let algorithm = seq([&self.cipher, &self.parameters]);
        let data = oid("1.2.840.113549.1.7.1");
        let encrypted = seq([data, algorithm, tlv(0x80, &self.content)]);
        let mut parts = vec![self.version.clone(), set_of(&self.recipients), encrypted];
        parts.extend(self.mac.as_deref().map(octets));
        // The content type is there as an element.
        let known = [ENVELOPED, AUTH_ENVELOPED];
        let kind = known.iter().find(|kind| oid(kind) == self.kind);
        content_info(kind.expect("a known content type"), &parts, false)
    }

    /// GCMParameters with a length of the tag.
    pub fn with_tag_of(mut self, length: u8) -> Self {
        let nonce = elements(&self.parameters)[0].to_vec();
        self.parameters = seq([nonce, vec![2, 1, length]]);
        let mac = self.mac.as_mut().expect("a tag");
        mac.resize(usize::from(length), 0x5a);
        self
    }

    /// The encrypted key of one of the recipients (KeyTransRecipientInfo), its octets, changed.
    pub fn key(mut self, place: usize, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let info = &self.recipients[place];
        let parts = elements(info);
        let mut key = content(parts[3]).to_vec();
        change(&mut key);
        self.recipients[place] = seq([parts[0], parts[1], parts[2], &octets(&key)]);
        self
    }

    /// The content-encryption key, by the RSA key of the one recipient that there is.
    ///
    /// # Panics
    /// When it is for somebody else.
    pub fn content_key(&self, reader: &Person) -> Vec<u8> {
        let [info] = self.recipients.as_slice() else {
            panic!("{} recipients", self.recipients.len())
        };
        reader.key.rsa_decrypt(content(elements(info)[3]))
    }

    /// What was agreed on with one of the recipients (KeyAgreeRecipientInfo for one, by a key that the sender made), changed.
    pub fn agreement(mut self, place: usize, change: impl FnOnce(&mut Agreement)) -> Self {
        let mut agreement = Agreement::of(&self.recipients[place]);
        change(&mut agreement);
        self.recipients[place] = agreement.info();
        self
    }
}

/// How a content-encryption key is wrapped for somebody with a key of a curve (RFC 5753 §3.1.1).
#[derive(Clone, Debug)]
pub struct Agreement {
    /// The version, an INTEGER.
    version: Vec<u8>,
    /// The kind of the sender's key, an AlgorithmIdentifier.
    pub curve: Vec<u8>,
    /// The sender's key, the octets of its point.
    pub point: Vec<u8>,
    /// keyEncryptionAlgorithm, an element.
    pub algorithm: Vec<u8>,
    /// Whose the wrapped key is, an element.
    reader: Vec<u8>,
    /// encryptedKey, its octets.
    pub key: Vec<u8>,
}

impl Agreement {
    /// Of a RecipientInfo that OpenSSL made.
    ///
    /// # Panics
    /// When it is none of this kind.
    pub fn of(info: &[u8]) -> Self {
        let parts = elements(info);
        assert!(info[0] == 0xa1 && parts.len() == 4, "no agreement");
        let sender = elements(elements(parts[1])[0]);
        let readers = elements(parts[3]);
        assert_eq!(readers.len(), 1, "it is for one");
        let reader = elements(readers[0]);
        let owned = <[u8]>::to_vec;
        Self {
            version: owned(parts[0]),
            curve: owned(sender[0]),
            // In front stands how many bits are not used.
            point: owned(&content(sender[1])[1..]),
            algorithm: owned(parts[2]),
            reader: owned(reader[0]),
            key: owned(content(reader[1])),
        }
    }

    fn info(&self) -> Vec<u8> {
        let sender = tlv(0xa1, &cat([&self.curve, &bits(&self.point)]));
        let reader = seq([&self.reader, &octets(&self.key)]);
        let parts = [
            self.version.clone(),
            explicit(0, &sender),
            self.algorithm.clone(),
            seq([reader]),
        ];
        tlv(0xa1, &cat(parts))
    }
}

/// An object with every octet as it is, but for one bit in the last one.
pub fn with_last_bit_changed(object: &[u8]) -> Vec<u8> {
    let mut changed = object.to_vec();
    *changed.last_mut().expect("an octet") ^= 1;
    changed
}

/// Whether a text stands in what somebody got or kept, in clear or as base64.
pub fn shows(octets: &[u8], text: &str) -> bool {
    let found = |form: &Vec<u8>| octets.windows(form.len()).any(|window| window == form);
    forms(text).iter().any(found)
}

/// A text in clear, and what of it is seen in base64 wherever it begins.
pub fn forms(text: &str) -> Vec<Vec<u8>> {
    let mut forms = as_base64(text.as_bytes());
    forms.push(text.as_bytes().to_vec());
    forms
}

/// What of octets is seen in base64 wherever they begin.
pub fn as_base64(octets: &[u8]) -> Vec<Vec<u8>> {
    let form = |before: usize| {
        let padded = cat([&b"  "[..before], octets]);
        let base64 = openssl::base64::encode_block(&padded);
        // Without what depends on its neighbours.
        base64.as_bytes()[4..base64.len() - 4].to_vec()
    };
    (0..3).map(form).collect()
}

#[cfg(test)]
mod tests {
    use openssl::symm::decrypt_aead;

    use super::*;

    #[test]
    fn what_is_taken_apart_goes_together_again() {
        let (bob, carol) = (
            reader("Bob", "bob@opened.example"),
            reader_by_agreement("Carol", "carol@opened.example"),
        );
        for way in [Way::Gcm, Way::Cbc] {
            let object = encrypted(
                way,
                &[&bob, &carol],
                b"Content-Type: text/plain\r\n\r\nhi\r\n",
            );
            let parts = Parts::of(&object);
            assert_eq!(parts.object(), object, "{way:?}");
            assert_eq!(parts.recipients.len(), 2);
            assert_eq!(parts.mac.is_some(), way == Way::Gcm);
            let other = parts.clone().key(0, |key| key[0] ^= 1);
            assert_ne!(other.recipients[0], parts.recipients[0]);
            assert_eq!(other.recipients[1], parts.recipients[1]);
            let same = parts.clone().agreement(1, |_| ());
            assert_eq!(same.recipients, parts.recipients);
            let other = parts.clone().agreement(1, |carol| carol.point[64] ^= 1);
            assert_ne!(other.recipients[1], parts.recipients[1]);
        }
    }

    #[test]
    fn the_key_that_is_taken_out_opens_the_content() {
        let bob = reader("Bob", "bob@opened.example");
        let entity = b"Content-Type: text/plain\r\n\r\nhi\r\n";
        let parts = Parts::of(&encrypted(Way::Gcm, &[&bob], entity));
        let nonce = content(elements(&parts.parameters)[0]);
        let (cipher, key) = (Cipher::aes_256_gcm(), parts.content_key(&bob));
        let mac = parts.mac.as_deref().unwrap();
        let opened = decrypt_aead(cipher, &key, Some(nonce), &[], &parts.content, mac);
        assert_eq!(opened.unwrap(), entity);
    }

    #[test]
    fn a_text_is_found_in_clear_and_in_base64_wherever_it_begins() {
        let canary = "The canary sings in the coal mine";
        for before in ["", "a", "ab", "abc"] {
            let text = format!("{before}{canary} and goes on");
            assert!(shows(text.as_bytes(), canary));
            let base64 = openssl::base64::encode_block(text.as_bytes());
            assert!(shows(base64.as_bytes(), canary), "{before:?}");
        }
        assert!(!shows(b"The canary sleeps in the coal mine", canary));
    }
}
