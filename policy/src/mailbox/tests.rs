use super::*;
use crate::header;
use proptest::prelude::*;

fn read(header_block: &[u8]) -> FromField {
    from_field(header_block, &header::scan(header_block))
}

fn one(value: &str) -> Result<String, Ambiguity> {
    let raw = format!("Subject: s\r\nFrom: {value}\r\nTo: b@example.jp\r\n\r\nbody\r\n");
    read(raw.as_bytes()).mailbox.map(|mailbox| mailbox.written)
}

#[test]
fn honest_shapes_are_one_mailbox() {
    for value in [
        "alice@example.jp",
        "<alice@example.jp>",
        "Alice <alice@example.jp>",
        "Alice Example <alice@example.jp>",
        "\"Alice, Example\" <alice@example.jp>",
        "\"A \\\"quoted\\\" name\" <alice@example.jp>",
        "J. Q. Public <alice@example.jp>",
        "alice@example.jp (Alice)",
        "(Alice) alice@example.jp",
        "Alice (Sales) <alice@example.jp>",
        "Alice <alice@example.jp> (Sales)",
        "Alice (a (nested) comment) <alice@example.jp>",
        "=?utf-8?B?55Sw5Lit?= <alice@example.jp>",
        "=?ISO-2022-JP?B?GyRCRURDZhsoQg==?= <alice@example.jp>",
        "=?ISO-2022-JP?B?GyRCRURDZhsoQg==?=\r\n =?ISO-2022-JP?B?GyRCMkVIPRsoQg==?= <alice@example.jp>",
        "=?utf-8?Q?Alice_Example?=\r\n <alice@example.jp>",
        "\"=?utf-8?B?55Sw5Lit?=\" <alice@example.jp>",
        "田中 <alice@example.jp>",
        "田中＠営業部 <alice@example.jp>",
        "Alice @ Sales <alice@example.jp>"
            .replace(" @ ", " at ")
            .as_str(),
        "\"Alice @ Sales\" <alice@example.jp>",
        "\"@alice\" <alice@example.jp>",
        "\"alice@example.jp\" <alice@example.jp>",
        "\"ALICE@example.JP\" <alice@example.jp>",
        "=?utf-8?B?YWxpY2VAZXhhbXBsZS5qcA==?= <alice@example.jp>",
        "alice@example.jp (alice@example.jp)",
        // As Outlook and others write it.
        "\"'alice@example.jp'\" <alice@example.jp>",
        "'alice@example.jp' <alice@example.jp>",
        "alice@example.jp <alice@example.jp>",
        "Alice@Example.JP <alice@example.jp>",
        "\"担当alice@example.jp\" <alice@example.jp>",
        "\"alice@example.jp経由\" <alice@example.jp>",
        "=?cp65001?Q?Alice?= <alice@example.jp>",
        "\"Zo\u{eb} Alice\" <alice@example.jp>",
        "   alice@example.jp   ",
        "\r\n alice@example.jp",
    ] {
        assert_eq!(one(value).as_deref(), Ok("alice@example.jp"), "{value:?}");
    }
    assert_eq!(
        one("O'Brien+tag@sub.example.jp").unwrap(),
        "O'Brien+tag@sub.example.jp"
    );
    assert_eq!(
        one("=?utf-8?Q?a?= <a.b@example.jp>").unwrap(),
        "a.b@example.jp"
    );
    assert_eq!(one("甲@例え.jp").unwrap(), "甲@例え.jp");
    for shown in ["alice@例え.jp", "alice@xn--r8jz45g.jp"] {
        assert!(
            one(&format!("\"{shown}\" <alice@xn--r8jz45g.jp>")).is_ok(),
            "{shown}"
        );
    }
}

