//! For tests only: people with keys of every kind, and encrypted objects that can be wrong in one thing at a time.

use std::sync::OnceLock;
use std::time::Duration;

use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{
    ContentCipher, KeyType, MlKem, OpenError, Protector, Secret, SigningKey, SoftKey,
};
use kenin_pki::der::{Reader, write};
use kenin_pki::issue::{CertificateBuilder, common_name};

use crate::encrypt::{Addressee, Protect};
use crate::open::{EncryptedLayer, Opened};

/// Somebody with a key, and a certificate of it.
pub(crate) struct Person {
    pub(crate) key: SoftKey,
    pub(crate) certificate: Certificate,
}

impl Person {
    pub(crate) fn new(name: &str, kind: KeyType) -> Self {
        Self::with_key(name, SoftKey::generate(kind).unwrap())
    }

    pub(crate) fn with_key(name: &str, key: SoftKey) -> Self {
        static AUTHORITY: OnceLock<SoftKey> = OnceLock::new();
        let authority = AUTHORITY.get_or_init(|| SoftKey::generate(KeyType::P256).unwrap());
        let certificate = CertificateBuilder::new(common_name(name).unwrap(), key.public_key())
            .mail(&["bob@example.jp"])
            .sign(&common_name("Authority").unwrap(), &[1; 20], authority)
            .unwrap();
        Self { key, certificate }
    }

    pub(crate) fn addressee(&self) -> Addressee<'_> {
        Addressee::of(&self.certificate)
    }

    /// The content-encryption key that is wrapped for this person.
    pub(crate) fn content_key(&self, layer: &EncryptedLayer) -> Result<Secret, OpenError> {
        let matches = layer.match_certificates(std::slice::from_ref(&self.certificate));
        let [only] = matches.as_slice() else {
            return Err(OpenError);
        };
        let wrapped = layer.recipients()[only.recipient].wrapped.as_ref().unwrap();
        let rejection = self.key.rejection_secret().unwrap();
        wrapped.unwrap(&self.key, &rejection, layer.key_len())
    }

    pub(crate) fn open(&self, layer: &EncryptedLayer) -> Result<Opened, OpenError> {
        layer.open_with(&self.content_key(layer)?)
    }
}

/// Somebody whose key agrees, which takes the least time.
pub(crate) fn bob() -> &'static Person {
    static BOB: OnceLock<Person> = OnceLock::new();
    BOB.get_or_init(|| Person::new("Bob", KeyType::P256))
}

/// Somebody whose key transports.
pub(crate) fn rita() -> &'static Person {
    static RITA: OnceLock<Person> = OnceLock::new();
    RITA.get_or_init(|| Person::new("Rita", KeyType::Rsa(2048)))
}

/// One of each kind of key.
pub(crate) fn everybody() -> &'static [Person] {
    static EVERYBODY: OnceLock<Vec<Person>> = OnceLock::new();
    EVERYBODY.get_or_init(|| {
        let kinds = [
            KeyType::Rsa(2048),
            KeyType::P256,
            KeyType::P384,
            KeyType::P521,
            KeyType::X25519,
            KeyType::MlKem(MlKem::Kem512),
            KeyType::MlKem(MlKem::Kem768),
            KeyType::MlKem(MlKem::Kem1024),
        ];
        kinds
            .into_iter()
            .map(|kind| Person::new(&format!("{kind:?}"), kind))
            .collect()
    })
}

/// The parts of an EnvelopedData or AuthEnvelopedData, each of which can be another.
#[derive(Clone)]
pub(crate) struct Shape {
    /// The content type of the object.
    pub(crate) kind: Vec<u8>,
    pub(crate) version: Vec<u8>,
    /// Whole RecipientInfos.
    pub(crate) recipients: Vec<Vec<u8>>,
    pub(crate) content_type: Vec<u8>,
    pub(crate) algorithm: Vec<u8>,
    pub(crate) content: Vec<u8>,
    /// What follows: attributes, the tag.
    pub(crate) rest: Vec<Vec<u8>>,
}

impl Shape {
    /// What this crate writes.
    pub(crate) fn honest(protect: &Protect<'_>, content: &[u8]) -> Self {
        Self::of(&protect.protect_cms(content).unwrap())
    }

    /// An object of its own making for these recipients, by a key that is known.
    pub(crate) fn by_key(
        recipients: Vec<Vec<u8>>,
        cipher: &ContentCipher,
        key: &Secret,
        (content, authenticated): (&[u8], &[u8]),
    ) -> Self {
        let mut protector = Protector::new(cipher, key, authenticated).unwrap();
        let mut encrypted = Vec::new();
        protector.update(content, &mut encrypted);
        let tag = protector.finish(&mut encrypted).unwrap();
        let dotted = match cipher.is_aead() {
            true => "1.2.840.113549.1.9.16.1.23",
            false => "1.2.840.113549.1.7.3",
        };
        Self {
            kind: write::oid(dotted),
            version: write::integer(0),
            recipients,
            content_type: write::oid("1.2.840.113549.1.7.1"),
            algorithm: cipher.to_identifier().to_der(),
            content: encrypted,
            rest: tag.iter().map(|tag| write::octet_string(tag)).collect(),
        }
    }

