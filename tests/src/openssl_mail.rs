//! Mail signed by the `openssl` program, as `openssl cms` writes it, and checked by it again.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::forge::Town;
use crate::forge::certificates::{Person, pem};
use crate::forge::keys::Hash;
use crate::world::{Folder, run};

/// How a mail is signed.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Kind {
    pub name: String,
    pub signer: &'static str,
    pub hash: Hash,
    pub arguments: Vec<&'static str>,
    pub opaque: bool,
}

/// One signed mail with CRLF line ends.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct SignedMail {
    pub kind: Kind,
    pub message_id: String,
    pub raw: Vec<u8>,
}

/// Every kind that `openssl cms` can make: each key and digest, detached, opaque and streamed, PSS,
/// CAdES, signer by key identifier.
pub fn kinds() -> Vec<Kind> {
    let mut out = Vec::new();
    let forms: [(&str, &[&'static str], bool); 4] = [
        ("detached", &[], false),
        ("opaque", &["-nodetach"], true),
        ("opaque streamed", &["-nodetach", "-stream"], true),
        ("detached streamed", &["-stream"], false),
    ];
    let mut add = |signer, hash: Hash, more: &[&'static str], what: &str| {
        for (form, arguments, opaque) in forms {
            // OpenSSL 3.0 cannot stream a PSS signature: "illegal zero content".
            if what == "pss" && arguments.contains(&"-stream") {
                continue;
            }
            let arguments = arguments.iter().chain(more).copied().collect();
            let name = format!("{signer} {} {what} {form}", hash.name());
            out.push(Kind {
                name,
                signer,
                hash,
                arguments,
                opaque,
            });
        }
    };
    for hash in [
        Hash::Sha1,
        Hash::Sha224,
        Hash::Sha256,
        Hash::Sha384,
        Hash::Sha512,
    ] {
        add("alice", hash, &[], "pkcs1");
    }
    for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
        add("alice", hash, &["-keyopt", "rsa_padding_mode:pss"], "pss");
        add("bob", hash, &[], "ecdsa");
        add("carol", hash, &[], "ecdsa");
        add("dave", hash, &[], "ecdsa");
    }
    add("bob", Hash::Sha256, &["-keyid"], "by key identifier");
    add("alice", Hash::Sha256, &["-cades"], "cades");
    add(
        "alice",
        Hash::Sha256,
        &["-nosmimecap"],
        "without capabilities",
    );
    out
}

/// The signers' files and a place to work.
pub struct Workshop {
    folder: Folder,
}

impl Workshop {
    /// Writes the town's keys and certificates.
    pub fn new(town: &Town) -> Self {
        let folder = Folder::new();
        for (name, person) in [
            ("alice", &town.alice),
            ("bob", &town.bob),
            ("carol", &town.carol),
            ("dave", &town.dave),
        ] {
            Self::write(&folder, name, person);
        }
        let ca = pem("CERTIFICATE", &town.issuer.certificate);
        std::fs::write(folder.join("chain.pem"), ca).unwrap();
        let root = pem("CERTIFICATE", &town.root.certificate);
        std::fs::write(folder.join("root.pem"), root).unwrap();
        Self { folder }
    }

    fn write(folder: &Folder, name: &str, person: &Person) {
        std::fs::write(folder.join(format!("{name}.key")), person.key.pem()).unwrap();
        let certificate = pem("CERTIFICATE", &person.certificate);
        std::fs::write(folder.join(format!("{name}.pem")), certificate).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Signs a MIME part and puts the mail's header in front.
    pub fn sign(&self, kind: &Kind, number: usize, part: &[u8]) -> SignedMail {
        let input = self.file(&format!("part-{number}"));
        std::fs::write(&input, part).unwrap();
        let mut command = Command::new("openssl");
        command.args([
            "cms",
            "-sign",
            "-outform",
            "SMIME",
            "-md",
            kind.hash.name(),
            "-in",
        ]);
        command.arg(&input);
        command
            .arg("-signer")
            .arg(self.file(&format!("{}.pem", kind.signer)));
        command
            .arg("-inkey")
            .arg(self.file(&format!("{}.key", kind.signer)));
        command
            .arg("-certfile")
            .arg(self.file("chain.pem"))
            .args(&kind.arguments);
        let entity = run(&mut command);
        let message_id = format!("<{number}.{}@openssl.example>", kind.name.replace(' ', "-"));
        let mut raw = format!(
            "From: {0} <{0}@example.jp>\r\nTo: Reader <reader@example.jp>\r\nSubject: {1}\r\n\
             Date: Fri, 01 May 2026 12:00:00 +0000\r\nMessage-ID: {message_id}\r\n",
            kind.signer, kind.name
        )
        .into_bytes();
        raw.extend(with_crlf(&entity));
        SignedMail {
            kind: kind.clone(),
            message_id,
            raw,
        }
    }

    /// As many mails as asked for, every kind in turn, their contents mixed.
    pub fn mails(&self, count: usize) -> Vec<SignedMail> {
        let kinds = kinds();
        (0..count)
            .map(|n| self.sign(&kinds[n % kinds.len()], n, &part(n)))
            .collect()
    }

    /// Whether `openssl cms -verify` accepts a mail; its complaint otherwise.
    pub fn verify(&self, raw: &[u8], name: &str) -> Result<Vec<u8>, String> {
        let file = self.file(&format!("check-{name}"));
        std::fs::write(&file, raw).unwrap();
        let mut command = Command::new("openssl");
        command
            .args(["cms", "-verify", "-purpose", "any", "-in"])
            .arg(&file);
        command.arg("-CAfile").arg(self.file("root.pem"));
        let output = command.output().unwrap();
        let _ = std::fs::remove_file(&file);
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// MIME parts of many sorts, canonical.
pub fn part(number: usize) -> Vec<u8> {
    let body = match number % 7 {
        0 => "Plain words.\r\n".to_owned(),
        1 => format!("Mail {number}\r\n.\r\n..dots\r\n. at the start\r\ntrailing   \r\n"),
        2 => {
            return b"Content-Type: text/plain; charset=iso-2022-jp\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\x1b$BF|K\\8l$N%a!<%k\x1b(B\r\n"
                .to_vec();
        }
        3 => {
            return "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n日本語の本文です。\r\n"
                .as_bytes()
                .to_vec();
        }
        4 => "A longer text line, again and again, that fills some kilobytes.\r\n".repeat(400),
        5 => {
            return format!(
                "Content-Type: multipart/mixed; boundary=\"in-{number}\"\r\n\r\n--in-{number}\r\n\
                 Content-Type: text/plain\r\n\r\nfirst\r\n--in-{number}\r\nContent-Type: \
                 application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n{}--in-{number}--\r\n",
                String::from_utf8(crate::forge::mime::base64(&[number as u8; 3000])).unwrap()
            )
            .into_bytes();
        }
        _ => "From at the start of a line\r\n\r\n\r\nand empty lines\r\n\r\n".to_owned(),
    };
    crate::forge::mime::text(body.trim_end_matches("\r\n"))
}

/// LF to CRLF.
pub fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 40);
    let mut last = 0;
    for byte in text {
        if *byte == b'\n' && last != b'\r' {
            out.push(b'\r');
        }
        out.push(*byte);
        last = *byte;
    }
    out
}

/// The bytes that a clear-signed mail signs: the first part of its outer multipart.
pub fn signed_part(raw: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(raw);
    let at = text.find("boundary=\"")? + 10;
    let boundary = text[at..].split('"').next()?.to_owned();
    let line = format!("--{boundary}\r\n").into_bytes();
    let find = |from: usize, needle: &[u8]| {
        raw[from..]
            .windows(needle.len())
            .position(|w| w == needle)
            .map(|p| p + from)
    };
    let first = find(0, &line)? + line.len();
    let end = find(first, format!("\r\n--{boundary}").as_bytes())?;
    Some(raw[first..end].to_vec())
}
