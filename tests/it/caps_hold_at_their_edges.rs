//! Each limit one below, at, and one above its edge: the row's outcome above, an honest verdict at it.

use kenin_tests::forge::Expect::{Is, NotPass, OneOf};
use kenin_tests::forge::cms::{self, Content, SignedForm, SignerForm};
use kenin_tests::forge::der::{self, octets};
use kenin_tests::forge::{Expect, Shape, Town, mime};
use kenin_tests::verify;

const ALICE: &str = "alice@example.jp";

fn judged(shapes: &[Shape]) {
    let wrong = verify::judge(Town::get(), shapes);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn pass() -> Expect {
    Is("pass", "ok")
}

#[test]
fn certificates() {
    let town = Town::get();
    let part = mime::text("Certificates");
    let shapes: Vec<Shape> = [
        (63, pass()),
        (64, pass()),
        (65, Is("permerror", "limit-certificates")),
    ]
    .into_iter()
    .map(|(count, expect)| {
        let form = SignerForm::new(&town.alice, &part);
        let mut signed = SignedForm::detached(
            &form,
            &part,
            &[&town.alice.certificate, &town.issuer.certificate],
        );
        while signed.certificates.len() < count {
            let n = signed.certificates.len();
            let other =
                town.issuer
                    .person("Other", &format!("o{n}@example.jp"), town.bob.key.clone());
            signed.certificates.push(other.certificate);
        }
        let raw = mime::clear_signed(&mime::headers(ALICE), &part, &signed.encode());
        Shape::new("cap", format!("{count} certificates"), raw, expect)
    })
    .collect();
    judged(&shapes);
}

#[test]
fn header_size() {
    let town = Town::get();
    let part = mime::text("Header");
    let detached = cms::detached(&town.alice, &town.chain(), &part);
    let mail = |fields: &[u8]| {
        let headers = mime::join(&[fields, &mime::headers(ALICE)]);
        mime::clear_signed(&headers, &part, &detached)
    };
    let size = |mail: &[u8]| mail.windows(4).position(|at| at == b"\r\n\r\n").unwrap() + 4;
    let bare = size(&mail(b""));
    let limit = 1024 * 1024;
    let shapes: Vec<Shape> = [
        (limit - 1, pass()),
        (limit, pass()),
        (limit + 1, Is("permerror", "limit-mime")),
    ]
    .into_iter()
    .map(|(wanted, expect)| {
        let line = |octets: usize| format!("X: {}\r\n", "y".repeat(octets - 5));
        let missing = wanted - bare;
        let mut fields = line(900).repeat(missing / 900 - 1);
        let rest = 900 + missing % 900;
        fields.push_str(&line(rest / 2));
        fields.push_str(&line(rest - rest / 2));
        let raw = mail(fields.as_bytes());
        assert_eq!(size(&raw), wanted);
        Shape::new("cap", format!("header of {wanted} bytes"), raw, expect)
    })
    .collect();
    judged(&shapes);
}

#[test]
fn depth_of_octet_strings() {
    let town = Town::get();
    let part = mime::text("Deep content");
    let nested = |depth: usize| {
        let mut element = octets(&part);
        for _ in 0..depth {
            element = der::indefinite(0x24, &element);
        }
        let form = SignerForm::new(&town.alice, &part);
        let mut signed = SignedForm::detached(
            &form,
            &part,
            &[&town.alice.certificate, &town.issuer.certificate],
        );
        signed.content = Content::Absent;
        let inner = der::indefinite(
            0x30,
            &der::cat([der::oid(cms::DATA), der::indefinite(0xa0, &element)]),
        );
        let parts = vec![
            der::int(1),
            der::set_of(&signed.digests),
            inner,
            der::tlv(0xa0, &der::cat(&signed.certificates)),
            der::tlv(0x31, &der::cat(&signed.signers)),
        ];
        let cms = cms::content_info(cms::SIGNED_DATA, &parts, true);
        mime::opaque(&mime::headers(ALICE), "signed-data", &cms)
    };
    judged(&[
        Shape::new("cap", "1 level", nested(1), pass()),
        Shape::new("cap", "20 levels", nested(20), pass()),
        Shape::new(
            "cap",
            "40 levels",
            nested(40),
            Is("permerror", "limit-asn1"),
        ),
    ]);
}

#[test]
fn elements() {
    let town = Town::get();
    let part = mime::text("Many elements");
    let chunked = |chunk: usize, body: &[u8]| {
        let form = SignerForm::new(&town.alice, body);
        let mut signed = SignedForm::detached(
            &form,
            body,
            &[&town.alice.certificate, &town.issuer.certificate],
        );
        signed.content = Content::Chunked(body.to_vec(), chunk);
        mime::opaque(&mime::headers(ALICE), "signed-data", &signed.encode())
    };
    let long = mime::text(&"x".repeat(300_000));
    judged(&[
        Shape::new("cap", "chunks of 1", chunked(1, &part), pass()),
        Shape::new("cap", "150,000 chunks", chunked(2, &long), pass()),
        Shape::new(
            "cap",
            "300,000 chunks",
            chunked(1, &long),
            Is("permerror", "limit-asn1"),
        ),
    ]);
}

#[test]
fn layers() {
    let town = Town::get();
    let layered = |count: usize| {
        let mut entity = mime::text("Layers");
        for n in 0..count {
            let cms = cms::detached(&town.alice, &town.chain(), &entity);
            entity = mime::signed_entity(&format!("layer-{n}"), &entity, &cms);
        }
        mime::join(&[&mime::headers(ALICE), &entity])
    };
    judged(&[
        Shape::new("cap", "5 layers", layered(5), pass()),
        Shape::new("cap", "6 layers", layered(6), pass()),
        Shape::new(
            "cap",
            "7 layers",
            layered(7),
            Is("permerror", "limit-layers"),
        ),
    ]);
}

#[test]
fn mime_depth_and_parts() {
    let town = Town::get();
    let signed = |part: Vec<u8>| {
        let cms = cms::detached(&town.alice, &town.chain(), &part);
        mime::clear_signed(&mime::headers(ALICE), &part, &cms)
    };
    let deep = |depth: usize| {
        let mut entity = mime::text("deep");
        for n in 0..depth {
            let boundary = format!("deep-{n}-x");
            let field = format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n");
            entity = mime::join(&[field.as_bytes(), &mime::multipart(&boundary, &[&entity])]);
        }
        signed(entity)
    };
    let wide = |parts: usize| {
        let part = mime::text("p");
        let all = vec![&part[..]; parts];
        let field = b"Content-Type: multipart/mixed; boundary=\"wide-x\"\r\n\r\n";
        signed(mime::join(&[field, &mime::multipart("wide-x", &all)]))
    };
    let limit = || Is("permerror", "limit-mime");
    judged(&[
        Shape::new("cap", "40 levels", deep(40), pass()),
        Shape::new("cap", "60 levels", deep(60), limit()),
        Shape::new("cap", "1,900 parts", wide(1_900), pass()),
        Shape::new("cap", "2,100 parts", wide(2_100), limit()),
    ]);
}

#[test]
fn revocation_lists_in_the_message() {
    let town = Town::get();
    let part = mime::text("Lists");
    let with = |count: usize| {
        let form = SignerForm::new(&town.alice, &part);
        let mut signed = SignedForm::detached(
            &form,
            &part,
            &[&town.alice.certificate, &town.issuer.certificate],
        );
        signed.crls = (0..count).map(|_| town.issuer.crl(&[])).collect();
        mime::clear_signed(&mime::headers(ALICE), &part, &signed.encode())
    };
    judged(&[
        Shape::new("cap", "4 lists", with(4), pass()),
        Shape::new(
            "cap",
            "5 lists",
            with(5),
            OneOf(&[("pass", "ok"), ("permerror", "limit-certificates")]),
        ),
    ]);
}

#[test]
fn size() {
    let town = Town::get();
    let part = mime::text(&"0123456789abcdef\r\n".repeat(3_000_000));
    let cms = cms::detached(&town.alice, &town.chain(), &part);
    let raw = mime::clear_signed(&mime::headers(ALICE), &part, &cms);
    assert!(raw.len() > 52_428_800);
    judged(&[
        Shape::new("cap", "beyond 50 MiB", raw, Is("permerror", "limit-size")),
        Shape::new("cap", "nothing", b"From: a\r\n\r\n".to_vec(), NotPass),
    ]);
}
