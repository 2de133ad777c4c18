//! SIG-13 and SIG-14: where the signature stands, and what a multipart is.

use super::super::Expect::{self, Is, NotPass, OneOf};
use super::super::Shape;
use super::super::cms::detached;
use super::super::mime::{
    BOUNDARY, clear_signed, headers, join, mixed, multipart, opaque_entity, signature_part,
    signed_entity, signed_type, text,
};
use super::super::town::Town;

const ALICE: &str = "alice@example.jp";

/// SIG-13: only a signature at the root is a signature of the message.
pub fn sig13(town: &Town) -> Vec<Shape> {
    let part = text("Signed inside");
    let cms = detached(&town.alice, &town.chain(), &part);
    let clear = signed_entity(BOUNDARY, &part, &cms);
    let opaque = opaque_entity(
        "signed-data",
        &super::super::cms::opaque(&town.alice, &town.chain(), &part),
    );
    let before = text("Attacker's words before");
    let after = text("_______\r\nlist mailing list");
    let html =
        b"Content-Type: text/html\r\n\r\n<p>Attacker</p><div style=\"display:none\">\r\n".to_vec();
    let close = b"Content-Type: text/html\r\n\r\n</div><!-- \r\n".to_vec();
    let comment = b"Content-Type: text/html\r\n\r\n<p>Attacker</p><!--\r\n".to_vec();
    let cid = b"Content-Type: text/html\r\n\r\n<iframe src=\"cid:signed\"></iframe>\r\n".to_vec();
    let with_id = join(&[b"Content-ID: <signed>\r\n", &clear]);
    let attached = join(&[
        b"Content-Disposition: attachment; filename=signed.eml\r\n",
        &clear,
    ]);
    let forwarded = join(&[
        b"Content-Type: message/rfc822\r\n\r\n",
        &clear_signed(&headers(ALICE), &part, &cms),
    ]);
    let from = headers(ALICE);
    let none = Is("none", "signature-not-at-root");
    let mut out = Vec::new();
    let mut add = |name: &str, raw: Vec<u8>| {
        out.push(Shape::new("SIG-13", name, raw, none));
    };
    for (form, inner) in [("clear-signed", &clear), ("opaque", &opaque)] {
        add(
            &format!("{form}, alone in mixed"),
            mixed(&from, "mixed", &[inner]),
        );
        add(
            &format!("{form}, text before"),
            mixed(&from, "mixed", &[&before, inner]),
        );
        add(
            &format!("{form}, list footer"),
            mixed(&from, "mixed", &[inner, &after]),
        );
        add(
            &format!("{form}, before and after"),
            mixed(&from, "mixed", &[&before, inner, &after]),
        );
        add(
            &format!("{form}, in alternative"),
            mixed(&from, "alternative", &[&before, inner]),
        );
        add(
            &format!("{form}, hidden by HTML"),
            mixed(&from, "mixed", &[&html, inner, &close]),
        );
        add(
            &format!("{form}, in an HTML comment"),
            mixed(&from, "mixed", &[&comment, inner]),
        );
        add(
            &format!("{form}, in report"),
            mixed(&from, "report", &[&before, inner]),
        );
        add(
            &format!("{form}, in digest"),
            mixed(&from, "digest", &[inner]),
        );
    }
    add(
        "in related by cid",
        mixed(&from, "related", &[&cid, &with_id]),
    );
    add(
        "as an attachment",
        mixed(&from, "mixed", &[&before, &attached]),
    );
    add(
        "forwarded as attachment",
        mixed(&from, "mixed", &[&before, &forwarded]),
    );
    add("forwarded at the root", join(&[&from, &forwarded]));
    let listed = join(&[b"List-Id: <list.example.jp>\r\n", &from]);
    add(
        "through a mailing list",
        mixed(&listed, "mixed", &[&clear, &after]),
    );
    let two = signed_entity("another-boundary", &part, &cms);
    add("two signed parts", mixed(&from, "mixed", &[&clear, &two]));
    let mut deep = clear.clone();
    for n in 0..5 {
        let boundary = format!("level-{n}");
        let field = format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n");
        deep = join(&[field.as_bytes(), &multipart(&boundary, &[&deep])]);
    }
    add("five levels down", join(&[&from, &deep]));
    // Text that only mentions a signature is no signature.
    let raw = mixed(&from, "mixed", &[&text("-----BEGIN PKCS7-----"), &after]);
    out.push(Shape::new(
        "SIG-13",
        "a signature in words",
        raw,
        Is("none", "not-signed"),
    ));
    out
}

