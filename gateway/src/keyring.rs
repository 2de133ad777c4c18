//! The keys of people, as the edge knows them: whose they are, and what is done with them for one mail. The keys are in
//! another process, which this starts and watches; in tests they can be in threads of this one, behind the same sockets.
//!
//! Never holds a private key, and never decides who may use one: the key process does, by the grant that it was told.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use kenin_keys::protocol::{Answer, EdgeRequest, Grant, Reach, Transaction};
use kenin_keys::{Granted, HeldKey, Keeper, KeyFacts, KeyId, NoKey, Server, Time, Tokens};
use kenin_pki::address::Address;
use kenin_pki::crypto::{Secret, SignatureAlgorithm, Wrapped};
use tokio::sync::{Notify, watch};
use tracing::{error, info, warn};

use crate::config::Config;
use crate::key_process::{self, Journal};
use crate::metrics;
use crate::run::{RunOptions, StartError};

mod line;
mod process;
mod vault;

use process::{NotStarted, Patience, Starter};
use vault::{Vault, introduce};

/// The keys that this gateway works with; as a default none.
#[derive(Clone, Default)]
pub(crate) struct Keyring(Option<Arc<Ring>>);

struct Ring {
    /// The last that was there.
    vault: ArcSwap<Vault>,
    /// Starts another; nothing where they are in this process.
    starter: Option<Starter>,
    /// For whoever watches: it is another one now.
    renewed: Notify,
}

impl Ring {
    /// From now on it is this one.
    fn take_over(&self, vault: Vault) {
        self.vault.store(Arc::new(vault));
        self.renewed.notify_one();
    }
}

/// What is asked for one mail.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Whose keys.
    pub(crate) tenant: String,
    /// To whom it goes, of those who have keys.
    pub(crate) recipients: Vec<Address>,
    /// Who sent it, if that was proven.
    pub(crate) sender: Option<Address>,
    /// Where the client is.
    pub(crate) client: Option<IpAddr>,
    /// For how many seconds.
    pub(crate) seconds: u32,
}

impl Keyring {
    /// Those of `[keys]`, in threads of this process. Within a runtime.
    pub(crate) fn here(config: &Config) -> Result<Self, StartError> {
        let Some(keys) = &config.keys else {
            return Ok(Self::default());
        };
        // No module of a token is loaded beside what parses mail.
        if keys.secrets().any(|at| at.guard().is_some()) {
            return Err(config.mistake("keys", NO_TOKENS_HERE).into());
        }
        let opened = key_process::open(keys, &Tokens::none());
        let (held, _) = opened.map_err(|error| config.mistake("keys", error.to_string()))?;
        let journal = Journal {
            addresses: config.log.addresses,
        };
        let made = Self::in_process(held, journal);
        made.map_err(|error| StartError::Unavailable(error.to_string()))
    }

    /// Those of `[keys]`, in a process of their own, which is started and has been heard when this returns.
    pub(crate) async fn beside(config: &Config, options: &RunOptions) -> Result<Self, StartError> {
        if config.keys.is_none() {
            return Ok(Self::default());
        }
        let starter = Starter::new(&options.config, options.log_format);
        Self::by(starter, config).await
    }

    /// The same, with the log of that process in a file, for whoever wants to read there what it did.
    pub(crate) async fn beside_with_log(
        config: &Config,
        options: &RunOptions,
        log: &Path,
    ) -> Result<Self, StartError> {
        if config.keys.is_none() {
            return Ok(Self::default());
        }
        let starter = Starter::new(&options.config, options.log_format);
        Self::by(starter.logging_to(log.to_owned()), config).await
    }

    async fn by(starter: Starter, config: &Config) -> Result<Self, StartError> {
        // What exactly is wrong it has said itself.
        let started = starter.start().await.map_err(|failed| {
            let text = failed.to_string();
            match failed.is_mistake() {
                true => config.mistake("keys", text).into(),
                false => StartError::Unavailable(text),
            }
        });
        let vault = started?;
        info!(keys = vault.len(), "the key process is there");
        metrics::key_process(true, vault.len());
        Ok(Self::new(vault, Some(starter)))
    }

