//! Digests, signatures and keys over aws-lc.
//!
//! What is checked here is mathematics and form; whether an algorithm or a key size is good enough for
//! anything is said elsewhere. Never decrypts what others wrote.

mod digest;
mod public;
mod raw;
mod seal;
mod sign;
mod signature;

pub use digest::{Digest, DigestAlgorithm, Digester};
pub use public::{Curve, KeyKind, PublicKey, VerifyError};
pub use seal::{Sealer, framed};
pub use sign::{KeyError, KeyType, SigningKey, SoftKey};
pub use signature::{AlgorithmError, SignatureAlgorithm};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
