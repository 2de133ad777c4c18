use super::*;
use crate::testing::{HOSTILE, cpu_time};

const MESSAGE: &str = "Received: from a by b\r\nFrom: alice@example.jp\r\n\
    To: bob@example.jp,\r\n carol@example.jp\r\nBcc: dave@example.jp\r\nSubject: Secret\r\n\
    Comments: quiet\r\nMIME-Version: 1.0\r\nContent-Type: text/plain;\r\n\tcharset=utf-8;\r\n\
    Content-Language: ja\r\n\r\nbody\r\n";

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

#[test]
fn the_plain_halves_make_the_message_again() {
    let halves = split(MESSAGE.as_bytes());
    assert_eq!(
        text(&halves.entity),
        "Content-Type: text/plain;\r\n\tcharset=utf-8;\r\nContent-Language: ja\r\n\r\nbody\r\n"
    );
    assert!(text(&halves.outer).ends_with("Subject: Secret\r\nComments: quiet\r\n"));
    assert!(!text(&halves.outer).contains("MIME-Version"));
}

#[test]
fn what_is_encrypted_hides_the_subject_and_says_how_it_looked_outside() {
    let halves = protect_header(MESSAGE.as_bytes(), HeaderProtection::Cipher).unwrap();
    assert_eq!(
        text(&halves.outer),
        "Received: from a by b\r\nFrom: alice@example.jp\r\n\
         To: bob@example.jp,\r\n carol@example.jp\r\nBcc: dave@example.jp\r\nSubject: [...]\r\n"
    );
    assert_eq!(
        text(&halves.entity),
        "From: alice@example.jp\r\nTo: bob@example.jp,\r\n carol@example.jp\r\nSubject: Secret\r\n\
         Comments: quiet\r\nHP-Outer: From: alice@example.jp\r\n\
         HP-Outer: To: bob@example.jp,\r\n carol@example.jp\r\nHP-Outer: Subject: [...]\r\n\
         Content-Type: text/plain;\r\n\tcharset=utf-8;\r\n\thp=\"cipher\"\r\n\
         Content-Language: ja\r\n\r\nbody\r\n"
    );
}

#[test]
fn what_is_signed_only_leaves_the_outside_as_it_is() {
    let halves = protect_header(MESSAGE.as_bytes(), HeaderProtection::Clear).unwrap();
    assert_eq!(halves.outer, split(MESSAGE.as_bytes()).outer);
    assert!(text(&halves.entity).contains("Subject: Secret\r\nComments: quiet\r\nContent-Type"));
    assert!(text(&halves.entity).contains("\thp=\"clear\"\r\n"));
    assert!(!text(&halves.entity).contains("HP-Outer"));
}

#[test]
fn a_content_that_says_nothing_of_itself_is_text() {
    let halves = protect_header(b"Subject: x\n\nbody\n", HeaderProtection::Cipher).unwrap();
    assert_eq!(
        text(&halves.entity),
        "Subject: x\r\nHP-Outer: Subject: [...]\r\n\
         Content-Type: text/plain; charset=us-ascii;\r\n\thp=\"cipher\"\r\n\r\nbody\n"
    );
}

/// Japanese mail programs of old say nothing of a text in ISO-2022-JP, and those that read it find out (RFC 1468).
#[test]
fn a_text_of_which_nothing_is_said_is_not_called_ascii() {
    for body in ["\x1b$B8!0u\x1b(B\r\n", "\u{691c}\u{5370}\r\n"] {
        let message = format!("Subject: x\r\n\r\n{body}");
        for how in [HeaderProtection::Clear, HeaderProtection::Cipher] {
            let halves = protect_header(message.as_bytes(), how).unwrap();
            let entity = text(&halves.entity);
            assert!(
                entity.contains("\r\nContent-Type: text/plain;\r\n\thp="),
                "{entity}"
            );
            assert!(entity.ends_with(&format!("\r\n\r\n{body}")), "{entity}");
        }
    }
}

