//! What certificates, CRLs and OCSP answers have in common: bytes to be signed, an algorithm, a signature.
//! <https://www.rfc-editor.org/rfc/rfc5280#section-4.1.1>

use std::ops::Range;
use std::sync::OnceLock;

use crate::algorithm::AlgorithmIdentifier;
use crate::crypto::{Digest, DigestAlgorithm, PublicKey, SignatureAlgorithm, VerifyError};
use crate::der::{DerError, Element, Reader, SEQUENCE};

/// A signed structure, owned.
pub(crate) struct Signed {
    der: Box<[u8]>,
    tbs: Range<usize>,
    algorithm: AlgorithmIdentifier,
    signature: Box<[u8]>,
    sha256: OnceLock<[u8; 32]>,
    /// What the signature is over, by the digest of the algorithm: hashed once, and not once a key tried.
    tbs_digest: OnceLock<Digest>,
    /// The bytes are not those that were signed, but what is left of them.
    abridged: bool,
}

/// What is known of bytes that are not kept.
pub(crate) struct Abridged {
    /// SHA-256 of the whole.
    pub(crate) sha256: [u8; 32],
    /// Digest of what was signed, by the algorithm of the signature.
    pub(crate) tbs_digest: Option<Digest>,
}

impl Signed {
    /// Reads bytes that are exactly one; gives what was signed, and where in `bytes` that begins.
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, Element<'_>, usize), DerError> {
        let (signed, tbs, rest) = Self::read_with_more(bytes)?;
        rest.finish()?;
        let start = signed.tbs.start;
        Ok((signed, tbs, start))
    }

    /// The same, and what follows the signature.
    pub(crate) fn read_with_more(
        bytes: &[u8],
    ) -> Result<(Self, Element<'_>, Reader<'_>), DerError> {
        let mut outer = Reader::new(bytes);
        let whole = outer.element(SEQUENCE)?;
        outer.finish()?;
        let mut reader = whole.reader();
        let tbs = reader.element(SEQUENCE)?;
        let algorithm = AlgorithmIdentifier::read(&mut reader)?;
        // A signature that is not whole octets is none: the empty one never verifies.
        let signature = reader.bit_string()?.octets().unwrap_or_default();
        // Only the header of the whole stands before what was signed.
        let start = bytes.len() - whole.content.len();
        let signed = Self {
            der: bytes.into(),
            tbs: start..start + tbs.raw.len(),
            algorithm,
            signature: signature.into(),
            sha256: OnceLock::new(),
            tbs_digest: OnceLock::new(),
            abridged: false,
        };
        Ok((signed, tbs, reader))
    }

    /// From now on this stands for a longer structure with the same fields and signature.
    pub(crate) fn abridge(&mut self, whole: Abridged) {
        self.abridged = true;
        self.sha256 = OnceLock::from(whole.sha256);
        self.tbs_digest = whole.tbs_digest.map(OnceLock::from).unwrap_or_default();
    }

    /// What is left of a longer structure, and the digest of what was signed; nothing where it is whole.
    pub(crate) fn abridged(&self) -> Option<(&[u8], Option<&Digest>)> {
        self.abridged.then(|| (&*self.der, self.tbs_digest.get()))
    }

    /// The bytes; none where they are not those that were signed.
    pub(crate) fn der(&self) -> &[u8] {
        if self.abridged {
            return &[];
        }
        &self.der
    }

    /// What was signed; nothing where it is not kept.
    pub(crate) fn tbs(&self) -> &[u8] {
        if self.abridged {
            return &[];
        }
        self.der.get(self.tbs.clone()).unwrap_or_default()
    }

    pub(crate) fn algorithm(&self) -> &AlgorithmIdentifier {
        &self.algorithm
    }

    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// SHA-256 of the whole.
    pub(crate) fn sha256(&self) -> &[u8; 32] {
        self.sha256.get_or_init(|| {
            let digest = DigestAlgorithm::Sha256.digest(&self.der);
            digest.as_ref().try_into().unwrap_or([0; 32])
        })
    }

    /// Whether the holder of the key signed this; `inner` is the algorithm that stands in what was signed.
    pub(crate) fn verify(
        &self,
        inner: &AlgorithmIdentifier,
        key: &PublicKey,
    ) -> Result<(), VerifyError> {
        if *inner != self.algorithm {
            return Err(VerifyError::Mismatch);
        }
        self.verify_by(key)
    }

    /// The same where what was signed does not repeat the algorithm.
    pub(crate) fn verify_by(&self, key: &PublicKey) -> Result<(), VerifyError> {
        let algorithm = SignatureAlgorithm::from_identifier(&self.algorithm)
            .map_err(|_| VerifyError::Unsupported)?;
        if self.abridged && self.tbs_digest.get().is_none() {
            // It signs no digest, and the rest is not kept.
            return Err(VerifyError::Unsupported);
        }
        if algorithm.hashes_itself() {
            return key.verify(algorithm, self.tbs(), &self.signature);
        }
        let digest = || algorithm.digest().digest(self.tbs());
        let digest = self.tbs_digest.get_or_init(digest);
        key.verify_digest(algorithm, digest.as_ref(), &self.signature)
    }
}
