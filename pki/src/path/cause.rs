//! Why the status of a certificate is not known, as the search tells it.

/// Why a status is not known; of several causes the last in this order tells most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    NoList,
    NotInScope,
    SomeReasons,
    NotUnderstood,
    Weak,
    NotFresh,
    BadSignature,
    AnswerNotUnderstood,
    AnswerWeak,
    AnswerNotFresh,
    AnswerNotAuthorised,
    NotKnown,
}

impl Cause {
    /// In words.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::NoList => "no CRL of its issuer",
            Self::NotInScope => "no CRL covers the certificate",
            Self::SomeReasons => "the CRLs cover some reasons only",
            Self::NotUnderstood => "the CRL is not understood",
            Self::Weak => "the CRL is signed with a weak algorithm",
            Self::NotFresh => "the CRL is not current",
            Self::BadSignature => "no authorised key signed the CRL",
            Self::AnswerNotUnderstood => "the OCSP answer is not understood",
            Self::AnswerWeak => "the OCSP answer is signed with a weak algorithm",
            Self::AnswerNotFresh => "the OCSP answer is not current",
            Self::AnswerNotAuthorised => "no authorised responder signed the OCSP answer",
            Self::NotKnown => "the OCSP responder does not know the certificate",
        }
    }
}
