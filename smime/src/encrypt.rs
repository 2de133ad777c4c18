//! Encrypts mail: EnvelopedData and AuthEnvelopedData in DER around a MIME entity (RFC 8551 §3.3, §3.4; RFC 5652 §6;
//! RFC 5083), for keys of every kind that [`open`](crate::open) opens.
//!
//! Whom to encrypt for, and whether a certificate is good for it, is said elsewhere. Never writes a legacy algorithm.

use kenin_pki::algorithm::AlgorithmIdentifier;
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{
    Aes, ContentCipher, ContentKind, Curve, DigestAlgorithm, Kdf, KeyError, KeyKind, KeyWrap,
    MlKem, OaepParameters, Protector, PublicKey, Secret, Wrapped, Wrapping,
};
use kenin_pki::der::write::{self, Enclosure};
use kenin_pki::der::{SEQUENCE, context, context_constructed};
use kenin_pki::oid;

use crate::base64_lines::{self, Base64Lines};
use crate::cms::{self, Known, curve_oid};
use crate::open::RecipientId;

/// Somebody to encrypt for.
#[derive(Clone, Debug)]
pub struct Addressee<'a> {
    /// How the certificate is named.
    pub id: RecipientId,
    /// Its key.
    pub key: &'a PublicKey,
    /// Whether the holder said that RSAES-OAEP is understood. A key that is for it and nothing else needs no word.
    pub oaep: bool,
}

impl<'a> Addressee<'a> {
    /// The holder of a certificate, of whom nothing else is known.
    #[must_use]
    pub fn of(certificate: &'a Certificate) -> Self {
        Self {
            id: RecipientId::of(certificate),
            key: certificate.public_key(),
            oaep: false,
        }
    }
}

/// Encrypts contents.
#[derive(Clone, Copy, Debug)]
pub struct Protect<'a> {
    /// For whom; each of them gets the same content-encryption key in a wrapping of its own. Whoever gets the mail sees
    /// all of them: recipients who are not to be seen get a mail of their own.
    pub recipients: &'a [Addressee<'a>],
    /// How the content is encrypted.
    pub cipher: ContentKind,
}

/// Why nothing was encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtectError {
    /// There is nobody to encrypt for.
    #[error("there is no recipient")]
    NoRecipient,
    /// The key of one recipient cannot be encrypted for.
    #[error("the key of recipient {position} cannot be encrypted for: {error}")]
    Recipient {
        /// Which one, from 0.
        position: usize,
        /// Why.
        error: KeyError,
    },
    /// The content could not be encrypted.
    #[error("the content could not be encrypted: {0}")]
    Content(KeyError),
}

impl Protect<'_> {
    /// Encrypts a MIME entity (header fields `Content-…`, empty line, body) as it is, and returns the encrypted entity:
    /// header fields from `MIME-Version` on, empty line, body. Message header fields go before it.
    ///
    /// # Errors
    /// All or nothing: where one recipient cannot be encrypted for, nobody is.
    pub fn protect(&self, entity: &[u8]) -> Result<Vec<u8>, ProtectError> {
        let sealed = self.sealed(entity.len())?;
        // Spelled as in RFC 8551 §3.2.2: not every program compares without case.
        let label = match self.is_aead() {
            true => "authEnveloped-data",
            false => "enveloped-data",
        };
        let mut out = format!(
            "MIME-Version: 1.0\r\n\
             Content-Type: application/pkcs7-mime; smime-type={label};\r\n\
             \tname=\"smime.p7m\"\r\n\
             Content-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename=\"smime.p7m\"\r\n\
             \r\n"
        )
        .into_bytes();
        out.reserve_exact(base64_lines::length(sealed.shell.len()));
        let mut lines = Base64Lines::default();
        let written = sealed.write(entity, &mut |some| lines.push(some, &mut out));
        written.map_err(ProtectError::Content)?;
        lines.finish(&mut out);
        Ok(out)
    }

    /// A bare DER EnvelopedData or AuthEnvelopedData around the content, which is taken as it is.
    pub fn protect_cms(&self, content: &[u8]) -> Result<Vec<u8>, ProtectError> {
        let sealed = self.sealed(content.len())?;
        let mut out = Vec::with_capacity(sealed.shell.len());
        let written = sealed.write(content, &mut |some| out.extend_from_slice(some));
        written.map_err(ProtectError::Content)?;
        Ok(out)
    }

    /// All but a content of so many octets.
    fn sealed(&self, length: usize) -> Result<Sealed, ProtectError> {
        if self.recipients.is_empty() {
            return Err(ProtectError::NoRecipient);
        }
        let (cipher, key) = ContentCipher::fresh(self.cipher).map_err(ProtectError::Content)?;
        let mut infos = Vec::with_capacity(self.recipients.len());
        for (position, recipient) in self.recipients.iter().enumerate() {
            let info = recipient.info(&key);
            infos.push(info.map_err(|error| ProtectError::Recipient { position, error })?);
        }
        let kind = match self.is_aead() {
            true => cms::AUTH_ENVELOPED_DATA,
            false => cms::ENVELOPED_DATA,
        };
        // The tag is not known yet; its length is.
        let tag = cipher
            .tag_len()
            .map(|length| write::octet_string(&vec![0; length]));
        let algorithm = [known(cms::DATA), cipher.to_identifier().to_der()];
        let fields = [write::integer(self.version()), write::set_of(&infos)];
        let shell = Enclosure::around(cipher.encrypted_len(length))
            .element(context(0), &[], &[])
            .element(SEQUENCE, &write::concat(&algorithm), &[])
            .element(SEQUENCE, &write::concat(&fields), &tag.unwrap_or_default())
            .element(context_constructed(0), &[], &[])
            .element(SEQUENCE, &known(kind), &[]);
        Ok(Sealed { cipher, key, shell })
    }

    const fn is_aead(&self) -> bool {
        matches!(
            self.cipher,
            ContentKind::AesGcm(_) | ContentKind::ChaCha20Poly1305
        )
    }

    /// RFC 5652 §6.1, RFC 5083 §2.1.
    fn version(&self) -> i64 {
        let kem = |to: &Addressee<'_>| matches!(to.key.kind(), KeyKind::MlKem(_));
        let plain = |to: &Addressee<'_>| {
            matches!(to.key.kind(), KeyKind::Rsa { .. })
                && matches!(to.id, RecipientId::IssuerAndSerial { .. })
        };
        if self.is_aead() || self.recipients.iter().all(plain) {
            0
        } else if self.recipients.iter().any(kem) {
            3
        } else {
            2
        }
    }
}

