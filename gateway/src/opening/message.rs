//! From an opened content to the message that its recipients get, and the verdict on it.
//!
//! The content's own header fields count where it says that they do (RFC 9788), From only where it is the one that came or
//! that of a good signature. Nothing in a signature is changed; what no relay would pass on is no message.

use std::ops::Range;

use kenin_pki::address::{Address, AddressCase};
use kenin_pki::crypto::Secret;
use kenin_policy::header;
use kenin_policy::verdict::Verdict;
use kenin_policy::{HeaderEdits, Reason, mailbox};
use kenin_smime::{Limits, canonical, open, relayable};

use crate::config::Receipts;

/// What a message is made for.
pub(super) struct Making<'m> {
    /// The mail as it came.
    pub(super) raw: &'m [u8],
    pub(super) limits: &'m Limits,
    pub(super) receipts: Receipts,
    /// What the message is called where nothing else calls it so that an answer to it is known (DEC-14).
    pub(super) name: &'m str,
    /// Whether it should rather be of octets below 128.
    pub(super) seven_bit: bool,
    pub(super) judge: &'m dyn Fn(&[u8]) -> Verdict,
}

impl Making<'_> {
    /// The message with this content and its verdict; nothing where no relay would pass it on, or only so that a good
    /// signature in it would break.
    pub(super) fn message(&self, entity: &[u8]) -> Option<(Secret, Verdict)> {
        let (whole, verdict) = self.judged(entity, &|_| true)?;
        if is_from_same(self.raw, whole.expose()) || verdict.is_pass() {
            return Some((whole, verdict));
        }
        // Nobody on the way has seen the inner one, and nobody vouches for it.
        self.judged(entity, &|name| name != "from")
    }

    fn judged(&self, entity: &[u8], keep: &dyn Fn(&str) -> bool) -> Option<(Secret, Verdict)> {
        let made = || Secret::new(open::reassemble(self.raw, entity, self.limits, keep));
        let Fitting { lines, other_ends } = self.fitting(made())?;
        let whole = self.named(lines);
        let whole = match self.receipts {
            Receipts::Strip => without_wishes(whole),
            Receipts::Keep => whole,
        };
        let verdict = (self.judge)(whole.expose());
        // A line feed may be an octet of something binary, whose signature is over it as it is.
        let broken =
            other_ends && is_broken(&verdict) && !is_broken(&(self.judge)(made().expose()));
        (!broken).then_some((whole, verdict))
    }

    /// With one Message-ID, which all programs read alike. Whoever has the mail on its way can take it out, or spell it
    /// oddly, so that nobody knows the answer for one.
    fn named(&self, made: Secret) -> Secret {
        let header = header::scan(made.expose());
        let ids = header.fields.iter();
        let is_id = |field: &&header::Field| field.may_be(made.expose(), |own| own == "message-id");
        let ids: Vec<&header::Field> = ids.filter(is_id).collect();
        if let [only] = ids.as_slice()
            && is_plain_id(made.expose(), only)
        {
            return made;
        }
        let edits = HeaderEdits {
            remove: ids.iter().map(|field| field.whole.clone()).collect(),
            prepend: format!("Message-ID: <{}>\r\n", self.name).into_bytes(),
            ..HeaderEdits::default()
        };
        Secret::new(edits.apply(made.expose()))
    }

    /// In lines that relays pass on, however the content's own lines end.
    fn fitting(&self, made: Secret) -> Option<Fitting> {
        let seven_bit = made.expose().is_ascii() || !self.seven_bit;
        if seven_bit && is_lines(made.expose()) && !has_long_line(made.expose()) {
            return Some(Fitting {
                lines: made,
                other_ends: false,
            });
        }
        // Text that is signed stays as it is but for its line ends, which its signature survives. So do its long lines, where
        // nothing else fits.
        let lines = match relayable(made.expose(), self.limits) {
            Some(fits) => fits.into_owned(),
            None => canonical::to_crlf(made.expose()),
        };
        let lines = ended(Secret::new(lines));
        is_lines(lines.expose()).then(|| Fitting {
            lines,
            other_ends: canonical::has_bare_lf(made.expose()),
        })
    }
}

