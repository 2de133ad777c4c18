//! Resource bombs: small mails, and large ones, that a careless reader pays dearly for.

use crate::forge::der::{
    bits, cat, explicit, indefinite, int, length, null, octets, oid, seq, set_of, tlv, unsigned,
};
use crate::forge::keys::Hash;
use crate::forge::mime::{clear_signed, headers, join, opaque, signed_type, text};

/// A mail that carries a CMS of these bytes.
pub fn carrying(cms: &[u8]) -> Vec<u8> {
    opaque(&headers("alice@example.jp"), "signed-data", cms)
}

/// A detached one.
pub fn beside(cms: &[u8]) -> Vec<u8> {
    clear_signed(&headers("alice@example.jp"), &text("beside"), cms)
}

/// BOMB-01: indefinite-length elements, one in the other; `closed` or simply cut off.
pub fn deep_indefinite(tag: u8, depth: usize, closed: bool) -> Vec<u8> {
    let mut out = [tag, 0x80].repeat(depth);
    if closed {
        out.extend(vec![0; depth * 2]);
    }
    out
}

/// BOMB-01: definite-length elements, one in the other, inside out so that it takes linear time.
pub fn deep_definite(tag: u8, depth: usize) -> Vec<u8> {
    let mut headers: Vec<Vec<u8>> = Vec::with_capacity(depth);
    let mut size = 0;
    for _ in 0..depth {
        let header = cat([vec![tag], length(size)]);
        size += header.len();
        headers.push(header);
    }
    headers.reverse();
    headers.concat()
}

/// A SignedData around some eContent element.
pub fn around(content: &[u8]) -> Vec<u8> {
    let inner = seq([oid("1.2.840.113549.1.7.1"), explicit(0, content)]);
    let body = seq([
        int(1),
        set_of(&[Hash::Sha256.identifier()]),
        inner,
        tlv(0x31, &[]),
    ]);
    seq([oid("1.2.840.113549.1.7.2"), explicit(0, &body)])
}

