//! Files whose encrypted layers are opened first: `kenin verify --decrypt-with`. What is signed inside of a layer that is
//! the whole of the message counts as signed at the root.

use kenin_policy::Verdict;
use kenin_policy::step::{self, Case};
use kenin_policy::verdict::Around;
use kenin_smime::examine;

use super::{Engine, Judged, substitute};
use crate::cli::decrypt::object;
use crate::cli::input::Kind;
use crate::cli::open::{Look, OpenedLayer, Opener};
use crate::cli::private::Holder;

impl Engine {
    /// Judges the bytes of a file, and what is inside of the layers that these keys open.
    pub(crate) fn judge_with(&self, bytes: Vec<u8>, holders: &[Holder]) -> Judged {
        let judged = self.judge(bytes);
        if holders.is_empty() {
            return judged;
        }
        let opener = Opener {
            holders,
            limits: &self.limits,
            legacy: false,
        };
        let mut found = match (judged.kind, object(&judged.bytes)) {
            (Kind::Cms, Some(object)) => opener.look_at_cms(&object),
            _ => opener.look(&judged.bytes),
        };
        let mut verdict = judged.verdict.clone();
        let mut outside = Vec::new();
        for _ in 0..self.limits.layers {
            let Look::Opened(layer) = found else { break };
            let inner = self.inside(judged.kind, &layer);
            found = opener.look(&layer.message);
            let around = match layer.signatures {
                0 => Around::Nothing,
                _ => Around::Signatures,
            };
            outside.push((std::mem::replace(&mut verdict, inner), around));
        }
        while let Some((outer, around)) = outside.pop() {
            verdict = outer.opened(verdict, around);
        }
        Judged { verdict, ..judged }
    }

    /// The verdict on a message that was opened. A bare object has no sender, and neither has what it holds.
    fn inside(&self, kind: Kind, layer: &OpenedLayer) -> Verdict {
        if kind == Kind::Mail {
            return self.judge_mail(layer.message.clone()).verdict;
        }
        let known = self.store.intermediates();
        let examined = examine(&layer.message, &self.limits, known);
        let case = Case::bare(examined, &self.trust, known, self.time).within(self.budget.clone());
        let outcome = step::run(&case, |question| self.answer(question));
        substitute::unless_clock_is_trusted(outcome.verdict, self.clock)
    }
}
