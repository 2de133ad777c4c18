//! Whether what `mail.toml` says of opening and protecting mail can come true, and what it would show.

use super::{Finding, warning};
use crate::config::{ConfigError, ListenerMode};
use crate::snapshot::Snapshot;

/// Who signs, and for whom; what a rule tells of mail that opened.
pub(super) fn look(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let config = &snapshot.config;
    let mistake = |text: &str, hint: &str| {
        let error = ConfigError::new(config.mail_file(), text);
        warning(error.hint(hint))
    };
    if config.keys.is_some() && snapshot.mail.may_show_what_opens() {
        let text = "a rule refuses or holds opened mail with require_integrity = false: whoever changes a mail on its way can \
                    find out whether it opened";
        let hint = "leave require_integrity out of the rule: it is true where enforce is \"strict\" or \"quarantine\"";
        findings.push(mistake(text, hint));
    }
    if !snapshot.mail.may_sign() {
        return;
    }
    if config.keys.is_none() {
        let text = "a rule has mail signed, and there are no [keys]: it goes unsigned";
        let hint =
            "make [keys] in kenin.toml, and take in the authors' keys with \"kenin key import\"";
        findings.push(mistake(text, hint));
        return;
    }
    let mut listeners = config.listeners.iter();
    if !listeners.any(|one| one.submission || one.mode == ListenerMode::Milter) {
        let text =
            "a rule has mail signed, and no listener tells whose mail it is: nobody's is signed";
        let hint = "let a milter do it, or set submission = true for a listener that gets only mail whose sender \
                    the MTA has checked against the login";
        findings.push(mistake(text, hint));
    }
}