/// Messages whose header, or content, readers differ about.
const ODD: [&str; 9] = [
    "Subject: a\r\nContent-Type: application/pkcs7-signature; name=a.p7s\r\n\r\nx",
    "Subject: a\r\nSubject: b\r\n\r\nx",
    "Subject: a\r\nContent-Type: text/plain (a comment)\r\n\r\nx",
    "Subject: a\r\nContent-Type: application/pdf; name=\"a\\\"b.pdf\"\r\n\r\nx",
    "Subject: a\r\nContent-Type: text/plain\r\nContent-Type: text/html\r\n\r\nx",
    "Subject: a\r\nContent-Type : text/plain\r\n\r\nx",
    "Subject : a\r\n\r\nx",
    "Subject: a\r\nno field\r\n\r\nx",
    "Subject: a\rFrom: b\r\n\r\nx",
];

#[test]
fn a_header_that_a_signature_cannot_protect_is_left_alone() {
    let is_mended = |message: &&str| message.starts_with("Subject :");
    for message in ODD.into_iter().filter(|message| !is_mended(message)) {
        let halves = protect_header(message.as_bytes(), HeaderProtection::Clear);
        assert_eq!(halves, None, "{message}");
    }
    // Nothing is odd once that is written as all read it.
    let halves = protect_header(b"Subject : a\r\n\r\nx", HeaderProtection::Clear).unwrap();
    assert_eq!(text(&halves.outer), "Subject: a\r\n");
    assert!(text(&halves.entity).starts_with("Subject: a\r\nContent-Type"));
    for essence in ["multipart/signed; boundary=b", "application/pkcs7-mime"] {
        let message = format!("Subject: a\r\nContent-Type: {essence}\r\n\r\nx");
        for how in [HeaderProtection::Clear, HeaderProtection::Cipher] {
            assert_eq!(protect_header(message.as_bytes(), how), None, "{essence}");
        }
    }
}

#[test]
fn nothing_odd_in_a_header_leaves_its_subject_outside() {
    for message in ODD {
        let halves = protect_header(message.as_bytes(), HeaderProtection::Cipher).unwrap();
        let (outer, entity) = (text(&halves.outer), text(&halves.entity));
        for line in outer.lines() {
            assert_eq!(line, "Subject: [...]", "{message}");
        }
        assert!(entity.starts_with("Subject: a"), "{entity}");
        assert!(entity.contains("hp=\"cipher\""), "{entity}");
        assert!(entity.contains("\r\n\r\nx"), "{entity}");
    }
}

#[test]
fn an_odd_content_type_is_that_of_a_part() {
    let message = "From: a@x.example\r\nSubject: a\r\n\
        Content-Type: text/plain (a comment); charset=utf-8\r\nContent-Language: ja\r\n\r\n\u{e9}\r\n";
    let halves = protect_header(message.as_bytes(), HeaderProtection::Cipher).unwrap();
    let part = "Content-Type: text/plain (a comment); charset=utf-8\r\nContent-Language: ja\r\n\r\n\u{e9}\r\n";
    let boundary = boundary_for(part.as_bytes());
    assert_eq!(
        text(&halves.entity),
        format!(
            "From: a@x.example\r\nSubject: a\r\nHP-Outer: From: a@x.example\r\n\
             HP-Outer: Subject: [...]\r\nContent-Type: multipart/mixed; boundary=\"{boundary}\";\r\n\
             \thp=\"cipher\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
             --{boundary}\r\n{part}\r\n--{boundary}--\r\n"
        )
    );
}

#[test]
fn a_line_that_is_no_field_goes_in_as_text() {
    let message =
        "From alice Fri\r\nSubject: a long\r\nand broken one\r\nTo: b@x.example\r\nlast\r\n\r\nx";
    let halves = protect_header(message.as_bytes(), HeaderProtection::Cipher).unwrap();
    assert_eq!(text(&halves.outer), "Subject: [...]\r\nTo: b@x.example\r\n");
    let entity = text(&halves.entity);
    let part = "Content-Type: text/plain; charset=utf-8\r\n\r\nand broken one\r\nlast\r\n\r\n--";
    assert!(entity.contains(part), "{entity}");
    assert!(!entity.contains("Fri"), "{entity}");
    assert!(entity.contains("\r\n\r\nx\r\n--"), "{entity}");
}

