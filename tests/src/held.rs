//! A gateway that holds mail itself, and the commands for what it holds.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use serde_json::Value;

use crate::kenin::{Gateway, Setup};
use crate::parts;
use crate::world::write_secret;

/// Somebody whose mail is held unless it is signed.
pub const READER: &str = "reader@held.example";

/// A gateway that holds what is not signed, for the domain of [`READER`].
pub fn setup(next_hop: SocketAddr) -> Setup {
    Setup {
        mail: "[[rule]]\nwhen = { recipient_domain = \"held.example\" }\n\
               then = { enforce = \"quarantine\", require_signature = true }\n"
            .to_owned(),
        tables: "[quarantine]\nkey_file = \"quarantine.key\"\n".to_owned(),
        ..Setup::new(next_hop)
    }
}

/// Writes the configuration and the key, does not start.
pub fn prepared(setup: &Setup) -> Gateway {
    let gateway = Gateway::prepare(setup);
    write_secret(&gateway.folder.join("quarantine.key"), &KEY);
    gateway
}

/// The same, started.
pub fn started(setup: &Setup) -> Gateway {
    let mut gateway = prepared(setup);
    gateway.restart();
    gateway
}

/// Where held mail lies.
pub fn folder(gateway: &Gateway) -> PathBuf {
    gateway.folder.join("state/quarantine")
}

/// Has a held mail be held, and its time end, so many seconds earlier than it was. What is said of it is opened and sealed again
/// by OpenSSL; its content keeps its octets.
///
/// # Panics
/// When it cannot be opened with the key of [`prepared`], or has no end.
pub fn make_older(gateway: &Gateway, id: &str, seconds: i64) {
    let file = folder(gateway).join(format!("{id}.mail"));
    let octets = std::fs::read(&file).unwrap();
    let (head, rest) = octets.split_at(HEAD);
    let (data_key, rest) = rest.split_at(KEY.len() + NONCE + TAG);
    let (length, rest) = rest.split_at(4);
    let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
    let (facts, content) = rest.split_at(length);
    let beside = |name: &str| {
        let place = [head, id.as_bytes(), &[0_u8; 8], &[0_u8]];
        let all = std::iter::once(name.as_bytes()).chain(place);
        all.flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part].concat())
            .collect::<Vec<u8>>()
    };
    let key = unsealed(&KEY, &beside("kenin: key of a held mail"), data_key);
    let beside = beside("kenin: facts of a held mail");
    let said = unsealed(&key, &beside, facts);
    let mut said: Value = serde_json::from_slice(&said).unwrap();
    for name in ["held", "until"] {
        said[name] = (said[name].as_i64().expect("a time") - seconds).into();
    }
    let facts = sealed(&key, &beside, said.to_string().as_bytes());
    let length = (facts.len() as u32).to_be_bytes();
    let all = [head, data_key, &length, &facts, content].concat();
    std::fs::write(&file, all).unwrap();
}

/// What commands are run with: the gateway's configuration, and words in front of the command line.
#[derive(Clone, Debug)]
pub struct Desk {
    config: String,
    prefix: Vec<String>,
}

impl Desk {
    /// For the mail of this gateway.
    pub fn of(gateway: &Gateway, prefix: &[String]) -> Self {
        Self {
            config: gateway.config().display().to_string(),
            prefix: prefix.to_vec(),
        }
    }

    /// `kenin quarantine` with these words.
    pub fn command(&self, words: &[&str]) -> Command {
        let kenin = parts::kenin().display().to_string();
        let mut all = self.prefix.iter().map(String::as_str);
        let first = all.next();
        let mut command = Command::new(first.unwrap_or(&kenin));
        command.args(all);
        if first.is_some() {
            command.arg(&kenin);
        }
        command
            .arg("quarantine")
            .args(words)
            .args(["--config", &self.config])
            .env_remove("KENIN_CONFIG");
        command
    }

    /// Runs it to its end.
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Its exit code, and what it said to people.
    pub fn said(&self, words: &[&str]) -> (i32, String) {
        let output = self.run(words);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap_or(-1), text)
    }

    /// All that is held.
    ///
    /// # Panics
    /// When one cannot be read.
    pub fn list(&self) -> Vec<Value> {
        let output = self.run(&["list", "--format", "jsonl"]);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    }

    /// The ids of all that is held.
    pub fn ids(&self) -> Vec<String> {
        let list = self.list();
        let id = |one: &Value| one["id"].as_str().unwrap().to_owned();
        list.iter().map(id).collect()
    }

    /// The mail itself.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn raw(&self, id: &str) -> Vec<u8> {
        let output = self.run(&["show", "--raw", id]);
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    /// The Message-IDs of all that is held.
    pub fn message_ids(&self) -> Vec<String> {
        let ids = self.ids();
        let of = |id: &String| crate::sink::fields(&self.raw(id), "Message-ID").concat();
        ids.iter().map(of).collect()
    }
}

/// The names of what lies in a folder.
pub fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The key that values are sealed with under this one.
fn of_values(key: &[u8]) -> Vec<u8> {
    let root = PKey::hmac(key).unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &root).unwrap();
    signer.update(b"kenin: sealed values").unwrap();
    signer.sign_to_vec().unwrap()
}

fn unsealed(key: &[u8], beside: &[u8], value: &[u8]) -> Vec<u8> {
    let (nonce, rest) = value.split_at(NONCE);
    let (content, tag) = rest.split_at(rest.len() - TAG);
    let (cipher, key) = (Cipher::aes_256_gcm(), of_values(key));
    decrypt_aead(cipher, &key, Some(nonce), beside, content, tag).unwrap()
}

fn sealed(key: &[u8], beside: &[u8], value: &[u8]) -> Vec<u8> {
    let (mut nonce, mut tag) = ([0_u8; NONCE], [0_u8; TAG]);
    openssl::rand::rand_bytes(&mut nonce).unwrap();
    let (cipher, key) = (Cipher::aes_256_gcm(), of_values(key));
    let content = encrypt_aead(cipher, &key, Some(&nonce[..]), beside, value, &mut tag);
    [&nonce[..], &content.unwrap(), &tag].concat()
}

/// What held mail is sealed under.
const KEY: [u8; 32] = [7; 32];
/// What stands in clear at the beginning of its file: what it is, and which key that is.
const HEAD: usize = 8 + 1 + 16;
const NONCE: usize = 12;
const TAG: usize = 16;
