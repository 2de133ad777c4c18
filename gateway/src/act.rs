//! From a verdict to what is done with the message: the mail rules, then the stamp.
//!
//! Never looks at a certificate, and never changes a byte below the header.

use std::time::SystemTime;

use kenin_policy::verdict::Verdict;
use kenin_policy::{Act, HeaderEdits, Parties, Shown, StampContext, header, stamp};
use kenin_smtp_filter::{Edit, Mail, Reply, Treatment};

use crate::pipeline::unix_time;
use crate::reply;
use crate::snapshot::Snapshot;

/// A verdict and what follows from it.
pub(crate) struct Decided {
    pub(crate) verdict: Verdict,
    pub(crate) treatment: Treatment,
    pub(crate) action: &'static str,
    /// Which rule of `mail.toml` refused it, counted from 1.
    pub(crate) rule: Option<usize>,
}

/// The mail rules, then the stamp.
pub(crate) fn act(
    mail: &Mail,
    snapshot: &Snapshot,
    mut verdict: Verdict,
    now: SystemTime,
) -> Decided {
    verdict.revision.clone_from(&snapshot.revision);
    let envelope = &mail.envelope;
    // One without a domain is the postmaster's, whom no rule names.
    let recipients: Vec<&str> = envelope
        .rcpt_to
        .iter()
        .map(|to| domain(&to.address).unwrap_or_default())
        .collect();
    // Without a rule that refuses nobody asks who is shown.
    let shown = if snapshot.mail.may_refuse() {
        Shown::read(&mail.raw, &header::scan(&mail.raw))
    } else {
        Shown::default()
    };
    let parties = Parties {
        sender: domain(&envelope.mail_from),
        shown: &shown,
        recipients: &recipients,
    };
    let each = snapshot.mail.decide_each(parties, &verdict);
    let rule = each.iter().find_map(|act| match act {
        Act::Refuse { rule, .. } => Some(*rule),
        Act::Stamp => None,
    });
    let refused: Vec<Option<Reply>> = each
        .iter()
        .map(|act| match act {
            Act::Refuse { reason, reply, .. } => Some(reply::refused(*reason, reply, &envelope.id)),
            Act::Stamp => None,
        })
        .collect();
    // Where there is one answer to the mail, one recipient's rule refuses it for all.
    let divided = envelope.each_answered && refused.iter().any(Option::is_none);
    if let (Some(reply), false) = (refused.iter().flatten().next(), divided) {
        return Decided {
            verdict,
            treatment: Treatment::Refuse(reply.clone()),
            action: "refuse",
            rule,
        };
    }
    let context = StampContext {
        authserv_id: &snapshot.config.authserv_id,
        site_authserv_ids: &snapshot.config.site_authserv_ids,
        key: snapshot.key.as_ref(),
        id: &envelope.id,
        now: unix_time(now),
    };
    let HeaderEdits { remove, prepend } = stamp(&mail.raw, &verdict, &context);
    let removed = remove.into_iter().map(Edit::Remove);
    let edits = removed
        .chain(std::iter::once(Edit::Prepend(prepend)))
        .collect();
    let (treatment, action) = if rule.is_some() {
        (Treatment::Divide { edits, refused }, "divide")
    } else {
        (Treatment::Relay(edits), "stamp")
    };
    Decided {
        verdict,
        treatment,
        action,
        rule,
    }
}

fn domain(address: &str) -> Option<&str> {
    address.rsplit_once('@').map(|(_, domain)| domain)
}
