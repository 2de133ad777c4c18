//! Whom an answer to a mail goes to. Somebody who has another's encrypted mail may send it again with fields of their own,
//! so that who reads it answers, with the text in it, to them (DEC-11).

use kenin_pki::crypto::{DigestAlgorithm, Digester};
use kenin_policy::header::{self, Header};

/// What a mail says of itself, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answers {
    /// SHA-256 of all fields by which programs find whom to answer.
    pub(crate) digest: [u8; 32],
    /// What From says.
    pub(crate) sender: String,
    /// What Message-ID says.
    pub(crate) message_id: String,
}

impl Answers {
    /// Of the header outside, which is what whoever sends a mail again can choose.
    pub(crate) fn of(raw: &[u8]) -> Self {
        let header = header::scan(raw);
        let mut digester = Digester::new(DigestAlgorithm::Sha256);
        for name in FIELDS {
            for value in values(raw, &header, name) {
                digester.update(name.as_bytes());
                digester.update(b":");
                digester.update(value.as_bytes());
                digester.update(b"\n");
            }
        }
        let mut digest = [0; 32];
        digest
            .iter_mut()
            .zip(digester.finish().as_ref())
            .for_each(|(to, from)| *to = *from);
        let first = |name: &str| {
            let mut all = values(raw, &header, name).into_iter();
            all.next().unwrap_or_default()
        };
        Self {
            digest,
            sender: first("from"),
            message_id: first("message-id"),
        }
    }
}

/// The values of the fields that some reader may take for this one, on one line each. Folds and blanks do not count:
/// servers on the way change them.
fn values(raw: &[u8], header: &Header, name: &str) -> Vec<String> {
    let fields = header.fields.iter();
    let fields = fields.filter(|field| field.may_be(raw, |own| own == name));
    let text = |field: &header::Field| {
        let value = header::unfold(field.value(raw));
        let value = String::from_utf8_lossy(&value);
        value.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    fields.map(text).collect()
}

/// Fields by which a program finds whom to answer, alone, with all others, or by the list that brought it.
const FIELDS: [&str; 7] = [
    "from",
    "reply-to",
    "mail-reply-to",
    "mail-followup-to",
    "list-post",
    "to",
    "cc",
];

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "Received: by a\r\nFrom: Alice <alice@example.jp>\r\nTo: bob@example.jp,\r\n\
        \tcarol@example.jp\r\nSubject: [...]\r\nMessage-ID: <1@example.jp>\r\n\r\nMIIB\r\n";

    fn digest(mail: &str) -> [u8; 32] {
        Answers::of(mail.as_bytes()).digest
    }

    #[test]
    fn the_same_mail_on_another_way_is_answered_to_the_same() {
        for (from, to) in [
            ("Received: by a", "Received: by b\r\nReceived: by c"),
            ("To: bob@example.jp,\r\n\t", "To:  bob@example.jp, "),
            ("Subject: [...]", "Subject: other"),
            ("<1@example.jp>", "<2@example.jp>"),
            ("MIIB", "MIIC"),
        ] {
            assert_eq!(digest(MAIL), digest(&MAIL.replace(from, to)), "{to}");
        }
        let of = Answers::of(MAIL.as_bytes());
        assert_eq!(of.sender, "Alice <alice@example.jp>");
        assert_eq!(of.message_id, "<1@example.jp>");
        assert_eq!(Answers::of(b"\r\n").sender, "");
    }

    #[test]
    fn an_answer_to_somebody_else_is_another() {
        for (from, to) in [
            (
                "From: Alice <alice@example.jp>",
                "From: mallory@example.com",
            ),
            ("Subject:", "Reply-To: mallory@example.com\r\nSubject:"),
            ("Subject:", "REPLY-TO : mallory@example.com\r\nSubject:"),
            ("Subject:", "Cc: mallory@example.com\r\nSubject:"),
            (
                "Subject:",
                "Mail-Followup-To: mallory@example.com\r\nSubject:",
            ),
            (
                "Subject:",
                "List-Post: <mailto:mallory@example.com>\r\nSubject:",
            ),
            ("Subject:", "From: mallory@example.com\r\nSubject:"),
            ("carol@", "carol@example.jp, mallory@"),
            ("To: bob", "Cc: bob"),
        ] {
            assert_ne!(digest(MAIL), digest(&MAIL.replace(from, to)), "{to}");
        }
    }
}