/// Also where no header goes along.
#[test]
fn a_line_that_is_no_field_is_not_lost_where_the_header_stays() {
    let message = "From alice Fri\r\nSubject: a\r\nforgot the empty line\r\nTo: b@x.example\r\n\
        Content-Type: text/plain; hp=clear\r\n\r\nx";
    let part = "Content-Type: text/plain; charset=utf-8\r\n\r\nforgot the empty line\r\n\r\n--";
    let hidden = split_hiding(message.as_bytes(), &Limits::default(), None);
    for halves in [split(message.as_bytes()), hidden] {
        assert_eq!(text(&halves.outer), "Subject: a\r\nTo: b@x.example\r\n");
        let entity = text(&halves.entity);
        assert!(entity.starts_with("Content-Type: multipart/mixed; boundary="));
        assert!(
            entity.contains(part) && entity.contains("\r\n\r\nx\r\n--"),
            "{entity}"
        );
    }
    // What is signed is the whole of its message still.
    let signed = "Subject: a\r\nno field\r\nContent-Type: multipart/signed; boundary=b\r\n\r\nx";
    let halves = split(signed.as_bytes());
    let entity = "Content-Type: multipart/signed; boundary=b\r\n\r\nx";
    assert_eq!(text(&halves.entity), entity);
}

/// Who reads `hp=` looks for the header in what says so, and finds none.
#[test]
fn a_content_that_protects_no_header_does_not_say_so() {
    for said in ["hp=\"cipher\"", "hp=clear", "protected-headers=\"v1\""] {
        let field = |said: &str| format!("Content-Type: text/plain;{said} charset=utf-8\r\n\r\nx");
        let message = format!("Subject: a\r\n{}", field(&format!(" {said};")));
        let hidden = split_hiding(message.as_bytes(), &Limits::default(), None);
        for halves in [split(message.as_bytes()), hidden] {
            assert_eq!(text(&halves.outer), "Subject: a\r\n");
            assert_eq!(text(&halves.entity), field(""));
        }
        let last = format!("Content-Type: text/plain; {said}\r\nContent-ID: <a@b>\r\n\r\nx");
        let halves = split(last.as_bytes());
        assert_eq!(
            text(&halves.entity),
            "Content-Type: text/plain\r\nContent-ID: <a@b>\r\n\r\nx"
        );
    }
}

/// RFC 5322 §3.6: of most fields there is one, of these any number.
#[test]
fn comments_and_keywords_are_signed_however_many_there_are() {
    let fields = "Subject: a\r\nComments: b\r\nKeywords: c\r\nComments: d\r\nKeywords: e\r\n";
    let message = format!("{fields}\r\nx");
    let halves = protect_header(message.as_bytes(), HeaderProtection::Clear).unwrap();
    assert_eq!(text(&halves.outer), fields);
    assert!(text(&halves.entity).starts_with(&format!("{fields}Content-Type: text/plain")));
}

#[test]
fn repeated_fields_go_in_as_they_came_and_come_out_again() {
    let message = "From: a@x.example\r\nCc: b@x.example\r\nCc: c@x.example\r\nSubject: a\r\nSubject: b\r\n\
        Content-Type: text/plain\r\n\r\nx\r\n";
    let halves = protect_header(message.as_bytes(), HeaderProtection::Cipher).unwrap();
    let outer = "From: a@x.example\r\nCc: b@x.example\r\nCc: c@x.example\r\n\
        Subject: [...]\r\nSubject: [...]\r\n";
    assert_eq!(text(&halves.outer), outer);
    let (inside, _) = protected_fields(&halves.entity, &Limits::default());
    let fields: Vec<u8> = inside.into_iter().flat_map(|(_, field)| field).collect();
    let own = message.split("Content-Type").next().unwrap();
    assert_eq!(text(&fields), own);
}

