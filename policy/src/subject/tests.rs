use proptest::prelude::*;

use super::*;
use crate::header::scan;
use crate::mailbox::decoded;

/// The header after the edits.
fn edited(raw: &str, tag: Option<&str>) -> String {
    let edits = edits(raw.as_bytes(), &scan(raw.as_bytes()), tag);
    let edits = crate::HeaderEdits {
        rewrites: false,
        remove: edits.remove,
        insert: edits.insert,
        prepend: edits.field,
    };
    String::from_utf8(edits.apply(raw.as_bytes())).unwrap()
}

/// The Subject as a reader shows it.
fn shown(raw: &str) -> String {
    let header = scan(raw.as_bytes());
    let field = header
        .fields
        .iter()
        .find(|f| f.is_plainly(raw.as_bytes(), "subject"));
    let line = unfold(field.unwrap().value(raw.as_bytes()));
    let text = String::from_utf8(line).unwrap();
    decoded(&text).unwrap_or(text)
}

const EN: Option<&str> = Some("[Signature valid]");
const JA: Option<&str> = Some("[署名有効]");

#[test]
fn the_tag_stands_in_front_and_the_subject_keeps_its_bytes() {
    for (subject, tagged) in [
        ("Subject: Hello\r\n", "Subject: [Signature valid] Hello\r\n"),
        ("subject:Hello\r\n", "subject: [Signature valid] Hello\r\n"),
        (
            "Subject:\r\n folded\r\n",
            "Subject:\r\n [Signature valid] folded\r\n",
        ),
        (
            "Subject: =?utf-8?B?44GC?=\r\n",
            "Subject: [Signature valid] =?utf-8?B?44GC?=\r\n",
        ),
        ("Subject:\r\n", "Subject: [Signature valid] \r\n"),
        ("", "Subject: [Signature valid]\r\n"),
    ] {
        let mail = format!("{subject}From: a@b\r\n\r\nbody\r\n");
        let wanted = format!("{tagged}From: a@b\r\n\r\nbody\r\n");
        assert_eq!(edited(&mail, EN), wanted, "{subject:?}");
        assert_eq!(edited(&mail, None), mail);
    }
}

#[test]
fn a_japanese_tag_is_an_encoded_word_and_parted_from_the_subject() {
    for subject in [
        "Hello",
        "=?utf-8?B?44GC44GE?=",
        "=?iso-2022-jp?B?GyRCJCIbKEI=?=",
    ] {
        let mail = format!("Subject: {subject}\r\n\r\n");
        let tagged = edited(&mail, JA);
        assert!(tagged.is_ascii(), "{tagged}");
        assert!(tagged.ends_with(&format!(" {subject}\r\n\r\n")), "{tagged}");
        assert_eq!(shown(&tagged), format!("[署名有効] {}", shown(&mail)));
    }
}

#[test]
fn a_long_subject_is_folded_behind_the_tag() {
    let mail = format!("Subject: {}\r\n\r\n", "x".repeat(985));
    let tagged = edited(&mail, EN);
    assert!(tagged.starts_with("Subject: [Signature valid]\r\n xxx"));
    assert!(tagged.split("\r\n").all(|line| line.len() <= 998));
}

