//! Mail that two readers could split or decode differently (SIG-14): never right.

use kenin_smime::Defect;

use crate::forge::*;
use crate::mime::{detached, good};
use crate::{ENTITY, examine, is_right, reason};

/// SIG-14.
#[test]
fn what_two_readers_could_split_differently_is_never_right() {
    let raw = good();
    let part = |text: &str| format!("--b1\r\nContent-Type: text/plain\r\n\r\n{text}\r\n");
    let end = "--b1--\r\n";
    let header = |new: &str| {
        raw.replacen(
            "Content-Type: multipart/signed;",
            &format!("{new}\r\nContent-Type: multipart/signed;"),
            1,
        )
    };
    let boundary = |new: &str| raw.replace("boundary=\"b1\"", new);
    let renamed = |name: &str| {
        raw.replace("\"b1\"", &format!("\"{name}\""))
            .replace("--b1", &format!("--{name}"))
    };
    let variants = [
        ("third part after", raw.replace(end, &(part("x") + end))),
        (
            "third part before",
            raw.replacen("--b1\r\n", &(part("x") + "--b1\r\n"), 1),
        ),
        ("part after the end", format!("{raw}{}{end}", part("x"))),
        ("end twice", format!("{raw}{end}")),
        ("no end", raw.replace(end, "")),
        ("cut end", raw.replace(end, "--b1-\r\n")),
        ("end with text", raw.replace(end, "--b1--x\r\n")),
        (
            "delimiter with text",
            raw.replacen("--b1\r\n", "--b1x\r\n", 1),
        ),
        (
            "line that starts with the boundary",
            raw.replace("Pay Bob", "x\r\n--b1yz\r\nPay Bob"),
        ),
        (
            "bare CR before a boundary",
            raw.replace("Pay Bob", "x\r--b1\r\nPay Bob"),
        ),
        (
            "boundary inside a line",
            raw.replacen("\r\n\r\n", "\r\n\r\nx --b1\r\n\r\nPay Mallory\r\n", 1),
        ),
        ("other type first", header("Content-Type: text/plain")),
        (
            "same type twice",
            header("Content-Type: multipart/signed; boundary=b1"),
        ),
        (
            "other boundary first",
            header("Content-Type: multipart/signed; boundary=b2"),
        ),
        (
            "other type last",
            raw.replacen("\r\n\r\n", "\r\nContent-Type: text/html\r\n\r\n", 1),
        ),
        (
            "space before the colon",
            raw.replacen("Content-Type:", "Content-Type :", 1),
        ),
        ("empty-looking line", header("Subject: x\r\n ")),
        ("line without a colon", header("hello")),
        (
            "CR hides a field",
            header("Subject: x\rContent-Type: text/html"),
        ),
        ("NUL in the type", raw.replacen("signed;", "signed;\0", 1)),
        (
            "two boundaries",
            boundary("boundary=\"b1\"; boundary=\"b2\""),
        ),
        (
            "the same boundary twice",
            boundary("boundary=\"b1\"; boundary=\"b1\""),
        ),
        (
            "continued boundary",
            boundary("boundary*0=\"b\"; boundary*1=\"1\""),
        ),
        ("extended boundary", boundary("boundary*=us-ascii''b1")),
        (
            "both spellings",
            boundary("boundary=\"b1\"; boundary*=us-ascii''b1"),
        ),
        ("encoded boundary", renamed("=?us-ascii?q?b1?=")),
        ("escaped boundary", boundary("boundary=\"b\\1\"")),
        ("unclosed quotes", boundary("boundary=\"b1")),
        ("space at the end", renamed("b1 ")),
        (
            "special characters without quotes",
            raw.replace("\"b1\"", "b=1").replace("--b1", "--b=1"),
        ),
        (
            "empty boundary",
            raw.replace("\"b1\"", "\"\"").replace("--b1", "--"),
        ),
        ("no boundary", boundary("x=y")),
        ("long boundary", renamed(&"b".repeat(71))),
        ("non-ASCII boundary", renamed("b\u{fc}")),
        (
            "boundary in a comment",
            boundary("(boundary=b2;) boundary=\"b1\""),
        ),
        ("text after the value", boundary("boundary=\"b1\"b2")),
        (
            "encoded multipart",
            header("Content-Transfer-Encoding: base64"),
        ),
        (
            "two encodings of a multipart",
            header("Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64"),
        ),
        (
            "two encodings of the signature",
            raw.replace(
                "Encoding: base64\r\n",
                "Encoding: base64\r\nContent-Transfer-Encoding: 7bit\r\n",
            ),
        ),
        (
            "two types of the signature",
            raw.replace(
                "name=smime.p7s\r\n",
                "name=smime.p7s\r\nContent-Type: text/plain\r\n",
            ),
        ),
        ("inner boundary goes on", nested("b1x")),
        ("inner boundary is part", nested("b")),
        ("inner boundary is the same", nested("b1")),
        ("comment", boundary("boundary=b1 (comment)")),
        (
            "comment before the type",
            raw.replacen(": multipart", ": (x) multipart", 1),
        ),
        ("boundary in brackets", renamed("<b1>")),
        (
            "boundary in another value",
            boundary("x=\"; boundary=b2\"; boundary=b1"),
        ),
        (
            "quote that another reader ends",
            boundary("x=\"\\\"; y=\"; boundary=b1"),
        ),
        (
            "delimiter in the header",
            raw.replacen("\r\n\r\n", "\r\n--b1\r\n\r\nPay Mallory 99 yen.\r\n", 1),
        ),
        (
            "delimiter below an empty-looking line of the header",
            raw.replacen(
                "\r\n\r\n",
                "\r\n \r\n--b1: x\r\n\r\nPay Mallory 99 yen.\r\n",
                1,
            ),
        ),
        (
            "type of the signature in a comment",
            raw.replace("name=smime.p7s", "(x) name=smime.p7s").replace(
                ": application/pkcs7-signature;",
                ": application/pkcs7-signature (;) text/plain;",
            ),
        ),
        ("folded boundary", boundary("boundary=\"b1\r\n \"")),
        ("end only", raw.replace("--b1\r\n", "--b1--\r\n")),
    ];
    for (name, variant) in &variants {
        assert_ne!(variant, &raw, "{name} changes nothing");
        let examined = examine(variant);
        assert!(!is_right(&examined), "{name}");
        assert_eq!(
            reason(&examined),
            Some(Defect::AmbiguousMime),
            "{name}: {:?}",
            examined.signatures.first()
        );
    }
    assert!(variants.len() >= 40);
    assert!(is_right(&examine(nested("inner"))));
}