#[test]
fn what_gets_too_long_for_a_line_is_folded() {
    for length in [985, 988, 992] {
        let long = format!("From: {}\r\n\r\nx", "y".repeat(length));
        for message in [long.clone(), long.replace(' ', "")] {
            let halves = protect_header(message.as_bytes(), HeaderProtection::Cipher).unwrap();
            let entity = text(&halves.entity);
            let line = entity.lines().map(str::len).max().unwrap();
            assert!(line <= MAX_LINE, "{line}");
            let unfolded = entity.replace("\r\n ", " ");
            let (field, _) = message.split_once("\r\n").unwrap();
            let wanted = format!("HP-Outer: {}", field.replace("From:y", "From: y"));
            assert!(
                unfolded
                    .lines()
                    .any(|line| line == wanted || line == format!("HP-Outer: {field}"))
            );
        }
    }
}

#[test]
fn what_is_too_long_for_a_line_is_folded_outside_and_inside() {
    let many = "bob@there.example, ".repeat(120);
    let fields = format!("To: {many}carol@there.example\r\nX-Trace: {many}\t \r\nSubject: a\r\n");
    let message = format!("{fields}Content-Type: text/plain\r\n\r\nx");
    for how in [HeaderProtection::Clear, HeaderProtection::Cipher] {
        let halves = protect_header(message.as_bytes(), how).unwrap();
        let (outer, entity) = (text(&halves.outer), text(&halves.entity));
        for line in outer.lines().chain(entity.lines()) {
            assert!(line.len() <= MAX_LINE && (line.is_empty() || !line.trim().is_empty()));
        }
        let whole = outer.replace("\r\n ", " ").replace("[...]", "a");
        assert_eq!(whole, fields);
        let (to, _) = fields.split_once("X-Trace").unwrap();
        assert!(entity.replace("\r\n ", " ").starts_with(to));
    }
    let halves = split(message.as_bytes());
    assert_eq!(text(&halves.outer).replace("\r\n ", " "), fields);
    // A word that can be read is not broken.
    let word = format!("Subject: {}\r\n\r\nx", "y".repeat(MAX_LINE));
    let halves = protect_header(word.as_bytes(), HeaderProtection::Clear);
    assert_eq!(halves, None);
}

/// Who reads such a field inside takes it for none, and all that is left is what stands outside.
#[test]
fn a_subject_that_no_line_holds_is_not_lost() {
    let words = "word ".repeat(700);
    for value in [
        "y".repeat(3000),
        words.clone(),
        format!("{}{words}", " ".repeat(1100)),
        format!("a\r\n{}{}", " ".repeat(997), "y".repeat(500)),
        format!("a\r\n{}{}", " \t".repeat(900), "y".repeat(500)),
        "a\rb".to_owned(),
        "a\r\n \t\r\n b\r\n ".to_owned(),
        String::new(),
    ] {
        for name in ["Subject:", "Subject: ", "Subject :"] {
            let message = format!("From: a@x.example\r\n{name}{value}\r\n\r\nx");
            let halves = protect_header(message.as_bytes(), HeaderProtection::Cipher).unwrap();
            let outer = "From: a@x.example\r\nSubject: [...]\r\n";
            assert_eq!(text(&halves.outer), outer);
            assert!(
                text(&halves.entity)
                    .lines()
                    .all(|line| line.len() <= MAX_LINE)
            );
            let (inside, _) = protected_fields(&halves.entity, &Limits::default());
            let subject = inside.iter().find(|(name, _)| *name == "subject").unwrap();
            let octets = |text: &str| text.split_whitespace().collect::<String>();
            let wanted = octets(&format!("Subject:{value}"));
            assert_eq!(octets(text(&subject.1)), wanted);
        }
    }
}

