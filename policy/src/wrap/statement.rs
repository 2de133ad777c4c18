//! What the wrapped form says to the person who gets it, in Japanese and English: words first.
//!
//! Never "safe", never "verified" without an object, and nothing that the disclosure of the signer's
//! trust anchor does not allow.

use std::fmt::Write;

use crate::decryption::Vouched;
use crate::header::{Header, unfold};
use crate::mailbox::decoded;
use crate::reason::{Reason, ResultWord};
use crate::stamp::{StampContext, outward};
use crate::verdict::{SignatureVerdict, Verdict};

/// What a statement is about.
pub(super) struct Told<'a> {
    pub(super) raw: &'a [u8],
    pub(super) header: &'a Header,
    pub(super) verdict: &'a Verdict,
    pub(super) context: &'a StampContext<'a>,
    pub(super) service: &'a str,
    /// Whether the message inside was taken out of its signature.
    pub(super) released: bool,
}

impl Told<'_> {
    /// Result and reason as they may be told.
    pub(super) fn said(&self) -> (ResultWord, Reason) {
        outward(self.verdict).unwrap_or((ResultWord::None, Reason::NotSigned))
    }

    /// The signature that decides.
    pub(super) fn signature(&self) -> Option<&SignatureVerdict> {
        let (_, reason) = self.said();
        let mut signatures = self.verdict.root_signatures();
        signatures.find(|signature| signature.outward().1 == reason)
    }

    /// A field of the original as one line of text, bounded, without what moves or hides text.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let mut fields = self.header.fields.iter();
        let field = fields.find(|field| field.is_plainly(self.raw, name))?;
        let value = unfold(
            field
                .value(self.raw)
                .get(..MAX_FIELD)
                .unwrap_or(field.value(self.raw)),
        );
        let value = String::from_utf8_lossy(&value);
        Some(line(&decoded(&value).unwrap_or_else(|| value.into_owned())))
    }
}

/// The text, lines ended by CRLF.
pub(super) fn text(told: &Told<'_>) -> String {
    let (result, reason) = told.said();
    let words = words(result);
    let mut out = String::new();
    let mut say = |line: &str| {
        out.push_str(line);
        out.push_str("\r\n");
    };
    say(&format!("{} / {}", words.title_ja, words.title));
    say("");
    let mut facts: Vec<(&str, String)> = Vec::new();
    let from: Vec<String> = told.verdict.from.iter().map(|one| line(one)).collect();
    facts.push((
        "差出人 / From",
        match from.is_empty() {
            true => "-".to_owned(),
            false => from.join(", "),
        },
    ));
    if let Some(signer) = told.signature().and_then(signer) {
        facts.push(("署名者 / Signed by", signer));
    }
    if let Some(date) = told.field("date") {
        facts.push(("差出日時 / Sent", date));
    }
    facts.push(("確認日時 / Checked", told.context.now.to_string()));
    if let Some(since) = told.signature().and_then(fresh) {
        facts.push(("失効情報 / Revocation data of", since.to_owned()));
    }
    facts.push((
        "確認者 / Checked by",
        format!("{} ({})", line(told.service), told.context.authserv_id),
    ));
    facts.push((
        "結果 / Result",
        format!("{result} ({reason}), {}", told.context.id),
    ));
    for (name, value) in facts {
        say(&format!("{name}: {value}"));
    }
    if let Some(vouched) = Vouched::of(told.verdict) {
        let vouched = vouched.as_str();
        say(&format!(
            "暗号 / Encryption: 復号しました / opened here (integrity: {vouched})"
        ));
    }
    say("");
    say(&format!("{}。", reason.text_ja()));
    say(words.advice_ja);
    let inside = inside(told);
    say(inside.0);
    say("件名、宛先、日時は、ふつう署名の対象に含まれません。");
    say("");
    say(&format!("{}.", sentence(reason.text())));
    say(words.advice);
    say(inside.1);
    say("Subject, recipients and date are usually not covered by a signature.");
    out
}

