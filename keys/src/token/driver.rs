//! What a module of PKCS#11 is asked for, as far as keys of people need it. One driver speaks PKCS#11; the others stand
//! in tests.

use kenin_pki::algorithm::AlgorithmIdentifier;
use kenin_pki::crypto::{DigestAlgorithm, KeyKind, PublicKey, Secret};
use kenin_pki::der::{Reader, write};
use kenin_pki::oid;

use super::uri::{Described, TokenUri};

/// A module that is loaded. It is asked from several threads at once, and may take its time with each answer.
pub(crate) trait Driver: Send + Sync {
    /// The tokens that are in a slot at this moment.
    fn tokens(&self) -> Result<Vec<Seen>, Fault>;

    /// A new session with the token in a slot, which reads and does not write.
    fn open(&self, slot: u64) -> Result<Box<dyn Session>, Fault>;

    /// What the token in a slot can do.
    fn mechanisms(&self, slot: u64) -> Result<Mechanisms, Fault>;

    /// Starts the module anew: some see a token only then that has come back. All sessions end by it.
    fn restart(&self) -> Result<(), Fault>;
}

/// A session with a token. What it has found it knows until it ends.
pub(crate) trait Session {
    /// Whether the user is logged in: by this session or by another one with the same token.
    fn is_logged_in(&self) -> Result<bool, Fault>;

    /// Logs the user in. A wrong PIN uses up a try.
    fn log_in(&self, pin: &Secret) -> Result<(), Fault>;

    /// The private keys that are such as the URI says.
    fn find(&mut self, object: &TokenUri) -> Result<Vec<Handle>, Fault>;

    /// What the token says that a key may do.
    fn traits(&self, key: Handle) -> Result<KeyTraits, Fault>;

    /// The public half of a private key.
    fn public(&self, key: Handle) -> Result<PublicHalf, Fault>;

    /// CKM_RSA_X_509: RSADP (RFC 8017 §5.1.2). The token may leave leading zeros out.
    fn rsa_raw(&self, key: Handle, ciphertext: &[u8]) -> Result<Secret, Fault>;

    /// CKM_ECDH1_DERIVE with CKD_NULL: the x coordinate, `length` octets.
    fn agree(&self, key: Handle, peer: &[u8], length: usize) -> Result<Secret, Fault>;

    /// A signature over what the mechanism wants to have: DigestInfo, or a digest.
    fn sign(&self, key: Handle, how: Signing, octets: &[u8]) -> Result<Vec<u8>, Fault>;
}

/// A key that a session has found: its place among those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle(pub(crate) usize);

/// How a token signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signing {
    /// CKM_RSA_PKCS over a DigestInfo (RFC 8017 §9.2).
    RsaPkcs1,
    /// CKM_RSA_PKCS_PSS over a digest.
    RsaPss {
        digest: DigestAlgorithm,
        mgf: DigestAlgorithm,
        salt_len: usize,
    },
    /// CKM_ECDSA over a digest: r and s, one behind the other.
    Ecdsa,
}

/// The public half of a key as a token shows it, which nobody has looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicHalf {
    /// Of RSA: big-endian numbers.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    /// On a curve: CKA_EC_PARAMS, and CKA_EC_POINT, which is an OCTET STRING in DER, or with older modules what should be
    /// in it.
    Ec { curve: Vec<u8>, point: Vec<u8> },
}

impl PublicHalf {
    /// The public key. Nothing where it is none that is known.
    pub(crate) fn key(&self) -> Option<PublicKey> {
        match self {
            Self::Rsa { modulus, exponent } => {
                let null = write::null();
                let algorithm = AlgorithmIdentifier::new(oid::RSA_ENCRYPTION, Some(&null));
                let numbers = write::seq(&[write::unsigned(modulus), write::unsigned(exponent)]);
                known(&algorithm, &numbers)
            }
            Self::Ec { curve, point } => {
                let algorithm = AlgorithmIdentifier::new(oid::EC_PUBLIC_KEY, Some(curve));
                let mut reader = Reader::new(point);
                let inner = reader.octet_string().ok();
                // A point begins with the octet of an OCTET STRING.
                inner
                    .and_then(|inner| known(&algorithm, inner))
                    .or_else(|| known(&algorithm, point))
            }
        }
    }
}

/// The public key of a SubjectPublicKeyInfo with these parts.
fn known(algorithm: &AlgorithmIdentifier, bits: &[u8]) -> Option<PublicKey> {
    let spki = write::seq(&[algorithm.to_der(), write::bit_string(bits)]);
    let key = PublicKey::from_spki(&spki).ok()?;
    let is_known = matches!(key.kind(), KeyKind::Rsa { .. } | KeyKind::Ec(_));
    is_known.then_some(key)
}

/// A token in a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) slot: u64,
    pub(crate) label: String,
    pub(crate) manufacturer: String,
    pub(crate) serial: String,
    pub(crate) model: String,
    pub(crate) pin: PinFlags,
}

impl Seen {
    pub(crate) fn described(&self) -> Described<'_> {
        Described {
            slot: self.slot,
            label: &self.label,
            manufacturer: &self.manufacturer,
            serial: &self.serial,
            model: &self.model,
        }
    }
}