/// SIG-16: the shapes of one From value that must name nobody.
#[test]
fn sig_16_shapes_name_nobody() {
    let spaces = " ".repeat(998);
    let shapes: Vec<String> = [
        // Display names that show another address.
        "\"victim@bank.jp\" <alice@example.jp>",
        "victim@bank.jp <alice@example.jp>",
        "\"victim@bank.jp <victim@bank.jp>\" <alice@example.jp>",
        "=?utf-8?B?dmljdGltQGJhbmsuanA=?= <alice@example.jp>",
        "=?utf-8?Q?victim=40bank=2Ejp?= <alice@example.jp>",
        "=?utf-8?Q?victim?= =?utf-8?Q?=40bank.jp?= <alice@example.jp>",
        "=?utf-8?Q?vic?=\r\n =?us-ascii?Q?tim=40bank.jp?= <alice@example.jp>",
        "=?ISO-2022-JP?B?GyRCRURDZhsoQiB2aWN0aW1AYmFuay5qcA==?= <alice@example.jp>",
        "=?ISO-2022-JP?B?GyRCI3YjaSNjI3QjaSNtIXcjYiNhI24jayElI2ojcBsoQg==?= <alice@example.jp>",
        "=?utf-8?Q?victim=EF=BC=A0bank=EF=BC=8Ejp?= <alice@example.jp>",
        "\"victim@bank=?utf-8?Q?.jp?=\" <alice@example.jp>",
        "\"=?utf-8?B?dmljdGltQGJhbmsuanA=?=\" <alice@example.jp>",
        "=?utf-8?Q?=3D=3Futf-8=3FB=3FdmljdGltQGJhbmsuanA=3D=3F=3D?= <alice@example.jp>",
        "=?utf-7?Q?victim+AEA-bank.jp?= <alice@example.jp>",
        "=?utf-16?B?dgBpAGMAdABpAG0AQABiAGEAbgBrAC4AagBwAA==?= <alice@example.jp>",
        "\"victim @ bank.jp\" <alice@example.jp>",
        "\"v\\ictim\\@bank.jp\" <alice@example.jp>",
        "\"victim\u{200b}@bank.jp\" <alice@example.jp>",
        "alice@example.jp (victim@bank.jp)",
        "(victim@bank.jp) alice@example.jp",
        "Alice <alice@example.jp> (victim@bank.jp)",
        "alice@example.jp (=?utf-8?B?dmljdGltQGJhbmsuanA=?=)",
        "\"\u{202e}pj.knab@mitciv\" <alice@example.jp>",
        // What some programs decode, and we must not pass over.
        "=?iso-2022-kr?Q?victim=40bank.jp?= <alice@example.jp>",
        "=?iso-2022-cn?Q?victim=40bank.jp?= <alice@example.jp>",
        "=?ISO-2022-JP?B?GyRC?= =?ISO-2022-JP?Q?victim=40bank.jp?= <alice@example.jp>",
        "=?utf-8?B?dmlj!dGltQGJhbmsuanA=?= <alice@example.jp>",
        "=?utf-8?B?dmljdGltQGJhbmsuanAgA?= <alice@example.jp>",
        "=?utf-8?B?dmlj=dGltQGJhbmsuanA=?= <alice@example.jp>",
        "\"victim@ba\"\"nk.jp\" <alice@example.jp>",
        "\"victim@\u{206a}bank.jp\" <alice@example.jp>",
        "\"victim@bank\u{206a}.jp\" <alice@example.jp>",
        "\"victim@bank\u{e0100}.jp\" <alice@example.jp>",
        "\"victim@bank\u{180b}.jp\" <alice@example.jp>",
        "\"victim@bank\u{17b4}.jp\" <alice@example.jp>",
        "\"victim@bank\u{200a}.jp\" <alice@example.jp>",
        "\"victim@ban\u{323}k.jp\" <alice@example.jp>",
        "\"victim@bank\u{2027}.jp\" <alice@example.jp>",
        "alice@ <alice@example.jp>",
        "victim@bank <alice@example.jp>",
        "'victim@bank.jp' <alice@example.jp>",
        "=?utf-8?Q?Alice=00?= <alice@example.jp>",
        "=?utf-8?Q?Alice=0Avictim?= <alice@example.jp>",
        // Values that are not one mailbox.
        "",
        "<>",
        "Alice",
        "\"Alice\"",
        "Alice <>",
        "Alice <alice>",
        "alice",
        "@example.jp",
        "alice@",
        "<alice@example.jp",
        "alice@example.jp>",
        "alice@example.jp, bob@example.jp",
        "<alice@example.jp>, <bob@example.jp>",
        "<alice@example.jp> <bob@example.jp>",
        "alice@example.jp <bob@example.jp>",
        "<alice@example.jp> bob@example.jp",
        "alice@example.jp bob@example.jp",
        "alice@example.jp; bob@example.jp",
        "alice@example.jp,",
        "group: alice@example.jp;",
        "<alice@example.jp>:bob@example.jp;",
        "undisclosed-recipients:;",
        "<@relay.jp:alice@example.jp>",
        "<@relay.jp,@relay2.jp:alice@example.jp>",
        "\"alice\"@example.jp",
        "<\"alice\"@example.jp>",
        "\"victim@bank.jp\"@example.jp",
        "<\"victim@bank.jp>\"@example.jp>",
        "alice@(comment)example.jp",
        "alice(comment)@example.jp",
        "<alice(comment)@example.jp>",
        "<alice@example.jp(comment)>",
        "< alice@example.jp >",
        "alice @example.jp",
        "alice@ example.jp",
        "alice@example.jp@bank.jp",
        "alice@[192.0.2.1]",
        "alice..b@example.jp",
        "alice.@example.jp",
        ".alice@example.jp",
        "alice@example.jp.",
        "alice@example..jp",
        "=?utf-8?Q?alice?=@example.jp",
        "=?utf-8?B?dmljdGltQGJhbmsuanA=?==?utf-8?Q?=00?=@example.jp",
        "Alice =?utf-8?Q?=3Calice=40example.jp=3E?=",
        "alice\0@example.jp",
        "alice@example.jp\0@bank.jp",
        "Alice\u{1} <alice@example.jp>",
        "Alice\u{7f} <alice@example.jp>",
        "alice@example.jp\u{2028}",
        "alice＠example.jp",
        "Alice ＜alice@example.jp＞",
        "alice@example\u{3002}jp",
        "al\u{ad}ice@example.jp",
        "al\u{200b}ice@example.jp",
        "alice@exam\u{feff}ple.jp",
        "\"Alice <alice@example.jp>",
        "(Alice <alice@example.jp>",
        "Alice) <alice@example.jp>",
        "Alice [x] <alice@example.jp>",
        "Alice: <alice@example.jp>",
        "Alice <alice@example.jp>>",
        "Alice <<alice@example.jp>>",
    ]
    .map(String::from)
    .into_iter()
    .chain([
        format!("victim@bank.jp{spaces}<alice@example.jp>"),
        format!("Victim Bank{spaces}<alice@example.jp>"),
        format!("Victim Bank{}<alice@example.jp>", " ".repeat(65)),
        format!(
            "Victim Bank\r\n{}\r\n{}<alice@example.jp>",
            " ".repeat(60),
            " ".repeat(60)
        ),
        format!("{}@example.jp", "a".repeat(65)),
        format!("\"{}\" <alice@example.jp>", "a".repeat(1000)),
    ])
    .collect();
    assert!(shapes.len() >= 38);
    for value in &shapes {
        assert!(one(value).is_err(), "{value:?} names {:?}", one(value));
    }
}

