//! SIG-19: an old signed mail under new header fields, where its content says what the old ones were
//! (RFC 9788).

use super::super::Expect::{self, Is};
use super::super::Shape;
use super::super::cms;
use super::super::mime::{self, clear_signed, join, opaque};
use super::super::town::Town;

const BOB: &str = "bob@example.jp";
const DIFFERS: Expect = Is("policy", "header-mismatch");

/// What stands outside in every honest mail of the forger, for the inside.
fn inner(from: &str) -> Vec<u8> {
    let fields = String::from_utf8(mime::headers(from)).unwrap();
    fields.replace("MIME-Version: 1.0\r\n", "").into_bytes()
}

/// A content that protects these fields.
fn protecting(fields: &[u8], hp: &str) -> Vec<u8> {
    let kind = format!("Content-Type: text/plain; charset=utf-8{hp}\r\n\r\nPay Bob.\r\n");
    join(&[fields, kind.as_bytes()])
}

/// SIG-19.
pub fn sig19(town: &Town) -> Vec<Shape> {
    let mut out = Vec::new();
    let mut add = |name: &str, outer: &[u8], part: &[u8], expect: Expect| {
        let detached = cms::detached(&town.bob, &town.chain(), part);
        let raw = clear_signed(outer, part, &detached);
        out.push(Shape::new("SIG-19", format!("{name}, clear"), raw, expect));
        let whole = cms::opaque(&town.bob, &town.chain(), part);
        let raw = opaque(outer, "signed-data", &whole);
        out.push(Shape::new("SIG-19", format!("{name}, opaque"), raw, expect));
    };
    let outer = |from: &str, to: &str, new: &str| {
        let text = String::from_utf8(mime::headers(from)).unwrap();
        assert!(text.contains(to), "{to}");
        text.replace(to, new).into_bytes()
    };
    let honest = protecting(&inner(BOB), "; hp=\"clear\"");
    let same = mime::headers(BOB);
    let good = Is("pass", "ok");
    add("the same fields", &same, &honest, good);
    let folded = outer(BOB, "Subject: Forged", "Subject:\r\n  =?utf-8?Q?Forged?=");
    add("folded and encoded", &folded, &honest, good);
    let named = outer(BOB, "From: bob@example.jp", "From: Bob <bob@example.jp>");
    add("a display name outside", &named, &honest, good);
    for (name, to, new) in [
        ("another recipient", "reader@example.jp", "carol@example.jp"),
        ("another subject", "Subject: Forged", "Subject: Urgent"),
        ("another date", "01 May 2026", "22 Nov 2026"),
        ("no subject", "Subject: Forged\r\n", ""),
        (
            "two subjects",
            "Subject: Forged\r\n",
            "Subject: Forged\r\nSubject: Urgent\r\n",
        ),
        (
            "another subject in odd spelling",
            "Subject: Forged\r\n",
            "Subject: Forged\r\nSubject : x\r\n",
        ),
    ] {
        add(name, &outer(BOB, to, new), &honest, DIFFERS);
    }
    // Who is said to write inside is what some programs show.
    for (name, from) in [
        ("somebody else inside", "ceo@bank.example"),
        (
            "somebody else's name inside",
            "\"ceo@bank.example\" <bob@example.jp>",
        ),
    ] {
        let part = protecting(&inner(from), "; hp=\"clear\"");
        add(name, &same, &part, DIFFERS);
    }
    for (name, hp) in [
        ("cipher", "; hp=\"cipher\""),
        ("a word that nobody knows", "; hp=what"),
        ("no value", "; hp"),
        ("in an encoding", "; hp*=us-ascii''clear"),
        ("in pieces", "; hp*0=\"cl\"; hp*1=\"ear\""),
        ("behind a missing semicolon", "; x=1 hp=\"clear\""),
        (
            "in a second Content-Type",
            "\r\nContent-Type: text/plain; hp=\"clear\"",
        ),
    ] {
        let part = protecting(&inner("ceo@bank.example"), hp);
        add(name, &same, &part, DIFFERS);
    }
    // What stands for the message behind all layers around it counts, however deep it is.
    let lying = protecting(&inner("ceo@bank.example"), "; hp=\"clear\"");
    for (name, part, expect) in [("lying", &lying, DIFFERS), ("honest", &honest, good)] {
        let cms = cms::detached(&town.bob, &town.chain(), part);
        let clear = mime::signed_entity("inner-boundary", part, &cms);
        add(&format!("{name} in clear-signed"), &same, &clear, expect);
        let cms = cms::opaque(&town.bob, &town.chain(), part);
        let opaque = mime::opaque_entity("signed-data", &cms);
        add(&format!("{name} in opaque"), &same, &opaque, expect);
        let mixed = mime::mixed(b"", "mixed", &[part, &mime::text("and more")]);
        add(
            &format!("{name} in a part beside another"),
            &same,
            &mixed,
            good,
        );
    }
    // RFC 8551 §3.1: a wrapper is no forwarded message.
    for (name, from, parameter, expect) in [
        (
            "a wrapper of another",
            "ceo@bank.example",
            "; forwarded=no",
            DIFFERS,
        ),
        (
            "a wrapper in an encoding",
            "ceo@bank.example",
            "; forwarded*=us-ascii''no",
            DIFFERS,
        ),
        ("a wrapper", BOB, "; forwarded=no", good),
        ("a forwarded message", "ceo@bank.example", "", good),
        (
            "a message said to be forwarded",
            "ceo@bank.example",
            "; forwarded=yes",
            good,
        ),
    ] {
        let kind = format!("Content-Type: message/rfc822{parameter}\r\n\r\n");
        let part = join(&[kind.as_bytes(), &protecting(&inner(from), "")]);
        add(name, &same, &part, expect);
    }
    // What programs wrote before RFC 9788; some of them protect the subject only.
    let old = "; protected-headers=\"v1\"";
    let part = protecting(&inner("ceo@bank.example"), old);
    add(
        "somebody else inside, in the old form",
        &same,
        &part,
        DIFFERS,
    );
    let part = protecting(b"Subject: Another\r\n", old);
    add("only a subject, in the old form", &same, &part, good);
    let nobody = protecting(b"Subject: Forged\r\n", "; hp=\"clear\"");
    add("nobody inside", &same, &nobody, DIFFERS);
    // Without the word they are header fields of a part, which mean nothing and nobody shows.
    let unprotected = protecting(&inner("ceo@bank.example"), "");
    add("fields without protection", &same, &unprotected, good);
    let few = protecting(b"From: bob@example.jp\r\n", "; hp=\"clear\"");
    add("only From inside", &same, &few, good);
    out.into_iter()
        .map(|shape| {
            let partly = shape.name.starts_with("only From");
            if partly {
                shape.noted(&["not-covered-headers"])
            } else {
                shape
            }
        })
        .collect()
}
