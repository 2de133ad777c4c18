//! The curves of FIPS 186.

/// A curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// P-256.
    P256,
    /// P-384.
    P384,
    /// P-521.
    P521,
}

impl Curve {
    /// Octets of a coordinate.
    #[must_use]
    pub const fn field_size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// `p256`, `p384` or `p521`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::P521 => "p521",
        }
    }

    /// Whether octets have the length and the first octet of a point, compressed or not (SEC 1 §2.3.3). Neither the
    /// point at infinity nor the hybrid form does.
    pub(super) fn is_form_of_point(self, octets: &[u8]) -> bool {
        let size = self.field_size();
        match octets.first() {
            Some(0x04) => octets.len() == 1 + 2 * size,
            Some(0x02 | 0x03) => octets.len() == 1 + size,
            _ => false,
        }
    }
}