#[test]
fn what_looks_like_a_tag_goes() {
    for forged in [
        "[Signature valid] Hello",
        "Re: [Signature valid] Hello",
        "[SIGNATURE VALID]Hello",
        "［Signature valid］ Hello",
        "【署名有効】Hello",
        "[署名 : 有効] Hello",
        "[Sig\u{200b}nature valid] Hello",
        "\u{202e}[Signature valid] Hello",
        "[Ｓｉｇｎａｔｕｒｅ　ｖａｌｉｄ] Hello",
        "[S\u{456}gnature valid] Hello",
        "[S1gned OK] Hello",
        "(signed) Hello",
        "[[Signature valid]Signature valid] Hello",
        "[Sig[Signature x]nature valid] Hello",
        "[Signature valid Hello",
        "=?utf-8?Q?=5BSignature_valid=5D?= Hello",
        "=?utf-8?B?W1NpZ25h?= =?utf-8?B?dHVyZSB2YWxpZF0=?= Hello",
        "=?iso-2022-jp?B?GyRCIVo9cEw+TS04eiFbGyhC?= Hello",
        "\u{1b}$B!Z=pL>M-8z![\u{1b}(B Hello",
        "=?x-unknown?Q?a?= =?utf-8?Q?=5BSignature_valid=5D?= Hello",
        "=?utf-8?Q?=3D=3Futf-8=3FQ=3F=5Bsigned=5D=3F=3D?= Hello",
        "=?utf-8?Q?[Sig?= =?utf-8?Q?nature valid]?= Hello",
    ] {
        let mail = format!("Subject: {forged}\r\nFrom: a@b\r\n\r\nbody\r\n");
        for tag in [None, EN, JA] {
            let left = edited(&mail, tag);
            let subject = shown(&left);
            let rest = match tag {
                Some(tag) => subject
                    .strip_prefix(tag)
                    .unwrap_or_else(|| panic!("{left}")),
                None => &subject,
            };
            assert!(without_tags(rest).is_none(), "{forged}: {left}");
            assert!(rest.contains("Hello"), "{forged}: {left}");
            assert!(left.ends_with("\r\nFrom: a@b\r\n\r\nbody\r\n"));
        }
    }
}

/// Each pass over the text takes one out; what many of them cost is bounded by the text looked at.
#[test]
fn a_subject_of_nothing_but_look_alikes_is_cut() {
    for part in ["[signed]", "[", "[[signed]signed]", "[s"] {
        let mail = format!("Subject: {}Hello\r\n\r\n", part.repeat(100_000));
        let left = edited(&mail, EN);
        assert!(left.starts_with("Subject: [Signature valid]"), "{part}");
    }
    let mail = format!("Subject: {}[signed]\r\n\r\n", "x ".repeat(100_000));
    assert_eq!(edited(&mail, None), mail);
}

/// Bytes that are no UTF-8 are shown as the Japanese that they are.
#[test]
fn what_looks_like_a_tag_in_bytes_goes() {
    for encoding in [SHIFT_JIS, EUC_JP] {
        let (forged, _, _) = encoding.encode("【署名有効】 Hello");
        let raw = [b"Subject: ", forged.as_ref(), b"\r\n\r\n"].concat();
        let found = edits(&raw, &scan(&raw), None);
        assert_eq!(
            found.insert,
            [(8, b" Hello".to_vec())],
            "{}",
            encoding.name()
        );
    }
}

#[test]
fn other_subjects_stay() {
    for honest in [
        "Signature valid",
        "[design] signature",
        "[assigned] you",
        "(see the signature)",
        "[署] 名前",
        "[Re] 署名",
        "[si]gned",
    ] {
        let mail = format!("Subject: {honest}\r\n\r\n");
        assert_eq!(edited(&mail, None), mail);
    }
}

#[test]
fn a_subject_in_an_odd_spelling_must_not_bring_a_tag() {
    let mail = "Subject : [Signature valid] x\r\nSubject: y\r\n\r\n";
    assert_eq!(edited(mail, None), "Subject: y\r\n\r\n");
    let mail = "Subject : x\r\nSubject: y\r\nSubject: [signed] z\r\n\r\n";
    assert_eq!(
        edited(mail, EN),
        "Subject : x\r\nSubject: [Signature valid] y\r\nSubject: [Signature valid] z\r\n\r\n"
    );
}

proptest! {
    /// Whatever a Subject holds, no tag but ours is left, and it is one field of whole lines.
    #[test]
    fn no_tag_but_ours_is_left(parts in proptest::collection::vec(
        prop_oneof![
            Just("["), Just("]"), Just("【"), Just("Signature"), Just("signed"), Just("署名"), Just(" "),
            Just("valid"), Just("x"), Just("é"), Just("=?utf-8?B?"), Just("?="), Just("W1Np"), Just("(")
        ], 0..30)) {
        let mail = format!("Subject: {}\r\n\r\n", parts.concat());
        let left = edited(&mail, JA);
        let subject = shown(&left);
        let rest = subject.strip_prefix("[署名有効]").unwrap_or_else(|| panic!("{left}"));
        prop_assert!(without_tags(rest).is_none(), "{}", left);
        prop_assert_eq!(scan(left.as_bytes()).fields.len(), 1);
    }
}
