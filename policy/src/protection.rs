//! Header protection: what a signed content says in the message's stead against what the message says.
//!
//! Mail programs that know RFC 9788 show the protected fields, others show the message's own: where the
//! two differ, a verdict about one of them would be read as one about the other. Never decides which of
//! them is right.
//! <https://www.rfc-editor.org/rfc/rfc9788#section-4>.

use kenin_smime::ProtectedHeader;

use crate::header::{Header, unfold};
use crate::mailbox;

/// How the message's header stands to the protected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Agreement {
    /// Nothing is protected, or every protected field stands outside too.
    Agrees,
    /// So far as it is protected; a field outside is not.
    NotCovered,
    /// Another value, or one that is missing on one side.
    Differs,
}

/// Compares the message's header with each that is protected; the worst counts.
pub(crate) fn compare(raw: &[u8], header: &Header, protected: &[ProtectedHeader]) -> Agreement {
    protected
        .iter()
        .map(|protected| compare_one(raw, header, protected))
        .max()
        .unwrap_or(Agreement::Agrees)
}

fn compare_one(raw: &[u8], header: &Header, protected: &ProtectedHeader) -> Agreement {
    let mut agreement = Agreement::Agrees;
    for name in ProtectedHeader::NAMES {
        let inner: Vec<&[u8]> = protected
            .fields
            .iter()
            .filter(|(own, _)| *own == name)
            .map(|(_, value)| value.as_slice())
            .collect();
        let outer: Vec<&[u8]> = header
            .fields
            .iter()
            .filter(|field| field.may_be(raw, |own| own == name))
            .map(|field| field.value(raw))
            .collect();
        // Who is said to write must stand inside: it is what the signature is compared with.
        if inner.is_empty() && name != "from" {
            if !outer.is_empty() {
                agreement = Agreement::NotCovered;
            }
            continue;
        }
        let same =
            inner.len() == outer.len() && inner.iter().zip(&outer).all(|(a, b)| same(name, a, b));
        if !same {
            return Agreement::Differs;
        }
    }
    agreement
}

/// The same to a reader: folded and encoded as each side likes.
fn same(name: &str, one: &[u8], other: &[u8]) -> bool {
    let text = |value: &[u8]| {
        let text = String::from_utf8_lossy(&unfold(value)).into_owned();
        let text = mailbox::decoded(&text).unwrap_or(text);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let (one, other) = (text(one), text(other));
    if one == other {
        return true;
    }
    // A display name may be written in another way; the address may not.
    let address = |value: &str| mailbox::parse(value).ok().map(|mailbox| mailbox.address);
    name == "from" && address(&one).is_some() && address(&one) == address(&other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::scan;

    fn against(outer: &str, inner: &[(&'static str, &str)]) -> Agreement {
        let raw = format!("{outer}\r\n\r\nbody\r\n");
        let fields = inner
            .iter()
            .map(|(name, value)| (*name, value.as_bytes().to_vec()))
            .collect();
        let protected = ProtectedHeader { fields };
        compare(raw.as_bytes(), &scan(raw.as_bytes()), &[protected])
    }

    #[test]
    fn what_reads_the_same_agrees() {
        let inner = [
            ("from", " Alice <a@b.example>\r\n"),
            ("subject", " Hi all\r\n"),
        ];
        for outer in [
            "From: Alice <a@b.example>\r\nSubject: Hi all",
            "from: Alice <a@b.example>\r\nSUBJECT: Hi\r\n all",
            "From: a@b.example\r\nSubject: =?utf-8?Q?Hi?= =?utf-8?Q?_all?=",
            "Received: x\r\nFrom: \"Alice\" <a@b.example>\r\nSubject:Hi all\r\nX-A: b",
        ] {
            assert_eq!(against(outer, &inner), Agreement::Agrees, "{outer}");
        }
        assert_eq!(
            compare(b"From: x\r\n\r\n", &scan(b"From: x\r\n\r\n"), &[]),
            Agreement::Agrees
        );
    }

    #[test]
    fn what_another_reader_would_see_otherwise_differs() {
        let inner = [("from", " a@b.example\r\n"), ("to", " c@d.example\r\n")];
        for outer in [
            "From: x@b.example\r\nTo: c@d.example",
            "From: a@b.example\r\nTo: e@d.example",
            "From: a@b.example",
            "From: a@b.example\r\nFrom: a@b.example\r\nTo: c@d.example",
            "From: a@b.example\r\nTo: c@d.example\r\nTo : e@d.example",
            "To: c@d.example",
        ] {
            assert_eq!(against(outer, &inner), Agreement::Differs, "{outer}");
        }
        let outer = "From: a@b.example\r\nSubject: s";
        assert_eq!(against(outer, &[("subject", " s\r\n")]), Agreement::Differs);
    }

    #[test]
    fn what_was_added_outside_is_not_covered() {
        let inner = [("from", " a@b.example\r\n")];
        let outer = "From: a@b.example\r\nSubject: added";
        assert_eq!(against(outer, &inner), Agreement::NotCovered);
    }
}
