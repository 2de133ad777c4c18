//! What Kenin encrypts other programs open, and the other way round, as far as they can; what they cannot stands here and
//! is true. And what `kenin sign` signs they verify.

use std::process::Command;

use kenin_pki::crypto::{KeyType, MlKem, SigningKey, SoftKey};
use kenin_tests::encryption::{
    AES_192_CBC, AES_192_GCM, Program, RSAES_OAEP, Reader, TEXT, Way, Workshop, object, part, said,
};
use kenin_tests::forge::certificates::pem;
use kenin_tests::forge::keys::Key;
use kenin_tests::forge::mime;
use kenin_tests::kenin::kenin;

/// What can be read by whom, and who writes it: real-world programs of Debian 12.
struct Row {
    name: &'static str,
    reader: fn(&Everybody) -> &Reader,
    way: Way,
    writers: &'static [Program],
    readers: &'static [Program],
}

/// Everybody who reads, and the programs.
struct Everybody {
    shop: Workshop,
    /// Those who read OAEP, AES-192-CBC, AES-192-GCM, as their certificates say: what Kenin writes for nobody else.
    oaep: Reader,
    rsa_192: [Reader; 2],
    p256_192: [Reader; 2],
    ml_kem: [Reader; 3],
}

impl Everybody {
    fn new() -> Self {
        let shop = Workshop::new();
        let ml_kem = |name, set| {
            let key = SoftKey::generate(KeyType::MlKem(set)).unwrap();
            let private = pem("PRIVATE KEY", &key.to_pkcs8().unwrap());
            let spki = key.public_key().spki().to_vec();
            // keyEncipherment alone (RFC 9935 §5).
            shop.strange(name, spki, private.as_bytes(), 0x20)
        };
        let ml_kem = [
            ml_kem("mika", MlKem::Kem512),
            ml_kem("miko", MlKem::Kem768),
            ml_kem("mikos", MlKem::Kem1024),
        ];
        Self {
            oaep: shop.saying("odette", Key::rsa(2048), RSAES_OAEP),
            rsa_192: [
                shop.saying("nina", Key::rsa(2048), AES_192_CBC),
                shop.saying("nora", Key::rsa(2048), AES_192_GCM),
            ],
            p256_192: [
                shop.saying("nils", Key::p256(), AES_192_CBC),
                shop.saying("noel", Key::p256(), AES_192_GCM),
            ],
            shop,
            ml_kem,
        }
    }
}

/// What none of the others knows.
const fn kenin_alone(name: &'static str, reader: fn(&Everybody) -> &Reader) -> Row {
    Row {
        name,
        reader,
        way: by("aes-128-cbc"),
        writers: &[Program::Kenin],
        readers: &[Program::Kenin],
    }
}

const fn by(cipher: &'static str) -> Way {
    Way {
        cipher,
        oaep: false,
    }
}

