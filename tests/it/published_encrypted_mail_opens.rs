//! `kenin decrypt` of mail that others made and published with its keys: Thunderbird's messages, OpenSSL's for its users, the
//! examples of RFC 9216 and RFC 4134, ML-KEM. Read in place.

use std::path::{Path, PathBuf};
use std::process::Output;

use kenin_tests::encryption::{object, said};
use kenin_tests::kenin::kenin;
use kenin_tests::parts;
use kenin_tests::world::{Folder, write_secret};

/// The password of Thunderbird's files.
const NSS: &[u8] = b"nss\n";

/// Copies of published keys, which lie where everybody can read them.
struct Keys {
    folder: Folder,
}

impl Keys {
    fn new() -> Self {
        let folder = Folder::new();
        write_secret(&folder.join("password"), NSS);
        Self { folder }
    }

    /// A private key as its owner would keep it.
    fn own(&self, key: &Path) -> PathBuf {
        let name = key.file_name().unwrap().to_owned();
        let path = self.folder.join(&name);
        if !path.exists() {
            write_secret(&path, &std::fs::read(key).unwrap());
        }
        path
    }

    fn decrypt(&self, key: &str, file: &Path, more: &[&str]) -> Output {
        let password = self.folder.join("password").display().to_string();
        let file = file.display().to_string();
        let words = ["decrypt", "--key", key, "--password-file", &password, &file];
        kenin(&[&words[..], more].concat())
    }
}

#[track_caller]
fn opens(output: &Output, words: &str) -> String {
    assert!(output.status.success(), "{}", said(output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(words), "{}", said(output));
    text
}

#[test]
fn thunderbirds_messages_open_layer_by_layer() {
    let Some(folder) = parts::data("thunderbird/messages") else {
        return;
    };
    let keys = Keys::new();
    let bob = folder.join("Bob.p12").display().to_string();
    let is_encrypted = |name: &str| name.contains("env") && name.ends_with(".eml");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| is_encrypted(name))
        .collect();
    names.sort();
    let (mut at_root, mut below, mut opaque, mut html) = (0, 0, 0, 0);
    for name in &names {
        let output = keys.decrypt(&bob, &folder.join(name), &[]);
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            talk.contains("aes-128-cbc") && talk.contains("integrity: none"),
            "{name}: {talk}"
        );
        assert!(output.status.success(), "{name}: {talk}");
        // What is opaque inside stays so: its signature is for somebody to verify.
        let is_opaque = name.contains(".opaque.env.");
        let text = match is_opaque {
            true => object(&output.stdout),
            false => output.stdout,
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        let words = match name.starts_with("alice.html.") {
            true => {
                "Content-Type: text/html\r\n\r\n\
                <html><body>This is a test message from Alice to Bob.</body></html>"
            }
            false => "This is a test message from Alice to Bob.",
        };
        assert!(text.contains(words), "{name}: {text}");
        opaque += u32::from(is_opaque);
        html += u32::from(name.starts_with("alice.html."));
        match talk.contains("signature(s) around it") {
            true => below += 1,
            false => at_root += 1,
        }
    }
    println!("{at_root} encrypted at the root, {below} below signatures");
    assert_eq!((names.len(), at_root, below), (29, 13, 16), "{names:?}");
    assert_eq!((opaque, html), (8, 4), "{names:?}");
    // The suite's own list of what is to be opened has no name that is not here.
    let expected = std::fs::read(folder.join("../expected.json")).unwrap();
    let expected: Vec<serde_json::Value> = serde_json::from_slice(&expected).unwrap();
    let listed = expected.iter().filter_map(|one| one["filename"].as_str());
    for name in listed.filter(|name| is_encrypted(name) && !name.contains('/')) {
        assert!(names.iter().any(|one| one == name), "{name}");
    }
}

