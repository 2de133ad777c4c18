use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};
use kenin_pki::issue::{CertificateBuilder, common_name};

use super::*;
use crate::sign::{Form, Signer};

const HEAD: &str = "From: alice@example.jp\r\nSubject: =?UTF-8?B?5qSc5Y2w?=\r\n";
const ENTITY: &str = "Content-Type: text/plain; charset=utf-8\r\n\r\nPay Bob 1000 yen.\r\n";

struct Person {
    key: SoftKey,
    certificate: Certificate,
}

fn person() -> Person {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let certificate = CertificateBuilder::new(common_name("Alice").unwrap(), key.public_key())
        .mail_signer(&["alice@example.jp"])
        .self_signed(&key)
        .unwrap();
    Person { key, certificate }
}

impl Person {
    fn sign(&self, head: &str, entity: &str, form: Form) -> Vec<u8> {
        let signed = Signer::new(&self.key, &self.certificate)
            .sign(entity.as_bytes(), form)
            .unwrap();
        [head.as_bytes(), &signed].concat()
    }
}

fn released(raw: &[u8], sections: &[&str]) -> Result<String, Defect> {
    let sections = sections.iter().copied().collect();
    release(raw, &Limits::default(), &sections).map(|out| String::from_utf8(out).unwrap())
}

const FORMS: [(Form, &str); 3] = [
    (Form::Clear, "2"),
    (Form::Opaque, "1"),
    (Form::OpaqueStreamed, "1"),
];

#[test]
fn the_content_takes_the_place_of_its_signature() {
    let alice = person();
    for (form, section) in FORMS {
        let raw = alice.sign(HEAD, ENTITY, form);
        let facts = crate::examine(&raw, &Limits::default(), &[]);
        assert_eq!(facts.signatures[0].section, section);
        assert_eq!(
            released(&raw, &[section]).unwrap(),
            format!("{HEAD}MIME-Version: 1.0\r\n{ENTITY}"),
            "{form:?}"
        );
        // Nothing is taken out that was not asked for, and what is not there is not passed over.
        assert_eq!(released(&raw, &[]).unwrap().as_bytes(), raw);
        assert_eq!(released(&raw, &["9"]), Err(Defect::AmbiguousMime));
    }
}

#[test]
fn signatures_in_signatures_are_taken_out_one_by_one() {
    let alice = person();
    for (outer, outer_section) in FORMS {
        for (inner, _) in FORMS {
            let inside = alice.sign("", ENTITY, inner);
            let inside = String::from_utf8(inside).unwrap();
            let raw = alice.sign(HEAD, &inside, outer);
            let facts = crate::examine(&raw, &Limits::default(), &[]);
            let sections: Vec<&str> = facts.signatures.iter().map(|s| &*s.section).collect();
            assert_eq!(sections.len(), 2);
            assert_eq!(
                released(&raw, &sections).unwrap(),
                format!("{HEAD}MIME-Version: 1.0\r\n{ENTITY}"),
                "{outer:?} {inner:?}"
            );
            let only_outer = released(&raw, &[outer_section]).unwrap();
            let still = crate::examine(only_outer.as_bytes(), &Limits::default(), &[]);
            assert_eq!(still.signatures.len(), 1);
            assert!(
                still.signatures[0].signers[0].content.is_ok(),
                "{outer:?} {inner:?}"
            );
        }
    }
}

#[test]
fn a_signature_further_down_leaves_the_rest_as_it_is() {
    let alice = person();
    for (form, _) in FORMS {
        let inside = alice.sign("From: alice@example.jp\r\nSubject: inner\r\n", ENTITY, form);
        let inside = String::from_utf8(inside).unwrap();
        let around = |inside: &str| {
            format!(
                "{HEAD}Content-Type: multipart/mixed; boundary=outer\r\n\r\nbefore\r\n--outer\r\n\r\nsee this\r\n\
                 --outer\r\nContent-Type: message/rfc822\r\n\r\n{inside}\r\n--outer--\r\nafter\r\n"
            )
        };
        let raw = around(&inside);
        let facts = crate::examine(raw.as_bytes(), &Limits::default(), &[]);
        let section = facts.signatures[0].section.clone();
        assert_eq!(
            released(raw.as_bytes(), &[&section]).unwrap(),
            around(&format!(
                "From: alice@example.jp\r\nSubject: inner\r\nMIME-Version: 1.0\r\n{ENTITY}"
            )),
            "{form:?}"
        );
    }
}