/// What was opened still says what protected it, and is protected anew.
#[test]
fn what_an_opened_content_says_of_itself_is_said_anew() {
    for said in [
        "hp=\"cipher\"",
        "HP = cipher; hp*=us-ascii''clear",
        "protected-headers=\"v1\"",
    ] {
        let message = format!(
            "Subject: a\r\nContent-Type: text/plain; {said}; name=\"; hp=x\";\r\n\tformat=flowed\r\n\r\nx"
        );
        let halves = protect_header(message.as_bytes(), HeaderProtection::Cipher).unwrap();
        assert_eq!(text(&halves.outer), "Subject: [...]\r\n");
        assert_eq!(
            text(&halves.entity),
            "Subject: a\r\nHP-Outer: Subject: [...]\r\nContent-Type: text/plain; name=\"; hp=x\";\r\n\
             \tformat=flowed;\r\n\thp=\"cipher\"\r\n\r\nx"
        );
    }
}

#[test]
fn a_subject_is_hidden_again_where_what_is_signed_hid_it() {
    let signed = |fields: &str, said: &str| {
        let message = format!(
            "From: alice@example.jp\r\nSubject: Secret\r\nKeywords: money\r\n\
             Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n{fields}\
             Content-Type: text/plain; {said}\r\n\r\nx\r\n--b\r\n\
             Content-Type: application/pkcs7-signature\r\n\r\nx\r\n--b--\r\n"
        );
        let halves = split_hiding(message.as_bytes(), &Limits::default(), None);
        assert_eq!(halves.entity, split(message.as_bytes()).entity);
        String::from_utf8(halves.outer).unwrap()
    };
    let inside = "From: alice@example.jp\r\nSubject: Secret\r\n";
    let open = "From: alice@example.jp\r\nSubject: Secret\r\nKeywords: money\r\n";
    for said in ["hp=\"cipher\"", "protected-headers=\"v1\""] {
        let hidden = "From: alice@example.jp\r\nSubject: [...]\r\nKeywords: money\r\n";
        assert_eq!(signed(inside, said), hidden);
        let both = format!("{inside}Keywords: money\r\n");
        assert!(!signed(&both, said).contains("Keywords"));
        // What is not inside would be lost.
        assert_eq!(signed("From: alice@example.jp\r\n", said), open);
    }
    for said in ["hp=\"clear\"", "charset=utf-8"] {
        assert_eq!(signed(inside, said), open);
    }
    let plain = format!("{open}Content-Type: text/plain; hp=\"cipher\"\r\n\r\nx");
    let halves = split_hiding(plain.as_bytes(), &Limits::default(), None);
    assert_eq!(halves, split(plain.as_bytes()));
}

/// Whoever hides more than we do (hcp_shy, RFC 9788 §3.2.2) has it hidden still.
#[test]
fn what_was_opened_shows_no_more_outside_than_when_it_came() {
    let came = Came {
        header: b"Date: Thu, 26 Nov 2026 06:00:00 +0000\r\nFrom: alice@example.jp\r\n\
            To: bob@example.jp\r\nSubject: ...\r\nReply-To: mallory@example.com\r\n\r\n",
        wrapped: false,
    };
    let fields = "From: Alice <alice@example.jp>\r\nTo: Bob <bob@example.jp>\r\n\
        To: carol@example.jp\r\nCc: dave@example.jp\r\nSubject: Secret\r\n\
        Date: Thu, 26 Nov 2026 15:00:00 +0900\r\nMessage-ID: <1@example.jp>\r\n\
        References: <0@example.jp>\r\n";
    let seen = "From: alice@example.jp\r\nTo: bob@example.jp\r\nSubject: [...]\r\n\
        Date: Thu, 26 Nov 2026 06:00:00 +0000\r\nMessage-ID: <1@example.jp>\r\n";
    let message = format!("{fields}Content-Type: text/plain\r\n\r\nx");
    let halves = protect_header_again(message.as_bytes(), came).unwrap();
    assert_eq!(text(&halves.outer), seen);
    let said = seen.lines().map(|line| format!("HP-Outer: {line}\r\n"));
    let said: String = said.collect();
    assert_eq!(
        text(&halves.entity),
        format!("{fields}{said}Content-Type: text/plain;\r\n\thp=\"cipher\"\r\n\r\nx")
    );
    let signed = format!(
        "{fields}Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n{fields}\
         Content-Type: text/plain; hp=\"cipher\"\r\n\r\nx\r\n--b\r\n\
         Content-Type: application/pkcs7-signature\r\n\r\nx\r\n--b--\r\n"
    );
    let halves = split_hiding(signed.as_bytes(), &Limits::default(), Some(came));
    assert_eq!(text(&halves.outer), seen);
    assert_eq!(halves.entity, split(signed.as_bytes()).entity);
}

