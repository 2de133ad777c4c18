//! What `kenin sign` signs other programs verify, and the other way round, as far as they can; what they cannot stands here
//! and is true. Also behind relays that drop what they do not print.

use std::path::Path;
use std::process::{Command, Output};

use kenin_pki::crypto::{KeyType, MlDsa, SigningKey, SoftKey};
use kenin_tests::encryption::{Program, Reader, Workshop, said};
use kenin_tests::forge::certificates::{Authority, pem};
use kenin_tests::forge::keys::{Hash, Key};
use kenin_tests::forge::mime;
use kenin_tests::kenin::kenin;
use kenin_tests::signing;
use kenin_tests::world::Folder;

/// What can be signed and verified by whom.
struct Row {
    name: &'static str,
    pen: fn(&Everybody) -> &signing::Pen,
    pss: bool,
    signers: &'static [Program],
    verifiers: &'static [Program],
    /// What this verifier does not verify of that signer all the same.
    not: &'static [(Program, Program)],
}

/// Everybody who signs.
struct Everybody {
    rsa: signing::Pen,
    pss: signing::Pen,
    p256: signing::Pen,
    p384: signing::Pen,
    p521: signing::Pen,
    ed25519: signing::Pen,
    ml_dsa: [signing::Pen; 3],
}

impl Everybody {
    fn new(shop: &signing::Workshop) -> Self {
        let ml_dsa = |name, set| {
            let key = SoftKey::generate(KeyType::MlDsa(set)).unwrap();
            let private = pem("PRIVATE KEY", &key.to_pkcs8().unwrap());
            shop.strange_pen(name, key.public_key().spki().to_vec(), private.as_bytes())
        };
        Self {
            rsa: shop.pen("rita", Key::rsa(2048)),
            pss: shop.pen("piet", Key::rsa_pss(2048)),
            p256: shop.pen("paul", Key::p256()),
            p384: shop.pen("pia", Key::p384()),
            p521: shop.pen("pola", Key::p521()),
            ed25519: shop.pen("edith", Key::ed25519()),
            ml_dsa: [
                ml_dsa("mila", MlDsa::Dsa44),
                ml_dsa("milo", MlDsa::Dsa65),
                ml_dsa("miles", MlDsa::Dsa87),
            ],
        }
    }
}

/// What none of the others knows.
const fn kenin_alone(name: &'static str, pen: fn(&Everybody) -> &signing::Pen) -> Row {
    Row {
        name,
        pen,
        pss: false,
        signers: &[Program::Kenin],
        verifiers: &[Program::Kenin],
        not: &[],
    }
}

const ROWS: [Row; 10] = {
    use Program::{Gpgsm, Kenin, Nss, OpenSsl};
    [
        Row {
            name: "RSA PKCS #1 v1.5",
            pen: |all| &all.rsa,
            pss: false,
            signers: &[Kenin, OpenSsl, Nss, Gpgsm],
            verifiers: &[Kenin, OpenSsl, Nss, Gpgsm],
            not: &[],
        },
        Row {
            name: "RSA PSS",
            pen: |all| &all.rsa,
            pss: true,
            signers: &[OpenSsl],
            verifiers: &[Kenin, OpenSsl, Nss, Gpgsm],
            not: &[],
        },
        Row {
            name: "RSA PSS, key for nothing else",
            pen: |all| &all.pss,
            pss: true,
            signers: &[Kenin, OpenSsl],
            verifiers: &[Kenin, OpenSsl, Gpgsm],
            not: &[],
        },
        Row {
            name: "ECDSA P-256",
            pen: |all| &all.p256,
            pss: false,
            signers: &[Kenin, OpenSsl, Nss],
            verifiers: &[Kenin, OpenSsl, Nss, Gpgsm],
            not: &[],
        },
        Row {
            name: "ECDSA P-384",
            pen: |all| &all.p384,
            pss: false,
            signers: &[Kenin, OpenSsl, Nss],
            verifiers: &[Kenin, OpenSsl, Nss, Gpgsm],
            // They sign a digest of SHA-256, and it wants the one that goes with the curve.
            not: &[(Gpgsm, OpenSsl), (Gpgsm, Nss)],
        },
        Row {
            name: "ECDSA P-521",
            pen: |all| &all.p521,
            pss: false,
            signers: &[Kenin, OpenSsl, Nss],
            verifiers: &[Kenin, OpenSsl, Nss],
            not: &[],
        },
        kenin_alone("Ed25519", |all| &all.ed25519),
        kenin_alone("ML-DSA-44", |all| &all.ml_dsa[0]),
        kenin_alone("ML-DSA-65", |all| &all.ml_dsa[1]),
        kenin_alone("ML-DSA-87", |all| &all.ml_dsa[2]),
    ]
};

