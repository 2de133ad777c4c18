//! Tests of the MIME reader: shapes and ambiguities; bombs, decoding and properties in files of their own.

mod bombs;
mod decoding;
mod properties;

use super::*;
use crate::defect::Defect;
use crate::limits::Limits;

fn tree(raw: &[u8]) -> Result<Tree, Defect> {
    Tree::read(raw, 0..raw.len(), &Limits::default(), |_| ())
}

fn text<'a>(raw: &'a [u8], range: &Range<usize>) -> &'a str {
    std::str::from_utf8(&raw[range.clone()]).unwrap()
}

fn sections(raw: &[u8]) -> Vec<(String, PartKind)> {
    tree(raw)
        .unwrap()
        .parts
        .into_iter()
        .map(|part| (part.section, part.kind))
        .collect()
}

#[test]
fn fields_keep_their_folds_and_their_order() {
    let raw = b"A: 1\r\nb :2\r\n\t3\r\nno field\r\nC:\r\n\r\nbody: x\r\n";
    let mut fields = fields(raw);
    let spans: Vec<_> = fields.by_ref().collect();
    let names: Vec<_> = spans.iter().map(|span| text(raw, &span.name)).collect();
    assert_eq!(names, ["A", "b", "C"]);
    assert_eq!(text(raw, &spans[1].whole), "b :2\r\n\t3\r\n");
    assert_eq!(spans[1].value(raw), b"2\r\n\t3\r\n");
    assert_eq!(&raw[fields.body()..], b"body: x\r\n");
    assert!(spans[0].is(raw, "a"));
}

#[test]
fn a_header_without_an_empty_line_has_an_empty_body() {
    let mut fields = fields(b"A: 1\r\nB: 2");
    assert_eq!(fields.by_ref().count(), 2);
    assert_eq!(fields.body(), 10);
    assert_eq!(super::fields(b"").count(), 0);
}

#[test]
fn an_mbox_line_is_passed_over_without_doubt() {
    let raw = b"From alice Sun Nov 22\r\nContent-Type: text/plain\r\n\r\n";
    let header = Header::read(raw, 0..raw.len(), &mut |_| false, |_| ());
    assert!(!header.odd && header.content_type.is_some());
}

#[test]
fn headers_that_readers_end_differently_are_odd() {
    for raw in [
        &b"Subject: x\r\n \r\nContent-Type: text/plain\r\n\r\n"[..],
        b"Subject: x\r\nnot a field\r\nContent-Type: text/plain\r\n\r\n",
        b"Subject: x\rContent-Type: text/html\r\nContent-Type: text/plain\r\n\r\n",
        b"Subject: x\r\nContent-Type: text/plain\0; a=b\r\n\r\n",
        b" folded first\r\nContent-Type: text/plain\r\n\r\n",
        b"Content-Type: text/plain\r\n--b\r\n\r\n",
        b"Content-Type: text/plain\r\nSubject: x\r\n \r\n--b: x\r\n\r\n",
        b"Content-Type: text/plain\r\nSubject: x\r\n \r\n MIIB\r\n\r\n",
    ] {
        assert!(
            Header::read(raw, 0..raw.len(), &mut |_| false, |_| ()).odd,
            "{raw:?}"
        );
    }
    let fine = b"Content-Type: text/plain\r\nSubject: x\r\n \r\n\r\n";
    assert!(!Header::read(fine, 0..fine.len(), &mut |_| false, |_| ()).odd);
}

