//! What a person's key signs: the attributes of a signed mail, and nothing else that could be taken for something else.
//! <https://www.rfc-editor.org/rfc/rfc5652#section-5.3>

use kenin_pki::der::{self, OBJECT_IDENTIFIER, OCTET_STRING, Reader};
use kenin_pki::oid;

/// Whether these are SignedAttributes in DER, as a SET OF, of a content that is data: one content-type and one
/// message-digest, each with one value (RFC 5652 §11.1, §11.2). With another content-type a signature would be a time
/// stamp, a receipt or something that is yet to come.
#[must_use]
pub fn are_of_mail(octets: &[u8]) -> bool {
    der::is_der(octets) && read(octets) == Some((1, 1))
}

/// How many content-types and message-digests there are; nothing where one of them is not as it must be.
fn read(octets: &[u8]) -> Option<(usize, usize)> {
    let mut reader = Reader::new(octets);
    let mut attributes = reader.set().ok()?;
    reader.finish().ok()?;
    let (mut types, mut digests) = (0, 0);
    while !attributes.is_empty() {
        let mut attribute = attributes.sequence().ok()?;
        let named = attribute.oid().ok()?;
        let mut values = attribute.set().ok()?;
        attribute.finish().ok()?;
        let value = values.any().ok()?;
        if named.content() == CONTENT_TYPE {
            types += 1;
            let data = value.tag == OBJECT_IDENTIFIER && value.content == oid::CMS_DATA.content();
            (data && values.is_empty()).then_some(())?;
        } else if named.content() == MESSAGE_DIGEST {
            digests += 1;
            let digest = value.tag == OCTET_STRING && DIGESTS.contains(&value.content.len());
            (digest && values.is_empty()).then_some(())?;
        }
    }
    Some((types, digests))
}

/// Octets of the digests that are used.
const DIGESTS: [usize; 3] = [32, 48, 64];
/// 1.2.840.113549.1.9.3.
const CONTENT_TYPE: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03";
/// 1.2.840.113549.1.9.4.
const MESSAGE_DIGEST: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04";

#[cfg(test)]
mod tests {
    use kenin_pki::der::write;

    use super::*;

    fn attribute(named: &str, values: &[Vec<u8>]) -> Vec<u8> {
        write::seq(&[write::oid(named), write::set_of(values)])
    }

    fn content_type(value: &str) -> Vec<u8> {
        attribute("1.2.840.113549.1.9.3", &[write::oid(value)])
    }

    fn digest(length: usize) -> Vec<u8> {
        attribute(
            "1.2.840.113549.1.9.4",
            &[write::octet_string(&vec![7; length])],
        )
    }

    #[test]
    fn attributes_of_a_mail_are_known_and_nothing_else_is() {
        const DATA: &str = "1.2.840.113549.1.7.1";
        const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";
        let time = attribute("1.2.840.113549.1.9.5", &[write::utf8_string("x")]);
        let good = [content_type(DATA), digest(32), time];
        assert!(are_of_mail(&write::set_of(&good)));
        let two = attribute(
            "1.2.840.113549.1.9.4",
            &[write::octet_string(&[7; 32]), write::octet_string(&[8; 32])],
        );
        for (why, bad) in [
            ("no digest", write::set_of(&[content_type(DATA)])),
            ("no type", write::set_of(&[digest(32)])),
            (
                "two digests",
                write::set_of(&[content_type(DATA), digest(32), digest(48)]),
            ),
            ("two values", write::set_of(&[content_type(DATA), two])),
            (
                "a time stamp",
                write::set_of(&[content_type(TST_INFO), digest(32)]),
            ),
            ("SHA-1", write::set_of(&[content_type(DATA), digest(20)])),
            ("no SET", write::seq(&good)),
            (
                "not sorted",
                [&[0x31, 0x80][..], &good.concat(), &[0, 0]].concat(),
            ),
            ("text", b"From: alice@example.com\r\n\r\n".to_vec()),
            ("nothing", Vec::new()),
            (
                "more behind it",
                [write::set_of(&good), vec![5, 0]].concat(),
            ),
        ] {
            assert!(!are_of_mail(&bad), "{why}");
        }
    }
}
