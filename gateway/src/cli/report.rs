//! A verdict in words for people: the result, who, why, what to do, then the checks one by one.
//! Says "valid" of a signature, never "safe" of a mail; every word of a stranger is made harmless.

use kenin_policy::reason::{Reason, ResultWord};
use kenin_policy::verdict::{CheckResult, SignatureVerdict, Verdict};

use super::paint::{Paint, harmless};

/// The text for one file.
pub(super) fn verdict(name: &str, verdict: &Verdict, paint: Paint) -> String {
    let mut lines = Lines {
        text: String::new(),
        paint,
    };
    let word = verdict.result.map_or("encrypted", ResultWord::as_str);
    let title = paint.result(word, headline(verdict));
    let ids = paint.dim(&format!("[{word}: {}]", verdict.reason_id()));
    lines
        .text
        .push_str(&format!("{}: {title} {ids}\n", paint.bold(&harmless(name))));
    if !verdict.from.is_empty() {
        let from: Vec<String> = verdict.from.iter().map(|from| harmless(from)).collect();
        lines.row("from", &from.join(", "));
    }
    match verdict.reason {
        Some(reason) => {
            lines.row("why", &why_all(verdict, reason));
            if reason.advice() != "nothing" {
                let actor = reason.actor().as_str();
                let advice = reason.advice();
                let to_do = if actor == "nobody" {
                    advice.to_owned()
                } else {
                    format!("{advice} ({actor})")
                };
                lines.row("what to do", &to_do);
            }
        }
        None => lines.row("why", "the message is encrypted and was not opened"),
    }
    for signature in &verdict.signatures {
        lines.signature(signature, verdict.reason == Some(signature.reason));
    }
    for layer in &verdict.encryption {
        let opened = match (layer.opened, layer.integrity.as_str()) {
            (false, _) => "content not opened".to_owned(),
            (true, "none") => {
                "opened; only a signature inside says whether it was changed".to_owned()
            }
            (true, integrity) => format!("opened; integrity: {}", harmless(integrity)),
        };
        let text = format!(
            "{} at section {}, {} recipient(s), {opened}",
            harmless(&layer.content),
            layer.section,
            layer.recipients
        );
        lines.row("encrypted", &text);
    }
    if !verdict.notes.is_empty() {
        let notes: Vec<&str> = verdict.notes.iter().map(|note| note.id.id()).collect();
        lines.row("notes", &notes.join(", "));
    }
    lines.text
}

/// The one plain thing that is said first.
pub(super) fn headline(verdict: &Verdict) -> &'static str {
    match verdict.result {
        // Too large or too odd to look for signatures: nothing is known of any.
        Some(ResultWord::PermError) if verdict.signatures.is_empty() => {
            "Could not be checked / 確認できません"
        }
        // Whoever reads "signed" takes it that somebody signed it.
        Some(ResultWord::Policy) if !verdict.has_right_signature() => words(NOT_JUDGED),
        result => words(result),
    }
}

/// What is said of a result.
const fn words(result: Option<ResultWord>) -> &'static str {
    match result {
        Some(ResultWord::Pass) => "Signature valid / 署名は有効です",
        Some(ResultWord::Policy) => {
            "Signed, but not accepted / 署名は確認できましたが、受け入れ条件を満たしません"
        }
        Some(ResultWord::Neutral) => "Not judged / 判定できません",
        Some(ResultWord::Fail | ResultWord::PermError) => "Signature INVALID / 署名が無効です",
        Some(ResultWord::TempError) => "Could not be checked now / 現在確認できません",
        Some(ResultWord::None) => "Not signed / 署名はありません",
        None => "Encrypted, not opened / 暗号化されています",
    }
}

/// What could be neither confirmed nor refuted.
const NOT_JUDGED: Option<ResultWord> = Some(ResultWord::Neutral);

/// Why the whole is what it is: in the words of the root signature that decided.
pub(super) fn why_all(verdict: &Verdict, reason: Reason) -> String {
    let decided = verdict
        .root_signatures()
        .find(|signature| signature.reason == reason);
    match (&verdict.detail, decided) {
        (None, Some(signature)) => why_of(signature),
        (detail, _) => why(reason, detail.as_deref()),
    }
}

/// Why one signature is what it is.
pub(super) fn why_of(signature: &SignatureVerdict) -> String {
    if signature.reason == Reason::Ok && signature.checks.identity == CheckResult::Unchecked {
        return "the signature is valid; there is no sender to compare it with".to_owned();
    }
    why(signature.reason, signature.detail.as_deref())
}

/// The sentence of a reason, with what exactly failed.
fn why(reason: Reason, detail: Option<&str>) -> String {
    match detail {
        Some(detail) if !detail.is_empty() && detail != reason.text() => {
            format!("{} ({})", reason.text(), harmless(detail))
        }
        _ => reason.text().to_owned(),
    }
}

struct Lines {
    text: String,
    paint: Paint,
}

impl Lines {
    fn row(&mut self, label: &str, value: &str) {
        self.text.push_str(&format!(
            "  {} {value}\n",
            self.paint.dim(&format!("{label:<11}"))
        ));
    }