#[test]
fn fields_that_relays_change_or_readers_stop_at_are_doubtful() {
    let long = |name: &str, lines: usize, octets: usize| {
        let line = format!("{}\r\n ", "x".repeat(octets));
        let value = line.repeat(lines);
        format!(
            "{name}: {}\r\nContent-Type: text/plain\r\n\r\n",
            value.trim_end()
        )
        .into_bytes()
    };
    let doubtful = |raw: &[u8]| {
        let header = Header::read(raw, 0..raw.len(), &mut |_| false, |_| ());
        assert!(!header.odd && header.content_type.is_some());
        header.doubtful.len()
    };
    for raw in [
        "N\u{e4}me: x",
        "Subject\u{c}: x",
        "Subject : x",
        "Subject\t: x",
    ] {
        let raw = format!("{raw}\r\nContent-Type: text/plain\r\n\r\n");
        assert_eq!(doubtful(raw.as_bytes()), 1, "{raw:?}");
    }
    for (name, lines, octets, expected) in [
        ("X-Long", 1, 998 - "X-Long: ".len(), 0),
        ("X-Long", 1, 999 - "X-Long: ".len(), 1),
        ("X-Long", 60, 900, 0),
        ("X-Long", 75, 900, 1),
        ("Content-Disposition", 4, 900, 0),
        ("Content-Disposition", 5, 900, 1),
    ] {
        assert_eq!(
            doubtful(&long(name, lines, octets)),
            expected,
            "{name} {lines} × {octets}"
        );
    }
    let many = "a : x\r\n".repeat(101);
    let header = Header::read(many.as_bytes(), 0..many.len(), &mut |_| false, |_| ());
    assert!(header.odd && header.doubtful.len() == 100);
}

#[test]
fn content_types_are_read_as_written() {
    let parsed = ContentType::parse(
        b" Multipart/Signed; Protocol=\"application/pkcs7-signature\";\r\n\tmicalg=sha-256;boundary=\"a b\" ; \r\n",
    );
    assert!(!parsed.odd);
    assert_eq!(parsed.essence, "multipart/signed");
    assert_eq!(
        parsed.word("protocol").unwrap(),
        "application/pkcs7-signature"
    );
    assert_eq!(parsed.only("boundary").unwrap().value, b"a b");
    let commented = ContentType::parse(b"text/plain (nice (nested)) ; charset=utf-8 (x)");
    assert!(commented.odd && commented.type_odd);
    assert_eq!(commented.parameter("charset").unwrap().value, b"utf-8");
    let later = ContentType::parse(b"text/plain; name=\"a\\\"b\"; x=y (z)");
    assert!(later.odd && !later.type_odd);
}

#[test]
fn odd_content_types_are_marked() {
    for value in [
        &b"multipart/signed; boundary=\"a"[..],
        b"multipart/signed boundary=a",
        b"multipart/signed; boundary=a b=c",
        b"multipart/signed; boundary",
        b"multipart/signed; =a",
        b"multipart",
        b"multipart/signed/x; boundary=a",
        b"multipart/signed (; boundary=b); boundary=a",
        b"multipart/signed (open; boundary=a",
        b"multipart/signed; boundary=\"a\"b",
        b"multipart/signed; x=a\"; boundary=\"a\"",
        b"multipart/signed; x=\xe4; boundary=\"a\"",
    ] {
        assert!(
            ContentType::parse(value).odd,
            "{:?}",
            String::from_utf8_lossy(value)
        );
    }
}

#[test]
fn a_boundary_that_two_readers_could_read_differently_is_refused() {
    let refused = [
        "boundary=a; boundary=b",
        "boundary=a; boundary=a",
        "boundary*=us-ascii''a",
        "boundary*0=a; boundary*1=b",
        "boundary=a; boundary*0=b",
        "boundary=a; boundary*=b",
        "boundary=\"=?utf-8?q?a?=\"",
        "boundary=\"\"",
        "boundary=",
        "x=y",
        "boundary=\"a \"",
        "boundary=\" a\"",
        "boundary=\"a\\\"b\"",
        "boundary=\"a\\b\"",
        "boundary=a=b",
        "boundary=a?b",
        "boundary = a",
        "boundary= \"a\"",
        "boundary=\"a\r\n b\"",
        "boundary=\"a--\"",
        "boundary=\"a\u{e9}\"",
        "boundary=\"a\u{1}b\"",
        "BOUNDARY=a; Boundary=b",
        "boundary=a (comment)",
        "(comment) boundary=a",
        "boundary=\"<a>\"",
        "boundary=\"'a'\"",
        "boundary='a'",
        "x=\"; boundary=b\"; boundary=a",
        "x-boundary=b; boundary=a",
        "x=\"\\\"; y=\"; boundary=a",
    ];
    for parameters in refused {
        let parsed = ContentType::parse(format!("multipart/signed; {parameters}").as_bytes());
        assert!(check_boundary(&parsed).is_err(), "{parameters}");
    }
    let long = |length: usize| format!("multipart/signed; boundary={}", "b".repeat(length));
    assert!(check_boundary(&ContentType::parse(long(69).as_bytes())).is_ok());
    assert!(check_boundary(&ContentType::parse(long(70).as_bytes())).is_ok());
    assert!(check_boundary(&ContentType::parse(long(71).as_bytes())).is_err());
    for (fine, odd) in [
        ("boundary=\"----=_Part_1.2/3:4?5,6+7'8(9)\"", false),
        ("BOUNDARY=abc_DEF-1", false),
        ("boundary=\"a b\"; micalg=x", false),
        ("boundary=\"a{b}\"", true),
        ("boundary=a#b", true),
    ] {
        let parsed = ContentType::parse(format!("multipart/signed; {fine}").as_bytes());
        assert_eq!(check_boundary(&parsed).unwrap().1, odd, "{fine}");
    }
}