/// SIG-17: header blocks in which more than one reader finds more than one From.
#[test]
fn sig_17_blocks_name_nobody() {
    let good = "From: alice@example.jp\r\n";
    let blocks: Vec<Vec<u8>> = [
        "From: victim@bank.jp\r\n",
        "from: victim@bank.jp\r\n",
        "FROM:victim@bank.jp\r\n",
        "From : victim@bank.jp\r\n",
        "From\t: victim@bank.jp\r\n",
        "From\r\n : victim@bank.jp\r\n",
        "Fr\r\n om: victim@bank.jp\r\n",
        "From\u{a0}: victim@bank.jp\r\n",
        "From\u{200b}: victim@bank.jp\r\n",
        "\u{feff}From: victim@bank.jp\r\n",
        "Ｆｒｏｍ: victim@bank.jp\r\n",
        "Fr\u{43e}m: victim@bank.jp\r\n",
        "From\0: victim@bank.jp\r\n",
        "Fro\u{1}m: victim@bank.jp\r\n",
        "From victim@bank.jp\r\n",
        "Subject: x\rFrom: victim@bank.jp\r\n",
        "Subject: x\u{c}From: victim@bank.jp\r\n",
        "Subject: x\u{b}From: victim@bank.jp\r\n",
        "Subject: x\u{2028}From: victim@bank.jp\r\n",
        "Subject: x\u{85}From: victim@bank.jp\r\n",
        "Subject: x\0From: victim@bank.jp\r\n",
        "garbage\r\n From: victim@bank.jp\r\n",
        "From: alice@example.jp\r\n",
        "From:\r\n",
    ]
    .iter()
    .flat_map(|other| [format!("{good}{other}\r\n"), format!("{other}{good}\r\n")])
    .chain(
        [
            "\r\n",
            "Subject: x\r\n\r\n",
            "From : alice@example.jp\r\n\r\n",
            "From\r\n : alice@example.jp\r\n\r\n",
            "Fr\r\n om: alice@example.jp\r\n\r\n",
            " From: alice@example.jp\r\n\r\n",
            "From alice@example.jp\r\n\r\n",
            "Sender: alice@example.jp\r\n\r\n",
            "Resent-From: alice@example.jp\r\n\r\n",
            "Reply-To: alice@example.jp\r\n\r\n",
            "Subject: x\r\n From: alice@example.jp\r\n\r\n",
            "\r\nFrom: alice@example.jp\r\n\r\n",
            "From: alice@example.jp\r bob@example.jp\r\n\r\n",
            "From:\r\n",
            "From:   \r\n\r\n",
        ]
        .map(String::from),
    )
    .map(String::into_bytes)
    .chain([
        b"From: alice@example.jp\r\nFrom\xa0: victim@bank.jp\r\n\r\n".to_vec(),
        b"From: alice@example.jp\r\nFr\xf6om: victim@bank.jp\r\n\r\n".to_vec(),
        b"From: Al\xefce <alice@example.jp>\r\n\r\n".to_vec(),
    ])
    .collect();
    assert!(blocks.len() >= 26);
    for block in &blocks {
        let found = read(block);
        assert!(
            found.mailbox.is_err(),
            "{:?} names {found:?}",
            String::from_utf8_lossy(block)
        );
    }
}

