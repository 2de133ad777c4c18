//! What is encrypted here opens in OpenSSL, and what OpenSSL encrypts opens here; in each way that both know.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use kenin_pki::crypto::{Aes, ContentKind, KeyType, SigningKey, SoftKey};
use kenin_smime::Limits;
use kenin_smime::encrypt::{Addressee, Protect};
use kenin_smime::open::EncryptedLayer;

use crate::forge::{Person, base64};

const ENTITY: &[u8] = b"Content-Type: text/plain\r\n\r\nPay Bob 10 yen.\r\n";

/// A folder with the key and the certificate of somebody, as openssl reads them.
struct Desk {
    folder: PathBuf,
}

impl Desk {
    /// Nothing where there is no openssl.
    fn of(person: &Person, name: &str) -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("SKIPPED: there is no openssl");
            return None;
        }
        let name = format!("kenin-elsewhere-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let pem = |label: &str, bytes: &[u8]| {
            format!(
                "-----BEGIN {label}-----\n{}-----END {label}-----\n",
                base64(bytes)
            )
        };
        let key = pem("PRIVATE KEY", &person.key.to_pkcs8().unwrap());
        std::fs::write(folder.join("key.pem"), key).unwrap();
        let certificate = pem("CERTIFICATE", person.certificate.der());
        std::fs::write(folder.join("certificate.pem"), certificate).unwrap();
        Some(Self { folder })
    }

    fn openssl(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new("openssl")
            .args(["cms", "-binary"])
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let made = child.wait_with_output().unwrap();
        assert!(made.status.success(), "openssl {arguments:?}");
        made.stdout
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn open(person: &Person, object: &[u8]) -> Vec<u8> {
    let layer = EncryptedLayer::of_cms(object, &Limits::default()).unwrap();
    let own = std::slice::from_ref(&person.certificate);
    let only = layer.match_certificates(own)[0];
    let wrapped = layer.recipients()[only.recipient].wrapped.clone().unwrap();
    let rejection = person.key.rejection_secret().unwrap();
    let key = wrapped.unwrap(&person.key, &rejection, layer.key_len());
    layer.open_with(&key.unwrap()).unwrap().entity
}

fn people() -> Vec<(&'static str, Person)> {
    let person = |name, kind| {
        let key = SoftKey::generate(kind).unwrap();
        let certificate = crate::forge::certificate(name, &key, 9);
        assert_eq!(certificate.public_key(), key.public_key());
        (name, Person { key, certificate })
    };
    vec![
        person("rsa", KeyType::Rsa(2048)),
        person("p256", KeyType::P256),
        person("p384", KeyType::P384),
        person("p521", KeyType::P521),
    ]
}

#[test]
fn openssl_opens_what_is_encrypted_here() {
    for (name, person) in people() {
        let Some(desk) = Desk::of(&person, name) else {
            return;
        };
        for cipher in [
            ContentKind::AesCbc(Aes::Bits128),
            ContentKind::AesCbc(Aes::Bits256),
            ContentKind::AesGcm(Aes::Bits128),
            ContentKind::AesGcm(Aes::Bits256),
        ] {
            for oaep in [false, true] {
                let to = [Addressee {
                    oaep,
                    ..Addressee::of(&person.certificate)
                }];
                let protect = Protect {
                    recipients: &to,
                    cipher,
                };
                let arguments = ["-decrypt", "-inkey", "key.pem", "-recip", "certificate.pem"];
                let entity = protect.protect(ENTITY).unwrap();
                let got = desk.openssl(&arguments, &entity);
                assert_eq!(got, ENTITY, "{name} {cipher:?} {oaep}");
            }
        }
    }
}

#[test]
fn what_openssl_encrypts_is_opened_here() {
    for (name, person) in people() {
        let Some(desk) = Desk::of(&person, &format!("{name}-other")) else {
            return;
        };
        for cipher in [
            "-aes-128-cbc",
            "-aes-256-cbc",
            "-aes-128-gcm",
            "-aes-256-gcm",
            "-des3",
        ] {
            let ways: &[&[&str]] = match name {
                "rsa" => &[
                    &[],
                    &["-keyopt", "rsa_padding_mode:oaep"],
                    &[
                        "-keyopt",
                        "rsa_padding_mode:oaep",
                        "-keyopt",
                        "rsa_oaep_md:sha256",
                    ],
                ],
                _ => &[
                    &[],
                    &["-keyopt", "ecdh_kdf_md:sha256"],
                    &[
                        "-keyopt",
                        "ecdh_kdf_md:sha512",
                        "-keyopt",
                        "ecdh_cofactor_mode:1",
                    ],
                ],
            };
            for way in ways {
                for form in [&[][..], &["-stream"], &["-keyid"]] {
                    let first = ["-encrypt", "-outform", "DER", cipher];
                    let to = ["-recip", "certificate.pem"];
                    let arguments = [&first[..], form, &to[..], way].concat();
                    let object = desk.openssl(&arguments, ENTITY);
                    assert_eq!(open(&person, &object), ENTITY, "{name} {arguments:?}");
                }
            }
        }
    }
}
