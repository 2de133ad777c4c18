//! For whom a content is encrypted (RFC 5652 §6.2, RFC 5753, RFC 8418, RFC 9629): read in bounds, and nothing
//! calculated. Keys that are wrapped by a password or by a key that was shared before are passed over.

use kenin_pki::algorithm::AlgorithmIdentifier;
use kenin_pki::ber::{Cursor, Octets, Tag};
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{Curve, Kdf, KeyKind, KeyWrap, MlKem, PublicKey, Wrapped, Wrapping};
use kenin_pki::der::{Reader, write};
use kenin_pki::name::Name;
use kenin_pki::oid::{self, Oid, OidBuf};

use super::attributes::same_integer;
use super::{Refusal, algorithm, oids};
use crate::defect::Defect;
use crate::limits::Limits;

/// One for whom the content-encryption key was wrapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Whose certificate it is.
    pub id: RecipientId,
    /// How the key is wrapped; nothing where that way is not supported.
    pub wrapped: Option<Wrapped>,
    suits: Suits,
}

/// How a recipient's certificate is named (RFC 5652 §6.2.1, §6.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientId {
    /// Issuer name and serial number.
    IssuerAndSerial {
        /// DER of the issuer's name.
        issuer: Vec<u8>,
        /// Content octets of the serial number.
        serial: Vec<u8>,
    },
    /// subjectKeyIdentifier.
    KeyId(Vec<u8>),
}

/// Which keys a wrapped key can be for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Suits {
    None,
    Rsa,
    /// Of the curve that the sender's key names; where it names none, of any.
    Ec(Option<OidBuf>),
    X25519,
    MlKem(MlKem),
}

impl RecipientId {
    /// Names a certificate by issuer and serial number, as all programs understand.
    #[must_use]
    pub fn of(certificate: &Certificate) -> Self {
        Self::IssuerAndSerial {
            issuer: certificate.issuer().der().to_vec(),
            serial: certificate.serial().to_vec(),
        }
    }

    /// Whether it means this certificate.
    #[must_use]
    pub fn matches(&self, certificate: &Certificate) -> bool {
        match self {
            // The name is read only where the number is right.
            Self::IssuerAndSerial { issuer, serial } => {
                same_integer(serial, certificate.serial())
                    && (issuer.as_slice() == certificate.issuer().der()
                        || Name::from_der(issuer).is_ok_and(|name| name == *certificate.issuer()))
            }
            Self::KeyId(id) => {
                matches!(certificate.subject_key_id(), Ok(Some(own)) if own == id.as_slice())
            }
        }
    }
}

impl Recipient {
    /// Whether the wrapped key can be for a key of this kind. A sender's key of another curve never meets a private
    /// key.
    #[must_use]
    pub fn suits(&self, key: &PublicKey) -> bool {
        match (&self.suits, key.kind()) {
            (Suits::Rsa, KeyKind::Rsa { .. }) | (Suits::X25519, KeyKind::X25519) => true,
            (Suits::Ec(named), KeyKind::Ec(curve)) => named
                .as_ref()
                .is_none_or(|named| named.as_oid() == curve_oid(*curve)),
            (Suits::MlKem(named), KeyKind::MlKem(set)) => named == set,
            _ => false,
        }
    }

    fn new(id: RecipientId, suited: Option<(Wrapped, Suits)>) -> Self {
        match suited {
            Some((wrapped, suits)) => Self {
                id,
                wrapped: Some(wrapped),
                suits,
            },
            None => Self {
                id,
                wrapped: None,
                suits: Suits::None,
            },
        }
    }
}

/// Reads RecipientInfos: every key that is for a certificate, in order.
pub(crate) fn recipients(set: Cursor<'_, '_>, limits: &Limits) -> Result<Vec<Recipient>, Refusal> {
    let mut found = Found {
        recipients: Vec::new(),
        left: limits.recipients,
    };
    for info in set.children() {
        if info.is(Tag::SEQUENCE) {
            found.take(Some(key_transport(info).ok_or(BAD)?))?;
        } else if info.is_context(1) {
            key_agreement(info, &mut found)?;
        } else if info.is_context(4) {
            found.take(other(info).ok_or(BAD)?)?;
        } else {
            // KEKRecipientInfo, PasswordRecipientInfo, and what is not known.
            found.take(None)?;
        }
    }
    Ok(found.recipients)
}

/// What was read, and how many more there may be.
struct Found {
    recipients: Vec<Recipient>,
    left: usize,
}

impl Found {
    fn take(&mut self, recipient: Option<Recipient>) -> Result<(), Refusal> {
        const TOO_MANY: Refusal = (Defect::LimitAsn1, "there are too many recipients");
        self.left = self.left.checked_sub(1).ok_or(TOO_MANY)?;
        self.recipients.extend(recipient);
        Ok(())
    }
}