impl Addressee<'_> {
    /// The RecipientInfo.
    fn info(&self, key: &Secret) -> Result<Vec<u8>, KeyError> {
        let wrapping = self.wrapping(key)?;
        let wrapped = Wrapped::wrap(wrapping, self.key, key)?;
        match &wrapped.wrapping {
            Wrapping::RsaPkcs1 | Wrapping::RsaOaep { .. } => self.key_transport(&wrapped),
            Wrapping::Agreement { kdf, wrap, .. } => self.key_agreement(&wrapped, *kdf, *wrap),
            Wrapping::Kem { kdf, wrap, .. } => self.encapsulation(&wrapped, *kdf, *wrap),
        }
    }

    fn wrapping(&self, key: &Secret) -> Result<Wrapping, KeyError> {
        let agreement = |kdf| {
            let wrap = wrap_of(key)?;
            let identifier = wrap.to_identifier();
            Ok(Wrapping::Agreement {
                kdf,
                wrap,
                shared_info: cms::shared_info(&identifier, None, wrap.key_len()),
            })
        };
        match self.key.kind() {
            KeyKind::Rsa { .. } => Ok(match self.key.oaep() {
                Some(parameters) => Wrapping::RsaOaep(parameters.clone()),
                None if self.oaep => {
                    Wrapping::RsaOaep(OaepParameters::new(DigestAlgorithm::Sha256))
                }
                None => Wrapping::RsaPkcs1,
            }),
            // RFC 5753 §8: the digest follows the curve.
            KeyKind::Ec(Curve::P256) => agreement(Kdf::X963(DigestAlgorithm::Sha256)),
            KeyKind::Ec(Curve::P384) => agreement(Kdf::X963(DigestAlgorithm::Sha384)),
            KeyKind::Ec(Curve::P521) => agreement(Kdf::X963(DigestAlgorithm::Sha512)),
            KeyKind::X25519 => agreement(Kdf::Hkdf(DigestAlgorithm::Sha256)),
            KeyKind::MlKem(set) => {
                // RFC 9936 §2.2: the wrap is not weaker than the encapsulation.
                let wrap = match set {
                    MlKem::Kem512 => wrap_of(key)?,
                    MlKem::Kem768 | MlKem::Kem1024 => KeyWrap::Aes(Aes::Bits256),
                };
                let identifier = wrap.to_identifier();
                Ok(Wrapping::Kem {
                    kdf: Kdf::Hkdf(DigestAlgorithm::Sha256),
                    wrap,
                    info: cms::kem_info(&identifier, None, wrap.key_len()),
                })
            }
            _ => Err(KeyError::Unsupported),
        }
    }

    /// KeyTransRecipientInfo (RFC 5652 §6.2.1).
    fn key_transport(&self, wrapped: &Wrapped) -> Result<Vec<u8>, KeyError> {
        let algorithm = wrapped.wrapping.to_key_transport();
        let algorithm = algorithm.ok_or(KeyError::Unsupported)?;
        let version = match self.id {
            RecipientId::IssuerAndSerial { .. } => 0,
            RecipientId::KeyId(_) => 2,
        };
        Ok(write::seq(&[
            write::integer(version),
            self.rid(),
            algorithm.to_der(),
            write::octet_string(&wrapped.encrypted_key),
        ]))
    }

    /// KeyAgreeRecipientInfo (RFC 5652 §6.2.2, RFC 5753 §3.1.1, RFC 8418 §2).
    fn key_agreement(
        &self,
        wrapped: &Wrapped,
        kdf: Kdf,
        wrap: KeyWrap,
    ) -> Result<Vec<u8>, KeyError> {
        let sender = match self.key.kind() {
            KeyKind::Ec(curve) => {
                let curve = write::oid(curve_oid(*curve));
                AlgorithmIdentifier::new(oid::EC_PUBLIC_KEY, Some(&curve))
            }
            _ => AlgorithmIdentifier::new(self.key.algorithm(), None),
        };
        let sender = [sender.to_der(), write::bit_string(&wrapped.peer)];
        let sender = write::element(0xa1, &write::concat(&sender));
        let named = kdf.agreement_oid().ok_or(KeyError::Unsupported)?;
        let wrap = wrap.to_identifier().to_der();
        let algorithm = AlgorithmIdentifier::new(named, Some(&wrap));
        // RecipientKeyIdentifier is a SEQUENCE under the tag that a RecipientIdentifier has alone.
        let rid = match &self.id {
            RecipientId::KeyId(id) => write::explicit(0, &write::octet_string(id)),
            RecipientId::IssuerAndSerial { .. } => self.rid(),
        };
        let key = write::seq(&[rid, write::octet_string(&wrapped.encrypted_key)]);
        let fields = [
            write::integer(3),
            write::explicit(0, &sender),
            algorithm.to_der(),
            write::seq(&[key]),
        ];
        Ok(write::element(0xa1, &write::concat(&fields)))
    }

    /// KEMRecipientInfo in OtherRecipientInfo (RFC 9629 §3, RFC 9936 §2.1).
    fn encapsulation(
        &self,
        wrapped: &Wrapped,
        kdf: Kdf,
        wrap: KeyWrap,
    ) -> Result<Vec<u8>, KeyError> {
        let kdf = kdf.to_hkdf_identifier().ok_or(KeyError::Unsupported)?;
        let key_len = i64::try_from(wrap.key_len()).unwrap_or(i64::MAX);
        let info = write::seq(&[
            write::integer(0),
            self.rid(),
            AlgorithmIdentifier::new(self.key.algorithm(), None).to_der(),
            write::octet_string(&wrapped.peer),
            kdf.to_der(),
            write::integer(key_len),
            wrap.to_identifier().to_der(),
            write::octet_string(&wrapped.encrypted_key),
        ]);
        let fields = [known(cms::ORI_KEM), info];
        Ok(write::element(0xa4, &write::concat(&fields)))
    }

    /// RecipientIdentifier.
    fn rid(&self) -> Vec<u8> {
        match &self.id {
            RecipientId::IssuerAndSerial { issuer, serial } => {
                write::seq(&[issuer.clone(), write::element(0x02, serial)])
            }
            RecipientId::KeyId(id) => write::implicit(0, id),
        }
    }
}