    pub(crate) fn of(object: &[u8]) -> Self {
        let mut info = Reader::new(object).sequence().unwrap();
        let kind = info.any().unwrap().raw.to_vec();
        let mut inside = info.any().unwrap().reader().sequence().unwrap();
        let version = inside.any().unwrap().raw.to_vec();
        let mut set = inside.set().unwrap();
        let mut recipients = Vec::new();
        while !set.is_empty() {
            recipients.push(set.any().unwrap().raw.to_vec());
        }
        let mut encrypted = inside.sequence().unwrap();
        let content_type = encrypted.any().unwrap().raw.to_vec();
        let algorithm = encrypted.any().unwrap().raw.to_vec();
        let content = encrypted.any().unwrap().content.to_vec();
        let mut rest = Vec::new();
        while !inside.is_empty() {
            rest.push(inside.any().unwrap().raw.to_vec());
        }
        Self {
            kind,
            version,
            recipients,
            content_type,
            algorithm,
            content,
            rest,
        }
    }

    /// In DER, but for what is wrong in it.
    pub(crate) fn write(&self) -> Vec<u8> {
        self.write_with(&write::implicit(0, &self.content))
    }

    /// With another element in place of the encryptedContent.
    pub(crate) fn write_with(&self, content: &[u8]) -> Vec<u8> {
        let mut fields = vec![
            self.version.clone(),
            write::element(0x31, &self.recipients.concat()),
            write::seq(&[
                self.content_type.clone(),
                self.algorithm.clone(),
                content.to_vec(),
            ]),
        ];
        fields.extend(self.rest.iter().cloned());
        write::seq(&[self.kind.clone(), write::explicit(0, &write::seq(&fields))])
    }

    /// As programs write it that stream: indefinite lengths, and the content in chunks.
    pub(crate) fn streamed(&self, chunk: usize) -> Vec<u8> {
        const CLOSE: [u8; 2] = [0, 0];
        let mut out = vec![0x30, 0x80];
        out.extend(&self.kind);
        out.extend([0xa0, 0x80, 0x30, 0x80]);
        out.extend(&self.version);
        out.extend(write::element(0x31, &self.recipients.concat()));
        out.extend([0x30, 0x80]);
        out.extend(&self.content_type);
        out.extend(&self.algorithm);
        out.extend([0xa0, 0x80]);
        for piece in self.content.chunks(chunk) {
            out.extend(write::octet_string(piece));
        }
        // The string and EncryptedContentInfo.
        out.extend(CLOSE.repeat(2));
        out.extend(self.rest.concat());
        // The object, its wrapper and ContentInfo.
        out.extend(CLOSE.repeat(3));
        out
    }
}

/// The same in BER: every length of what is made of elements is indefinite, and every string of octets is in chunks.
pub(crate) fn in_ber(der: &[u8]) -> Vec<u8> {
    const CLOSE: [u8; 2] = [0, 0];
    let mut out = Vec::new();
    let mut reader = Reader::new(der);
    while !reader.is_empty() {
        let element = reader.any().unwrap();
        match element.tag {
            // Without its own tag it is an encryptedContent or a subjectKeyIdentifier.
            0x04 | 0x80 => {
                out.extend([element.tag | 0x20, 0x80]);
                for chunk in element.content.chunks(7) {
                    out.extend(write::octet_string(chunk));
                }
                out.extend(CLOSE);
            }
            tag if tag & 0x20 != 0 => {
                out.extend([tag, 0x80]);
                out.extend(in_ber(element.content));
                out.extend(CLOSE);
            }
            _ => out.extend(element.raw),
        }
    }
    out
}

/// A mail that is this object.
pub(crate) fn mail(object: &[u8]) -> Vec<u8> {
    let head = "From: alice@example.jp\r\nTo: bob@example.jp\r\nSubject: [...]\r\n\
        MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; name=smime.p7m\r\n\
        Content-Transfer-Encoding: base64\r\n\r\n";
    let mut mail = head.as_bytes().to_vec();
    crate::base64_lines::push_base64(&mut mail, object);
    mail
}

/// The processor time that this thread spent on `work`, to some milliseconds: what else the machine does is not counted.
pub(crate) fn cpu_time(work: impl FnOnce()) -> Duration {
    let now = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    };
    let start = now();
    work();
    now() - start
}

/// What a hostile message may take (threats, section 4).
pub(crate) const HOSTILE: Duration = Duration::from_secs(2);