/// What a token says of the user's PIN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PinFlags {
    /// One was set.
    pub set: bool,
    /// A wrong one was given since the last right one.
    pub wrong_before: bool,
    /// One more wrong one locks it.
    pub last_try: bool,
    /// It is locked.
    pub locked: bool,
    /// It must be changed before it is of use.
    pub to_change: bool,
    /// It is typed at the reader.
    pub at_reader: bool,
}

/// What a token can do, of what is asked for here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mechanisms {
    /// CKM_RSA_X_509: opens what was encrypted for RSA keys.
    pub rsa_raw: bool,
    /// CKM_RSA_PKCS: signs with RSA keys.
    pub rsa_pkcs1: bool,
    /// CKM_RSA_PKCS_PSS: signs with RSA keys by PSS.
    pub rsa_pss: bool,
    /// CKM_ECDH1_DERIVE: opens what was encrypted for keys on elliptic curves.
    pub ecdh: bool,
    /// CKM_ECDSA: signs with keys on elliptic curves.
    pub ecdsa: bool,
}

/// What a token says that a key may do; nothing where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyTraits {
    /// CKA_DECRYPT.
    pub decrypt: Option<bool>,
    /// CKA_SIGN.
    pub sign: Option<bool>,
    /// CKA_DERIVE.
    pub derive: Option<bool>,
    /// CKA_ALWAYS_AUTHENTICATE: it wants the PIN before each use.
    pub always_authenticate: Option<bool>,
    /// CKA_EXTRACTABLE: it can be taken out of the token.
    pub extractable: Option<bool>,
}

/// What went wrong in a module, as far as it matters for what is done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The token, the session or the key in it is not there, or something is wrong with them: after a new session it
    /// may go better.
    Lost(String),
    /// The token does not let the user in.
    Pin(PinFault),
    /// The token, or this key in it, does not do that.
    Unsupported(String),
    /// The token does not take what it was given.
    Refused(String),
}

/// Why a token does not let the user in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinFault {
    /// The PIN is another.
    #[error("the PIN is wrong")]
    Wrong,
    /// It was wrong too often.
    #[error("the PIN is locked")]
    Locked,
    /// It must be changed first.
    #[error("the PIN must be changed before it is of use")]
    Expired,
    /// The token has none.
    #[error("the token has no PIN of the user")]
    Unset,
    /// It is too short, too long or has characters that no PIN has.
    #[error("no PIN of this token looks like that")]
    Form,
    /// One wrong try more would lock it, and none is made.
    #[error("one wrong PIN more would lock the token, and none is tried")]
    LastTry,
}

impl PinFault {
    /// What the one who runs the gateway can do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Wrong | Self::Form => {
                "write the right one into its file and start the service anew; it is not tried again before"
            }
            Self::Locked => "unlock the token with its maker's tool or the security officer's PIN",
            Self::Expired => "change the PIN with the token's tool, and its file",
            Self::Unset => "set one with the token's tool",
            Self::LastTry => {
                "log in once by hand (pkcs11-tool --login --module MODULE --list-objects): that resets the count"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};

    use super::*;

    /// The parameters of the algorithm, and the bits.
    fn parts(key: &PublicKey) -> (Vec<u8>, Vec<u8>) {
        let mut outer = Reader::new(key.spki()).sequence().unwrap();
        let algorithm = AlgorithmIdentifier::read(&mut outer).unwrap();
        (
            algorithm.parameters().unwrap().to_vec(),
            key.bits().to_vec(),
        )
    }

    #[test]
    fn public_halves_are_read_as_tokens_show_them() {
        for kind in [KeyType::P256, KeyType::P384, KeyType::P521] {
            let soft = SoftKey::generate(kind).unwrap();
            let key = soft.public_key();
            let (curve, bits) = parts(key);
            for point in [write::octet_string(&bits), bits.clone()] {
                let curve = curve.clone();
                let half = PublicHalf::Ec { curve, point };
                assert_eq!(half.key().as_ref(), Some(key));
            }
        }
        let soft = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
        let key = soft.public_key();
        let mut numbers = Reader::new(key.bits()).sequence().unwrap();
        let modulus = numbers.unsigned().unwrap().to_vec();
        let exponent = numbers.unsigned().unwrap().to_vec();
        let long = [&[0][..], &modulus].concat();
        for modulus in [modulus, long] {
            let exponent = exponent.clone();
            let half = PublicHalf::Rsa { modulus, exponent };
            assert_eq!(half.key().as_ref(), Some(key));
        }
    }

    #[test]
    fn what_is_no_public_half_is_none() {
        let soft = SoftKey::generate(KeyType::P256).unwrap();
        let (curve, bits) = parts(soft.public_key());
        for (curve, point) in [
            (curve.clone(), Vec::new()),
            (curve, bits[..64].to_vec()),
            (Vec::new(), bits.clone()),
            (vec![0x30], bits.clone()),
            (write::null(), bits),
        ] {
            let half = PublicHalf::Ec { curve, point };
            assert_eq!(half.key(), None, "{half:?}");
        }
    }
}
