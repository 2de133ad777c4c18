//! A site of the demo that works with private keys: its gateway as `kenin run` has it, with the keys in a process of their
//! own and mail in processes without rights, and the mailbox behind it. Knows nothing of what is sent.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kenin_certstore::{DEFAULT_TENANT, Origin};
use kenin_keys::{Kek, KeyFacts, KeyFolder, KeyId, SealedKey, State, Uses};
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{Secret, SigningKey};
use kenin_policy::StampKey;
use serde_json::Value;

use super::authority::{Authority, Holder};
use super::cast::write_private;
use super::mailbox::{Arrived, Mailbox};
use super::{PATIENCE, TRUST, broken, heard};
use crate::config::{Config, ListenAddress, LogFormat};
use crate::exit::{Exit, Failure};
use crate::run::{Gateway, RunOptions};
use crate::store;

/// What there is to be said of a site.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    /// Where all of it lies.
    pub(super) folder: &'a Path,
    /// The gateway's name.
    pub(super) hostname: &'a str,
    /// Whether its clients have proven who they are.
    pub(super) submission: bool,
    /// Its mail.toml.
    pub(super) rules: &'a str,
    /// Whose private keys it has, and what for.
    pub(super) keys: &'a [(&'a Holder, Uses)],
    /// Certificates of people elsewhere that it knows.
    pub(super) known: &'a [&'a Certificate],
}

/// A site.
pub(super) struct House {
    gateway: Gateway,
    smtp: SocketAddr,
    mailbox: Mailbox,
    /// What the key process writes down itself.
    key_log: PathBuf,
    /// The gateway's name in its stamps.
    pub(super) authserv_id: String,
    /// What its statements are signed with.
    pub(super) key: StampKey,
}

/// What came of a mail.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    /// What its client heard.
    pub(super) reply: String,
    /// What arrived behind the gateway.
    pub(super) arrived: Option<Arrived>,
}

impl House {
    /// Makes its keys and settings, and starts it.
    pub(super) async fn start(plan: Plan<'_>, authority: &Authority) -> Result<Self, Failure> {
        let folder = plan.folder;
        let mailbox = Mailbox::start(&folder.join("mailbox")).await?;
        authority.write(folder)?;
        std::fs::create_dir_all(folder.join("state"))?;
        let (key, text) = StampKey::generate().map_err(broken)?;
        write_private(&folder.join("stamp.key"), text.as_bytes())?;
        let quarantine = Secret::random(32).map_err(broken)?;
        write_private(&folder.join("quarantine.key"), quarantine.expose())?;
        let seal = Secret::random(32).map_err(broken)?;
        write_private(&folder.join("keys.kek"), seal.expose())?;
        std::fs::write(folder.join("trust.toml"), TRUST)?;
        std::fs::write(folder.join("mail.toml"), plan.rules)?;
        let files = vec![folder.join("kenin.toml")];
        let settings = KENIN
            .replace("{hostname}", plan.hostname)
            .replace("{submission}", &plan.submission.to_string())
            .replace("{mailbox}", &mailbox.address.to_string());
        std::fs::write(folder.join("kenin.toml"), settings)?;
        let config = Config::load(&files)
            .map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
        take_in(&config, &seal, plan.keys)?;
        make_known(&config, plan.known).await?;
        let authserv_id = config.authserv_id.clone();
        let options = RunOptions {
            config: files,
            log_format: Some(LogFormat::Json),
        };
        let key_log = folder.join("key-process.log");
        let started = Gateway::start_apart(config, &options, &key_log).await;
        let gateway = started.map_err(|error| {
            // What is wrong with the keys their process has said itself.
            let said = std::fs::read_to_string(&key_log).unwrap_or_default();
            let text = format!("{}: {error}\n{}", plan.hostname, said.trim_end());
            Failure::new(Exit::Unavailable, text.trim_end())
        })?;
        let smtp = gateway
            .mail
            .first()
            .and_then(ListenAddress::tcp)
            .ok_or_else(|| broken("no listener"))?;
        Ok(Self {
            gateway,
            smtp,
            mailbox,
            key_log,
            authserv_id,
            key,
        })
    }

