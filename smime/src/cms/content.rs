//! What was signed, as the pieces it lies in; nothing is copied for hashing.

use std::borrow::Cow;

use kenin_pki::crypto::{Digest, DigestAlgorithm, Digester};

use super::is_signed_attributes;
use crate::canonical;
use crate::defect::Defect;

/// What was signed.
pub(crate) enum Content<'a> {
    /// Octets as they are, in pieces.
    Pieces(Vec<&'a [u8]>),
    /// Text that is canonical as it is.
    Text(&'a [u8]),
    /// Text with lone line feeds, whose canonical form was signed.
    BareText(&'a [u8]),
    /// Nothing, or nothing that counts, and why.
    Refused(Defect),
}

impl<'a> Content<'a> {
    /// Text whose canonical form was signed.
    pub(crate) fn text(text: &'a [u8]) -> Self {
        if canonical::has_bare_lf(text) {
            Self::BareText(text)
        } else {
            Self::Text(text)
        }
    }

    /// Whether line ends have to be converted.
    pub(crate) const fn is_converted(&self) -> bool {
        matches!(self, Self::BareText(_))
    }

    pub(super) fn size(&self) -> usize {
        match self {
            Self::Pieces(pieces) => pieces.iter().map(|piece| piece.len()).sum(),
            Self::Text(text) => text.len(),
            Self::BareText(text) => text.len() + memchr::memchr_iter(b'\n', text).count(),
            Self::Refused(_) => 0,
        }
    }

    pub(super) fn digest(&self, algorithm: DigestAlgorithm) -> Result<Digest, Defect> {
        let mut digester = Digester::new(algorithm);
        match self {
            Self::Pieces(pieces) => pieces.iter().for_each(|piece| digester.update(piece)),
            Self::Text(text) => digester.update(text),
            Self::BareText(text) => canonical::convert(text, |piece| digester.update(piece)),
            Self::Refused(defect) => return Err(*defect),
        }
        Ok(digester.finish())
    }

    pub(super) fn whole(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Pieces(pieces) => match pieces.as_slice() {
                [] => Cow::Borrowed(&[]),
                [only] => Cow::Borrowed(only),
                many => Cow::Owned(many.concat()),
            },
            Self::BareText(text) => Cow::Owned(canonical::to_crlf(text)),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Refused(_) => Cow::Borrowed(&[]),
        }
    }

    /// Whether this is itself a set of signed attributes.
    pub(crate) fn is_signed_attributes(&self) -> bool {
        let first = match self {
            Self::Pieces(pieces) => pieces.iter().find_map(|piece| piece.first()),
            Self::Text(text) | Self::BareText(text) => text.first(),
            Self::Refused(_) => None,
        };
        first == Some(&0x31) && is_signed_attributes(&self.whole())
    }
}
