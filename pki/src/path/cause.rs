//! Why the status of a certificate is not known, as the search tells it.

use crate::crl::RevokedEntry;

use super::rules::PathRules;

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
    OfTheFuture,
    /// There is a list that would tell, and it is not at hand.
    NotAtHand,
    NotKnown,
}

impl Cause {
    /// Where a list or an answer of the future has the certificate as revoked: it was by now, or `otherwise` (the
    /// source is of no use) where that too is still to come.
    pub(super) fn of_the_future(entry: &RevokedEntry, rules: &PathRules, otherwise: Self) -> Self {
        if entry.date <= rules.time {
            Self::OfTheFuture
        } else {
            otherwise
        }
    }

    /// Whether there is news, and it is not good: then nothing is passed over, in whatever mode. A certificate that its
    /// authority does not know was perhaps never issued; one that is said to be revoked is that whatever is wrong
    /// with the clock of who says so; and a list that is not at hand was held once, and would tell.
    pub(super) const fn is_news(self) -> bool {
        matches!(self, Self::NotKnown | Self::OfTheFuture | Self::NotAtHand)
    }

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
            Self::OfTheFuture => "what revokes it is of the future; see that the clocks are right",
            Self::NotAtHand => "the CRL is known to exist and is not at hand",
            Self::NotKnown => "the OCSP responder does not know the certificate",
        }
    }
}
