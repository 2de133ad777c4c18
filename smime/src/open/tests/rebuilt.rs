//! Messages made of what was opened.

use proptest::prelude::*;

use super::*;
use crate::header_protection::{HeaderProtection, protect_header};
use crate::open::reassemble;
use crate::testing::{HOSTILE, cpu_time};

const RAW: &str = "Received: from a by b\r\nFrom: Alice <alice@example.jp>\r\n\
    To: bob@example.jp\r\nSubject: [...]\r\nX-Kenin-Verdict: ours\r\n\
    MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime\r\n\
    Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\nMIIB\r\n";

fn rebuilt(entity: &str) -> String {
    let out = reassemble(
        RAW.as_bytes(),
        entity.as_bytes(),
        &Limits::default(),
        &|_| true,
    );
    String::from_utf8(out).unwrap()
}

const OUTER: &str = "Received: from a by b\r\nFrom: Alice <alice@example.jp>\r\n\
    To: bob@example.jp\r\nSubject: [...]\r\nX-Kenin-Verdict: ours\r\n";

#[test]
fn the_entity_takes_the_place_of_the_encrypted_one() {
    let entity = "Content-Type: text/plain; charset=utf-8\r\nContent-Language: ja\r\n\r\n検印\r\n";
    assert_eq!(
        rebuilt(entity),
        format!("{OUTER}MIME-Version: 1.0\r\n{entity}")
    );
    let with_version = format!("MIME-Version: 1.0\r\n{entity}");
    assert_eq!(rebuilt(&with_version), rebuilt(entity));
    // The body is not looked at.
    let body = "\r\nSubject: in the body\r\n\nX: y\r";
    assert_eq!(rebuilt(body), format!("{OUTER}MIME-Version: 1.0\r\n{body}"));
}

#[test]
fn fields_that_protect_nothing_do_not_get_out() {
    let entity = "Subject: inner\r\nFrom: mallory@example.com\r\nX-Kenin-Verdict: forged\r\n\
        Authentication-Results: b; smime=pass\r\nContent-Type: text/plain\r\n\r\nx\r\n";
    let expected = format!("{OUTER}MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nx\r\n");
    assert_eq!(rebuilt(entity), expected);
    let clear = entity.replace("text/plain", "text/plain; hp=\"clear\"");
    let clear_expected = expected.replace("text/plain", "text/plain; hp=\"clear\"");
    assert_eq!(rebuilt(&clear), clear_expected);
}

/// As others write it: relays may break such a line, but no reader takes it for something else.
#[test]
fn a_protected_field_that_is_too_long_for_a_line_is_folded() {
    let long = "word ".repeat(300);
    let entity = format!("Subject: {long}\r\nContent-Type: text/plain; hp=cipher\r\n\r\nx\r\n");
    let out = rebuilt(&entity);
    assert!(out.lines().all(|line| line.len() <= 998));
    assert!(!out.contains("[...]"));
    let unfolded = out.replace("\r\n ", " ");
    assert!(unfolded.contains(&format!("Subject: {}", long.trim_end())));
    let odd = entity.replace("Subject:", "Subject :");
    assert!(rebuilt(&odd).contains("Subject: [...]"));
}

#[test]
fn protected_fields_replace_those_outside() {
    for parameter in ["hp=\"cipher\"", "hp=cipher", "protected-headers=\"v1\""] {
        let entity = format!(
            "Subject: Pay\r\n\tBob\r\nFrom: alice@example.jp\r\nReceived: forged\r\n\
             X-Kenin-Verdict: forged\r\nDKIM-Signature: forged\r\nHP-Outer: Subject: [...]\r\n\
             Content-Type: text/plain; {parameter}\r\n\r\nx\r\n"
        );
        assert_eq!(
            rebuilt(&entity),
            format!(
                "Received: from a by b\r\nTo: bob@example.jp\r\nX-Kenin-Verdict: ours\r\n\
                 Subject: Pay\r\n\tBob\r\nFrom: alice@example.jp\r\n\
                 MIME-Version: 1.0\r\nContent-Type: text/plain; {parameter}\r\n\r\nx\r\n"
            )
        );
        let kept = reassemble(
            RAW.as_bytes(),
            entity.as_bytes(),
            &Limits::default(),
            &|name| name != "from",
        );
        let kept = String::from_utf8(kept).unwrap();
        assert!(
            kept.contains("From: Alice <alice@example.jp>\r\n"),
            "{kept}"
        );
        assert!(!kept.contains("From: alice@example.jp"), "{kept}");
        assert!(kept.contains("Subject: Pay\r\n\tBob\r\n"), "{kept}");
    }
}

