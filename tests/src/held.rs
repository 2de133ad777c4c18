//! A gateway that holds mail itself, and the commands for what it holds.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
    write_secret(&gateway.folder.join("quarantine.key"), &[7; 32]);
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
