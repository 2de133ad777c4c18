//! The copies that were planned: encrypted, signed, or both. Each is made of the copy that its recipients would get
//! otherwise, and stamped outside of what protects it.

use kenin_policy::protect::difference;
use kenin_policy::stamp::stamp;
use kenin_policy::verdict::Verdict;
use kenin_policy::{Delivered, StampContext, StampMode};
use kenin_smtp_filter::{Division, Mail, Reply};

use super::groups::Course;
use crate::protect::Plan;
use crate::reply;

/// What copies are made of.
pub(super) struct Making<'m> {
    pub(super) plan: &'m Plan,
    pub(super) mail: &'m Mail,
    pub(super) verdict: &'m Verdict,
    pub(super) context: &'m StampContext<'m>,
    /// Octets of all of them. They wait for the next hop together.
    pub(super) most: usize,
}

/// What came of the plan.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// The copies, by what they are for.
    pub(super) made: Vec<(Course, Delivered)>,
    /// Groups of the plan whose copy was not made, and what they are told.
    failures: Vec<(usize, Reply)>,
}

impl Copies {
    /// Makes all copies, of those that are stamped. A group whose copy cannot be made is refused, or gets the mail as it is
    /// where nothing asks for more.
    pub(super) fn make(
        groups: &mut [(Course, Vec<usize>)],
        making: &Making<'_>,
        copies: &[(Course, Delivered)],
    ) -> Self {
        let mut out = Self::default();
        let mut left = making.most;
        for (course, _) in groups {
            let Course::Protect(mode, at) = *course else {
                continue;
            };
            let base = copies.iter().find(|(own, _)| *own == Course::Stamp(mode));
            let made = match base {
                Some((_, base)) if left > 0 => making.copy(at, base, left),
                Some(_) => Err(reply::too_many_copies()),
                None => Err(Reply::aborted()),
            };
            match made {
                Ok(Some(copy)) => {
                    left = left.saturating_sub(size(&copy));
                    out.made.push((*course, copy));
                }
                Ok(None) => *course = Course::Stamp(mode),
                Err(reply) => {
                    out.failures.push((at, reply));
                    *course = Course::Denied(at);
                }
            }
        }
        out
    }

    /// What a group of the plan is told that gets nothing.
    pub(super) fn reply(&self, at: usize, plan: &Plan, mail: &Mail) -> Reply {
        let failed = self.failures.iter().find(|(own, _)| *own == at);
        failed.map_or_else(|| plan.refusal(at, mail), |(_, reply)| reply.clone())
    }

    /// The reply to the mail, where it goes to nobody and one answer is enough: what another try may change before what
    /// it may not. `by_rule` is that of the rules that refuse it.
    pub(super) fn refusal(
        &self,
        groups: &[(Course, Vec<usize>)],
        plan: &Plan,
        mail: &Mail,
        by_rule: Option<&Reply>,
    ) -> Option<Reply> {
        if groups.len() > 1 && mail.envelope.division == Division::Answers {
            return None;
        }
        let mut replies = Vec::new();
        for (course, _) in groups {
            match course {
                Course::Refuse => replies.push(by_rule.cloned().unwrap_or_else(Reply::aborted)),
                Course::Denied(at) => replies.push(self.reply(*at, plan, mail)),
                Course::Stamp(_) | Course::Hold(_) | Course::Protect(..) | Course::Had => {
                    return None;
                }
            }
        }
        let transient = replies.iter().position(Reply::is_transient);
        let first = transient.unwrap_or(0);
        (first < replies.len()).then(|| replies.swap_remove(first))
    }
}

impl Making<'_> {
    /// The copy of one group, as changes of the mail, of no more octets than these; nothing where it goes as it is.
    fn copy(&self, at: usize, base: &Delivered, most: usize) -> Result<Option<Delivered>, Reply> {
        let made = self.plan.copy(at, &base.applied(&self.mail.raw))?;
        let Some(made) = made else {
            return Ok(None);
        };
        if made.len() > most {
            return Err(reply::too_many_copies());
        }
        let is_submitted = self.plan.is_submitted();
        // The stamps that were made before are about another header and another body.
        let outside = StampContext {
            mode: StampMode::Headers,
            wrapper: None,
            key: self.context.key.filter(|_| !is_submitted),
            ..*self.context
        };
        let mut edits = stamp(&made, self.verdict, &outside);
        if is_submitted {
            // What was found in it says nothing of what leaves.
            edits.prepend.clear();
        }
        let made = edits.apply(&made);
        difference(&self.mail.raw, &made)
            .map(Some)
            .ok_or_else(reply::limits)
    }
}

fn size(copy: &Delivered) -> usize {
    copy.body.as_ref().map_or(0, |(_, body)| body.len())
}