const ROWS: [Row; 20] = {
    use Program::{Gpgsm, Kenin, Nss, OpenSsl};
    [
        Row {
            name: "RSA PKCS #1 v1.5, AES-128-CBC",
            reader: |all| &all.shop.rsa,
            way: by("aes-128-cbc"),
            writers: &[Kenin, OpenSsl, Nss, Gpgsm],
            readers: &[Kenin, OpenSsl, Nss, Gpgsm],
        },
        Row {
            name: "RSA PKCS #1 v1.5, AES-192-CBC",
            reader: |all| &all.rsa_192[0],
            way: by("aes-192-cbc"),
            writers: &[Kenin, OpenSsl, Gpgsm],
            readers: &[Kenin, OpenSsl, Nss, Gpgsm],
        },
        Row {
            name: "RSA PKCS #1 v1.5, AES-256-CBC",
            reader: |all| &all.shop.rsa,
            way: by("aes-256-cbc"),
            writers: &[Kenin, OpenSsl, Gpgsm],
            readers: &[Kenin, OpenSsl, Nss, Gpgsm],
        },
        Row {
            name: "RSA PKCS #1 v1.5, AES-128-GCM",
            reader: |all| &all.shop.rsa,
            way: by("aes-128-gcm"),
            writers: &[Kenin, OpenSsl],
            readers: &[Kenin, OpenSsl],
        },
        Row {
            name: "RSA PKCS #1 v1.5, AES-192-GCM",
            reader: |all| &all.rsa_192[1],
            way: by("aes-192-gcm"),
            writers: &[Kenin, OpenSsl],
            readers: &[Kenin, OpenSsl],
        },
        Row {
            name: "RSA PKCS #1 v1.5, AES-256-GCM",
            reader: |all| &all.shop.rsa,
            way: by("aes-256-gcm"),
            writers: &[Kenin, OpenSsl],
            readers: &[Kenin, OpenSsl],
        },
        Row {
            name: "RSA PKCS #1 v1.5, ChaCha20-Poly1305",
            reader: |all| &all.shop.rsa,
            way: by("chacha20-poly1305"),
            writers: &[Kenin],
            readers: &[Kenin],
        },
        Row {
            name: "RSA OAEP, AES-256-CBC",
            reader: |all| &all.oaep,
            way: Way {
                cipher: "aes-256-cbc",
                oaep: true,
            },
            writers: &[Kenin, OpenSsl],
            readers: &[Kenin, OpenSsl],
        },
        Row {
            name: "ECDH P-256, AES-128-CBC",
            reader: |all| &all.shop.p256,
            way: by("aes-128-cbc"),
            writers: &[Kenin, OpenSsl],
            readers: &[Kenin, OpenSsl],
        },
        Row {
            name: "ECDH P-256, AES-192-CBC",
            reader: |all| &all.p256_192[0],
            way: by("aes-192-cbc"),
            writers: &[Kenin, OpenSsl],
            readers: &[Kenin, OpenSsl],
        },
        Row {
            name: "ECDH P-256, AES-256-CBC",
            reader: |all| &all.shop.p256,
            way: by("aes-256-cbc"),
            writers: &[Kenin, OpenSsl],
            readers: &[Kenin, OpenSsl],
        },
        Row {
            name: "ECDH P-256, AES-128-GCM",
            reader: |all| &all.shop.p256,
            way: by("aes-128-gcm"),
            writers: &[Kenin, OpenSsl],
            readers: &[Kenin, OpenSsl],
        },
        Row {
            name: "ECDH P-256, AES-192-GCM",
            reader: |all| &all.p256_192[1],
            way: by("aes-192-gcm"),
            writers: &[Kenin, OpenSsl],
            readers: &[Kenin, OpenSsl],
        },
        Row {
            name: "ECDH P-256, AES-256-GCM",
            reader: |all| &all.shop.p256,
            way: by("aes-256-gcm"),
            writers: &[Kenin, OpenSsl],
            readers: &[Kenin, OpenSsl],
        },
        Row {
            name: "ECDH P-384, AES-256-CBC",
            reader: |all| &all.shop.p384,
            way: by("aes-256-cbc"),
            writers: &[Kenin, OpenSsl],
            readers: &[Kenin, OpenSsl],
        },
        Row {
            name: "ECDH P-521, AES-128-CBC",
            reader: |all| &all.shop.p521,
            way: by("aes-128-cbc"),
            writers: &[Kenin, OpenSsl],
            readers: &[Kenin, OpenSsl],
        },
        kenin_alone("X25519, AES-128-CBC", |all| &all.shop.x25519),
        kenin_alone("ML-KEM-512, AES-128-CBC", |all| &all.ml_kem[0]),
        kenin_alone("ML-KEM-768, AES-128-CBC", |all| &all.ml_kem[1]),
        kenin_alone("ML-KEM-1024, AES-128-CBC", |all| &all.ml_kem[2]),
    ]
};

