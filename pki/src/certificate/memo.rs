//! Certificates that were read before: reading the same bytes again gives the same certificate, and what
//! was worked out of its key stays.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use super::{Certificate, CertificateError};
use crate::crypto::DigestAlgorithm;

/// Certificates by the digest of their bytes. Depends on nothing but bytes: what was read by one may be used
/// by all. Bounded, since most bytes come from strangers.
#[derive(Debug, Default)]
pub struct Memo(RwLock<HashMap<[u8; 32], Certificate>>);

impl Memo {
    /// How many are kept; when there are more, all are dropped and read again.
    const CAPACITY: usize = 1024;
    /// Octets of one that is kept.
    const MAX_SIZE: usize = 8 << 10;

    /// As [`Certificate::from_der`].
    ///
    /// # Errors
    /// As there; a failure is not kept.
    pub fn from_der(&self, bytes: &[u8]) -> Result<Certificate, CertificateError> {
        if bytes.len() > Self::MAX_SIZE {
            return Certificate::from_der(bytes);
        }
        let key = DigestAlgorithm::Sha256.digest(bytes);
        let Ok(key) = <[u8; 32]>::try_from(key.as_ref()) else {
            return Certificate::from_der(bytes);
        };
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(certificate) = known.get(&key) {
            return Ok(certificate.clone());
        }
        drop(known);
        let certificate = Certificate::from_der(bytes)?;
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::CAPACITY {
            known.clear();
        }
        known.insert(key, certificate.clone());
        Ok(certificate)
    }
}