/// What the attached message is. Only what was found to be what was signed is called that.
fn inside(told: &Told<'_>) -> (&'static str, &'static str) {
    match (told.released, told.verdict.is_pass()) {
        (false, _) if Vouched::of(told.verdict).is_some() => (
            "添付のメールは、暗号化されて届いたメールを、ここで復号したものです。",
            "The attached message came encrypted and was opened here.",
        ),
        (false, _) => (
            "添付のメールは、受け取ったままの元のメールです。",
            "The attached message is the original as it came.",
        ),
        (true, true) => (
            "署名者の証明書と署名は、署名者の個人情報を守るため取り除いてあります。添付のメールは、署名されていた内容そのものです。",
            "The signer's certificate and signature were taken out to protect the signer's personal data. The attached message is what was signed, unchanged.",
        ),
        (true, false) => (
            "署名者の証明書と署名は、署名者の個人情報を守るため取り除いてあります。添付のメールは、届いた内容から署名を除いたものです。",
            "The signer's certificate and signature were taken out to protect the signer's personal data. The attached message is what came, without the signature.",
        ),
    }
}

/// Who signed, as far as it may be told.
fn signer(signature: &SignatureVerdict) -> Option<String> {
    let address = signature.identifier().map(line);
    let certificate = signature
        .signer
        .as_ref()
        .filter(|_| !signature.is_shielded())
        .map(|signer| format!("{} ← {}", line(&signer.subject), line(&signer.issuer)));
    match (address, certificate) {
        (Some(address), Some(certificate)) => Some(format!("{address} ({certificate})")),
        (address, certificate) => address.or(certificate),
    }
}

/// Of when the status is, where that tells nothing of what it is: only beside `pass`.
pub(super) fn fresh(signature: &SignatureVerdict) -> Option<&str> {
    let told = !signature.is_shielded() || signature.result == ResultWord::Pass;
    signature.status_as_of.as_deref().filter(|_| told)
}

struct Words {
    title_ja: &'static str,
    title: &'static str,
    advice_ja: &'static str,
    advice: &'static str,
}

fn words(result: ResultWord) -> Words {
    match result {
        ResultWord::Pass => Words {
            title_ja: "署名は有効です",
            title: "Signature valid",
            advice_ja: "添付のメールは、この署名者が署名したとおりの内容です。返信はそのまま差出人に届きます。",
            advice: "The attached message is what this signer signed. An answer goes to the sender.",
        },
        ResultWord::Policy => Words {
            title_ja: "署名は確認できましたが、受け入れ条件を満たしません",
            title: "Signed, but not accepted",
            advice_ja: "この署名を根拠にしないでください。大切な用件なら、電話など別の手段で差出人に確かめてください。",
            advice: "Do not rely on this signature. If it matters, ask the sender by another way, such as the telephone.",
        },
        ResultWord::Neutral | ResultWord::None => Words {
            title_ja: "判定できません",
            title: "Not judged",
            advice_ja: "差出人が誰かは、このメールからは分かりません。大切な用件なら、電話など別の手段で差出人に確かめてください。",
            advice: "Nothing here says who sent this. If it matters, ask the sender by another way, such as the telephone.",
        },
        ResultWord::Fail | ResultWord::PermError => Words {
            title_ja: "署名が無効です",
            title: "Signature INVALID",
            advice_ja: "内容が変えられたか、差出人が偽られているおそれがあります。求められた手続きをせず、別の手段で差出人に確かめてください。",
            advice: "The message may be changed or forged. Do nothing it asks for before you have asked the sender by another way.",
        },
        ResultWord::TempError => Words {
            title_ja: "現在確認できません",
            title: "Could not be checked now",
            advice_ja: "署名が有効かどうかは、まだ分かりません。管理者に伝えるか、差出人に再送を頼んでください。",
            advice: "Whether the signature is valid is not known yet. Tell the administrator, or ask the sender to send it again.",
        },
    }
}

/// One bounded line of text without characters that move or hide others.
fn line(text: &str) -> String {
    let shown: String = text
        .chars()
        .filter(|c| !c.is_control() && !is_invisible(*c))
        .take(MAX_LINE)
        .collect();
    // Many blanks look like a new line.
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Bidirectional controls, zero-width characters and line separators.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn sentence(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    if let Some(first) = letters.next() {
        let _ = write!(out, "{}{}", first.to_uppercase(), letters.as_str());
    }
    out
}

const MAX_LINE: usize = 300;
const MAX_FIELD: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Only of what was found to be signed it is said.
    #[test]
    fn what_was_not_judged_is_not_called_signed() {
        for result in ResultWord::ALL {
            let words = words(result);
            let says_so = words.title.starts_with("Signed");
            assert_eq!(says_so, result == ResultWord::Policy, "{result}");
            assert_eq!(
                says_so,
                words.title_ja.contains("確認できましたが"),
                "{result}"
            );
        }
        assert_eq!(words(ResultWord::Neutral).title, "Not judged");
    }
}
