//! Encrypted objects of other programs, opened with the keys that were published with them: all of them open but the
//! one whose key was shared before.

use std::path::Path;
use std::process::Command;

use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::SoftKey;
use kenin_pki::pem;
use kenin_smime::open::{EncryptedLayer, Integrity, Opened};
use kenin_smime::{Check, Limits};

use crate::{mail, read, suite};

const CONTENT: &[u8] = b"This is some sample content.";

/// Somebody's key and certificate.
struct Holder {
    key: SoftKey,
    certificate: Certificate,
}

impl Holder {
    fn new(key: &[u8], certificate: &[u8]) -> Self {
        let certificates = Certificate::from_pem_or_der_many(certificate).unwrap();
        Self {
            key: SoftKey::from_pem_or_der(key).unwrap(),
            certificate: certificates[0].clone(),
        }
    }

    fn open(&self, layer: &EncryptedLayer) -> Option<Opened> {
        let own = std::slice::from_ref(&self.certificate);
        let only = *layer.match_certificates(own).first()?;
        let wrapped = layer.recipients()[only.recipient].wrapped.as_ref()?;
        let rejection = self.key.rejection_secret().unwrap();
        let key = wrapped
            .unwrap(&self.key, &rejection, layer.key_len())
            .ok()?;
        layer.open_with(&key).ok()
    }
}

fn object(folder: &Path, name: &str) -> Option<EncryptedLayer> {
    EncryptedLayer::of_cms(&read(folder, name), &Limits::default())
}

#[test]
fn objects_for_the_lamps_sample_keys_open() {
    let Some(folder) = suite("rfc9216") else {
        return;
    };
    let holder = |name: &str| {
        let keys = folder.join("certs-and-keys");
        Holder::new(
            &read(&keys, &format!("lamps-{name}.decrypt.p8.pem")),
            &read(&keys, &format!("lamps-{name}.encrypt.crt")),
        )
    };
    let (bob, dana) = (holder("bob"), holder("dana"));
    let objects = folder.join("binary-files");
    for (name, holder, integrity) in [
        ("authEnvelopedForBobChaCha20Poly1305", &bob, Integrity::Aead),
        ("authEnvelopedForDanaX25519HKDF", &dana, Integrity::Aead),
        ("encryptedForBobAndDana", &bob, Integrity::None),
        ("encryptedForBobAndDana", &dana, Integrity::None),
        ("encryptedForBobRSAOaep", &bob, Integrity::None),
    ] {
        let layer = object(&objects, &format!("{name}.p7m")).expect(name);
        let opened = holder.open(&layer).expect(name);
        assert_eq!(opened.entity, CONTENT, "{name}");
        assert_eq!(opened.integrity, integrity, "{name}");
    }
    // A key that was shared before is nobody's certificate.
    let kekri = object(&objects, "encryptedKekri.p7m").unwrap();
    assert!(kekri.recipients().is_empty());
    let foreign = object(&objects, "authEnvelopedForDanaX25519HKDF.p7m").unwrap();
    assert!(bob.open(&foreign).is_none());
}

#[test]
fn objects_of_old_algorithms_open_where_somebody_asks_for_it() {
    let Some(folder) = suite("rfc4134") else {
        return;
    };
    let bob = Holder::new(
        &read(&folder, "BobPrivRSAEncrypt.pri"),
        &read(&folder, "BobRSASignByCarl.cer"),
    );
    let limits = Limits::default();
    let mail = EncryptedLayer::of(&mail(&folder, "5.3.eml"), &limits);
    for (name, layer) in [
        ("5.1", object(&folder, "5.1.bin")),
        ("5.2", object(&folder, "5.2.bin")),
        ("5.3", mail),
    ] {
        let layer = layer.expect(name);
        assert!(layer.cipher().is_legacy(), "{name}");
        assert_eq!(bob.open(&layer).expect(name).entity, CONTENT, "{name}");
    }
}

