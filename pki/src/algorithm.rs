//! AlgorithmIdentifier, read without opinion about what the algorithm is worth.
//! <https://www.rfc-editor.org/rfc/rfc5280#section-4.1.1.2>

use crate::der::{DerError, NULL, Reader};
use crate::oid::{Oid, OidBuf};

/// An algorithm identifier that owns its octets; parameters are kept as they came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AlgorithmIdentifier {
    oid: OidBuf,
    parameters: Option<Box<[u8]>>,
}

impl AlgorithmIdentifier {
    /// Makes one; `parameters` is a whole element.
    #[must_use]
    pub fn new(oid: Oid<'_>, parameters: Option<&[u8]>) -> Self {
        Self {
            oid: oid.to_buf(),
            parameters: parameters.map(Into::into),
        }
    }

    /// Reads one SEQUENCE.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DerError> {
        let mut inner = reader.sequence()?;
        let oid = inner.oid()?.to_buf();
        let parameters = if inner.is_empty() {
            None
        } else {
            Some(inner.any()?.raw.into())
        };
        inner.finish()?;
        Ok(Self { oid, parameters })
    }

    /// Reads bytes that are exactly one algorithm identifier in DER.
    pub fn from_der(bytes: &[u8]) -> Result<Self, DerError> {
        let mut reader = Reader::new(bytes);
        let read = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(read)
    }

    /// Which algorithm.
    #[must_use]
    pub const fn oid(&self) -> Oid<'_> {
        self.oid.as_oid()
    }

    /// Its parameters, a whole DER element.
    #[must_use]
    pub fn parameters(&self) -> Option<&[u8]> {
        self.parameters.as_deref()
    }

    /// Whether parameters are absent or NULL: real mail has both where either is asked for.
    #[must_use]
    pub fn has_no_parameters(&self) -> bool {
        self.parameters().is_none_or(|bytes| bytes == [NULL, 0])
    }

    /// The encoding.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        use crate::der::write;
        let mut parts = vec![write::oid(self.oid())];
        parts.extend(self.parameters().map(<[u8]>::to_vec));
        write::seq(&parts)
    }
}