/// BOMB-02: claims about lengths and elements of no length.
pub fn lengths() -> Vec<(String, Vec<u8>)> {
    let mut out: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, cms: Vec<u8>| out.push((name.to_owned(), cms));
    add("claim of 2^63", vec![0x30, 0x88, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    add(
        "claim of 2^62 inside",
        around(&[4, 0x88, 0x40, 0, 0, 0, 0, 0, 0, 0]),
    );
    add("126 octets of length", cat([&[0x30, 0xfe][..], &[0; 126]]));
    add("127 octets of length", cat([&[0x30, 0xff][..], &[0; 127]]));
    add(
        "ten million empty elements",
        around(&cat([
            &[0x24, 0x80][..],
            &[4, 0].repeat(10_000_000),
            &[0, 0],
        ])),
    );
    add(
        "a million empty sequences",
        seq([[0x30, 0].repeat(1_000_000)]),
    );
    add(
        "end of contents without a beginning",
        cat([&[0x30, 0x80][..], &[0; 400_000]]),
    );
    add(
        "overlapping end of contents",
        indefinite(0x30, &cat([&[0x30, 0x80, 0][..], &[0; 3]])),
    );
    add(
        "high tag number without end",
        cat([&[0x1f][..], &[0x80; 100_000]]),
    );
    add(
        "a thousand tags of one octet more",
        around(&(0..1000).flat_map(|_| octets(b"x")).collect::<Vec<u8>>()),
    );
    out
}

/// BOMB-04: multiparts, fields and encodings; `n` scales each.
pub fn mime(n: usize) -> Vec<(&'static str, Vec<u8>)> {
    let from = headers("alice@example.jp");
    let head =
        |kind: &str| format!("Content-Type: multipart/{kind}; boundary=\"b\"\r\n\r\n").into_bytes();
    let mut deep = from.clone();
    for level in 0..n / 100 {
        deep.extend(
            format!("Content-Type: multipart/mixed; boundary=\"l{level}\"\r\n\r\n--l{level}\r\n")
                .bytes(),
        );
    }
    let mut signed_deep = from.clone();
    for level in 0..n / 100 {
        signed_deep.extend(signed_type(&format!("l{level}")));
        signed_deep.extend(format!("\r\n--l{level}\r\n").bytes());
    }
    let long = "b".repeat(n / 10);
    let quadratic = {
        let near = format!("--{}", "a".repeat(60));
        let field = format!(
            "Content-Type: multipart/mixed; boundary=\"{}b\"\r\n\r\n",
            "a".repeat(60)
        );
        join(&[
            &from,
            field.as_bytes(),
            format!("{near}{near}\r\n").repeat(n / 10).as_bytes(),
        ])
    };
    let breaks = {
        let mut body = String::from(
            "Content-Type: application/pkcs7-mime; smime-type=signed-data\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        );
        body.push_str(&"M\r\n".repeat(n * 3));
        join(&[&from, body.as_bytes()])
    };
    let continued = {
        let mut field = String::from("Content-Type: multipart/signed; micalg=sha-256");
        for i in 0..n / 10 {
            field.push_str(&format!(";\r\n boundary*{i}=\"x\""));
        }
        join(&[&from, field.as_bytes(), b"\r\n\r\n--x\r\n"])
    };
    let words = {
        let mut field = String::from("From: ");
        for _ in 0..n / 10 {
            field.push_str("=?utf-8?q?a?=\r\n ");
        }
        field.push_str("<alice@example.jp>\r\n");
        join(&[field.as_bytes(), b"Content-Type: text/plain\r\n\r\nx\r\n"])
    };
    let comments = join(&[
        b"From: ",
        "(".repeat(n).as_bytes(),
        b"x <alice@example.jp>\r\n\r\nx\r\n",
    ]);
    let fields = join(&[
        &"X-A: b\r\n".repeat(n / 10).into_bytes(),
        &from,
        b"\r\nx\r\n",
    ]);
    let folds = join(&[
        b"Subject: x",
        "\r\n ".repeat(n / 4).as_bytes(),
        b"y\r\n",
        &from,
        b"\r\nx\r\n",
    ]);
    let brackets = join(&[
        b"Subject: ",
        "[".repeat(n).as_bytes(),
        b"\r\n",
        &from,
        b"\r\nx\r\n",
    ]);
    let tags = join(&[
        b"Subject: ",
        "[=?utf-8?Q?=5Bsigned?=".repeat(n / 20).as_bytes(),
        b"\r\n",
        &from,
        b"\r\nx\r\n",
    ]);
    let name = join(&[&vec![b'N'; n], b": x\r\n", &from, b"\r\nx\r\n"]);
    let line = join(&[
        &from,
        b"Content-Type: text/plain\r\n\r\n",
        &vec![b'x'; n * 10],
        b"\r\n",
    ]);
    vec![
        ("nested multiparts", deep),
        ("nested multipart/signed", signed_deep),
        ("empty parts", join(&[&from, &head("mixed"), "--b\r\n\r\n".repeat(n).as_bytes(), b"--b--\r\n"])),
        ("empty parts of multipart/signed", join(&[&from, &signed_type("b"), b"\r\n", "--b\r\n\r\n".repeat(n).as_bytes(), b"--b--\r\n"])),
        ("a long boundary", join(&[&from, format!("Content-Type: multipart/mixed; boundary=\"{long}\"\r\n\r\n--{long}\r\n\r\nx\r\n--{long}--\r\n").as_bytes()])),
        ("almost boundaries", quadratic),
        ("base64 of line breaks", breaks),
        ("continued parameters", continued),
        ("encoded words", words),
        ("nested comments", comments),
        ("many fields", fields),
        ("many folds", folds),
        ("a Subject of brackets", brackets),
        ("a Subject of look-alikes", tags),
        ("a long field name", name),
        ("a long line", line),
        ("boundary lines only", join(&[&from, &head("signed"), "--b\r\n".repeat(n).as_bytes()])),
        ("dashes only", join(&[&from, &head("mixed"), "--\r\n".repeat(n).as_bytes()])),
        ("header without end", join(&[&from, "A: b\r\n".repeat(n / 10).as_bytes()])),
        ("CR and LF alone", join(&[&from, &head("mixed"), "\r\n\n\r".repeat(n).as_bytes()])),
    ]
}

/// BOMB-03: CompressedData (RFC 3274) around zlib data that grows a thousandfold, `levels` deep.
pub fn compressed(levels: usize) -> Vec<u8> {
    let script =
        "import sys,zlib; sys.stdout.buffer.write(zlib.compress(sys.stdin.buffer.read(),9))";
    let squeeze = |bytes: &[u8]| {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let mut child = Command::new("python3")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || input.write_all(&bytes).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output.stdout
    };
    let mut content = vec![0; 20_000_000];
    for _ in 0..levels {
        let zlib = seq([oid("1.2.840.113549.1.9.16.3.8")]);
        let inner = seq([
            oid("1.2.840.113549.1.7.1"),
            explicit(0, &octets(&squeeze(&content))),
        ]);
        let kind = "1.2.840.113549.1.9.16.1.9";
        content = crate::forge::cms::content_info(kind, &[int(0), zlib, inner], false);
    }
    content
}

/// DEC-16: recipients whom nobody knows, by key transport with this algorithm and keys that are none.
pub fn strangers(algorithm: &[u8], count: u32) -> Vec<Vec<u8>> {
    let stranger = |number: u32| {
        let name = cat([&[0x5a; 16][..], &number.to_be_bytes()]);
        let (version, name) = (int(2), tlv(0x80, &name));
        seq([version, name, algorithm.to_vec(), octets(&[0x55; 16])])
    };
    (0..count).map(stranger).collect()
}

/// DEC-16: a PasswordRecipientInfo (RFC 5652 §6.2.4), whose password goes through 2^31 iterations of PBKDF2.
pub fn password() -> Vec<u8> {
    let parameters = seq([octets(b"saltsalt"), int(1 << 31)]);
    let derivation = cat([oid("1.2.840.113549.1.5.12"), parameters]);
    let cipher = seq([oid("2.16.840.1.101.3.4.1.42"), octets(&[0x30; 16])]);
    let wrapping = seq([oid("1.2.840.113549.1.9.16.3.9"), cipher]);
    let derivation = tlv(0xa0, &derivation);
    let parts = [int(0), derivation, wrapping, octets(&[0x55; 48])];
    tlv(0xa3, &cat(parts))
}

/// BOMB-07: RSA public keys that cost too much or are none, as SubjectPublicKeyInfo with the size of
/// a signature for them.
pub fn rsa_keys() -> Vec<(&'static str, Vec<u8>, usize)> {
    let spki = |modulus: &[u8], exponent: &[u8]| {
        let key = seq([unsigned(modulus), unsigned(exponent)]);
        seq([seq([oid("1.2.840.113549.1.1.1"), null()]), bits(&key)])
    };
    let odd = |size: usize| {
        let mut bytes = vec![0xc3; size];
        bytes[size - 1] |= 1;
        bytes
    };
    let f4 = [1, 0, 1];
    vec![
        ("16,384 bits", spki(&odd(2048), &f4), 2048),
        ("65,536 bits", spki(&odd(8192), &f4), 8192),
        ("a million bits", spki(&odd(125_000), &f4), 125_000),
        (
            "8,192 bits and an exponent of 2,048",
            spki(&odd(1024), &odd(256)),
            1024,
        ),
        (
            "an exponent of 34 bits",
            spki(&odd(256), &[3, 0, 0, 0, 1]),
            256,
        ),
        ("an even exponent", spki(&odd(256), &[1, 0, 0]), 256),
        ("an exponent of 1", spki(&odd(256), &[1]), 256),
        ("an exponent of 0", spki(&odd(256), &[0]), 256),
        ("an even modulus", spki(&[0xc2; 256], &f4), 256),
        ("a modulus of 0", spki(&[0], &f4), 256),
        ("a modulus of 1", spki(&[1], &f4), 256),
        ("512 bits", spki(&odd(64), &f4), 64),
        (
            "an exponent as large as the modulus",
            spki(&odd(256), &odd(256)),
            256,
        ),
    ]
}