/// AES key wrap with a key as long as the one that is wrapped.
fn wrap_of(key: &Secret) -> Result<KeyWrap, KeyError> {
    [Aes::Bits128, Aes::Bits192, Aes::Bits256]
        .into_iter()
        .find(|aes| aes.key_len() == key.len())
        .map(KeyWrap::Aes)
        .ok_or(KeyError::Unsupported)
}

/// An object whose content is not encrypted yet.
struct Sealed {
    cipher: ContentCipher,
    key: Secret,
    shell: Enclosure,
}

impl Sealed {
    /// Gives the object out in pieces. What was given is worthless where this fails.
    fn write(&self, content: &[u8], out: &mut dyn FnMut(&[u8])) -> Result<(), KeyError> {
        out(self.shell.head());
        let mut protector = Protector::new(&self.cipher, &self.key, &[])?;
        let room = content.len().min(PIECE).saturating_add(64);
        let (mut piece, mut length) = (Vec::with_capacity(room), 0_usize);
        for some in content.chunks(PIECE) {
            piece.clear();
            protector.update(some, &mut piece);
            length = length.saturating_add(piece.len());
            out(&piece);
        }
        piece.clear();
        let tag = protector.finish(&mut piece)?;
        length = length.saturating_add(piece.len());
        out(&piece);
        let tail = tag.map(|tag| write::octet_string(&tag)).unwrap_or_default();
        // What was written before says how long these are.
        let expected = (
            self.cipher.encrypted_len(content.len()),
            self.shell.tail().len(),
        );
        if (length, tail.len()) != expected {
            return Err(KeyError::Failed);
        }
        out(&tail);
        Ok(())
    }
}

/// Octets that are encrypted in one go, and stay in the caches until they are text.
const PIECE: usize = 32 << 10;

fn known(oid: Known) -> Vec<u8> {
    write::element(0x06, oid.content())
}

#[cfg(test)]
mod tests;
