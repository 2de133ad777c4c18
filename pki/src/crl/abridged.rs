//! Lists of which only what stands around the entries is here: somebody else keeps those, or nobody has them at hand.

use std::sync::Arc;

use crate::crypto::Digest;
use crate::der::{DerError, Reader, write};
use crate::name::Name;
use crate::signed::Abridged;

use super::{AbridgedCrl, Crl, CrlError, Entries, RevokedEntries, parse};

impl Crl {
    /// A list whose entries somebody else keeps.
    ///
    /// # Errors
    /// When the parts are not what [`CrlStream::finish`](super::CrlStream::finish) gave.
    pub fn indexed(
        parts: &AbridgedCrl,
        entries: Arc<dyn RevokedEntries>,
    ) -> Result<Self, CrlError> {
        Self::of_parts(parts, Entries::Elsewhere(entries))
    }

    /// A list that is known to exist, and whose entries nobody has at hand.
    ///
    /// # Errors
    /// When the parts are not what [`CrlStream::finish`](super::CrlStream::finish) gave.
    pub fn absent(parts: &AbridgedCrl) -> Result<Self, CrlError> {
        Self::of_parts(parts, Entries::Nowhere)
    }

    /// Whether nobody has its entries at hand. Nothing is found in it then, and that says nothing: whoever might be
    /// revoked by it is not known to be good ([`crate::path`]).
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self.0.entries, Entries::Nowhere)
    }

    /// What stands around the entries; nothing of a list that is here whole.
    #[must_use]
    pub fn abridged(&self) -> Option<AbridgedCrl> {
        let (der, tbs_digest) = self.0.signed.abridged()?;
        let critical = self.0.unknown_critical.iter();
        Some(AbridgedCrl {
            der: der.to_vec(),
            sha256: *self.sha256(),
            tbs_digest: tbs_digest.map_or_else(Vec::new, |digest| digest.as_ref().to_vec()),
            issuers: self
                .0
                .issuers
                .iter()
                .map(|name| name.der().to_vec())
                .collect(),
            unknown_critical: critical.map(|oid| write::oid(oid.as_oid())).collect(),
            entries: u64::try_from(self.len()).unwrap_or(u64::MAX),
        })
    }

    fn of_parts(parts: &AbridgedCrl, entries: Entries) -> Result<Self, CrlError> {
        let wrong = |error: DerError| CrlError::Malformed(error.0);
        let mut inner = parse::crl(&parts.der).map_err(wrong)?;
        let digest = match parts.tbs_digest.as_slice() {
            [] => None,
            octets => Some(Digest::of(octets).ok_or(CrlError::Malformed("a digest is too long"))?),
        };
        inner.signed.abridge(Abridged {
            sha256: parts.sha256,
            tbs_digest: digest,
        });
        for name in &parts.issuers {
            let mut reader = Reader::new(name);
            inner.issuers.push(Name::read(&mut reader).map_err(wrong)?);
            reader.finish().map_err(wrong)?;
        }
        for oid in &parts.unknown_critical {
            let mut reader = Reader::new(oid);
            inner
                .unknown_critical
                .push(reader.oid().map_err(wrong)?.to_buf());
        }
        inner.entries = entries;
        Ok(Self(Arc::new(inner)))
    }
}