/// The DER of ECC-CMS-SharedInfo (RFC 5753 §7.2): the key-wrap algorithm as it is written, and the size of its key.
pub(crate) fn shared_info(
    wrap: &AlgorithmIdentifier,
    ukm: Option<&[u8]>,
    key_len: usize,
) -> Vec<u8> {
    let bits = u32::try_from(key_len.saturating_mul(8)).unwrap_or(u32::MAX);
    let mut fields = vec![wrap.to_der()];
    fields.extend(ukm.map(|ukm| write::explicit(0, &write::octet_string(ukm))));
    fields.push(write::explicit(
        2,
        &write::octet_string(&bits.to_be_bytes()),
    ));
    write::seq(&fields)
}

/// The DER of CMSORIforKEMOtherInfo (RFC 9629 §5).
pub(crate) fn kem_info(wrap: &AlgorithmIdentifier, ukm: Option<&[u8]>, key_len: usize) -> Vec<u8> {
    let mut fields = vec![
        wrap.to_der(),
        write::integer(i64::try_from(key_len).unwrap_or(i64::MAX)),
    ];
    fields.extend(ukm.map(|ukm| write::explicit(0, &write::octet_string(ukm))));
    write::seq(&fields)
}

/// The identifier of a curve.
pub(crate) const fn curve_oid(curve: Curve) -> Oid<'static> {
    match curve {
        Curve::P256 => oid::P256,
        Curve::P384 => oid::P384,
        Curve::P521 => oid::P521,
    }
}

/// KeyTransRecipientInfo.
fn key_transport(info: Cursor<'_, '_>) -> Option<Recipient> {
    let mut children = info.children();
    children.next()?.integer()?;
    let id = recipient_id(children.next()?)?;
    let algorithm = algorithm(children.next()?)?;
    let encrypted_key = children.next()?.octet_string()?;
    if children.next().is_some() {
        return None;
    }
    let wrapping = Wrapping::from_key_transport(&algorithm).ok();
    let wrapped = wrapping.zip(bounded(&encrypted_key, MAX_KEY));
    let wrapped = wrapped.map(|(wrapping, encrypted_key)| Wrapped {
        wrapping,
        encrypted_key,
        peer: Vec::new(),
    });
    Some(Recipient::new(
        id,
        wrapped.map(|wrapped| (wrapped, Suits::Rsa)),
    ))
}

/// KeyAgreeRecipientInfo: one key of the sender, and what is wrapped with it for each recipient.
fn key_agreement(info: Cursor<'_, '_>, found: &mut Found) -> Result<(), Refusal> {
    let mut children = info.children().peekable();
    children.next().and_then(Cursor::integer).ok_or(BAD)?;
    let originator = children
        .next()
        .filter(|child| child.is_context(0))
        .and_then(Cursor::only_child)
        .ok_or(BAD)?;
    let ukm = match children.next_if(|child| child.is_context(1)) {
        None => Some(None),
        Some(ukm) => ukm_octets(ukm).ok_or(BAD)?.map(Some),
    };
    let algorithm = children.next().and_then(algorithm).ok_or(BAD)?;
    let keys = children
        .next()
        .filter(|keys| keys.is(Tag::SEQUENCE))
        .ok_or(BAD)?;
    if children.next().is_some() {
        return Err(BAD);
    }
    // A sender who names a certificate is to be looked up, and agrees on the same secret every time.
    let originator = originator.is_context(1).then(|| sender_key(originator));
    let agreement = ukm
        .zip(originator.flatten())
        .and_then(|(ukm, (suits, peer))| {
            Some((agreement(&algorithm, ukm.as_deref())?, suits, peer))
        });
    for key in keys.children() {
        let (id, encrypted_key) = recipient_encrypted_key(key).ok_or(BAD)?;
        let suited = agreement.clone().zip(encrypted_key);
        let suited = suited.map(|((wrapping, suits, peer), encrypted_key)| {
            let wrapped = Wrapped {
                wrapping,
                encrypted_key,
                peer,
            };
            (wrapped, suits)
        });
        found.take(Some(Recipient::new(id, suited)))?;
    }
    Ok(())
}

/// By keyEncryptionAlgorithm, whose parameters are the key-wrap algorithm.
fn agreement(algorithm: &AlgorithmIdentifier, ukm: Option<&[u8]>) -> Option<Wrapping> {
    let kdf = Kdf::from_agreement(algorithm.oid())?;
    let wrap_identifier = AlgorithmIdentifier::from_der(algorithm.parameters()?).ok()?;
    let wrap = KeyWrap::from_identifier(&wrap_identifier).ok()?;
    Some(Wrapping::Agreement {
        kdf,
        wrap,
        shared_info: shared_info(&wrap_identifier, ukm, wrap.key_len()),
    })
}

/// OriginatorPublicKey: whom it suits, and its octets.
fn sender_key(key: Cursor<'_, '_>) -> Option<(Suits, Vec<u8>)> {
    let mut children = key.children();
    let algorithm = children.next().and_then(algorithm)?;
    let bits = children.next().filter(|bits| bits.is(Tag::BIT_STRING))?;
    let octets = match bits.content().split_first()? {
        (0, octets) if !bits.is_constructed() && octets.len() <= MAX_PEER => octets.to_vec(),
        _ => return None,
    };
    let suits = match algorithm.oid() {
        oid::X25519 => Suits::X25519,
        // RFC 5753 §3.1.1: the parameters may be left out, and some write NULL.
        oid::EC_PUBLIC_KEY if algorithm.has_no_parameters() => Suits::Ec(None),
        oid::EC_PUBLIC_KEY => {
            let mut parameters = Reader::new(algorithm.parameters()?);
            let curve = parameters.oid().ok()?;
            parameters.finish().ok()?;
            Suits::Ec(Some(curve.to_buf()))
        }
        _ => return None,
    };
    children.next().is_none().then_some((suits, octets))
}

