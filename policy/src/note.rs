//! The one list of notes: remarks beside a result, for people and machines. Never changes a result.

/// A remark beside a result; never changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NoteId {
    /// The declared type differs from what the CMS is.
    TypeMismatch,
    /// The claimed signing time is absurd.
    SigningTimeOdd,
    /// A mailing list seems to have replaced From.
    ListRewroteFrom,
    /// Header fields that people see are not covered by the signature.
    NotCoveredHeaders,
    /// A second signature of the same person is unsupported or too weak.
    UnsupportedSigner,
    /// `micalg` is missing, odd, or names another digest.
    MicalgOdd,
    /// A relay probably dropped ESC bytes of ISO-2022-JP text.
    EscLossSuspected,
    /// A certificate in the message cannot be read and was skipped.
    CertificateSkipped,
    /// A revocation list in the message cannot be read and was skipped.
    CrlSkipped,
    /// There are bytes after the signature structure.
    TrailingBytes,
    /// The boundary holds characters that RFC 2046 does not allow.
    BoundaryOdd,
    /// The content has line ends other than CRLF; its canonical form was checked.
    LineEndsConverted,
    /// The revocation status is unknown, and the trust anchor allows that.
    StatusUnknown,
}

impl NoteId {
    /// Every note.
    pub const ALL: [Self; 13] = [
        Self::TypeMismatch,
        Self::SigningTimeOdd,
        Self::ListRewroteFrom,
        Self::NotCoveredHeaders,
        Self::UnsupportedSigner,
        Self::MicalgOdd,
        Self::EscLossSuspected,
        Self::CertificateSkipped,
        Self::CrlSkipped,
        Self::TrailingBytes,
        Self::BoundaryOdd,
        Self::LineEndsConverted,
        Self::StatusUnknown,
    ];

    /// The stable id.
    pub const fn id(self) -> &'static str {
        match self {
            Self::TypeMismatch => "type-mismatch",
            Self::SigningTimeOdd => "signing-time-odd",
            Self::ListRewroteFrom => "list-rewrote-from",
            Self::NotCoveredHeaders => "not-covered-headers",
            Self::UnsupportedSigner => "unsupported-signer",
            Self::MicalgOdd => "micalg-odd",
            Self::EscLossSuspected => "esc-loss-suspected",
            Self::CertificateSkipped => "certificate-skipped",
            Self::CrlSkipped => "crl-skipped",
            Self::TrailingBytes => "trailing-bytes",
            Self::BoundaryOdd => "boundary-odd",
            Self::LineEndsConverted => "line-ends-converted",
            Self::StatusUnknown => "status-unknown",
        }
    }

    /// One line in plain words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::TypeMismatch => "the declared type differs from what the signature structure is",
            Self::SigningTimeOdd => "the claimed signing time cannot be right",
            Self::ListRewroteFrom => "a mailing list seems to have replaced the From address",
            Self::NotCoveredHeaders => "header fields are not covered by the signature",
            Self::UnsupportedSigner => {
                "a further signature of the same signer is unsupported or too weak"
            }
            Self::MicalgOdd => "the micalg parameter is missing, odd, or names another digest",
            Self::EscLossSuspected => {
                "a relay probably dropped ESC bytes of ISO-2022-JP text on the way"
            }
            Self::CertificateSkipped => "a certificate in the message cannot be read",
            Self::CrlSkipped => "a revocation list or OCSP response in the message cannot be read",
            Self::TrailingBytes => "there are bytes after the signature structure",
            Self::BoundaryOdd => "the boundary holds characters that are not allowed",
            Self::LineEndsConverted => "line ends other than CRLF were taken as CRLF",
            Self::StatusUnknown => {
                "the revocation status is unknown, which the trust anchor allows"
            }
        }
    }
}

impl serde::Serialize for NoteId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}