#[test]
fn what_is_signed_inside_of_thunderbirds_messages_is_right() {
    let Some(folder) = parts::data("thunderbird/messages") else {
        return;
    };
    let keys = Keys::new();
    let password = keys.folder.join("password").display().to_string();
    let bob = folder.join("Bob.p12").display().to_string();
    for (hash, form) in [
        ("SHA256", "dsig.SHA256.multipart"),
        ("SHA512", "sig.SHA512.opaque"),
        ("SHA384", "html.sig.SHA384.opaque"),
    ] {
        let file = folder.join(format!("alice.{form}.env.eml"));
        let output = kenin(&[
            "verify",
            "--format=jsonl",
            "--revocation=off",
            &format!("--anchor={}", folder.join("TestCA.pem").display()),
            "--decrypt-with",
            &bob,
            "--password-file",
            &password,
            file.to_str().unwrap(),
        ]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let signature = &json["signatures"][0];
        assert_eq!(json["encryption"][0]["opened"], true, "{json}");
        assert_eq!(signature["checks"]["content"], "ok", "{json}");
        assert_eq!(signature["checks"]["signature"], "ok", "{json}");
        assert_eq!(signature["digest"], hash.to_lowercase().as_str(), "{json}");
        assert!(
            signature["section"].as_str().unwrap().starts_with("1/"),
            "{json}"
        );
    }
}

#[test]
fn what_openssl_made_for_thunderbirds_tests_opens() {
    let Some(folder) = parts::data("thunderbird/interop") else {
        return;
    };
    let keys = Keys::new();
    let holder = |name: &str| folder.join(name).display().to_string();
    for (key, names) in [
        (
            "Fran-ec.p12",
            &["fran-ec_ossl-aes128-sha256", "fran-ec_ossl-aes256-sha512"][..],
        ),
        (
            "Fran.p12",
            &[
                "fran-oaep-label_ossl",
                "fran-oaep-sha256hash_ossl",
                "fran-oaep-sha256hash-sha256mgf_ossl",
            ],
        ),
    ] {
        for name in names {
            let file = folder.join(format!("{name}.env"));
            let output = keys.decrypt(&holder(key), &file, &[]);
            opens(&output, "This is a test message to Fran.");
        }
    }
    // Triple DES is asked for.
    let file = folder.join("fran-oaep_ossl.env");
    let closed = keys.decrypt(&holder("Fran.p12"), &file, &[]);
    assert_eq!(closed.status.code(), Some(1), "{}", said(&closed));
    assert!(said(&closed).contains("--legacy"), "{}", said(&closed));
    assert!(closed.stdout.is_empty());
    let output = keys.decrypt(&holder("Fran.p12"), &file, &["--legacy"]);
    opens(&output, "This is a test message to Fran.");
}

#[test]
fn the_examples_of_the_rfcs_open() {
    let Some(folder) = parts::data("rfc9216") else {
        return;
    };
    let keys = Keys::new();
    let pair = |name: &str| {
        let folder = folder.join("certs-and-keys");
        let key = keys.own(&folder.join(format!("lamps-{name}.decrypt.p8.pem")));
        let certificate = folder.join(format!("lamps-{name}.encrypt.crt"));
        format!("{}:{}", certificate.display(), key.display())
    };
    for (object, name, integrity) in [
        ("authEnvelopedForBobChaCha20Poly1305", "bob", "aead"),
        ("authEnvelopedForDanaX25519HKDF", "dana", "aead"),
        ("encryptedForBobAndDana", "bob", "none"),
        ("encryptedForBobAndDana", "dana", "none"),
        ("encryptedForBobRSAOaep", "bob", "none"),
    ] {
        let file = folder.join(format!("binary-files/{object}.p7m"));
        let output = keys.decrypt(&pair(name), &file, &[]);
        assert_eq!(
            opens(&output, "sample"),
            "This is some sample content.",
            "{object}"
        );
        let words = format!("integrity: {integrity}");
        assert!(
            said(&output).contains(&words),
            "{object}: {}",
            said(&output)
        );
    }
    let foreign = folder.join("binary-files/authEnvelopedForDanaX25519HKDF.p7m");
    let output = keys.decrypt(&pair("bob"), &foreign, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let Some(old) = parts::data("rfc4134") else {
        return;
    };
    let key = keys.own(&old.join("BobPrivRSAEncrypt.pri"));
    let pair = format!(
        "{}:{}",
        old.join("BobRSASignByCarl.cer").display(),
        key.display()
    );
    for name in ["5.1.bin", "5.2.bin", "5.3.eml"] {
        let closed = keys.decrypt(&pair, &old.join(name), &[]);
        assert_eq!(closed.status.code(), Some(1), "{name}: {}", said(&closed));
        let output = keys.decrypt(&pair, &old.join(name), &["--legacy"]);
        opens(&output, "This is some sample content.");
    }
}

#[test]
fn an_object_for_ml_kem_opens() {
    let Some(folder) = parts::data("pq/ml-kem/example") else {
        return;
    };
    let keys = Keys::new();
    let plain = std::fs::read(folder.join("plaintext.txt")).unwrap();
    for form in ["seed", "expanded", "both"] {
        let key = keys.own(&folder.join(format!("ML-KEM-512-{form}.priv")));
        let certificate = folder.join("ML-KEM-512.pem");
        let pair = format!("{}:{}", certificate.display(), key.display());
        let output = keys.decrypt(&pair, &folder.join("ML-KEM-512.cms"), &[]);
        assert!(output.status.success(), "{form}: {}", said(&output));
        assert_eq!(output.stdout, plain, "{form}");
    }
}