    /// Has a client send it a mail.
    pub(super) async fn send(&mut self, from: &str, to: &str, mail: &[u8]) -> Sent {
        let (from, to) = (format!("<{from}>"), format!("<{to}>"));
        let reply = heard(self.smtp, &from, &to, mail).await;
        let arrived = match reply.starts_with('2') {
            true => tokio::time::timeout(PATIENCE, self.mailbox.next())
                .await
                .ok()
                .flatten(),
            false => self.mailbox.try_next(),
        };
        Sent { reply, arrived }
    }

    /// What private keys were used for here, use by use and in their order, as the key process wrote it down: as soon as
    /// there are so many uses, or when nobody has patience any more.
    pub(super) async fn uses(&self, expected: usize) -> Vec<String> {
        let read = || {
            let log = std::fs::read_to_string(&self.key_log).unwrap_or_default();
            log.lines().filter_map(used).collect::<Vec<String>>()
        };
        let until = async {
            while read().len() < expected {
                tokio::time::sleep(PAUSE).await;
            }
        };
        // Where there never are so many, the number tells.
        let _ = tokio::time::timeout(WRITTEN, until).await;
        read()
    }

    /// Ends it, and with it the process that has its keys.
    pub(super) async fn stop(self) {
        self.gateway.stop().await;
    }
}

/// Seals private keys into the folder of the site, under its key-encryption key.
fn take_in(config: &Config, seal: &Secret, keys: &[(&Holder, Uses)]) -> Result<(), Failure> {
    let settings = config.keys.as_ref();
    let settings = settings.ok_or_else(|| broken("there is no [keys]"))?;
    let kek = Kek::from_key(seal).map_err(broken)?;
    let folder = KeyFolder::create(&settings.folder).map_err(broken)?;
    let changes = folder.change().map_err(broken)?;
    for (holder, uses) in keys {
        let facts = KeyFacts {
            id: KeyId::random().map_err(broken)?,
            tenant: DEFAULT_TENANT.to_owned(),
            version: 1,
            state: State::Active,
            uses: *uses,
            addresses: holder.certificate.addresses().map_err(broken)?,
            public: holder.key.public_key().clone(),
            certificates: vec![holder.certificate.clone()],
        };
        let pkcs8 = Secret::new(holder.key.to_pkcs8().map_err(broken)?);
        let sealed = SealedKey::seal(facts, &pkcs8, &kek).map_err(broken)?;
        changes.add(&sealed).map_err(broken)?;
    }
    Ok(())
}

/// Puts certificates into the store of the site.
async fn make_known(config: &Config, certificates: &[&Certificate]) -> Result<(), Failure> {
    let store = store::open(config).await.map_err(broken)?;
    for certificate in certificates {
        let put = store.put_certificate(DEFAULT_TENANT, certificate, Origin::Admin, false);
        put.await.map_err(broken)?;
    }
    store.close().await;
    Ok(())
}

/// What a key was used for, where a line of the log is about that.
fn used(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let word = |name: &str| line.get(name).and_then(Value::as_str);
    let what = word("what").filter(|_| word("msg") == Some("a key was used"))?;
    Some(what.to_owned())
}

/// How long the key process may take to write down what it did.
const WRITTEN: Duration = Duration::from_secs(5);
/// Between two looks at the log.
const PAUSE: Duration = Duration::from_millis(5);

const KENIN: &str = r#"# A site of the demo, on free loopback ports.
hostname = "{hostname}"
state_dir = "state"

[[listener]]
address = "127.0.0.1:0"
mode = "before-queue"
submission = {submission}

[next_hop]
address = "{mailbox}"

[stamp]
key = "stamp.key"

[keys]
key_file = "keys.kek"

[quarantine]
key_file = "quarantine.key"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_of_keys_are_read_and_nothing_else() {
        let line = |msg: &str| format!(r#"{{"level":"info","msg":"{msg}","what":"unwrap"}}"#);
        assert_eq!(used(&line("a key was used")).as_deref(), Some("unwrap"));
        for other in [line("a key was refused"), String::new(), "{".to_owned()] {
            assert_eq!(used(&other), None);
        }
    }
}