    /// These keys, in threads of this process. Within a runtime.
    pub(crate) fn in_process(held: Vec<HeldKey>, journal: Journal) -> io::Result<Self> {
        let time = Time {
            now: kenin_sys::since_boot,
            wait: std::thread::sleep,
        };
        let server = Server::new(Keeper::new(held, journal), time);
        let (line, theirs) = UnixStream::pair()?;
        let (door, inside) = UnixStream::pair()?;
        std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || server.run(theirs, inside))?;
        let keys = introduce(&line, process::START).map_err(io::Error::other)?;
        Ok(Self::new(Vault::new(line, door, keys)?, None))
    }

    /// Keys of which only their owners are known any more.
    #[cfg(test)]
    pub(crate) async fn lost(keys: Vec<KeyFacts>) -> io::Result<Self> {
        let (line, end) = UnixStream::pair()?;
        drop(end);
        let (door, _) = UnixStream::pair()?;
        let vault = Vault::new(line, door, keys)?;
        until(&mut vault.line.gone()).await;
        Ok(Self::new(vault, None))
    }

    fn new(vault: Vault, starter: Option<Starter>) -> Self {
        Self(Some(Arc::new(Ring {
            vault: ArcSwap::from_pointee(vault),
            starter,
            renewed: Notify::new(),
        })))
    }

    /// The keys of a mailbox, whatever they are for and wherever they stand in their life. What is known stays known when
    /// the key process has gone.
    pub(crate) fn of(&self, tenant: &str, address: &Address) -> Vec<Arc<KeyFacts>> {
        let Some(ring) = &self.0 else {
            return Vec::new();
        };
        ring.vault.load().of(tenant, address).to_vec()
    }

    /// False where there are keys and the key process has gone.
    pub(crate) fn is_there(&self) -> bool {
        let ring = self.0.as_ref();
        ring.is_none_or(|ring| ring.vault.load().line.is_there())
    }

    /// The key process that is there now, for one mail, whichever takes over meanwhile: what one grants is nothing to another.
    pub(crate) fn for_one_mail(&self) -> Self {
        let ring = self.0.as_ref().map(|ring| {
            Arc::new(Ring {
                vault: ArcSwap::new(ring.vault.load_full()),
                starter: None,
                renewed: Notify::new(),
            })
        });
        Self(ring)
    }

    /// It has been replaced by that of another ring.
    #[cfg(test)]
    pub(crate) fn taken_over_by(&self, other: &Self) {
        if let (Some(ring), Some(other)) = (&self.0, &other.0) {
            ring.vault.store(other.vault.load_full());
        }
    }

    /// A connection to it for whoever has this mail, over which keys work for no other; nothing where it is not there.
    pub(crate) fn connection(&self, transaction: Transaction) -> Option<UnixStream> {
        let vault = self.0.as_ref()?.vault.load_full();
        match vault.line.is_there() {
            true => vault.connection(Reach::One(transaction)).ok(),
            false => None,
        }
    }

    /// Announces a mail that nobody but the edge has keys work for.
    pub(crate) async fn grant(&self, ask: Ask) -> Result<Lease, NoKey> {
        let transaction = Transaction::random().map_err(|_| NoKey::Gone)?;
        self.grant_as(transaction, ask).await
    }

    /// Announces a mail under this name, which the connection of whoever has it has, too.
    pub(crate) async fn grant_as(
        &self,
        transaction: Transaction,
        ask: Ask,
    ) -> Result<Lease, NoKey> {
        let ring = self.0.as_ref().ok_or(NoKey::Gone)?;
        // Made before it is asked: who stops waiting gives back what may have been granted.
        let lease = Lease(Arc::new(Leased {
            vault: ring.vault.load_full(),
            transaction,
        }));
        let grant = EdgeRequest::Grant(Grant {
            transaction,
            tenant: ask.tenant,
            recipients: ask.recipients,
            sender: ask.sender,
            client: ask.client,
            seconds: ask.seconds,
        });
        match lease.0.vault.line.ask(&grant).await? {
            Answer::Done => Ok(lease),
            _ => Err(NoKey::Gone),
        }
    }

    /// Starts another key process, with the keys that there are by now, and lets the old one end when the mails that it
    /// works for have. Where that fails the old one stays.
    pub(crate) async fn renew(&self) -> Result<(), NotStarted> {
        let Some((ring, starter)) = self.started() else {
            return Ok(());
        };
        let vault = starter.start().await?;
        let (keys, before) = (vault.len(), ring.vault.load().len());
        if keys < before {
            warn!(
                keys,
                before, "another key process has taken over, with fewer keys"
            );
        } else {
            info!(keys, "another key process has taken over");
        }
        ring.take_over(vault);
        Ok(())
    }

    /// Starts it again when it has ended, a few times, until told to stop. The one that a reload brings is watched as the
    /// first was. One whose configuration is to blame is not started again: each start would try a wrong PIN again, and
    /// tokens bear that three times.
    pub(crate) async fn watch(self, stopping: watch::Receiver<bool>) {
        self.watch_with(Patience::default(), stopping).await;
    }

    async fn watch_with(&self, mut patience: Patience, mut stopping: watch::Receiver<bool>) {
        let Some((ring, starter)) = self.started() else {
            return;
        };
        loop {
            let vault = ring.vault.load_full();
            let mut gone = vault.line.gone();
            metrics::key_process(!*gone.borrow(), vault.len());
            drop(vault);
            tokio::select! {
                () = until(&mut gone) => {}
                () = ring.renewed.notified() => continue,
                () = until(&mut stopping) => return,
            }
            let mut failed = None;
            loop {
                let last = ring.vault.load_full();
                // Where another has taken over, this one was let go.
                if last.line.is_there() {
                    break;
                }
                metrics::key_process(false, 0);
                let pause = patience.after(Instant::now(), failed.as_ref());
                error!(
                    again_in = pause.map(|pause| pause.as_secs()),
                    "the key process has ended: mail that needs a key waits"
                );
                let Some(pause) = pause else {
                    error!("it is not started again; reload the service when the cause is known");
                    while Arc::ptr_eq(&last, &ring.vault.load_full()) {
                        tokio::select! {
                            () = ring.renewed.notified() => {}
                            () = until(&mut stopping) => return,
                        }
                    }
                    // Somebody has looked at it.
                    patience = Patience::default();
                    break;
                };
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = until(&mut stopping) => return,
                }
                if ring.vault.load().line.is_there() {
                    break;
                }
                match starter.start().await {
                    // A reload has brought another meanwhile, which has read the keys later.
                    Ok(_) if !Arc::ptr_eq(&last, &ring.vault.load_full()) => {}
                    Ok(vault) => {
                        let keys = vault.len();
                        ring.take_over(vault);
                        metrics::key_process(true, keys);
                        info!(keys, "the key process is there again");
                    }
                    Err(why) => {
                        error!(error = %why, "the key process");
                        failed = Some(why);
                    }
                }
            }
        }
    }

    fn started(&self) -> Option<(&Ring, &Starter)> {
        let ring = self.0.as_deref()?;
        Some((ring, ring.starter.as_ref()?))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vault = self.0.as_ref().map(|ring| ring.vault.load_full());
        f.debug_tuple("Keyring").field(&vault).finish()
    }
}