/// DEC-11: a field that was added on the way does not say whom the answer is for.
#[test]
fn whom_to_answer_is_not_said_outside_alone() {
    let added = "Reply-To : mallory@example.com\r\nCc: mallory@example.com\r\n\
        Mail-Followup-To: mallory@example.com\r\n";
    let raw = format!("{added}{RAW}");
    let built = |entity: &str, keep: &dyn Fn(&str) -> bool| {
        let out = reassemble(raw.as_bytes(), entity.as_bytes(), &Limits::default(), keep);
        String::from_utf8(out).unwrap()
    };
    let fields = "From: alice@example.jp\r\nSubject: Pay\r\n";
    let entity = format!("{fields}Content-Type: text/plain; hp=\"cipher\"\r\n\r\nx\r\n");
    assert_eq!(built(&entity, &|_| true), rebuilt(&entity));
    let own = built(&entity, &|name| name != "from");
    assert!(!own.contains("mallory"), "{own}");
    // What the sender gave it stays the sender's.
    let asked = format!("Reply-To: carol@example.jp\r\n{entity}");
    let out = built(&asked, &|_| true);
    assert!(out.contains("\r\nReply-To: carol@example.jp\r\n"), "{out}");
    assert!(!out.contains("mallory"), "{out}");
    // Who says no such thing may have left it outside.
    for entity in [
        entity.replace("hp=\"cipher\"", "protected-headers=\"v1\""),
        entity.replace("hp=\"cipher\"", "hp=\"clear\""),
        entity.replace("From: alice@example.jp\r\n", ""),
        "Content-Type: text/plain\r\n\r\nx\r\n".to_owned(),
    ] {
        let out = built(&entity, &|_| true);
        assert!(out.starts_with(added), "{out}");
    }
}

#[test]
fn what_readers_could_see_differently_replaces_nothing() {
    let fields = "Subject: inner\r\n";
    let twice = "Reply-To: carol@example.jp\r\nReply-To: dave@example.jp\r\n";
    for header in [
        format!("{twice}Content-Type: text/plain; hp=\"cipher\"\r\n"),
        format!("{fields}Content-Type: text/plain; hp=\"cipher\"; hp=\"clear\"\r\n"),
        format!("{fields}Content-Type: text/plain; hp*=us-ascii''cipher\r\n"),
        format!("{fields}Content-Type: text/plain; hp=\"cipher\"\r\nContent-Type: text/plain\r\n"),
        format!("{fields}Content-Type: text/plain; hp=\"cipher\" (a comment)\r\n"),
        format!("{fields}Content-Type: text/plain; hp=\"cipher\"\r\nX: a\rSubject: b\r\n"),
    ] {
        let out = rebuilt(&format!("{header}\r\nx\r\n"));
        assert!(out.starts_with(OUTER), "{out}");
    }
}

/// BOMB-04: nobody counts the fields of a content before it is opened.
#[test]
fn a_content_with_very_many_fields_takes_linear_time() {
    let fields = "To: bob@example.jp\r\n".repeat(75_000);
    let entity = format!(
        "From: a@x.example\r\n{fields}Content-Type: text/plain; hp=\"cipher\"\r\n\r\nx\r\n"
    );
    let raw = format!("{}{RAW}", "X-Outer: a\r\n".repeat(2_000));
    let (limits, mut out) = (Limits::default(), Vec::new());
    let spent =
        cpu_time(|| out = reassemble(raw.as_bytes(), entity.as_bytes(), &limits, &|_| true));
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains(&fields));
    assert_eq!(out.matches("X-Outer").count(), 2_000);
    assert!(spent < HOSTILE, "{spent:?}");
}

