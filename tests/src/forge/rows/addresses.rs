//! SIG-18: addresses in certificates, and what looks like them.

use super::super::Expect::{self, Is, NotPass, OneOf};
use super::super::Shape;
use super::super::certificates::{
    CertificateForm, Person, alt_names, email_attribute, name, rfc822, smtp_utf8,
};
use super::super::cms::detached;
use super::super::der::utf8;
use super::super::keys::Key;
use super::super::mime::{clear_signed, headers, text};
use super::super::town::Town;

const MALLORY: &str = "mallory@evil.example";

/// A signer with chosen subject and alternative names.
fn signer(town: &Town, key: &Key, change: impl FnOnce(&mut CertificateForm)) -> Person {
    let mut form = town.issuer.person_form("Somebody", "x@example.jp", key);
    form.extensions.remove(0);
    change(&mut form);
    town.issuer.issue(&form, key.clone())
}

/// SIG-18: addresses in certificates.
pub fn sig18(town: &Town) -> Vec<Shape> {
    let key = Key::p256();
    let named =
        |names: Vec<Vec<u8>>| signer(town, &key, |form| form.extensions.push(alt_names(&names)));
    let mail = |person: &Person, from: &str| {
        let part = text("Addresses");
        clear_signed(
            &headers(from),
            &part,
            &detached(person, &town.chain(), &part),
        )
    };
    let mismatch = || Is("policy", "from-mismatch");
    let unsure = || OneOf(&[("policy", "from-mismatch"), ("policy", "from-ambiguous")]);
    let pass = || Is("pass", "ok");
    let shape = |name: &str, raw: Vec<u8>, expect: Expect| Shape::new("SIG-18", name, raw, expect);
    let mut out = Vec::new();
    for (name, value) in [
        (
            "NUL cuts the domain",
            &b"victim@example.jp\0.evil.example"[..],
        ),
        ("NUL at the end", b"victim@example.jp\0"),
        ("NUL in the local part", b"victim\0x@example.jp"),
    ] {
        let person = named(vec![rfc822(value)]);
        out.push(shape(
            name,
            mail(&person, "victim@example.jp"),
            Is("permerror", "malformed"),
        ));
    }
    for (name, value) in [
        ("8-bit in rfc822Name", "víctim@example.jp".as_bytes()),
        ("white space in rfc822Name", b"victim@example.jp "),
        ("line end in rfc822Name", b"victim@example.jp\r\nX: y"),
        ("angles in rfc822Name", b"<victim@example.jp>"),
        ("list in rfc822Name", b"victim@example.jp,x@evil.example"),
        (
            "two at signs in rfc822Name",
            b"victim@example.jp@evil.example",
        ),
        ("no at sign in rfc822Name", b"example.jp"),
        ("empty rfc822Name", b""),
    ] {
        let person = named(vec![rfc822(value)]);
        out.push(shape(name, mail(&person, "victim@example.jp"), NotPass));
    }
    let upper = named(vec![rfc822(b"Victim@EXAMPLE.jp")]);
    out.push(shape(
        "good: case of the domain",
        mail(&upper, "Victim@example.JP"),
        pass(),
    ));
    out.push(shape(
        "good: case of the local part",
        mail(&upper, "victim@example.jp"),
        pass(),
    ));
    let plain = named(vec![rfc822(b"victim@example.jp")]);
    out.push(shape(
        "good: plain",
        mail(&plain, "victim@example.jp"),
        pass(),
    ));
    out.push(shape(
        "plus tag",
        mail(&plain, "victim+tag@example.jp"),
        mismatch(),
    ));
    out.push(shape(
        "Cyrillic local part",
        mail(&plain, "vіctim@example.jp"),
        unsure(),
    ));
    out.push(shape(
        "full-width local part",
        mail(&plain, "ｖictim@example.jp"),
        unsure(),
    ));
    out.push(shape(
        "long s folds to s elsewhere",
        mail(
            &named(vec![rfc822(b"boss@example.jp")]),
            "bo\u{17f}s@example.jp",
        ),
        unsure(),
    ));
    out.push(shape(
        "Kelvin sign folds to k elsewhere",
        mail(
            &named(vec![rfc822(b"kenin@example.jp")]),
            "\u{212a}enin@example.jp",
        ),
        unsure(),
    ));
    // Homographs of the domain: аpple with a Cyrillic a is another name.
    let idn = named(vec![rfc822(b"victim@xn--pple-43d.example")]);
    out.push(shape(
        "homograph of the domain",
        mail(&idn, "victim@apple.example"),
        mismatch(),
    ));
    out.push(shape(
        "good: A-label in both",
        mail(&idn, "victim@xn--pple-43d.example"),
        pass(),
    ));
    out.push(shape(
        "good: A-label against U-label",
        mail(&idn, "victim@аpple.example"),
        OneOf(&[
            ("pass", "ok"),
            ("policy", "from-mismatch"),
            ("policy", "from-ambiguous"),
        ]),
    ));
    let utf8_person = named(vec![smtp_utf8("山田@example.jp")]);
    out.push(shape(
        "good: SmtpUTF8Mailbox",
        mail(&utf8_person, "山田@example.jp"),
        pass(),
    ));
    out.push(shape(
        "SmtpUTF8Mailbox of another",
        mail(&utf8_person, "山本@example.jp"),
        mismatch(),
    ));
    let utf8_domain = named(vec![smtp_utf8("山田@аpple.example")]);
    out.push(shape(
        "SmtpUTF8Mailbox, homograph",
        mail(&utf8_domain, "山田@apple.example"),
        mismatch(),
    ));
    let ascii_utf8 = named(vec![smtp_utf8("victim@example.jp")]);
    out.push(shape(
        "ASCII address in SmtpUTF8Mailbox",
        mail(&ascii_utf8, "victim@example.jp"),
        NotPass,
    ));
    let nul_utf8 = named(vec![smtp_utf8("山田\0@example.jp")]);
    out.push(shape(
        "NUL in SmtpUTF8Mailbox",
        mail(&nul_utf8, "山田@example.jp"),
        NotPass,
    ));
    let case_utf8 = named(vec![smtp_utf8("Ünal@example.jp")]);
    out.push(shape(
        "SmtpUTF8Mailbox keeps its case",
        mail(&case_utf8, "ünal@example.jp"),
        mismatch(),
    ));
    // Names elsewhere in the certificate.
    let dn = signer(town, &key, |form| {
        form.subject = name(&[
            ("2.5.4.3", utf8("Victim")),
            email_attribute(b"victim@example.jp"),
        ]);
        form.extensions
            .push(alt_names(&[rfc822(MALLORY.as_bytes())]));
    });
    out.push(shape(
        "address in DN beside another in SAN",
        mail(&dn, "victim@example.jp"),
        mismatch(),
    ));
    out.push(shape(
        "good: address of the SAN",
        mail(&dn, MALLORY),
        pass(),
    ));
    let only_dn = signer(town, &key, |form| {
        form.subject = name(&[
            ("2.5.4.3", utf8("Victim")),
            email_attribute(b"victim@example.jp"),
        ]);
    });
    out.push(shape(
        "address in DN only, not allowed",
        mail(&only_dn, "victim@example.jp"),
        mismatch(),
    ));
    let in_cn = signer(town, &key, |form| {
        form.subject = name(&[("2.5.4.3", utf8("victim@example.jp"))])
    });
    out.push(shape(
        "address in CN only",
        mail(&in_cn, "victim@example.jp"),
        mismatch(),
    ));
    let in_cn = signer(town, &key, |form| {
        form.subject = name(&[("2.5.4.3", utf8("victim@example.jp"))]);
        form.extensions
            .push(alt_names(&[rfc822(MALLORY.as_bytes())]));
    });
    out.push(shape(
        "address in CN beside another in SAN",
        mail(&in_cn, "victim@example.jp"),
        mismatch(),
    ));
    let dns = named(vec![super::super::der::tlv(0x82, b"victim@example.jp")]);
    out.push(shape(
        "address as dNSName",
        mail(&dns, "victim@example.jp"),
        mismatch(),
    ));
    let uri = named(vec![super::super::der::tlv(
        0x86,
        b"mailto:victim@example.jp",
    )]);
    out.push(shape(
        "address as URI",
        mail(&uri, "victim@example.jp"),
        mismatch(),
    ));
    let several = named(vec![
        rfc822(b"first@example.jp"),
        rfc822(b"victim@example.jp"),
    ]);
    out.push(shape(
        "good: second of two addresses",
        mail(&several, "victim@example.jp"),
        pass(),
    ));
    out
}