/// RecipientEncryptedKey. The key is nothing where it is longer than any that a wrap makes.
fn recipient_encrypted_key(key: Cursor<'_, '_>) -> Option<(RecipientId, Option<Vec<u8>>)> {
    let mut children = key.is(Tag::SEQUENCE).then(|| key.children())?;
    let rid = children.next()?;
    let id = if rid.is_context(0) {
        // RecipientKeyIdentifier: a date and other attributes may follow, and say nothing of a certificate.
        let id = rid.first_child()?.octet_string()?;
        RecipientId::KeyId(id.contiguous().into_owned())
    } else {
        recipient_id(rid)?
    };
    let encrypted_key = children.next()?.octet_string()?;
    children
        .next()
        .is_none()
        .then(|| (id, bounded(&encrypted_key, MAX_KEY)))
}

/// OtherRecipientInfo: a KEMRecipientInfo, or something that is not known.
fn other(info: Cursor<'_, '_>) -> Option<Option<Recipient>> {
    let mut children = info.children();
    let kind = children.next()?.oid()?;
    let value = children.next()?;
    if children.next().is_some() {
        return None;
    }
    if oids::ORI_KEM == kind {
        encapsulation(value).map(Some)
    } else {
        Some(None)
    }
}

/// KEMRecipientInfo (RFC 9629 §3).
fn encapsulation(info: Cursor<'_, '_>) -> Option<Recipient> {
    let mut children = info.is(Tag::SEQUENCE).then(|| info.children().peekable())?;
    children.next()?.integer()?;
    let id = recipient_id(children.next()?)?;
    let kem = algorithm(children.next()?)?;
    let ciphertext = children.next()?.octet_string()?;
    let kdf = algorithm(children.next()?)?;
    let key_len = usize::try_from(children.next()?.small()?).ok()?;
    let ukm = match children.next_if(|child| child.is_context(0)) {
        None => Some(None),
        Some(ukm) => ukm_octets(ukm)?.map(Some),
    };
    let wrap_identifier = algorithm(children.next()?)?;
    let encrypted_key = children.next()?.octet_string()?;
    if children.next().is_some() {
        return None;
    }
    let suited = || {
        let set = MlKem::from_oid(kem.oid()).filter(|_| kem.parameters().is_none())?;
        let wrap = KeyWrap::from_identifier(&wrap_identifier).ok()?;
        let peer = bounded(&ciphertext, set.ciphertext_len())?;
        if wrap.key_len() != key_len || peer.len() != set.ciphertext_len() {
            return None;
        }
        let wrapped = Wrapped {
            wrapping: Wrapping::Kem {
                kdf: Kdf::from_hkdf_identifier(&kdf).ok()?,
                wrap,
                info: kem_info(&wrap_identifier, ukm?.as_deref(), key_len),
            },
            encrypted_key: bounded(&encrypted_key, MAX_KEY)?,
            peer,
        };
        Some((wrapped, Suits::MlKem(set)))
    };
    Some(Recipient::new(id, suited()))
}

/// RecipientIdentifier and the first half of KeyAgreeRecipientIdentifier.
fn recipient_id(cursor: Cursor<'_, '_>) -> Option<RecipientId> {
    if !cursor.is(Tag::SEQUENCE) {
        let id = cursor.octets(Tag::context(0))?;
        return Some(RecipientId::KeyId(id.contiguous().into_owned()));
    }
    let mut children = cursor.children();
    let issuer = children.next().filter(|child| child.is(Tag::SEQUENCE))?;
    let serial = children.next()?.integer()?;
    children
        .next()
        .is_none()
        .then(|| RecipientId::IssuerAndSerial {
            issuer: issuer.to_der().into_owned(),
            serial: serial.to_vec(),
        })
}

/// UserKeyingMaterial under its explicit tag; nothing in it where it is longer than anybody makes it, since each of the
/// recipients gets a copy.
fn ukm_octets(wrapper: Cursor<'_, '_>) -> Option<Option<Vec<u8>>> {
    let ukm = wrapper.only_child()?.octet_string()?;
    Some(bounded(&ukm, MAX_UKM))
}

fn bounded(octets: &Octets<'_, '_>, most: usize) -> Option<Vec<u8>> {
    (octets.total() <= most).then(|| octets.clone().contiguous().into_owned())
}

const BAD: Refusal = (Defect::Malformed, "a recipient has a wrong structure");
/// Octets of an encryptedKey: those of an RSA key of 16,384 bits.
const MAX_KEY: usize = 2048;
/// Octets of a sender's public key: more than a point of any curve has.
const MAX_PEER: usize = 256;
const MAX_UKM: usize = 1024;