/// Whoever signs text that begins like a message would else choose what stands in its header.
#[test]
fn a_field_of_the_content_is_never_one_of_the_message_and_never_lost() {
    let alice = person();
    let message = "Content-Type: message/rfc822\r\n\r\n";
    for (entity, front) in [
        (
            "From: boss@example.jp\r\nX-Kenin-Verdict: pass\r\nContent-Type: text/plain\r\n\r\nhi\r\n",
            message,
        ),
        (
            "From: boss@example.jp\r\njunk\r\nContent-Type: text/plain\r\n\r\nhi\r\n",
            "\r\n",
        ),
        ("Note: not 500 but 50\r\n\r\nx\r\n", "\r\n"),
        (
            "Pay Bob 1000 yen.\r\nSecond line\r\n\r\nThird paragraph\r\n",
            "\r\n",
        ),
        ("one line and no more\r\n", "\r\n"),
    ] {
        for (form, section) in FORMS {
            let raw = alice.sign(HEAD, entity, form);
            let out = released(&raw, &[section]).unwrap();
            assert_eq!(
                out,
                format!("{HEAD}MIME-Version: 1.0\r\n{front}{entity}"),
                "{form:?}"
            );
        }
    }
}

#[test]
fn a_signature_in_an_opaque_one_that_is_kept_is_not_passed_over() {
    let (alice, bob) = (person(), person());
    let inside = alice.sign("From: alice@example.jp\r\n", ENTITY, Form::Clear);
    let inside = String::from_utf8(inside).unwrap();
    let around = format!(
        "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\nsee\r\n--o\r\n\
         Content-Type: message/rfc822\r\n\r\n{inside}\r\n--o--\r\n"
    );
    for (form, outer) in FORMS {
        let raw = bob.sign(HEAD, &around, form);
        let facts = crate::examine(&raw, &Limits::default(), &[]);
        let nested = facts.signatures.iter().find(|one| !one.root).unwrap();
        assert_eq!(nested.within, [outer]);
        if form != Form::Clear {
            assert_eq!(
                released(&raw, &[&nested.section]),
                Err(Defect::AmbiguousMime)
            );
        }
        let out = released(&raw, &[outer, &nested.section]).unwrap();
        assert!(
            crate::examine(out.as_bytes(), &Limits::default(), &[])
                .signatures
                .is_empty()
        );
        assert!(out.contains(ENTITY));
    }
}

#[test]
fn what_readers_could_split_differently_is_not_split() {
    let alice = person();
    let raw = alice.sign(HEAD, ENTITY, Form::Clear);
    let text = String::from_utf8(raw).unwrap();
    let start = text.find("boundary=\"").unwrap() + 10;
    let boundary = text[start..].split('"').next().unwrap();
    let third = text.replace(
        &format!("--{boundary}--"),
        &format!("--{boundary}\r\n\r\nthird\r\n--{boundary}--"),
    );
    assert_eq!(
        released(third.as_bytes(), &["2"]),
        Err(Defect::AmbiguousMime)
    );
    let opaque = alice.sign(HEAD, ENTITY, Form::Opaque);
    let cut = &opaque[..opaque.len() - 200];
    assert!(released(cut, &["1"]).is_err());
    let odd =
        format!("{HEAD}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n");
    assert_eq!(
        released(odd.as_bytes(), &["1"]).unwrap_err(),
        Defect::AmbiguousMime
    );
}