/// A signed multipart whose boundary is `inner`.
fn nested(inner: &str) -> String {
    let entity = format!(
        "Content-Type: multipart/mixed; boundary={inner}\r\n\r\n--{inner}\r\n\r\nhello\r\n--{inner}--\r\n"
    );
    clear(&entity, &detached(&entity))
}

#[test]
fn what_two_readers_could_decode_differently_is_never_right() {
    let object = detached(ENTITY);
    let raw = clear(ENTITY, &object);
    let object = base64(&object);
    let body = |new: &str| raw.replace(&object, new);
    for variant in [
        body(&format!("{object}-- \r\nfooter\r\n")),
        body(&format!("{}*{}", &object[..10], &object[10..])),
        body(&format!("{}\r\n", &object[..object.trim_end().len() - 1])),
        body(&format!("{}=={}", &object[..20], &object[20..])),
        raw.replace("Encoding: base64", "Encoding: x-uuencode"),
        raw.replace("Encoding: base64", "Encoding: 7bit"),
        raw.replace(
            "Content-Type: application/pkcs7-signature;",
            "Content-Type: text/plain;",
        ),
        raw.replace(
            "Content-Type: application/pkcs7-signature; name=smime.p7s\r\n",
            "",
        ),
    ] {
        assert_ne!(variant, raw);
        assert_eq!(
            reason(&examine(&variant)),
            Some(Defect::Malformed),
            "{variant}"
        );
    }
}
