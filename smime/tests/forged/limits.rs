//! The caps: one below, at, and one above; and what costs most, within them (BOMB-01, 02, 04).

use kenin_pki::der::write;
use kenin_smime::{Defect, Limits, examine};

use crate::forge::*;
use crate::{ENTITY, alice, is_right, reason, root};

fn with(raw: &str, limits: &Limits) -> kenin_smime::Examined {
    examine(raw.as_bytes(), limits, &[])
}

/// Examines with a cap one below, at and one above what the mail has: wrong, right, right.
#[track_caller]
fn bracket(raw: &str, count: usize, set: impl Fn(&mut Limits, usize), defect: Defect) {
    for (cap, fine) in [(count - 1, false), (count, true), (count + 1, true)] {
        let mut limits = Limits::default();
        set(&mut limits, cap);
        let examined = with(raw, &limits);
        assert_eq!(
            is_right(&examined),
            fine,
            "cap {cap}: {:?}",
            reason(&examined)
        );
        if !fine {
            assert_eq!(reason(&examined), Some(defect));
        }
    }
}

fn bag(certificates: usize) -> Vec<Vec<u8>> {
    let first = alice().certificate.der().to_vec();
    let others = (1..certificates).map(|number| {
        certificate("other", &alice().key, u8::try_from(number).unwrap())
            .der()
            .to_vec()
    });
    std::iter::once(first).chain(others).collect()
}

fn signed(certificates: usize, signers: usize) -> Vec<u8> {
    let bag = bag(certificates);
    let bag: Vec<&[u8]> = bag.iter().map(Vec::as_slice).collect();
    let signers: Vec<_> = (0..signers)
        .map(|_| honest(alice(), ENTITY.as_bytes()))
        .collect();
    signed_data(None, &bag, &signers)
}

#[test]
fn certificates_signers_and_checks() {
    let raw = clear(ENTITY, &signed(64, 1));
    bracket(
        &raw,
        64,
        |limits, cap| limits.certificates = cap,
        Defect::LimitCertificates,
    );
    assert!(is_right(&with(&raw, &Limits::default())));
    let above = with(&clear(ENTITY, &signed(65, 1)), &Limits::default());
    assert_eq!(reason(&above), Some(Defect::LimitCertificates));
    let raw = clear(ENTITY, &signed(1, 16));
    bracket(
        &raw,
        16,
        |limits, cap| limits.signers = cap,
        Defect::LimitSigners,
    );
    let above = with(&clear(ENTITY, &signed(1, 17)), &Limits::default());
    assert_eq!(reason(&above), Some(Defect::LimitSigners));
    bracket(
        &raw,
        16,
        |limits, cap| limits.signature_checks = cap,
        Defect::LimitSigners,
    );
}

#[test]
fn message_size_and_header_fields() {
    let raw = clear(ENTITY, &signed(1, 1));
    bracket(
        &raw,
        raw.len(),
        |limits, cap| limits.message_size = cap,
        Defect::LimitSize,
    );
    let raw = "X: y\r\n".repeat(9) + &raw;
    bracket(
        &raw,
        10,
        |limits, cap| limits.header_fields = cap,
        Defect::LimitMime,
    );
}

#[test]
fn mime_parts_and_depth() {
    let parts: String = (0..4).map(|_| "--i\r\n\r\nx\r\n").collect();
    let entity = format!("Content-Type: multipart/mixed; boundary=i\r\n\r\n{parts}--i--\r\n");
    let object = signed_data(
        None,
        &[alice().certificate.der()],
        &[honest(alice(), entity.as_bytes())],
    );
    let raw = clear(&entity, &object);
    bracket(
        &raw,
        7,
        |limits, cap| limits.mime_parts = cap,
        Defect::LimitMime,
    );
    bracket(
        &raw,
        3,
        |limits, cap| limits.mime_depth = cap,
        Defect::LimitMime,
    );
}

/// Opaque layers around an entity.
fn wrapped(layers: usize) -> String {
    let mut entity = ENTITY.to_owned();
    for _ in 0..layers {
        let signer = honest(alice(), entity.as_bytes());
        let object = signed_data(
            Some(entity.as_bytes()),
            &[alice().certificate.der()],
            &[signer],
        );
        entity = opaque("; smime-type=signed-data", &object);
    }
    entity
}

#[test]
fn layers() {
    for (layers, fine) in [(5, true), (6, true), (7, false)] {
        let examined = with(&wrapped(layers), &Limits::default());
        assert_eq!(is_right(&examined), fine, "{layers}");
        if !fine {
            assert_eq!(reason(&examined), Some(Defect::LimitLayers));
        }
    }
    // Multiparts in multiparts count as well.
    let mut entity = ENTITY.to_owned();
    for layer in 0..7 {
        let object = signed_data(
            None,
            &[alice().certificate.der()],
            &[honest(alice(), entity.as_bytes())],
        );
        let boundary = format!("x{layer}y");
        entity = clear(&entity, &object)
            .replace("\"b1\"", &format!("\"{boundary}\""))
            .replace("--b1", &format!("--{boundary}"));
        assert_eq!(
            is_right(&with(&entity, &Limits::default())),
            layer < 6,
            "{layer}"
        );
    }
}