/// A message of ours around what was opened has fields of that, and some of its own.
#[test]
fn a_message_around_what_was_opened_shows_none_of_its_fields() {
    let came = Came {
        header: b"From: alice@example.jp\r\nTo: bob@example.jp\r\nSubject: ...\r\n\r\n",
        wrapped: true,
    };
    let own = "From: kenin@gw.example\r\nReply-To: alice@example.jp\r\n\
        Date: Fri, 27 Nov 2026 00:00:00 +0000\r\n";
    let message = format!(
        "{own}To: Bob <bob@example.jp>\r\nSubject: Secret\r\nCc: dave@example.jp\r\n\
         Keywords: money\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n\
         --b\r\nContent-Type: application/pkcs7-signature\r\n\r\nx\r\n--b--\r\n"
    );
    let halves = split_hiding(message.as_bytes(), &Limits::default(), Some(came));
    let seen = format!("{own}To: bob@example.jp\r\nSubject: ...\r\n");
    assert_eq!(text(&halves.outer), seen);
}

/// BOMB-04: all of the white space behind it was looked at again for each line.
#[test]
fn a_long_field_with_much_white_space_behind_it_takes_linear_time() {
    let field = format!(
        "Subject: {}{}",
        "w ".repeat(3_000_000),
        " ".repeat(6_000_000)
    );
    for fold in [Fold::AtSpaces, Fold::Anywhere] {
        let mut words = 0;
        let spent = cpu_time(|| {
            let folded = plain(field.as_bytes(), fold);
            words = folded.iter().filter(|octet| **octet == b'w').count();
        });
        assert_eq!(words, 3_000_000);
        assert!(spent < HOSTILE, "{spent:?}");
    }
    // No room is left behind its name.
    let name = "X".repeat(2 * MAX_LINE);
    for fold in [Fold::AtSpaces, Fold::Anywhere] {
        let folded = plain(format!("{name}: y\r\n").as_bytes(), fold);
        assert_eq!(text(&folded), format!("{name}:\r\n y\r\n"));
    }
}

/// BOMB-04.
#[test]
fn what_is_signed_with_very_many_fields_takes_linear_time() {
    let message = format!(
        "{}Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; boundary=b\r\n\r\n\
         --b\r\n{}Content-Type: text/plain; hp=\"cipher\"\r\n\r\nx\r\n--b\r\n\
         Content-Type: application/pkcs7-signature\r\n\r\nx\r\n--b--\r\n",
        "Keywords: money\r\n".repeat(FIELDS),
        "To: bob@example.jp\r\n".repeat(FIELDS),
    );
    for came in [None, Some(message.as_bytes())] {
        let came = came.map(|header| Came {
            header,
            wrapped: true,
        });
        let mut outer = Vec::new();
        let spent = cpu_time(|| {
            outer = split_hiding(message.as_bytes(), &Limits::default(), came).outer;
        });
        assert_eq!(text(&outer).matches("Keywords").count(), FIELDS);
        assert!(spent < HOSTILE, "{spent:?}");
    }
}

const FIELDS: usize = 75_000;