/// SIG-14: what two readers could split differently is ambiguous; what everybody ignores is a note.
pub fn sig14(town: &Town) -> Vec<Shape> {
    let part = text("One strict grammar");
    let evil = text("Attacker's part");
    let cms = detached(&town.alice, &town.chain(), &part);
    let sig = signature_part(&cms);
    let from = headers(ALICE);
    let body = multipart(BOUNDARY, &[&part, &sig]);
    let mut out = Vec::new();
    let typed = |field: &str, body: &[u8]| join(&[&from, field.as_bytes(), b"\r\n\r\n", body]);
    let normal = |body: &[u8]| join(&[&from, &signed_type(BOUNDARY), b"\r\n", body]);
    let signed = "multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256";

    // Harmless: these pass, some with a note.
    let pass = Is("pass", "ok");
    let mut good = |name: &str, raw: Vec<u8>| {
        out.push(Shape::new("SIG-14", format!("good: {name}"), raw, pass));
    };
    good("plain", normal(&body));
    good(
        "preamble",
        normal(&join(&[
            b"This is a cryptographically signed message\r\n\r\n",
            &body,
        ])),
    );
    good(
        "epilogue",
        normal(&join(&[
            &body,
            b"\r\nThe end, says nobody in particular\r\n",
        ])),
    );
    good(
        "unquoted boundary",
        typed(
            &format!("Content-Type: {signed}; boundary={BOUNDARY}"),
            &body,
        ),
    );
    good(
        "folded field",
        typed(
            &format!(
                "Content-Type: multipart/signed;\r\n\tprotocol=\"application/pkcs7-signature\";\r\n micalg=sha-256;\r\n boundary=\"{BOUNDARY}\""
            ),
            &body,
        ),
    );
    good(
        "upper case",
        typed(
            &format!(
                "CONTENT-TYPE: MULTIPART/SIGNED; PROTOCOL=\"APPLICATION/PKCS7-SIGNATURE\"; MICALG=SHA-256; BOUNDARY=\"{BOUNDARY}\""
            ),
            &body,
        ),
    );
    good(
        "x- spelling of the protocol",
        typed(
            &format!(
                "Content-Type: multipart/signed; protocol=\"application/x-pkcs7-signature\"; micalg=sha1; boundary=\"{BOUNDARY}\""
            ),
            &join(&[&multipart(
                BOUNDARY,
                &[
                    &part,
                    &String::from_utf8_lossy(&sig)
                        .replace("pkcs7-signature", "x-pkcs7-signature")
                        .into_bytes(),
                ],
            )]),
        ),
    );
    good(
        "white space behind the boundary",
        normal(
            String::from_utf8_lossy(&body)
                .replace(
                    &format!("--{BOUNDARY}\r\n"),
                    &format!("--{BOUNDARY} \t\r\n"),
                )
                .as_bytes(),
        ),
    );
    good(
        "the end boundary has no line end",
        normal(&body[..body.len() - 2]),
    );
    for (name, value) in [
        ("missing", ""),
        ("old spelling", "; micalg=sha256"),
        ("wrong", "; micalg=md5"),
        ("nonsense", "; micalg=\"rot 13\""),
        ("empty", "; micalg=\"\""),
        ("list", "; micalg=\"sha1,sha-256\""),
    ] {
        let field = format!(
            "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"{value}; boundary=\"{BOUNDARY}\""
        );
        good(&format!("micalg {name}"), typed(&field, &body));
    }
    let wrong = typed(
        &format!(
            "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=md5; boundary=\"{BOUNDARY}\""
        ),
        &body,
    );
    out.push(Shape::new("SIG-14", "wrong micalg is noted", wrong, pass).noted(&["micalg-odd"]));

    // Ambiguous or broken: none of these may pass.
    let mut bad = |name: &str, raw: Vec<u8>, expect: Expect| {
        out.push(Shape::new("SIG-14", name, raw, expect));
    };
    let ambiguous = || Is("permerror", "ambiguous-mime");
    // What relays repair, break or cut behind the verdict, and what ends the header for some readers.
    for (name, field) in [
        ("a field name outside ASCII", "N\u{e4}me: words"),
        ("a form feed in a field name", "Note\u{c}: words"),
        ("a space before a colon", "Note : words"),
    ] {
        let raw = join(&[
            &from,
            field.as_bytes(),
            b"\r\n",
            &signed_type(BOUNDARY),
            b"\r\n",
            &body,
        ]);
        bad(name, raw, ambiguous());
    }
    let padded = format!(
        "Content-Type: {signed}; x=\"{}\"; boundary={BOUNDARY}",
        "A".repeat(900)
    );
    bad("a line over 998 octets", typed(&padded, &body), ambiguous());
    let fold = format!("\r\n {}", "A".repeat(900)).repeat(120);
    let cut = format!("Content-Type: {signed}; x=\"{fold}\"; boundary={BOUNDARY}");
    bad("a field that relays cut", typed(&cut, &body), ambiguous());
    for cut in [';', '*', '%'] {
        let boundary = format!("cut{cut}{BOUNDARY}");
        let raw = join(&[
            &from,
            &signed_type(&boundary),
            b"\r\n",
            &multipart(&boundary, &[&part, &sig]),
        ]);
        bad(&format!("{cut} in the boundary"), raw, ambiguous());
    }
    let quote = format!("Content-Type: {signed}; x=a\"; boundary=\"{BOUNDARY}\"");
    bad(
        "a stray quote in another parameter",
        typed(&quote, &body),
        ambiguous(),
    );
    let lost = || {
        OneOf(&[
            ("permerror", "ambiguous-mime"),
            ("permerror", "malformed"),
            ("permerror", "limit-mime"),
            ("none", ""),
            ("fail", "digest-mismatch"),
        ])
    };
    bad(
        "three parts",
        normal(&multipart(BOUNDARY, &[&part, &sig, &evil])),
        ambiguous(),
    );
    bad(
        "three parts, attacker's first",
        normal(&multipart(BOUNDARY, &[&evil, &part, &sig])),
        lost(),
    );
    bad(
        "three parts, attacker's in the middle",
        normal(&multipart(BOUNDARY, &[&part, &evil, &sig])),
        lost(),
    );
    bad(
        "two signatures",
        normal(&multipart(BOUNDARY, &[&part, &sig, &sig])),
        ambiguous(),
    );
    bad("one part", normal(&multipart(BOUNDARY, &[&part])), lost());
    bad("no part", normal(&multipart(BOUNDARY, &[])), lost());
    bad(
        "signature first",
        normal(&multipart(BOUNDARY, &[&sig, &part])),
        lost(),
    );
    bad(
        "no end boundary",
        normal(&body[..body.len() - BOUNDARY.len() - 6]),
        lost(),
    );
    bad("end boundary cut", normal(&body[..body.len() - 4]), lost());
    bad(
        "end boundary in the first part",
        normal(&join(&[&multipart(BOUNDARY, &[&part]), &body])),
        lost(),
    );
    bad(
        "a second multipart behind the end",
        normal(&join(&[&body, &multipart(BOUNDARY, &[&evil, &sig])])),
        ambiguous(),
    );
    for (name, first, second) in [
        ("two Content-Type fields, equal", BOUNDARY, BOUNDARY),
        ("two Content-Type fields, other boundary", BOUNDARY, "other"),
        (
            "two Content-Type fields, other boundary first",
            "other",
            BOUNDARY,
        ),
    ] {
        let fields = join(&[&signed_type(first), &signed_type(second), b"\r\n"]);
        bad(name, join(&[&from, &fields, &body]), ambiguous());
    }
    let text_first = join(&[
        &from,
        b"Content-Type: text/plain\r\n",
        &signed_type(BOUNDARY),
        b"\r\n",
        &body,
    ]);
    bad("text/plain and multipart/signed", text_first, ambiguous());
    let text_last = join(&[
        &from,
        &signed_type(BOUNDARY),
        b"Content-Type: text/html\r\n\r\n",
        &body,
    ]);
    bad("multipart/signed and text/html", text_last, ambiguous());
    for (name, parameters) in [
        (
            "two boundaries",
            format!("boundary=\"{BOUNDARY}\"; boundary=\"other\""),
        ),
        (
            "two boundaries, other first",
            format!("boundary=\"other\"; boundary=\"{BOUNDARY}\""),
        ),
        (
            "two equal boundaries",
            format!("boundary=\"{BOUNDARY}\"; boundary=\"{BOUNDARY}\""),
        ),
        (
            "continued boundary",
            "boundary*0=\"kenin-forge\"; boundary*1=\"-7f3a\"".to_owned(),
        ),
        ("extended boundary", format!("boundary*=utf-8''{BOUNDARY}")),
        (
            "extended beside plain",
            format!("boundary=\"{BOUNDARY}\"; boundary*=utf-8''other"),
        ),
        (
            "continued beside plain",
            format!("boundary=\"{BOUNDARY}\"; boundary*0=\"oth\"; boundary*1=\"er\""),
        ),
        (
            "encoded-word boundary",
            "boundary=\"=?utf-8?q?kenin-forge-7f3a?=\"".to_owned(),
        ),
        (
            "encoded-word boundary, unquoted",
            "boundary==?utf-8?q?kenin-forge-7f3a?=".to_owned(),
        ),
        (
            "boundary in single quotes",
            format!("boundary='{BOUNDARY}'"),
        ),
        ("unclosed quotes", format!("boundary=\"{BOUNDARY}")),
        (
            "text behind the quotes",
            format!("boundary=\"{BOUNDARY}\"x"),
        ),
        (
            "text before the quotes",
            format!("boundary=x\"{BOUNDARY}\""),
        ),
        ("no boundary", "charset=utf-8".to_owned()),
        ("empty boundary", "boundary=\"\"".to_owned()),
        (
            "white space before the equals sign",
            format!("boundary =\"{BOUNDARY}\"; boundary=other"),
        ),
        ("NUL in the boundary", format!("boundary=\"{BOUNDARY}\0\"")),
        ("boundary of 8-bit", "boundary=\"kénin\"".to_owned()),
        (
            "comment in the boundary",
            "boundary=kenin-(x)forge-7f3a".to_owned(),
        ),
        (
            "backslash in the boundary",
            "boundary=\"kenin\\-forge-7f3a\"; boundary=\"kenin\"".to_owned(),
        ),
        (
            "boundary ends in a space",
            format!("boundary=\"{BOUNDARY} \""),
        ),
        (
            "boundary of 71 characters and another",
            format!("boundary=\"{}\"; boundary=\"{BOUNDARY}\"", "a".repeat(71)),
        ),
    ] {
        bad(
            name,
            typed(&format!("Content-Type: {signed}; {parameters}"), &body),
            lost(),
        );
    }
    // A boundary that begins like another: readers that compare only the beginning split here.
    let prefix = format!("{BOUNDARY}-and-more");
    let inner = join(&[
        &part[..part.len() - 2],
        format!("\r\n--{prefix}\r\n").as_bytes(),
        &evil,
    ]);
    bad(
        "a line that only begins like the boundary",
        normal(&multipart(BOUNDARY, &[&inner, &sig])),
        lost(),
    );
    let nested_type = format!("Content-Type: multipart/mixed; boundary=\"{prefix}\"\r\n\r\n");
    let nested = join(&[nested_type.as_bytes(), &multipart(&prefix, &[&part, &evil])]);
    let nested_cms = detached(&town.alice, &town.chain(), &nested);
    bad(
        "inner boundary that begins like the outer",
        clear_signed(&from, &nested, &nested_cms),
        OneOf(&[("pass", "ok"), ("permerror", "ambiguous-mime")]),
    );
    let same_type = format!("Content-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\r\n\r\n");
    let same = join(&[same_type.as_bytes(), &multipart(BOUNDARY, &[&part, &evil])]);
    let same_cms = detached(&town.alice, &town.chain(), &same);
    bad(
        "inner boundary equal to the outer",
        clear_signed(&from, &same, &same_cms),
        NotPass,
    );
    bad(
        "boundary line with a bare LF before it",
        normal(&replace(
            &body,
            b"\r\n--kenin-forge-7f3a\r\nContent-Type: application",
            b"\n--kenin-forge-7f3a\r\nContent-Type: application",
        )),
        OneOf(&[
            ("pass", "ok"),
            ("permerror", "ambiguous-mime"),
            ("fail", "digest-mismatch"),
        ]),
    );
    bad(
        "boundary line with a bare CR before it",
        normal(&replace(
            &body,
            b"\r\n--kenin-forge-7f3a\r\nContent-Type: application",
            b"\r--kenin-forge-7f3a\r\nContent-Type: application",
        )),
        lost(),
    );
    bad(
        "protocol of another kind",
        typed(
            &format!(
                "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; micalg=sha-256; boundary=\"{BOUNDARY}\""
            ),
            &body,
        ),
        OneOf(&[("pass", "ok"), ("permerror", ""), ("none", "")]),
    );
    bad(
        "signature in text/plain",
        normal(&multipart(
            BOUNDARY,
            &[
                &part,
                &replace(&sig, b"application/pkcs7-signature", b"text/plain"),
            ],
        )),
        NotPass,
    );
    bad(
        "signature in quoted-printable",
        normal(&multipart(
            BOUNDARY,
            &[
                &part,
                &replace(&sig, b"Encoding: base64", b"Encoding: quoted-printable"),
            ],
        )),
        NotPass,
    );
    bad(
        "two transfer encodings",
        normal(&multipart(
            BOUNDARY,
            &[
                &part,
                &replace(
                    &sig,
                    b"Content-Disposition",
                    b"Content-Transfer-Encoding: 7bit\r\nContent-Disposition",
                ),
            ],
        )),
        lost(),
    );
    bad(
        "transfer encoding on the multipart",
        join(&[
            &from,
            b"Content-Transfer-Encoding: base64\r\n",
            &signed_type(BOUNDARY),
            b"\r\n",
            &body,
        ]),
        NotPass,
    );
    bad(
        "base64 with attacker's characters",
        normal(&multipart(
            BOUNDARY,
            &[&part, &replace(&sig, b"MII", b"MI!I")],
        )),
        OneOf(&[("pass", "ok"), ("permerror", "")]),
    );
    bad(
        "base64 that ends and goes on",
        normal(&multipart(
            BOUNDARY,
            &[&part, &join(&[&sig, b"AAAA====\r\nMIIB\r\n"])],
        )),
        OneOf(&[("pass", "ok"), ("permerror", "")]),
    );
    // A Content-Type field that is not where a field can be.
    let hidden = join(&[
        &from,
        b"X: y\r\n \r\n",
        &signed_type(BOUNDARY),
        b"\r\n",
        &body,
    ]);
    bad(
        "a field folded over nothing",
        hidden,
        OneOf(&[
            ("pass", "ok"),
            ("permerror", "ambiguous-mime"),
            ("none", ""),
        ]),
    );
    let spaced = replace(
        &normal(&body),
        b"Content-Type: multipart/signed",
        b"Content-Type : multipart/signed",
    );
    bad(
        "white space before the colon",
        spaced,
        OneOf(&[
            ("permerror", "ambiguous-mime"),
            ("none", ""),
            ("pass", "ok"),
        ]),
    );
    // A signed layer in a signed layer is two layers, and the outer one is the message's.
    let mut entity = signed_entity("inner-0", &part, &cms);
    for n in 1..4 {
        let cms = detached(&town.alice, &town.chain(), &entity);
        entity = signed_entity(&format!("inner-{n}"), &entity, &cms);
    }
    bad(
        "signed four times over",
        join(&[&from, &entity]),
        Is("pass", "ok"),
    );
    for n in 4..9 {
        let cms = detached(&town.alice, &town.chain(), &entity);
        entity = signed_entity(&format!("inner-{n}"), &entity, &cms);
    }
    bad(
        "signed nine times over",
        join(&[&from, &entity]),
        Is("permerror", "limit-layers"),
    );
    out
}

fn replace(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes
        .windows(old.len())
        .position(|w| w == old)
        .expect("the text to replace is there");
    join(&[&bytes[..at], new, &bytes[at + old.len()..]])
}