#[test]
fn every_program_verifies_what_every_other_signs_as_far_as_it_can() {
    every_cell(true);
}

#[test]
fn and_where_the_content_lies_in_the_signature() {
    every_cell(false);
}

/// Who verifies whose signature, of a content beside it or in it: each of the text as it was signed and of no other.
fn every_cell(beside: bool) {
    let shop = signing::Workshop::new();
    let all = Everybody::new(&shop);
    let title = match beside {
        true => "signed, content beside it; verified by",
        false => "signed, content in it; verified by",
    };
    println!(
        "{title:<38} {:>9} {:>9} {:>9} {:>9}",
        "kenin", "openssl", "nss", "gpgsm"
    );
    let mut wrong = Vec::new();
    for row in &ROWS {
        let pen = (row.pen)(&all);
        for signer in Program::ALL {
            let made = shop.sign(signer, pen, row.pss, beside);
            if made.is_some() != row.signers.contains(&signer) {
                let word = if made.is_some() {
                    "signs"
                } else {
                    "cannot sign"
                };
                wrong.push(format!("{signer:?} {word} {}", row.name));
            }
            let title = format!("{}, {signer:?}", row.name);
            let Some(made) = made else {
                println!("{title:<38} cannot sign it");
                continue;
            };
            let other = made.saying("Pay Bob 99 yen.");
            let mut cells = String::new();
            for program in Program::ALL {
                let right = shop.verifies(program, pen, &made);
                let can = row.verifiers.contains(&program);
                if right != (can && !row.not.contains(&(program, signer))) {
                    let word = if right { "verifies" } else { "cannot verify" };
                    wrong.push(format!("{program:?} {word} {} of {signer:?}", row.name));
                }
                if shop.verifies(program, pen, &other) {
                    wrong.push(format!("{program:?} verifies anything of {}", row.name));
                }
                let word = if right { "verifies" } else { "cannot" };
                cells.push_str(&format!(" {word:>9}"));
            }
            println!("{title:<38}{cells}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// `openssl cms -verify` of a mail.
fn openssl_verify(mail: &Path, root: &Path) -> Output {
    let mut verify = Command::new("openssl");
    verify.args(["cms", "-verify", "-purpose", "any", "-in"]);
    verify.arg(mail).arg("-CAfile").arg(root);
    verify.output().unwrap()
}

/// Text in ISO-2022-JP is 7-bit, and some relays drop its ESC all the same: the demo shows one.
#[test]
fn signed_iso_2022_jp_outlives_a_relay_that_drops_esc_and_high_bits() {
    let shop = Workshop::new();
    let root = shop.file("root.pem");
    std::fs::write(&root, pem("CERTIFICATE", &shop.root.certificate)).unwrap();
    let text = b"\x1b$B8!0u\x1b(B, and a tab:\t.\r\n";
    let header =
        b"Content-Type: text/plain; charset=iso-2022-jp\r\nContent-Transfer-Encoding: 7bit\r\n\r\n";
    let headers = mime::headers(&shop.rsa.address);
    let raw = [&headers[..], &header[..], &text[..]].concat();
    let mail = shop.file("plain.eml");
    std::fs::write(&mail, raw).unwrap();
    for form in ["--clear", "--opaque"] {
        let (pair, file) = (shop.rsa.pair(), mail.display().to_string());
        let mut words = vec!["sign", "--key", pair.as_str(), file.as_str()];
        words.extend((form == "--opaque").then_some(form));
        let output = kenin(&words);
        assert!(output.status.success(), "{}", said(&output));
        let is_printed = |octet: &u8| matches!(octet, b'\t' | b'\r' | b'\n' | 0x20..=0x7e);
        let relayed: Vec<u8> = output.stdout.iter().copied().filter(is_printed).collect();
        let signed = shop.file("relayed.eml");
        std::fs::write(&signed, &relayed).unwrap();
        let verified = openssl_verify(&signed, &root);
        assert!(verified.status.success(), "{form}: {}", said(&verified));
        // The reader has every octet of it back.
        let content = String::from_utf8(verified.stdout).unwrap();
        let content = content.replace("\r\n", "\n");
        let (_, body) = content.trim_end().rsplit_once("\n\n").unwrap();
        let digits: String = body.split_whitespace().collect();
        assert_eq!(openssl::base64::decode_block(&digits).unwrap(), text);
        let verdict = kenin(&[
            "verify",
            "--revocation=off",
            &format!("--anchor={}", root.display()),
            &signed.display().to_string(),
        ]);
        assert_eq!(verdict.status.code(), Some(0), "{form}: {}", said(&verdict));
    }
}

/// RFC 4055 §3.1: a key may say by which digest it signs, and with how much salt.
#[test]
fn a_key_restricted_to_a_digest_signs_by_it() {
    let folder = Folder::new();
    let authority = Authority::root("Signing Root");
    let root = folder.join("root.pem");
    std::fs::write(&root, pem("CERTIFICATE", &authority.certificate)).unwrap();
    for (hash, micalg) in [
        (Hash::Sha256, "sha-256"),
        (Hash::Sha384, "sha-384"),
        (Hash::Sha512, "sha-512"),
    ] {
        let key = Key::rsa_pss_by(2048, hash);
        let piet = Reader::new(folder.path(), &authority, micalg, key, 0x80);
        let mail = folder.join("plain.eml");
        let raw = [mime::headers(&piet.address), mime::text("x")].concat();
        std::fs::write(&mail, raw).unwrap();
        for form in ["--clear", "--opaque"] {
            let (pair, file) = (piet.pair(), mail.display().to_string());
            let mut words = vec!["sign", "--key", pair.as_str(), file.as_str()];
            words.extend((form == "--opaque").then_some(form));
            let output = kenin(&words);
            assert!(output.status.success(), "{micalg}: {}", said(&output));
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if form == "--clear" {
                assert!(text.contains(&format!("micalg={micalg};")), "{text}");
            }
            let signed = folder.join("signed.eml");
            std::fs::write(&signed, &output.stdout).unwrap();
            let verified = openssl_verify(&signed, &root);
            let why = said(&verified);
            assert!(verified.status.success(), "{micalg}, {form}: {why}");
            let verdict = kenin(&[
                "verify",
                "--revocation=off",
                &format!("--anchor={}", root.display()),
                &signed.display().to_string(),
            ]);
            assert_eq!(verdict.status.code(), Some(0), "{}", said(&verdict));
        }
    }
}

#[test]
fn a_key_restricted_to_sha_1_signs_nothing_and_says_why() {
    let folder = Folder::new();
    let authority = Authority::root("Signing Root");
    let key = Key::rsa_pss_by(2048, Hash::Sha1);
    let olga = Reader::new(folder.path(), &authority, "olga", key, 0x80);
    let mail = folder.join("plain.eml");
    let raw = [mime::headers(&olga.address), mime::text("x")].concat();
    std::fs::write(&mail, raw).unwrap();
    let output = kenin(&["sign", "--key", &olga.pair(), &mail.display().to_string()]);
    assert_eq!(output.status.code(), Some(65), "{}", said(&output));
    let why = "restricted to digests by which nothing is signed";
    assert!(said(&output).contains(why), "{}", said(&output));
}

/// What a command before a pipe failed to write was signed as a mail without anything in it.
#[test]
fn an_empty_file_is_not_signed() {
    let folder = Folder::new();
    let authority = Authority::root("Signing Root");
    let olga = Reader::new(folder.path(), &authority, "olga", Key::p256(), 0x80);
    let mail = folder.join("empty.eml");
    std::fs::write(&mail, b"").unwrap();
    let output = kenin(&["sign", "--key", &olga.pair(), &mail.display().to_string()]);
    assert_eq!(output.status.code(), Some(65), "{}", said(&output));
    assert!(said(&output).contains("no mail"), "{}", said(&output));
}