#[test]
fn what_is_no_entity_becomes_text() {
    for entity in [
        "Hello Bob,\r\nhere it is.\r\n",
        "Subject: x\r\nno field\r\n\r\ny\r\n",
        "",
    ] {
        let expected = format!("{OUTER}MIME-Version: 1.0\r\n\r\n{entity}");
        let out = rebuilt(entity);
        // An empty entity has an empty header.
        assert!(
            out == expected || entity.is_empty() && out.starts_with(OUTER),
            "{out}"
        );
    }
}

/// RFC 8551 §3.1: how a header was protected before RFC 9788.
#[test]
fn a_message_in_a_wrapper_brings_its_fields() {
    let message = "From: alice@example.jp\r\nSubject: Pay\r\nReceived: forged\r\n\
        X-Kenin-Verdict: forged\r\nContent-Type: text/plain\r\n\r\nx\r\n";
    for kind in [
        "message/rfc822; forwarded=no",
        "message/rfc822;forwarded=NO",
    ] {
        let entity = format!("Content-Type: {kind}\r\n\r\n{message}");
        assert_eq!(
            rebuilt(&entity),
            format!(
                "Received: from a by b\r\nTo: bob@example.jp\r\nX-Kenin-Verdict: ours\r\n\
                 From: alice@example.jp\r\nSubject: Pay\r\nMIME-Version: 1.0\r\n{entity}"
            )
        );
    }
    // A message that is forwarded stands for itself; and nothing is looked for further inside.
    let wrapper = "Content-Type: message/rfc822; forwarded=no\r\n\r\n";
    for entity in [
        format!("Content-Type: message/rfc822\r\n\r\n{message}"),
        format!("Content-Type: message/rfc822; forwarded=yes\r\n\r\n{message}"),
        format!("{wrapper}{wrapper}{message}"),
        format!("Content-Type: message/rfc822; forwarded=no (x)\r\n\r\n{message}"),
    ] {
        assert_eq!(
            rebuilt(&entity),
            format!("{OUTER}MIME-Version: 1.0\r\n{entity}")
        );
    }
}

/// So Kenin encrypts what came in a wrapper. The message in it may have no Subject.
#[test]
fn a_wrapper_that_protects_the_header_itself_is_as_any_other_content() {
    let message = "From: alice@example.jp\r\nSubject: Pay\r\n\
        Content-Type: message/rfc822; forwarded=no\r\n\r\nFrom: alice@example.jp\r\n\r\nx\r\n";
    let halves = protect_header(message.as_bytes(), HeaderProtection::Cipher).unwrap();
    let out = rebuilt(std::str::from_utf8(&halves.entity).unwrap());
    assert!(
        out.contains("\r\nSubject: Pay\r\n") && !out.contains("[...]"),
        "{out}"
    );
}

/// Whoever hid the Subject has it nowhere else.
#[test]
fn fields_that_readers_differ_about_stay_those_of_a_message_inside() {
    for header in [
        "Content-Type: application/pdf; name=\"a\\\"b.pdf\"; hp=\"cipher\"\r\nSubject: Pay\r\n",
        "Subject : Pay\r\nContent-Type: text/plain; hp=\"cipher\"\r\n",
        "Subject: Pay\r\n \r\n Bob\r\nContent-Type: text/plain; hp=\"cipher\"\r\n",
        "Subject: Pay\r\nContent-Type: text/plain; hp=\"cipher\"; hp=\"clear\"\r\n",
        "Subject: Pay\r\nContent-Type: text/plain\r\nContent-Type: text/plain; hp=\"cipher\"\r\n",
    ] {
        let entity = format!("From: alice@example.jp\r\n{header}\r\nx\r\n");
        assert_eq!(
            rebuilt(&entity),
            format!("{OUTER}MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n{entity}")
        );
    }
}

/// What somebody wrote may look like fields.
#[test]
fn lines_before_an_empty_one_are_not_lost_where_nothing_says_that_they_are_fields() {
    let text = "Password: 4711\r\nUser: bob\r\n\r\nDelete this.\r\n";
    assert_eq!(
        rebuilt(text),
        format!("{OUTER}MIME-Version: 1.0\r\n\r\n{text}")
    );
}

