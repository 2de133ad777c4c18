//! From a verdict to what is done with the message: the mail rules, then the stamp.
//!
//! Never looks at a certificate, and never changes a byte below the header.

use std::time::SystemTime;

use kenin_policy::verdict::Verdict;
use kenin_policy::{Act, HeaderEdits, Parties, StampContext, stamp};
use kenin_smtp_filter::{Edit, Mail, Treatment};

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
    let recipients: Vec<&str> = envelope
        .rcpt_to
        .iter()
        .filter_map(|to| domain(&to.address))
        .collect();
    let parties = Parties {
        sender: domain(&envelope.mail_from),
        recipients: &recipients,
    };
    if let Act::Refuse {
        reason,
        reply: strict,
        rule,
    } = snapshot.mail.decide(parties, &verdict)
    {
        let treatment = Treatment::Refuse(reply::refused(reason, &strict, &envelope.id));
        return Decided {
            verdict,
            treatment,
            action: "refuse",
            rule: Some(rule),
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
    Decided {
        verdict,
        treatment: Treatment::Relay(edits),
        action: "stamp",
        rule: None,
    }
}

fn domain(address: &str) -> Option<&str> {
    address.rsplit_once('@').map(|(_, domain)| domain)
}