/// A message that relays pass on.
struct Fitting {
    lines: Secret,
    /// Whether what is signed in it may have had other line ends before.
    other_ends: bool,
}

/// Whether something is not what its signer signed.
fn is_broken(verdict: &Verdict) -> bool {
    let signatures = verdict.signatures.iter().map(|one| one.reason);
    signatures
        .chain(verdict.reason)
        .any(|reason| reason == Reason::DigestMismatch)
}

/// With an end of its last line.
fn ended(made: Secret) -> Secret {
    match made.expose().ends_with(b"\r\n") {
        true => made,
        false => Secret::new([made.expose(), b"\r\n"].concat()),
    }
}

/// Whether it is one id between angle brackets, without white space, comments or quotes.
fn is_plain_id(message: &[u8], field: &header::Field) -> bool {
    let value = header::unfold(field.value(message));
    let id = value.trim_ascii().strip_prefix(b"<");
    let id = id.and_then(|id| id.strip_suffix(b">")).unwrap_or_default();
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"<>()\"\\".contains(byte);
    field.is_plainly(message, "message-id") && !id.is_empty() && id.iter().all(plain)
}

/// Whether it is whole lines that end with CRLF, without a NUL.
fn is_lines(bytes: &[u8]) -> bool {
    let ended = |at: usize| bytes.get(at + 1) == Some(&b'\n');
    bytes.ends_with(b"\r\n")
        && !canonical::has_bare_lf(bytes)
        && memchr::memchr_iter(b'\r', bytes).all(ended)
        && memchr::memchr(0, bytes).is_none()
}

/// Whether a line of the body is longer than what relays take (RFC 5321 §4.5.3.1.6): some break it.
fn has_long_line(bytes: &[u8]) -> bool {
    let mut start = memchr::memmem::find(bytes, b"\r\n\r\n").map_or(0, |at| at + 4);
    memchr::memchr_iter(b'\n', bytes).any(|end| {
        let long = end.saturating_sub(start) > MAX_LINE;
        start = start.max(end + 1);
        long
    })
}

/// Octets of a line with its CR.
const MAX_LINE: usize = 999;

/// Whether both messages name one sender, and the same.
fn is_from_same(raw: &[u8], whole: &[u8]) -> bool {
    let sender = |bytes: &[u8]| -> Option<Address> {
        let from = mailbox::from_field(bytes, &header::scan(bytes));
        from.mailbox.ok().map(|mailbox| mailbox.address)
    };
    match (sender(raw), sender(whole)) {
        (Some(outer), Some(inner)) => outer.matches(&inner, AddressCase::Insensitive),
        _ => false,
    }
}

/// Without the fields by which a sender asks to be told that a mail was delivered or read: the answer would tell that it
/// could be opened, and may quote it.
fn without_wishes(made: Secret) -> Secret {
    let remove = wishes(made.expose());
    if remove.is_empty() {
        return made;
    }
    let edits = HeaderEdits {
        remove,
        ..HeaderEdits::default()
    };
    Secret::new(edits.apply(made.expose()))
}

/// Where those fields stand.
pub(crate) fn wishes(message: &[u8]) -> Vec<Range<usize>> {
    let header = header::scan(message);
    let wishes = header.fields.iter();
    let wishes = wishes.filter(|field| field.may_be(message, |name| WISHES.contains(&name)));
    wishes.map(|field| field.whole.clone()).collect()
}