#[test]
fn the_signed_range_is_what_stands_between_the_delimiter_lines() {
    let raw = b"preamble\r\n--b \t\r\nContent-Type: text/plain\r\n\r\nhello\r\n\r\n--b\r\nS: 1\r\n\r\nx\r\n--b--\r\nepilogue -b\r\n";
    let split = split_signed(raw, 0..raw.len(), b"b").unwrap();
    assert_eq!(
        text(raw, &split.content),
        "Content-Type: text/plain\r\n\r\nhello\r\n"
    );
    assert_eq!(text(raw, &split.signature), "S: 1\r\n\r\nx");
    // No line end after the closing delimiter, none before the first one.
    let raw = b"--b\r\na\r\n--b\r\nx\r\n--b--";
    assert_eq!(split_signed(raw, 0..raw.len(), b"b").unwrap().content, 5..6);
}

#[test]
fn what_two_readers_could_split_differently_is_refused() {
    for raw in [
        "",
        "no boundary at all\r\n",
        "--b\r\na\r\n",
        "--b\r\na\r\n--b--\r\n",
        "--b\r\na\r\n--b\r\nx\r\n",
        "--b\r\na\r\n--b\r\nx\r\n--b-",
        "--b\r\na\r\n--b\r\nx\r\n--b\r\ny\r\n--b--\r\n",
        "--b\r\na\r\n--b\r\nx\r\n--b--\r\n--b--\r\n",
        "--b\r\na\r\n--b\r\nx\r\n--b--\r\n--b\r\ny\r\n--b--\r\n",
        "--b--\r\n--b\r\na\r\n--b\r\nx\r\n--b--\r\n",
        "--b\r\na\r\n--bc\r\nmore\r\n--b\r\nx\r\n--b--\r\n",
        "--b\r\na\r\n--b\r\nx\r\n--b--junk\r\n",
        "--b\r\na\r\n--b junk\r\n--b\r\nx\r\n--b--\r\n",
        "--b\r\na\r--b\r\n\r\n--b\r\nx\r\n--b--\r\n",
        "--b\r\na\r\n--b\rmore\r\n--b\r\nx\r\n--b--\r\n",
        "--b\r\n--b\r\nx\r\n--b--\r\n",
        "--b\r\na\r\n--b\r\n--b--\r\n",
        "x --b\r\n\r\n--b\r\na\r\n--b\r\nx\r\n--b--\r\n",
        "\x0b--b\r\n\r\n--b\r\na\r\n--b\r\nx\r\n--b--\r\n",
        "--b\r\na ---b\r\n--b\r\nx\r\n--b--\r\n",
        "--b\r\na\r\n--b\r\nx\r\n--b--\r\nepilogue --b\r\n",
    ] {
        assert!(
            split_signed(raw.as_bytes(), 0..raw.len(), b"b").is_err(),
            "{raw:?}"
        );
    }
}

