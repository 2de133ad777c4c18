//! Digests, signatures, encryption and keys over aws-lc.
//!
//! What is checked here is mathematics and form; whether an algorithm or a key size is good enough for
//! anything is said elsewhere.

mod branchless;
mod cipher;
mod content;
mod curve;
mod decrypt;
mod digest;
mod dsa;
mod kdf;
mod kem;
mod key_wrap;
mod ml_dsa;
mod public;
mod random;
mod raw;
mod rsa;
mod rsaes;
mod seal;
mod secret;
mod sign;
mod signature;
mod weak;
mod wrap;

pub use cipher::{OpenError, Opener, Protector};
pub use content::{Aes, ContentCipher, ContentKind};
pub use curve::Curve;
pub use decrypt::{DecryptionKey, RejectionSecret};
pub use digest::{Digest, DigestAlgorithm, Digester};
pub use kdf::Kdf;
pub use kem::MlKem;
pub use key_wrap::KeyWrap;
pub use ml_dsa::MlDsa;
pub use public::{KeyKind, PublicKey, VerifyError};
pub use rsaes::OaepParameters;
pub use seal::{Sealer, framed};
pub use secret::{Secret, wipe};
pub use sign::{KeyError, KeyType, SigningKey, SoftKey};
pub use signature::{AlgorithmError, SignatureAlgorithm};
pub use weak::{Weakness, opens_what_its_public_half_protects, signs_for_its_public_half};
pub use wrap::{Wrapped, Wrapping};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