/// Waits until it is so, or can no longer change.
async fn until(so: &mut watch::Receiver<bool>) {
    let _ = so.wait_for(|so| *so).await;
}

/// What a mail was granted; it ends with the last of these.
#[derive(Clone, Debug)]
pub(crate) struct Lease(Arc<Leased>);

#[derive(Debug)]
struct Leased {
    vault: Arc<Vault>,
    transaction: Transaction,
}

impl Lease {
    /// Under which the key process knows the mail.
    pub(crate) fn transaction(&self) -> Transaction {
        self.0.transaction
    }

    /// A layer that was encrypted for this key of the recipient's has opened: its use was no guess. Waits for nobody.
    pub(crate) fn opened(&self, recipient: &Address, key: KeyId) {
        self.0.vault.line.tell(&EdgeRequest::Opened {
            transaction: self.0.transaction,
            recipient: recipient.clone(),
            key,
        });
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        self.vault.release(self.transaction);
    }
}

/// It blocks.
impl Granted for Lease {
    fn unwrap(
        &self,
        recipient: &Address,
        key: KeyId,
        length: usize,
        wrapped: &Wrapped,
    ) -> Result<Secret, NoKey> {
        let Leased { vault, transaction } = &*self.0;
        vault.by_hand(*transaction, |hand| {
            hand.unwrap(recipient, key, length, wrapped)
        })
    }

    fn sign(
        &self,
        key: KeyId,
        algorithm: SignatureAlgorithm,
        attributes: &[u8],
    ) -> Result<Vec<u8>, NoKey> {
        let Leased { vault, transaction } = &*self.0;
        vault.by_hand(*transaction, |hand| hand.sign(key, algorithm, attributes))
    }
}

const NO_TOKENS_HERE: &str = "a token opens its secret, and tokens are used by a key process only, which is not started here";

#[cfg(test)]
mod tests;