#[test]
fn sections_are_numbered_as_imap_does() {
    let raw = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n\
        --a\r\n\r\ntext\r\n\
        --a\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nin\r\n--b\r\n\r\nsig\r\n--b--\r\n\
        --a\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n\
        --a\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nplain\r\n\
        --a--\r\n";
    use PartKind::*;
    let expected = [
        ("", Multipart),
        ("1", Leaf),
        ("2", Signed),
        ("2.1", Leaf),
        ("2.2", Leaf),
        ("3", Message),
        ("3", Multipart),
        ("3.1", Leaf),
        ("4", Message),
        ("4.1", Leaf),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(s, k)| ((*s).to_owned(), *k))
        .collect();
    assert_eq!(sections(raw), expected);
    let tree = tree(raw).unwrap();
    assert_eq!(text(raw, &tree.parts[9].body()), "plain");
    assert_eq!(text(raw, &tree.parts[3].whole), "\r\nin");
}

#[test]
fn an_outer_delimiter_ends_inner_multiparts_that_were_not_closed() {
    let raw = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n\
        --a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--a\r\n\r\ntwo\r\n--a--\r\n";
    let tree = tree(raw).unwrap();
    assert_eq!(tree.parts.len(), 4);
    assert_eq!(text(raw, &tree.parts[2].body()), "one");
    assert_eq!(text(raw, &tree.parts[3].body()), "two");
}

#[test]
fn a_part_may_lack_the_empty_line() {
    let raw = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nX: y\r\n--a\r\n\r\nz\r\n--a--\r\n";
    let tree = tree(raw).unwrap();
    assert_eq!(text(raw, &tree.parts[1].whole), "X: y");
    assert_eq!(tree.parts[1].body().len(), 0);
    assert_eq!(text(raw, &tree.parts[2].body()), "z");
}

#[test]
fn boundaries_that_are_part_of_each_other_mark_what_they_could_split() {
    let nested = |outer: &str, inner: &str| {
        format!(
            "Content-Type: multipart/signed; boundary={outer}\r\n\r\n--{outer}\r\n\
             Content-Type: multipart/mixed; boundary={inner}\r\n\r\n--{inner}\r\n\r\nx\r\n--{inner}--\r\n\
             --{outer}\r\n\r\nsig\r\n--{outer}--\r\n"
        )
    };
    for (outer, inner, ambiguous) in [
        ("one", "two", false),
        ("one", "oneX", true),
        ("oneX", "one", true),
        ("one", "one", true),
    ] {
        let raw = nested(outer, inner);
        assert_eq!(
            tree(raw.as_bytes()).unwrap().parts[0].ambiguous,
            ambiguous,
            "{outer} {inner}"
        );
    }
}

/// Offsets of header and body of every part, embedded messages included, as another reader found them.
fn flatten(parts: &serde_json::Value, out: &mut Vec<(u64, u64)>) {
    for part in parts.as_array().unwrap() {
        out.push((
            part["offset_header"].as_u64().unwrap(),
            part["offset_body"].as_u64().unwrap(),
        ));
        // A message in base64 has offsets of its own; it is not opened here.
        if let Some(message) = part["body"].get("Message")
            && message["parts"][0]["offset_header"] == part["offset_body"]
        {
            flatten(&message["parts"], out);
        }
    }
}

#[test]
fn published_mail_has_its_parts_where_another_reader_finds_them() {
    let base = std::env::var_os("KENIN_DATA").map_or_else(
        || std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        Into::into,
    );
    let folder = base.join("mime/rfc");
    if !folder.is_dir() {
        assert!(std::env::var_os("KENIN_REQUIRE_DATA").is_none_or(|value| value != "1"));
        eprintln!("SKIPPED: {} is absent", folder.display());
        return;
    }
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "eml") {
            continue;
        }
        let raw = std::fs::read(&path).unwrap();
        let json = std::fs::read(path.with_extension("json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let mut theirs = Vec::new();
        flatten(&json["parts"], &mut theirs);
        let tree = tree(&raw).unwrap();
        let ours: Vec<_> = tree
            .parts
            .iter()
            .map(|part| (part.whole.start as u64, part.header.body as u64))
            .collect();
        assert_eq!(ours, theirs, "{path:?}");
    }
}