/// Disposition-Notification-To is RFC 8098's; the others are older, and still answered by some.
const WISHES: [&str; 6] = [
    "disposition-notification-to",
    "disposition-notification-options",
    "return-receipt-to",
    "read-receipt-to",
    "x-confirm-reading-to",
    "generate-delivery-report",
];

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::substitute;

    const RAW: &str = "Received: by a\r\nFrom: Alice <alice@example.jp>\r\nTo: bob@example.jp\r\n\
        Message-ID: <1@example.jp>\r\nSubject: [...]\r\nDisposition-Notification-To: alice@example.jp\r\n\
        Return-Receipt-To : alice@example.jp\r\nX-Confirm-Reading-To: a@b\r\n\
        Content-Type: application/pkcs7-mime\r\n\r\nMIIB\r\n";

    /// The message, and how often it was judged.
    fn made(
        entity: &str,
        reason: Reason,
        change: &dyn Fn(&mut Making<'_>),
    ) -> Option<(String, usize)> {
        made_of(RAW, entity, reason, change)
    }

    fn made_of(
        raw: &str,
        entity: &str,
        reason: Reason,
        change: &dyn Fn(&mut Making<'_>),
    ) -> Option<(String, usize)> {
        let judged = RefCell::new(0);
        let judge = |_: &[u8]| {
            *judged.borrow_mut() += 1;
            substitute::unexamined(reason, b"")
        };
        let limits = Limits::default();
        let mut making = Making {
            raw: raw.as_bytes(),
            limits: &limits,
            receipts: Receipts::Strip,
            name: "2@gw.example",
            seven_bit: false,
            judge: &judge,
        };
        change(&mut making);
        let (whole, _) = making.message(entity.as_bytes())?;
        let text = String::from_utf8(whole.expose().to_vec()).unwrap();
        Some((text, judged.into_inner()))
    }

    fn plainly(entity: &str) -> Option<String> {
        made(entity, Reason::NotSigned, &|_| {}).map(|(text, _)| text)
    }

    #[test]
    fn wishes_for_receipts_are_taken_out_unless_they_are_to_stay() {
        let entity = "Content-Type: text/plain\r\n\r\nx\r\n";
        let wanted = "Received: by a\r\nFrom: Alice <alice@example.jp>\r\nTo: bob@example.jp\r\n\
            Message-ID: <1@example.jp>\r\nSubject: [...]\r\nMIME-Version: 1.0\r\n\
            Content-Type: text/plain\r\n\r\nx\r\n";
        assert_eq!(plainly(entity).unwrap(), wanted);
        let kept = made(entity, Reason::NotSigned, &|making| {
            making.receipts = Receipts::Keep;
        });
        let (kept, _) = kept.unwrap();
        assert!(kept.contains("\r\nDisposition-Notification-To: ") && kept.contains("X-Confirm"));
    }

    /// DEC-14: an answer is known by the name of what it answers.
    #[test]
    fn what_has_no_name_that_an_answer_repeats_gets_one() {
        let own = "Message-ID: <1@example.jp>\r\n";
        for (came, kept) in [
            (own, true),
            ("message-id:<1@example.jp>\r\n", true),
            ("", false),
            ("Message-ID: 1@example.jp\r\n", false),
            ("Message-ID: <1@example.jp> (odd)\r\n", false),
            ("Message-ID: <1 @example.jp>\r\n", false),
            ("Message-ID : <1@example.jp>\r\n", false),
            (
                "Message-ID: <1@example.jp>\r\nMessage-ID: <3@example.jp>\r\n",
                false,
            ),
        ] {
            let raw = RAW.replace(own, came);
            let entity = "Content-Type: text/plain\r\n\r\nx\r\n";
            let (text, _) = made_of(&raw, entity, Reason::NotSigned, &|_| {}).unwrap();
            let named = text.starts_with("Message-ID: <2@gw.example>\r\n");
            assert_eq!(
                (named, text.contains("1@example.jp")),
                (!kept, kept),
                "{came}"
            );
        }
    }

    #[test]
    fn an_inner_from_counts_if_it_is_the_outer_one_or_signed() {
        let entity = |from: &str| {
            format!(
                "Subject: Pay\r\nFrom: {from}\r\nContent-Type: text/plain; hp=\"cipher\"\r\n\r\nx\r\n"
            )
        };
        for (from, reason, shown, times) in [
            (
                "A <ALICE@example.jp>",
                Reason::NotSigned,
                "A <ALICE@example.jp>",
                1,
            ),
            (
                "mallory@example.com",
                Reason::NotSigned,
                "Alice <alice@example.jp>",
                2,
            ),
            (
                "mallory@example.com",
                Reason::FromMismatch,
                "Alice <alice@example.jp>",
                2,
            ),
            ("carol@example.jp", Reason::Ok, "carol@example.jp", 1),
            (
                "a@b.example, c@d.example",
                Reason::NotSigned,
                "Alice <alice@example.jp>",
                2,
            ),
        ] {
            let (text, judged) = made(&entity(from), reason, &|_| {}).unwrap();
            assert!(text.contains(&format!("\r\nFrom: {shown}\r\n")), "{text}");
            assert_eq!(text.matches("From:").count(), 1, "{text}");
            assert!(text.contains("\r\nSubject: Pay\r\n"), "{text}");
            assert_eq!(judged, times, "{from}");
        }
    }

    #[test]
    fn what_comes_out_is_lines() {
        let lf = plainly("Content-Type: text/plain\n\na\nb").unwrap();
        assert!(
            lf.ends_with("Content-Type: text/plain\r\n\r\na\r\nb\r\n"),
            "{lf}"
        );
        let wide = plainly("Content-Type: text/plain; charset=utf-8\r\n\r\n検印\r\n").unwrap();
        assert!(wide.ends_with("\r\n\r\n検印\r\n"), "{wide}");
        let binary =
            "Content-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\r\x01\n";
        let binary = plainly(binary).unwrap();
        assert!(
            binary.contains("Content-Transfer-Encoding: base64\r\n"),
            "{binary}"
        );
        let long = |length: usize| {
            let body = "x".repeat(length);
            plainly(&format!("Content-Type: text/plain\r\n\r\n{body}\r\n")).unwrap()
        };
        assert!(!long(998).contains("base64"));
        assert!(long(999).contains("Content-Transfer-Encoding: base64\r\n"));
        let narrow = made(
            "Content-Type: text/plain; charset=utf-8\r\n\r\n検印\r\n",
            Reason::NotSigned,
            &|making| making.seven_bit = true,
        );
        assert!(narrow.unwrap().0.is_ascii());
    }

    /// What was a good attachment arrived as another, with a signature that did not hold. So did text that was signed as it is.
    #[test]
    fn what_only_other_line_ends_would_break_is_no_message() {
        for kind in ["image/x", "text/plain"] {
            only_other_line_ends_would_break(kind);
        }
    }

    fn only_other_line_ends_would_break(kind: &str) {
        let entity = format!(
            "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\
             Content-Type: {kind}\r\nContent-Transfer-Encoding: binary\r\n\r\n1\n2\r\n--b\r\n\
             Content-Type: application/pkcs7-signature\r\n\r\nx\r\n--b--\r\n"
        );
        let made = |broken: &dyn Fn(&[u8]) -> bool| {
            let judge = |message: &[u8]| {
                let reason = match broken(message) {
                    true => Reason::DigestMismatch,
                    false => Reason::NotSigned,
                };
                substitute::unexamined(reason, b"")
            };
            let making = Making {
                raw: RAW.as_bytes(),
                limits: &Limits::default(),
                receipts: Receipts::Strip,
                name: "2@gw.example",
                seven_bit: false,
                judge: &judge,
            };
            making.message(entity.as_bytes())
        };
        assert!(made(&|message| !canonical::has_bare_lf(message)).is_none());
        // Text, and what had been changed before.
        for broken in [false, true] {
            let (whole, _) = made(&|_| broken).unwrap();
            assert!(!canonical::has_bare_lf(whole.expose()));
        }
    }

    #[test]
    fn what_is_signed_keeps_all_but_its_line_ends() {
        let signed = |text: &str| {
            format!(
                "Content-Type: multipart/signed; boundary=b\n\n--b\nContent-Type: text/plain\n\n\
                 {text}\n--b\nContent-Type: application/pkcs7-signature\n\nx\n--b--\n"
            )
        };
        let out = plainly(&signed("検\nx")).unwrap();
        assert!(out.contains("\r\n\r\n検\r\nx\r\n--b\r\n"), "{out}");
        let out = plainly(&signed(&"x".repeat(999))).unwrap();
        assert!(out.contains(&"x".repeat(999)));
        // It cannot be sent as it is, and must not be changed.
        assert_eq!(plainly(&signed("a\0b")), None);
        assert_eq!(plainly(&signed("a\rb")), None);
    }
}