#[test]
fn an_object_for_a_key_of_ml_kem_opens() {
    let Some(folder) = suite("pq/ml-kem/example") else {
        return;
    };
    let cms = pem::decode(&read(&folder, "ML-KEM-512.cms")).unwrap();
    let layer = EncryptedLayer::of_cms(&cms[0].bytes, &Limits::default()).unwrap();
    for key in ["seed", "expanded", "both"] {
        let holder = Holder::new(
            &read(&folder, &format!("ML-KEM-512-{key}.priv")),
            &read(&folder, "ML-KEM-512.pem"),
        );
        let opened = holder.open(&layer).expect(key);
        assert_eq!(opened.entity, read(&folder, "plaintext.txt"), "{key}");
        assert_eq!(opened.integrity, Integrity::Aead);
    }
}

/// Key and certificate of a PKCS #12 file whose password is `nss`, by openssl.
fn pkcs12(path: &Path) -> Option<Holder> {
    let made = Command::new("openssl")
        .args(["pkcs12", "-nodes", "-legacy", "-passin", "pass:nss", "-in"])
        .arg(path)
        .output();
    let Ok(made) = made else {
        eprintln!("SKIPPED: there is no openssl");
        return None;
    };
    assert!(made.status.success(), "{}", path.display());
    let blocks = pem::decode(&made.stdout).unwrap();
    let key = blocks.iter().find(|block| block.label == "PRIVATE KEY");
    let key = SoftKey::from_pkcs8(&key.unwrap().bytes).unwrap();
    // The certificates of authorities stand in the file too.
    let certificate = blocks
        .iter()
        .filter(|block| block.label == "CERTIFICATE")
        .map(|block| Certificate::from_der(&block.bytes).unwrap())
        .find(|certificate| {
            use kenin_pki::crypto::DecryptionKey;
            certificate.public_key() == key.public()
        });
    Some(Holder {
        key,
        certificate: certificate.unwrap(),
    })
}

#[test]
fn thunderbirds_encrypted_messages_open() {
    let Some(folder) = suite("thunderbird/messages") else {
        return;
    };
    let Some(bob) = pkcs12(&folder.join("Bob.p12")) else {
        return;
    };
    let limits = Limits::default();
    let (mut encrypted, mut signed, mut right) = (0, 0, Vec::new());
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".eml") {
            continue;
        }
        let raw = mail(&folder, &name);
        let Some(layer) = EncryptedLayer::of(&raw, &limits) else {
            continue;
        };
        encrypted += 1;
        let opened = bob.open(&layer).expect(&name);
        let out = kenin_smime::open::reassemble(&raw, &opened.entity, &limits, &|_| true);
        let examined = kenin_smime::examine(&out, &limits, &[]);
        assert_eq!(examined.defect, None, "{name}");
        if name.contains("sig.") {
            signed += 1;
            let root = examined.root_signature().expect(&name);
            let signer = &root.signers[0];
            if (signer.content, signer.signature()) == (Check::Ok, Check::Ok) {
                right.push(name);
            }
        } else {
            let text = String::from_utf8_lossy(&out);
            assert!(text.contains("test message from Alice to Bob"), "{name}");
        }
    }
    assert_eq!((encrypted, signed), (13, 12));
    assert_eq!(right.len(), 12, "{right:?}");
}

#[test]
fn agreement_and_oaep_of_openssl_open() {
    let Some(folder) = suite("thunderbird/interop") else {
        return;
    };
    for (holder, names) in [
        (
            "Fran-ec.p12",
            &["fran-ec_ossl-aes128-sha256", "fran-ec_ossl-aes256-sha512"][..],
        ),
        (
            "Fran.p12",
            &[
                "fran-oaep_ossl",
                "fran-oaep-label_ossl",
                "fran-oaep-sha256hash_ossl",
                "fran-oaep-sha256hash-sha256mgf_ossl",
            ],
        ),
    ] {
        let Some(holder) = pkcs12(&folder.join(holder)) else {
            return;
        };
        for name in names {
            let raw = mail(&folder, &format!("{name}.env"));
            let layer = EncryptedLayer::of(&raw, &Limits::default()).expect(name);
            let opened = holder.open(&layer).expect(name);
            let text = String::from_utf8_lossy(&opened.entity);
            assert!(text.contains("message"), "{name}: {text}");
        }
    }
}