/// RFC 5322 §4.2: a line of a field in which only white space stands is none of its own.
#[test]
fn a_blank_line_in_a_field_is_taken_out() {
    let entity =
        "Content-Type: text/plain;\r\n \r\n charset=utf-8\r\n\t \r\nX: y\r\n\r\nx\r\n \r\n";
    assert_eq!(
        rebuilt(entity),
        format!(
            "{OUTER}MIME-Version: 1.0\r\nContent-Type: text/plain;\r\n charset=utf-8\r\n\r\n\
             x\r\n \r\n"
        )
    );
}

/// A mail that is signed, then encrypted, by what this crate writes, comes back as it was.
#[test]
fn a_mail_with_a_protected_header_comes_back() {
    let message = "From: Alice <alice@example.jp>\r\nTo: bob@example.jp\r\n\
        Date: Thu, 26 Nov 2026 06:00:00 +0000\r\nSubject: Secret =?UTF-8?B?5qSc5Y2w?=\r\n\
        Keywords: money\r\nX-Mailer: x\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\r\nPay Bob 10 yen.\r\n";
    let halves = protect_header(message.as_bytes(), HeaderProtection::Cipher).unwrap();
    let signer = Signer::new(&bob().key, &bob().certificate);
    let to = [bob().addressee()];
    let protect = Protect {
        recipients: &to,
        cipher: GCM,
    };
    for form in [
        None,
        Some(Form::Clear),
        Some(Form::Opaque),
        Some(Form::OpaqueStreamed),
    ] {
        let entity = match form {
            None => halves.entity.clone(),
            Some(form) => signer.sign(&halves.entity, form).unwrap(),
        };
        let raw = [halves.outer.clone(), protect.protect(&entity).unwrap()].concat();
        assert!(!String::from_utf8_lossy(&raw).contains("Secret"));
        assert!(!String::from_utf8_lossy(&raw).contains("money"));
        let opened = bob().open(&layer_of(&raw).unwrap()).unwrap();
        assert_eq!(opened.entity, entity);
        let out = reassemble(&raw, &opened.entity, &Limits::default(), &|_| true);
        let header_end = memchr::memmem::find(&out, b"\r\n\r\n").unwrap();
        let header = std::str::from_utf8(&out[..header_end]).unwrap();
        for line in [
            "From: Alice <alice@example.jp>",
            "To: bob@example.jp",
            "Date: Thu, 26 Nov 2026 06:00:00 +0000",
            "Subject: Secret =?UTF-8?B?5qSc5Y2w?=",
            "Keywords: money",
            "X-Mailer: x",
            "MIME-Version: 1.0",
        ] {
            let count = header.lines().filter(|own| *own == line).count();
            assert_eq!(count, 1, "{line} in {header}");
        }
        assert!(
            !header.contains("[...]") && !header.contains("HP-Outer"),
            "{header}"
        );
        if form.is_some() {
            let facts = crate::examine(&out, &Limits::default(), &[]);
            let root = facts.root_signature().unwrap();
            assert_eq!(root.defect, None);
            assert_eq!(root.signers[0].defect, None);
            assert_eq!(root.protected.len(), 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_is_inside_brings_in_no_field_of_its_own(lines in proptest::collection::vec(
        prop_oneof![
            "(Subject|From|X-Kenin-Verdict|Received|A|Content-Type|MIME-Version)[ ]?:.{0,20}",
            Just("Content-Type: text/plain; hp=\"cipher\"".to_owned()),
            Just("From me".to_owned()),
            Just(String::new()),
            "[ -~\r]{0,20}",
        ], 0..8), crlf in any::<bool>())
    {
        let entity = lines.join(if crlf { "\r\n" } else { "\n" });
        let limits = Limits::default();
        let out = reassemble(RAW.as_bytes(), entity.as_bytes(), &limits, &|name| name == "subject");
        let mut names: Vec<_> = crate::mime::fields(&out)
            .map(|field| String::from_utf8(out[field.name].to_vec()).unwrap().to_lowercase())
            .filter(|name| !name.starts_with("content-"))
            .collect();
        names.sort_unstable();
        let outside = ["from", "mime-version", "received", "subject", "to", "x-kenin-verdict"];
        prop_assert_eq!(names, outside, "{:?}", String::from_utf8_lossy(&out));
    }
}
