//! The parameters of DSA keys, for judging old paths only.
//! <https://www.rfc-editor.org/rfc/rfc3279#section-2.3.2>

use crate::der::Reader;

use super::public::{bit_length, is_odd};

/// Dss-Parms (RFC 3279 §2.3.2): magnitudes without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DsaParameters {
    pub(super) p: Box<[u8]>,
    pub(super) q: Box<[u8]>,
    pub(super) g: Box<[u8]>,
}

impl DsaParameters {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut outer = Reader::new(bytes);
        let mut reader = outer.sequence().ok()?;
        outer.finish().ok()?;
        let mut next = || Some(reader.unsigned().ok()?.into());
        let read = Self {
            p: next()?,
            q: next()?,
            g: next()?,
        };
        reader.finish().ok()?;
        Some(read)
    }

    /// The sizes of FIPS 186, and numbers that can be elements of the group.
    pub(super) fn in_bounds(&self, public: &[u8]) -> bool {
        let sizes = (bit_length(&self.p), bit_length(&self.q));
        let element = |number: &[u8]| {
            bit_length(number) > 1 && (number.len(), number) < (self.p.len(), &self.p)
        };
        DSA_SIZES.contains(&sizes)
            && is_odd(&self.p)
            && is_odd(&self.q)
            && element(&self.g)
            && element(public)
    }
}

/// Bits of p and q (FIPS 186-4 §4.2).
const DSA_SIZES: [(u32, u32); 4] = [(1024, 160), (2048, 224), (2048, 256), (3072, 256)];