#[test]
fn other_fields_change_nothing() {
    let raw = b"Sender: s@other.jp\r\nResent-From: r@other.jp\r\nFrom: alice@example.jp\r\nX-From: x@y.jp\r\n\r\n";
    assert_eq!(read(raw).mailbox.unwrap().written, "alice@example.jp");
}

#[test]
fn addresses_are_reported_even_when_ambiguous() {
    let raw = b"From: a@example.jp, b@example.jp\r\nFrom: <c@example.jp>\r\n\r\n";
    assert_eq!(
        read(raw).addresses,
        ["a@example.jp", "b@example.jp", "c@example.jp"]
    );
    assert_eq!(
        read(b"From: Alice <alice@example.jp>\r\n\r\n").addresses,
        ["alice@example.jp"]
    );
    assert!(read(b"From: Alice\r\n\r\n").addresses.is_empty());
}

#[test]
fn a_field_full_of_beginnings_costs_its_length() {
    let text = "=?a?b? ".repeat(100_000);
    assert_eq!(decoded(&text), None);
    assert_eq!(decoded("=?utf-8?Q?a=62?= c").as_deref(), Some("ab c"));
    assert_eq!(decoded("=?x"), None);
    assert_eq!(decoded("=?é?Q?a?="), None);
}

proptest! {
    #[test]
    fn any_value_is_read_without_harm(value in proptest::collection::vec(
        prop_oneof![
            Just(b'@'), Just(b'<'), Just(b'>'), Just(b'('), Just(b')'), Just(b'"'), Just(b'\\'),
            Just(b'='), Just(b'?'), Just(b'.'), Just(b'a'), Just(b' '), any::<u8>()], 0..120))
    {
        let mut raw = b"From: ".to_vec();
        raw.extend_from_slice(&value);
        raw.extend_from_slice(b"\r\n\r\n");
        if let Ok(mailbox) = read(&raw).mailbox {
            prop_assert!(!mailbox.written.chars().any(char::is_control));
            prop_assert_eq!(mailbox.written.matches('@').count(), 1);
        }
    }

    #[test]
    fn encoded_words_of_any_shape(text in "(=\\?(utf-8|iso-2022-jp|x)\\?[BbQq]\\?[ -~]{0,20}\\?= ?){1,4}") {
        let _ = one(&format!("{text} <alice@example.jp>"));
    }
}

