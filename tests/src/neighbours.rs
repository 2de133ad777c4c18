//! The four parts that a gateway asks: a cache, a directory, a store and an OCSP responder, each a real process, which
//! can be killed or made silent and comes back.

use crate::forge::certificates::Person;
use crate::kenin::{Gateway, kenin};
use crate::openssl_ocsp::Responder;
use crate::postgres::Postgres;
use crate::redis::{PASSWORD, Redis};
use crate::slapd::{BASE, Entry, Slapd};
use crate::world::write_secret;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Redis.
    Cache,
    /// slapd.
    Directory,
    /// PostgreSQL.
    Store,
    /// `openssl ocsp`.
    Responder,
}

/// How it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGKILL: whoever connects is refused.
    Killed,
    /// SIGSTOP: whoever connects waits.
    Silent,
}

/// All four.
#[allow(missing_docs)]
pub struct Neighbours {
    pub cache: Redis,
    pub directory: Slapd,
    pub store: Postgres,
    pub responder: Responder,
}

impl Neighbours {
    /// A directory with these people, and a responder that knows of those.
    pub fn start(people: &[Entry], good: &[&Person], revoked: &[&Person]) -> Self {
        Self {
            cache: Redis::start(),
            directory: Slapd::start(people),
            store: Postgres::start(),
            responder: Responder::start(good, revoked),
        }
    }

    /// Stops one.
    pub fn stop(&mut self, part: Part, stop: Stop) {
        match (part, stop) {
            (Part::Cache, Stop::Killed) => self.cache.kill(),
            (Part::Cache, Stop::Silent) => self.cache.pause(),
            (Part::Directory, Stop::Killed) => self.directory.kill(),
            (Part::Directory, Stop::Silent) => self.directory.pause(),
            (Part::Store, Stop::Killed) => self.store.kill(),
            (Part::Store, Stop::Silent) => self.store.pause(),
            (Part::Responder, Stop::Killed) => self.responder.kill(),
            (Part::Responder, Stop::Silent) => self.responder.pause(),
        }
    }

    /// Brings it back after that.
    pub fn bring_back(&mut self, part: Part, stop: Stop) {
        match (part, stop) {
            (Part::Cache, Stop::Killed) => self.cache.restart(),
            (Part::Cache, Stop::Silent) => self.cache.resume(),
            (Part::Directory, Stop::Killed) => self.directory.restart(),
            (Part::Directory, Stop::Silent) => self.directory.resume(),
            (Part::Store, Stop::Killed) => self.store.begin(),
            (Part::Store, Stop::Silent) => self.store.resume(),
            (Part::Responder, Stop::Killed) => self.responder.restart(),
            (Part::Responder, Stop::Silent) => self.responder.resume(),
        }
    }

    /// The tables of kenin.toml that name them. Those who are looked up are waited for one second.
    pub fn tables(&self) -> String {
        format!(
            "[store]\nurl = \"{}\"\n\
             [[directory]]\nurl = \"ldap://{}\"\nbase = \"{BASE}\"\ntimeout = \"1s\"\n\
             [cache]\nurl = \"rediss://{}\"\nca = \"cache-ca.pem\"\npassword_file = \"cache.password\"\n\
             key_file = \"cache.key\"\n",
            self.store.url(),
            self.directory.plain,
            self.cache.address,
        )
    }

    /// The files that those tables name.
    pub fn write_files(&self, gateway: &Gateway) {
        let folder = &gateway.folder;
        std::fs::copy(self.cache.ca(), folder.join("cache-ca.pem")).unwrap();
        write_secret(&folder.join("cache.password"), PASSWORD.as_bytes());
        write_secret(&folder.join("cache.key"), &[7; 32]);
    }
}

/// What `kenin cert find` says of an address: the exit code, and where certificates were found.
pub fn find(gateway: &Gateway, address: &str) -> (i32, Vec<String>) {
    let config = gateway.config().display().to_string();
    let words = ["cert", "find", address, "--format", "json", "--config"];
    let output = kenin(&[&words[..], &[config.as_str()]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    let found: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("kenin cert find: {error}: {said}"));
    let places = found.iter().map(|one| one["found_in"].as_str().unwrap());
    let places = places.map(str::to_owned).collect();
    (output.status.code().unwrap(), places)
}