#[test]
fn every_program_opens_what_every_other_encrypts_as_far_as_it_can() {
    let all = Everybody::new();
    let shop = &all.shop;
    println!(
        "{:<50} {:>8} {:>8} {:>8} {:>8}",
        "written, read by", "kenin", "openssl", "nss", "gpgsm"
    );
    let mut wrong = Vec::new();
    for row in &ROWS {
        let reader = (row.reader)(&all);
        for writer in Program::ALL {
            let made = shop.encrypt(writer, reader, row.way);
            if made.is_some() != row.writers.contains(&writer) {
                let word = if made.is_some() {
                    "writes"
                } else {
                    "cannot write"
                };
                wrong.push(format!("{writer:?} {word} {}", row.name));
            }
            let title = format!("{}, {writer:?}", row.name);
            let Some(made) = made else {
                println!("{title:<50} cannot write it");
                continue;
            };
            let mut cells = Vec::new();
            for program in Program::ALL {
                let opened = shop.decrypt(program, reader, &made);
                let right = opened.as_ref().is_some_and(|opened| holds(opened));
                if right != row.readers.contains(&program) {
                    let word = if right { "reads" } else { "cannot read" };
                    wrong.push(format!("{program:?} {word} {} of {writer:?}", row.name));
                }
                let word = if right { "reads" } else { "cannot" };
                cells.push(format!("{word:>8}"));
            }
            println!("{title:<50} {}", cells.join(" "));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The text as it was; line ends and the header in front of it are each program's.
fn holds(opened: &[u8]) -> bool {
    String::from_utf8_lossy(opened).contains(TEXT)
}

#[test]
fn decrypt_says_cipher_and_integrity() {
    let shop = Workshop::new();
    for (cipher, words) in [
        ("aes-256-cbc", "integrity: none"),
        ("aes-256-gcm", "integrity: aead"),
    ] {
        let made = shop
            .encrypt(Program::OpenSsl, &shop.rsa, by(cipher))
            .unwrap();
        let output = shop.kenin_decrypt(&shop.rsa, &made);
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{talk}");
        assert!(talk.contains(cipher) && talk.contains(words), "{talk}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("From: alice@example.jp\r\n"), "{text}");
        assert!(text.ends_with(&format!("\r\n\r\n{TEXT}\r\n")), "{text}");
    }
}

/// openssl finds the content and the signature in what is signed and then encrypted, and the header in it.
#[test]
fn what_is_signed_inside_is_verified_by_others_and_by_verify() {
    let shop = Workshop::new();
    let mail = shop.file("plain.eml");
    std::fs::write(&mail, [mime::headers(&shop.rsa.address), part()].concat()).unwrap();
    let output = kenin(&[
        "encrypt",
        "--unchecked",
        "--certificate",
        &shop.p256.certificate.display().to_string(),
        "--sign-with",
        &shop.rsa.pair(),
        &mail.display().to_string(),
    ]);
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("Subject: [...]\r\n"), "{text}");
    assert!(!text.contains("Forged"), "{text}");
    let made = object(&output.stdout);
    let opened = shop.decrypt(Program::OpenSsl, &shop.p256, &made).unwrap();
    let inner = shop.file("inner.eml");
    std::fs::write(&inner, &opened).unwrap();
    let root = shop.file("root.pem");
    std::fs::write(&root, pem("CERTIFICATE", &shop.root.certificate)).unwrap();
    let mut verify = Command::new("openssl");
    verify
        .args(["cms", "-verify", "-purpose", "any", "-in"])
        .arg(&inner);
    let verified = verify.arg("-CAfile").arg(&root).output().unwrap();
    assert!(verified.status.success(), "{}", said(&verified));
    let content = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(
        content.contains("Subject: Forged") && content.contains(TEXT),
        "{content}"
    );

    let encrypted = shop.file("encrypted.eml");
    std::fs::write(&encrypted, &output.stdout).unwrap();
    let arguments = |more: &[&str]| {
        let anchor = format!("--anchor={}", root.display());
        let mut all = vec!["verify", "--format", "jsonl", "--revocation", "off"];
        let file = encrypted.display().to_string();
        all.extend(more);
        all.extend([anchor.as_str(), file.as_str()]);
        kenin(&all)
    };
    let closed = arguments(&[]);
    let json: serde_json::Value = serde_json::from_slice(&closed.stdout).unwrap();
    assert!(json["result"].is_null(), "{json}");
    assert_eq!(json["encryption"][0]["opened"], false, "{json}");
    let opened = arguments(&["--decrypt-with", &shop.p256.pair()]);
    let json: serde_json::Value = serde_json::from_slice(&opened.stdout).unwrap();
    assert_eq!(json["result"], "pass", "{json}");
    assert_eq!(opened.status.code(), Some(0));
    assert_eq!(json["signatures"][0]["section"], "1/2");
    let layer = &json["encryption"][0];
    assert_eq!(layer["section"], "1", "{json}");
    assert_eq!(layer["opened"], true, "{json}");
    assert_eq!(layer["reason"], "ok", "{json}");
    assert_eq!(layer["integrity"], "none", "{json}");
    assert_eq!(json["layers"][1]["section"], "1/1", "{json}");
}

#[test]
fn other_programs_verify_what_sign_signs() {
    let shop = Workshop::new();
    let root = shop.file("root.pem");
    std::fs::write(&root, pem("CERTIFICATE", &shop.root.certificate)).unwrap();
    for signer in [&shop.rsa, &shop.p256, &shop.p384] {
        let body = "8-bit \u{65e5}\u{672c}\u{8a9e}, and a line: ".to_owned() + &"x".repeat(1200);
        let raw = [mime::headers(&signer.address), mime::text(&body)].concat();
        let mail = shop.file("plain.eml");
        std::fs::write(&mail, raw).unwrap();
        for opaque in [false, true] {
            let (pair, file) = (signer.pair(), mail.display().to_string());
            let mut arguments = vec!["sign", "--key", pair.as_str(), file.as_str()];
            if opaque {
                arguments.push("--opaque");
            }
            let output = kenin(&arguments);
            assert!(output.status.success(), "{}", said(&output));
            let mut lines = output.stdout.split(|byte| *byte == b'\n');
            let fits = lines.all(|line| line.len() <= 999 && line.is_ascii());
            assert!(fits, "{}", said(&output));
            let signed = shop.file("signed.eml");
            std::fs::write(&signed, &output.stdout).unwrap();
            let mut verify = Command::new("openssl");
            verify
                .args(["cms", "-verify", "-purpose", "any", "-in"])
                .arg(&signed);
            let verified = verify.arg("-CAfile").arg(&root).output().unwrap();
            assert!(verified.status.success(), "{}", said(&verified));
            let content = String::from_utf8_lossy(&verified.stdout).into_owned();
            assert!(content.contains("hp=\"clear\""), "{content}");
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
