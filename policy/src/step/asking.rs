//! The questions of one round about issuers and status.

use std::collections::HashSet;
use std::sync::Arc;

use kenin_pki::certificate::Certificate;
use kenin_pki::name::Name;

use super::{AtHand, Question};
use crate::trustpath::Reach;

/// Questions in the making; none is asked twice.
#[derive(Default)]
pub(crate) struct Asking {
    pub(crate) questions: Vec<Question>,
    issuers: HashSet<(Name, Option<Vec<u8>>)>,
    statuses: HashSet<([u8; 32], Name)>,
}

impl Asking {
    /// Asks for issuers that are lacking; and where none is any more, for the status of what is in reach: who may be
    /// asked about a certificate shows when the way up from it is known.
    pub(crate) fn about(&mut self, at_hand: &AtHand<'_>, reach: &Reach<'_>, status: bool) {
        let mut lacking = false;
        for child in &reach.orphans {
            let key_id = key_id(child);
            if at_hand.asked_issuers.contains(&(child.issuer(), key_id)) {
                continue;
            }
            lacking = true;
            let entry = (child.issuer().clone(), key_id.map(<[u8]>::to_vec));
            if self.issuers.insert(entry.clone()) {
                self.questions.push(Question::Issuers {
                    name: entry.0,
                    key_id: entry.1,
                    child: (*child).clone(),
                });
            }
        }
        let mut candidates: Option<Arc<[Certificate]>> = None;
        for (certificate, issuer) in reach.status().filter(|_| status && !lacking) {
            let sha256 = *certificate.sha256();
            if !at_hand.asked_status.contains(&(&sha256, &issuer))
                && self.statuses.insert((sha256, issuer.clone()))
            {
                let all = reach.certificates.iter();
                let candidates =
                    candidates.get_or_insert_with(|| all.map(|one| (*one).clone()).collect());
                self.questions.push(Question::Status {
                    certificate: certificate.clone(),
                    issuer,
                    candidates: Arc::clone(candidates),
                });
            }
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Question> {
        self.questions.truncate(MAX_QUESTIONS);
        self.questions
    }
}

fn key_id(child: &Certificate) -> Option<&[u8]> {
    child.authority_key_id().ok().flatten()?.key_id.as_deref()
}

/// How many questions one round may ask.
pub const MAX_QUESTIONS: usize = 64;