    fn signature(&mut self, signature: &SignatureVerdict, decided: bool) {
        let place = if signature.root {
            format!("section {}", signature.section)
        } else {
            format!(
                "section {}, below the root: it does not count",
                signature.section
            )
        };
        let word = signature.result.as_str();
        let result = self
            .paint
            .result(word, &format!("{word} ({})", signature.reason.id()));
        self.row("signature", &format!("{result} {}", self.paint.dim(&place)));
        if let Some(signer) = &signature.signer {
            let addresses: Vec<String> = signer.addresses.iter().map(|a| harmless(a)).collect();
            let who = if addresses.is_empty() {
                "no address".to_owned()
            } else {
                addresses.join(", ")
            };
            self.row("  who", &format!("{who}; {}", harmless(&signer.subject)));
            let anchor = signature
                .anchor
                .as_ref()
                .map_or_else(String::new, |anchor| {
                    format!(" (trust anchor {})", harmless(anchor))
                });
            self.row("  issuer", &format!("{}{anchor}", harmless(&signer.issuer)));
            self.row(
                "  serial",
                &format!("{}, sha256 {}", signer.serial, signer.sha256),
            );
        }
        // Of the root signature that decided, this was said above.
        if !(signature.root && decided) {
            self.row("  why", &why_of(signature));
        }
        let checks: Vec<String> = signature
            .checks
            .each()
            .iter()
            .map(|(name, result)| self.check(name, *result))
            .collect();
        self.row("  checks", &checks.join(" · "));
        let algorithms: Vec<&str> = [&signature.algorithm, &signature.digest]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        if !algorithms.is_empty() {
            self.row("  algorithm", &algorithms.join(", "));
        }
        if let Some(time) = &signature.signing_time {
            self.row(
                "  signed",
                &format!("{} by the signer's own clock", harmless(time)),
            );
        }
        if !signature.notes.is_empty() {
            let notes: Vec<&str> = signature.notes.iter().map(|note| note.id.id()).collect();
            self.row("  notes", &notes.join(", "));
        }
    }

    fn check(&self, name: &str, result: CheckResult) -> String {
        let colour = match result {
            CheckResult::Ok => "pass",
            CheckResult::Unchecked => return self.paint.dim(&format!("{name} unchecked")),
            CheckResult::Failed(reason) => reason.result().as_str(),
        };
        format!("{name} {}", self.paint.result(colour, result.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::arguments::{Arguments, Command};
    use super::super::engine::Engine;
    use super::*;
    use clap::Parser;

    fn judge(mail: &str) -> Verdict {
        let parsed = Arguments::try_parse_from(["kenin", "verify", "x"]).unwrap();
        let Command::Verify(verify) = parsed.command else {
            panic!("verify")
        };
        Engine::new(&[], &verify.judge)
            .unwrap()
            .judge(mail.as_bytes().to_vec())
            .verdict
    }

    #[test]
    fn unsigned_mail_is_said_to_be_unsigned() {
        let text = verdict("a.eml", &judge("From: a@example.jp\n\nx\n"), Paint::PLAIN);
        assert!(
            text.starts_with("a.eml: Not signed / 署名はありません [none: not-signed]\n"),
            "{text}"
        );
        assert!(text.contains("a@example.jp"), "{text}");
        assert!(!text.contains("valid"), "{text}");
    }

    #[test]
    fn of_mail_that_was_not_looked_into_no_signature_is_called_invalid() {
        let mut judged = judge("From: a@example.jp\n\nx\n");
        judged.result = Some(ResultWord::PermError);
        judged.reason = Some(Reason::LimitSize);
        assert!(headline(&judged).starts_with("Could not be checked"));
    }

    /// A compressed layer has no signer, and a signature by an unknown algorithm was not looked at.
    #[test]
    fn what_was_not_judged_is_not_called_signed() {
        let mut judged = judge("From: a@example.jp\n\nx\n");
        for reason in [Reason::UnsupportedLayer, Reason::UnsupportedAlgorithm] {
            judged.result = Some(reason.result());
            judged.reason = Some(reason);
            let text = verdict("a.eml", &judged, Paint::PLAIN);
            assert!(
                text.starts_with("a.eml: Not judged / 判定できません [neutral: "),
                "{text}"
            );
        }
        judged.result = Some(ResultWord::Policy);
        judged.reason = Some(Reason::FromMismatch);
        assert_eq!(headline(&judged), words(NOT_JUDGED));
    }

    #[test]
    fn no_word_promises_safety() {
        for result in ResultWord::ALL {
            assert!(!words(Some(result)).to_lowercase().contains("safe"));
        }
        for reason in Reason::ALL {
            assert!(!why(*reason, None).is_empty());
        }
    }

    #[test]
    fn strangers_words_are_harmless() {
        let judged = judge("From: a@example.jp\n\nx\n");
        let text = verdict("\u{1b}[2Jx\n.eml", &judged, Paint::PLAIN);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(why(Reason::Ok, Some("\u{202e}x")).contains("\\u{202e}"));
    }
}