/// A rule for a domain is not evaded by the spelling of From.
#[test]
fn every_domain_that_somebody_may_see_is_shown() {
    let shown = |lines: &str| {
        let raw = format!("{lines}\r\n\r\nbody\r\n");
        Shown::read(raw.as_bytes(), &header::scan(raw.as_bytes()))
    };
    let long = format!("From: \"{}\" <ceo@bank.example>", "x".repeat(2000));
    for lines in [
        "From: ceo@bank.example",
        "From: \"ceo\"@bank.example",
        "From: CEO <\"ceo\"@bank.example>",
        "From: ceo @ bank.example",
        "From: ceo@(x)bank.example",
        "From: ceo@\"bank.example\"",
        "From: <ceo@\r\n bank.example>",
        "From: =?utf-8?Q?ceo=40bank.example?=",
        "From: =?utf-8?B?!?= =?utf-8?Q?ceo=40bank.example?=",
        "From: a@x.example\r\nFrom: b@y.example\r\nFrom: ceo@bank.example",
        "From: a@a.example,b@b.example,c@c.example,d@d.example,e@e.example,f@f.example,\
         g@g.example,h@h.example,ceo@bank.example",
        "From: ceo＠ＢＡＮＫ．example",
        "From : ceo@bank.example",
        "From: ceo@ba\u{ad}nk.example",
        &long,
    ] {
        let found = shown(lines);
        assert!(!found.crowded);
        assert!(
            found.domains.iter().any(|d| d == "bank.example"),
            "{lines}: {found:?}"
        );
    }
    assert_eq!(
        shown("From: Alice <alice@example.jp>").domains,
        ["example.jp"]
    );
    assert_eq!(shown("Subject: x"), Shown::default());
    let crowd: Vec<String> = (0..200).map(|n| format!("a@d{n}.example")).collect();
    assert!(shown(&format!("From: {}", crowd.join(","))).crowded);
}

/// A rule for an address is not evaded by the spelling of From either.
#[test]
fn every_address_that_somebody_may_see_is_shown() {
    let shown = |from: &str| {
        let raw = format!("From: {from}\r\n\r\nbody\r\n");
        Shown::read(raw.as_bytes(), &header::scan(raw.as_bytes()))
    };
    for from in [
        "boss@own.example",
        "\"boss\"@own.example",
        "Boss <\"boss\"@own.example>",
        "boss(c)@own.example",
        "boss@(c)own.example",
        "boss (c (d)) @ own.example",
        "boss @ own.example",
        "The Boss boss @ own.example",
        "boss\r\n @own.example",
        "\"b\\oss\"@own.example",
        "b\\oss@own.example",
        "bo\u{ad}ss@o\u{200b}wn.example",
        "=?utf-8?Q?=22boss=22=40own.example?= <x@y.example>",
        "boss＠ｏｗｎ．example",
    ] {
        let found = shown(from);
        assert!(!found.crowded);
        let is_it = |one: &String| one == "boss@own.example";
        assert!(found.addresses.iter().any(is_it), "{from}: {found:?}");
    }
    let plain = shown("Alice (Sales) <alice@example.jp>");
    assert_eq!(plain.addresses, ["alice@example.jp"]);
    // A mark belongs to its letter.
    let marked = shown("x@bu\u{308}cher.example");
    let whole = "x@bu\u{308}cher.example".to_owned();
    assert!(marked.addresses.contains(&whole), "{marked:?}");
    let crowd: Vec<String> = (0..200).map(|n| format!("a{n} @ x.example")).collect();
    assert!(shown(&crowd.join(",")).crowded);
}