#[test]
fn ber_depth_elements_and_recipients() {
    let raw = clear(ENTITY, &signed(1, 1));
    for (cap, fine) in [(3, false), (32, true)] {
        let limits = Limits {
            ber_depth: cap,
            ..Limits::default()
        };
        assert_eq!(is_right(&with(&raw, &limits)), fine);
    }
    let limits = Limits {
        ber_tlvs: 10,
        ..Limits::default()
    };
    assert_eq!(reason(&with(&raw, &limits)), Some(Defect::LimitAsn1));
    for (recipients, fine) in [(4999, true), (5000, true), (5001, false)] {
        let set = write::element(0x31, &[0x30, 0].repeat(recipients));
        let info = write::seq(&[write::oid(DATA), write::seq(&[write::oid("1.2.3")])]);
        let object = content_info(
            "1.2.840.113549.1.7.3",
            &write::seq(&[write::integer(0), set, info]),
        );
        let examined = with(&opaque("", &object), &Limits::default());
        assert_eq!(
            examined.encryption[0].defect,
            (!fine).then_some(Defect::LimitAsn1)
        );
    }
}

/// Runs on a small stack: what recursed would overflow it.
#[track_caller]
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn deep_objects_are_refused_on_a_small_stack() {
    on_a_small_stack(|| {
        for depth in [1_000, 100_000] {
            for level in [
                &[0x30, 0x80][..],
                &[0xa0, 0x80],
                &[0x24, 0x80],
                &[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff],
            ] {
                for raw in [
                    clear(ENTITY, &level.repeat(depth)),
                    opaque("", &level.repeat(depth)),
                ] {
                    let examined = with(&raw, &Limits::default());
                    let reason = reason(&examined);
                    assert!(
                        matches!(reason, Some(Defect::LimitAsn1 | Defect::Malformed)),
                        "{reason:?}"
                    );
                }
            }
        }
        let deep = with(
            &clear(ENTITY, &[0x30, 0x80].repeat(1000)),
            &Limits::default(),
        );
        assert_eq!(reason(&deep), Some(Defect::LimitAsn1));
        let claims = [
            &[0x30, 0xff][..],
            &[0x30, 0x88, 0x7f, 255, 255, 255, 255, 255, 255, 255],
            &[0x30, 0x84, 0xff, 255, 255, 255],
        ];
        for claim in claims {
            assert_eq!(
                reason(&with(&clear(ENTITY, claim), &Limits::default())),
                Some(Defect::Malformed)
            );
        }
        let empty = [&[0x30, 0x80][..], &[0x05, 0].repeat(1_000_000)].concat();
        assert_eq!(
            reason(&with(&clear(ENTITY, &empty), &Limits::default())),
            Some(Defect::LimitAsn1)
        );
    });
}

#[test]
fn deep_mime_is_refused_on_a_small_stack() {
    on_a_small_stack(|| {
        let mut raw = String::new();
        for level in 0..10_000 {
            raw += &format!(
                "Content-Type: multipart/signed; boundary=b{level}x\r\n\r\n--b{level}x\r\n"
            );
        }
        assert_eq!(
            with(&raw, &Limits::default()).defect,
            Some(Defect::LimitMime)
        );
        let raw = "Content-Type: message/rfc822\r\n\r\n".repeat(10_000);
        assert_eq!(
            with(&raw, &Limits::default()).defect,
            Some(Defect::LimitMime)
        );
    });
}

#[test]
fn a_content_in_very_many_chunks_is_read() {
    let content = ENTITY.repeat(2000);
    let mut chunks = vec![0x24, 0x80];
    content
        .as_bytes()
        .chunks(1)
        .for_each(|chunk| chunks.extend(write::octet_string(chunk)));
    chunks.extend([0, 0]);
    let encapsulated = write::seq(&[write::oid(DATA), write::explicit(0, &chunks)]);
    let parts = [
        write::integer(1),
        write::element(0x31, &[]),
        encapsulated,
        write::element(0xa0, alice().certificate.der()),
        write::element(0x31, &honest(alice(), content.as_bytes())),
    ];
    let object = content_info(SIGNED_DATA, &write::seq(&parts));
    let examined = with(&opaque("", &object), &Limits::default());
    assert!(is_right(&examined), "{:?}", root(&examined).detail);
}

#[test]
fn digested_bytes() {
    let object = signed(1, 1);
    let raw = clear(ENTITY, &object);
    let attributes = attributes(
        ENTITY.as_bytes(),
        kenin_pki::crypto::DigestAlgorithm::Sha256,
    );
    let cost = ENTITY.len() + write::set_of(&attributes).len();
    bracket(
        &raw,
        cost,
        |limits, cap| limits.digested_bytes = cap,
        Defect::LimitSigners,
    );
}

/// A lone line feed is digested as two octets, and costs so.
#[test]
fn digested_bytes_are_those_of_the_canonical_form() {
    let entity = format!("{ENTITY}{}", "\n".repeat(1000));
    let canonical = entity.replace("\r\n", "\n").replace('\n', "\r\n");
    let object = signed_data(
        None,
        &[alice().certificate.der()],
        &[honest(alice(), canonical.as_bytes())],
    );
    let attributes = attributes(
        canonical.as_bytes(),
        kenin_pki::crypto::DigestAlgorithm::Sha256,
    );
    let cost = canonical.len() + write::set_of(&attributes).len();
    let with = |digested_bytes| {
        with(
            &clear(&entity, &object),
            &Limits {
                digested_bytes,
                ..Limits::default()
            },
        )
    };
    assert!(!is_right(&with(cost - 1)));
    assert!(is_right(&with(cost + 10)));
}
