//! Whether what `mail.toml` says of protecting mail can come true.

use super::{Finding, warning};
use crate::config::{ConfigError, ListenerMode};
use crate::snapshot::Snapshot;

/// Who signs, and for whom.
pub(super) fn look(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let config = &snapshot.config;
    let mistake = |text: &str, hint: &str| {
        let error = ConfigError::new(config.mail_file(), text);
        warning(error.hint(hint))
    };
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
