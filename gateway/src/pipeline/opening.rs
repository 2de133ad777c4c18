//! What is done in the edge for a mail that is opened, whoever opens it: a grant for this mail alone, the store's memory of what
//! was encrypted, room in memory. On a thread that may wait.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use kenin_certstore::{DEFAULT_TENANT, EncryptedMail, Store, StoreError};
use kenin_keys::protocol::{MAX_RECIPIENTS, Transaction};
use kenin_keys::{Granted, KeyFacts, KeyId, NoKey};
use kenin_pki::address::Address;
use kenin_pki::crypto::{Secret, SignatureAlgorithm, Wrapped};
use kenin_policy::header;
use kenin_smtp_filter::{Division, Envelope, Mail};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{error, info};

use super::cores::{Core, Waiter};
use crate::clock::{Moment, unix_time};
use crate::config::Config;
use crate::keyring::{Ask, Keyring, Lease};
use crate::metrics;
use crate::opening::{Admission, Arrival, Closed, Memory, NoRoom, Office, Room};
use crate::quarantine::{Quarantine, QuarantineError};

/// What mail is opened with.
#[derive(Debug, Clone)]
pub(super) struct Opener {
    pub(super) keyring: Keyring,
    pub(super) memory: Memory,
    pub(super) store: Option<Store>,
    /// Where it is held, where that is not the MTA's to do.
    pub(super) quarantine: Option<Arc<Quarantine>>,
    /// Kibibytes of large mail that may be decoded at one time.
    pub(super) turns: Arc<Semaphore>,
}

impl Opener {
    /// The turn of a large mail that may be encrypted for people with keys. It is decoded before anybody knows how much room
    /// it will take opened, so many of them at one time would take memory of which no budget knows. Nothing where it takes
    /// none.
    pub(super) async fn turn(&self, mail: &Mail) -> Option<OwnedSemaphorePermit> {
        let octets = mail.raw.len();
        let has_keys = |to: &str| {
            let to = Address::parse(to).ok();
            to.is_some_and(|to| !self.keyring.of(DEFAULT_TENANT, &to).is_empty())
        };
        let mut recipients = mail.envelope.rcpt_to.iter();
        if octets <= LARGE
            || !may_be_encrypted(&mail.raw)
            || !recipients.any(|to| has_keys(&to.address))
        {
            return None;
        }
        let kibibytes = u32::try_from(octets >> 10).unwrap_or(TURNS).min(TURNS);
        let turn = Arc::clone(&self.turns).acquire_many_owned(kibibytes);
        turn.await.ok()
    }

    /// For a mail that has a core until then.
    pub(super) fn office<'o>(
        &'o self,
        mail: &'o Mail,
        now: Moment,
        had: &'o [usize],
        core: &'o Core,
        end: Instant,
        discretion: &'o Discretion,
    ) -> OwnOffice<'o> {
        OwnOffice {
            opener: self,
            keyring: self.keyring.for_one_mail(),
            envelope: &mail.envelope,
            size: mail.raw.len(),
            now,
            had,
            core,
            end,
            discretion,
            announced: AtomicBool::new(false),
            transaction: OnceLock::new(),
            lease: Mutex::default(),
        }
    }
}

/// The office of one mail.
pub(crate) struct OwnOffice<'o> {
    opener: &'o Opener,
    /// Of the key process that there was when the work began: it has the connection, and grants.
    keyring: Keyring,
    envelope: &'o Envelope,
    /// Octets as it came.
    size: usize,
    now: Moment,
    had: &'o [usize],
    core: &'o Core,
    end: Instant,
    discretion: &'o Discretion,
    /// Whether it is known to have come encrypted, and can be held.
    announced: AtomicBool,
    /// Under which the key process knows it, once that is needed.
    transaction: OnceLock<Transaction>,
    /// What it was granted, once that was asked for.
    lease: Mutex<Option<Result<Lease, NoKey>>>,
}

/// What there is to a mail of which nobody outside is to hear what is done with it.
#[derive(Debug, Default)]
pub(crate) struct Discretion {
    is_wanted: AtomicBool,
    /// All that was taken for it.
    rooms: Mutex<Vec<Room>>,
}

impl Discretion {
    /// Whether it is such a mail.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// The room that it has.
    pub(crate) fn rooms(&self) -> Vec<Room> {
        lock(&self.rooms).clone()
    }
}

/// The room of mails that are not over yet. What did not open keeps it as long as what did: whoever sends another mail
/// meanwhile would see by how that is answered which it was.
#[derive(Debug, Default)]
pub(super) struct Lodgings(Mutex<HashMap<String, Vec<Room>>>);

impl Lodgings {
    /// Until it is told that the mail is over.
    pub(super) fn keep(&self, id: &str, rooms: Vec<Room>) {
        if !rooms.is_empty() {
            lock(&self.0).insert(id.to_owned(), rooms);
        }
    }

    /// The mail is over.
    pub(super) fn give_back(&self, id: &str) {
        lock(&self.0).remove(id);
    }
}

impl OwnOffice<'_> {
    /// Recipients who have keys and not the mail, with these.
    pub(crate) fn all_keys(&self) -> Vec<(Address, Vec<Arc<KeyFacts>>)> {
        let all = self.recipients().map(|one| {
            let keys = self.keys(&one);
            (one, keys)
        });
        all.filter(|(_, keys)| !keys.is_empty()).collect()
    }

    /// A connection to the key process that grants, for whoever opens the mail and for this mail alone; nothing where it is
    /// not there.
    pub(crate) fn connection(&self) -> Option<UnixStream> {
        self.keyring.connection(self.transaction().ok()?)
    }

    fn transaction(&self) -> Result<Transaction, NoKey> {
        if let Some(own) = self.transaction.get() {
            return Ok(*own);
        }
        let made = Transaction::random().map_err(|_| NoKey::Gone)?;
        Ok(*self.transaction.get_or_init(|| made))
    }

    /// What the mail is granted: the keys of its recipients. Nothing before it is said that it came encrypted: whoever has
    /// taken over a worker may leave that out, and no key works for what somebody is to hear of.
    pub(crate) fn lease(&self) -> Result<Lease, NoKey> {
        if !self.announced.load(Ordering::Relaxed) {
            return Err(NoKey::Gone);
        }
        if let Some(asked) = &*lock(&self.lease) {
            return asked.clone();
        }
        let asked = self.wait(self.granting()).unwrap_or(Err(NoKey::Gone));
        self.keep(asked)
    }

    /// What it was granted, where it was.
    pub(crate) fn held_lease(&self) -> Option<Lease> {
        lock(&self.lease).clone().and_then(Result::ok)
    }

    /// What came of the first time that it was asked for: whoever does not answer is not waited for twice.
    fn keep(&self, asked: Result<Lease, NoKey>) -> Result<Lease, NoKey> {
        lock(&self.lease).get_or_insert(asked).clone()
    }

    /// Asks the key process for a grant.
    async fn granting(&self) -> Result<Lease, NoKey> {
        let keyring = &self.keyring;
        if !keyring.is_there() {
            return Err(NoKey::Gone);
        }
        let transaction = self.transaction()?;
        let has_key = |one: &Address| self.keys(one).iter().any(|key| key.uses.decrypt);
        let ask = Ask {
            tenant: DEFAULT_TENANT.to_owned(),
            // Nearly no envelope has more; whoever is left out gets what came.
            recipients: self
                .recipients()
                .filter(has_key)
                .take(MAX_RECIPIENTS)
                .collect(),
            sender: None,
            client: client_of(self.envelope),
            seconds: GRANTED,
        };
        let granted = timeout_at(self.end, keyring.grant_as(transaction, ask)).await;
        granted.unwrap_or(Err(NoKey::Gone))
    }

    /// What there is to the mail where nobody outside is to hear what is done with it.
    pub(crate) fn discretion(&self) -> &Discretion {
        self.discretion
    }

    fn recipients(&self) -> impl Iterator<Item = Address> + '_ {
        let one_body = self.envelope.division == Division::Never;
        let all = self.envelope.rcpt_to.iter().enumerate();
        let lacking = all.filter(move |(place, _)| one_body || !self.had.contains(place));
        lacking.filter_map(|(_, to)| Address::parse(&to.address).ok())
    }

    /// Has room kept for it in the quarantine. Behind a milter the MTA holds mail.
    fn may_be_held(&self) -> Result<(), Closed> {
        let Some(quarantine) = &self.opener.quarantine else {
            return Ok(());
        };
        if self.envelope.division == Division::Never {
            return Ok(());
        }
        if self.core.is_over() {
            // Its transaction has ended, or soon will: nobody would give the room back.
            return Err(Closed::Record);
        }
        let size = u64::try_from(self.size).unwrap_or(u64::MAX);
        let promised = quarantine.promise(&self.envelope.id, size);
        promised.map_err(|why| {
            error!(id = self.envelope.id, error = %why, "encrypted mail is put off: it could not be held");
            match why {
                QuarantineError::Full => Closed::Full,
                QuarantineError::ReadOnly
                | QuarantineError::Storage(_)
                | QuarantineError::Sealing(_) => Closed::Storage,
            }
        })
    }

    /// From now on nobody outside is to hear what is done with the mail, and it may have to be held whatever is inside: what
    /// cannot be is put off before that is known to anybody.
    fn be_discreet(&self) -> Result<(), Closed> {
        self.discretion.is_wanted.store(true, Ordering::Relaxed);
        self.may_be_held()
    }

    /// Tells the key process what opened.
    fn tell_opened(&self, used: &[(Address, KeyId)]) {
        let Some(lease) = self.held_lease() else {
            return;
        };
        for (address, key) in used {
            // Whoever has taken over a worker may say anything.
            if self.keys(address).iter().any(|own| own.id == *key) {
                lease.opened(address, *key);
            }
        }
    }

    /// Remembers it, and under which names it came encrypted: what did is not answered in clear (DEC-14). Gives of each content
    /// whom an answer to the first mail with it went to. `grant` says whether a key is to work for it next: then it is
    /// granted meanwhile, and nobody has that grant before this has ended well.
    fn remember(&self, mail: EncryptedMail, grant: bool) -> Result<Vec<Vec<u8>>, Closed> {
        let granting = async {
            match grant && lock(&self.lease).is_none() {
                true => Some(self.granting().await),
                false => None,
            }
        };
        let (firsts, lease) = match &self.opener.store {
            None => {
                let firsts = vec![mail.answers.to_vec(); mail.contents.len()];
                (firsts, self.wait(granting).ok_or(Closed::Record)?)
            }
            Some(store) => {
                let mail = EncryptedMail {
                    domains: self.domains(),
                    at: self.time(),
                    ..mail
                };
                let asked = store.remember_encrypted(DEFAULT_TENANT, mail);
                let both = async { tokio::join!(timeout(STORE_PATIENCE, asked), granting) };
                let (asked, lease) = self.wait(both).ok_or(Closed::Record)?;
                let firsts = remembered(asked.ok())?.into_iter();
                (firsts.map(|first| first.answers).collect(), lease)
            }
        };
        self.announced.store(true, Ordering::Relaxed);
        if let Some(asked) = lease {
            let _ = self.keep(asked);
        }
        Ok(firsts)
    }

    /// The domains in which the mail may be answered.
    fn domains(&self) -> Vec<String> {
        let to = self.envelope.rcpt_to.iter();
        let to: Vec<Address> = to
            .filter_map(|to| Address::parse(&to.address).ok())
            .collect();
        // Whoever gets it under one address answers it under another.
        let keys: Vec<Arc<KeyFacts>> = to.iter().flat_map(|to| self.keys(to)).collect();
        let others = keys.iter().flat_map(|key| &key.addresses);
        let domains = to.iter().chain(others).map(Address::domain);
        let mut domains: Vec<String> = domains.map(str::to_owned).collect();
        domains.sort_unstable();
        domains.dedup();
        domains
    }

    /// When it is; nothing where that cannot be right.
    fn time(&self) -> Option<i64> {
        let trusted = self.now.trust.is_trusted();
        trusted.then(|| unix_time(self.now.time).0)
    }

    /// Waits without the core; nothing where nobody waits for the mail any more.
    fn wait<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        let waiter = Waiter::here(Some(self.core)).ok()?;
        Some(waiter.block_on(wait))
    }
}

/// What the store remembers, where it answered in time.
fn remembered<T>(asked: Option<Result<T, StoreError>>) -> Result<T, Closed> {
    let answer = asked.ok_or(Closed::Record)?;
    answer.map_err(|why| {
        error!(error = %why, "what came encrypted cannot be remembered");
        Closed::Record
    })
}

impl Office for OwnOffice<'_> {
    fn keys(&self, recipient: &Address) -> Vec<Arc<KeyFacts>> {
        self.keyring.of(DEFAULT_TENANT, recipient)
    }

    fn granted(&self) -> Result<Box<dyn Granted + '_>, NoKey> {
        let lease = self.lease()?;
        let office = self;
        Ok(Box::new(Hand { lease, office }))
    }

    fn admit(&self, arrival: &Arrival) -> Result<Admission, Closed> {
        self.be_discreet()?;
        // Before it is remembered: what waits in vain leaves nothing in the store.
        let room = match arrival.octets.map(|octets| self.room(octets, arrival.wait)) {
            Some(Err(why)) => return Ok(Admission::NoRoom(why)),
            Some(Ok(room)) => Some(room),
            None => None,
        };
        let mail = EncryptedMail {
            ids: arrival.message_ids.clone(),
            contents: arrival.digests.clone(),
            answers: arrival.answers.digest,
            sender: arrival.answers.sender.clone(),
            message_id: arrival.answers.message_id.clone(),
            ..EncryptedMail::default()
        };
        let firsts = self.remember(mail, arrival.grant)?;
        Ok(Admission::Granted { room, firsts })
    }

    fn room(&self, octets: usize, wait: bool) -> Result<Room, NoRoom> {
        let memory = &self.opener.memory;
        let room = match memory.try_take(octets) {
            Err(NoRoom::Now) if wait => {
                let taken = self.wait(timeout_at(self.end, memory.take(octets)));
                taken.and_then(Result::ok).unwrap_or(Err(NoRoom::Now))
            }
            other => other,
        }?;
        lock(&self.discretion.rooms).push(room.clone());
        Ok(room)
    }

    fn opened(&self, used: &[(Address, KeyId)], message_ids: &[[u8; 32]]) -> Result<(), Closed> {
        self.tell_opened(used);
        if message_ids.is_empty() {
            return Ok(());
        }
        self.be_discreet()?;
        let mail = EncryptedMail {
            ids: message_ids.to_vec(),
            ..EncryptedMail::default()
        };
        self.remember(mail, false).map(drop)
    }
}

/// The keys of this mail's people, on a thread that gives its core back while a key works.
struct Hand<'h> {
    lease: Lease,
    office: &'h OwnOffice<'h>,
}

impl Granted for Hand<'_> {
    fn unwrap(
        &self,
        recipient: &Address,
        key: KeyId,
        length: usize,
        wrapped: &Wrapped,
    ) -> Result<Secret, NoKey> {
        let working = async { self.lease.unwrap(recipient, key, length, wrapped) };
        self.office.wait(working).unwrap_or(Err(NoKey::Gone))
    }

    fn sign(
        &self,
        key: KeyId,
        algorithm: SignatureAlgorithm,
        attributes: &[u8],
    ) -> Result<Vec<u8>, NoKey> {
        self.lease.sign(key, algorithm, attributes)
    }
}

/// Not where the header names something else, whoever reads it. What is in a signature is looked at, too.
fn may_be_encrypted(raw: &[u8]) -> bool {
    content_type(raw).is_none_or(|value| {
        let is_signed = value.starts_with(b"multipart/signed");
        is_signed || !(value.starts_with(b"text/") || value.starts_with(b"multipart/"))
    })
}

/// Whether the mail seems to be encrypted, also within a signature, as programs write it. A guess, from which nothing follows
/// but who has the mail first.
pub(crate) fn seems_encrypted(raw: &[u8]) -> bool {
    let Some(value) = content_type(raw) else {
        return false;
    };
    if value.starts_with(b"multipart/signed") {
        return memchr::memchr_iter(b'7', raw).any(|at| is_object_named(raw, at));
    }
    value.starts_with(b"application/")
}

/// Whether this 7 is part of what an S/MIME object is called, by its type or its file.
fn is_object_named(raw: &[u8], at: usize) -> bool {
    let names: [(&[u8], usize); 2] = [(b"pkcs7-mime", 4), (b".p7m", 2)];
    names.into_iter().any(|(name, before)| {
        let begin = at.checked_sub(before);
        let found = begin.and_then(|begin| raw.get(begin..begin.saturating_add(name.len())));
        found.is_some_and(|found| found.eq_ignore_ascii_case(name))
    })
}

/// What the header names, in small letters, where all readers find the same field.
fn content_type(raw: &[u8]) -> Option<Vec<u8>> {
    let scanned = header::scan(raw);
    let types = scanned.fields.iter();
    let mut types = types.filter(|field| field.may_be(raw, |name| name == "content-type"));
    let (Some(only), None) = (types.next(), types.next()) else {
        return None;
    };
    let value = header::unfold(only.value(raw)).to_ascii_lowercase();
    Some(value.trim_ascii_start().to_vec())
}

fn lock<T>(own: &Mutex<T>) -> MutexGuard<'_, T> {
    own.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The places of recipients who are our own return path: what comes to it tells of mail whose fate nobody is to hear. It is
/// taken, and goes nowhere.
pub(super) fn taken_in(mail: &Mail, config: &Config) -> Vec<usize> {
    let Some(path) = &config.decrypt.return_path else {
        return Vec::new();
    };
    let recipients = mail.envelope.rcpt_to.iter().enumerate();
    let own = recipients.filter(|(_, to)| to.address.eq_ignore_ascii_case(path));
    let own: Vec<usize> = own.map(|(place, _)| place).collect();
    // By milter the MTA has it for all of them.
    if own.is_empty() || mail.envelope.division == Division::Never {
        return Vec::new();
    }
    info!(
        id = mail.envelope.id,
        "what came to [decrypt] return_path goes nowhere"
    );
    metrics::taken_in();
    own
}

/// When a milter's refusal goes out whose time is to tell nothing, for a mail of so many octets; a mail that goes on waits
/// where its answer is made, as long.
pub(super) fn whole_period(begun: Instant, size: usize) -> Instant {
    let period = PERIOD.saturating_mul(u32::try_from(size / LARGE + 1).unwrap_or(u32::MAX));
    let periods = begun.elapsed().as_millis() / period.as_millis() + 1;
    let periods = u32::try_from(periods).unwrap_or(u32::MAX);
    begun
        .checked_add(period.saturating_mul(periods))
        .unwrap_or(begun)
}

/// Where the mail comes from, as far as we are told.
fn client_of(envelope: &Envelope) -> Option<IpAddr> {
    let told = envelope.xforward.addr.as_deref().and_then(|text| {
        let bare = match text.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => text.get(5..)?,
            _ => text,
        };
        bare.parse().ok()
    });
    let address: IpAddr = told.unwrap_or(envelope.client.ip());
    let address = address.to_canonical();
    (!address.is_unspecified()).then_some(address)
}

/// For how many seconds keys may work for a mail: longer than anybody works on it.
const GRANTED: u32 = 120;
/// Octets of a mail that takes no turn.
const LARGE: usize = 1 << 20;
/// Kibibytes of large mail in its turn: one of the largest, or a dozen of 5 MB.
pub(super) const TURNS: u32 = 60 << 10;
/// The store's part of our time for one message.
const STORE_PATIENCE: Duration = Duration::from_secs(2);
/// What the time of an answer is rounded up to, for each begun [`LARGE`] of the mail.
pub(super) const PERIOD: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::mail;

    #[test]
    fn mail_seems_encrypted_by_what_programs_write() {
        let signed = "content-type: Multipart/Signed; boundary=b\r\n\r\n--b\r\nContent-Type: ";
        for (raw, expected) in [
            ("Subject: none\r\n\r\npkcs7-mime".to_owned(), false),
            ("Content-Type: text/plain\r\n\r\n.p7m".to_owned(), false),
            (
                "Content-Type: multipart/mixed; name=a.p7m\r\n\r\n".to_owned(),
                false,
            ),
            (
                "Content-Type: application/pkcs7-mime\r\n\r\n".to_owned(),
                true,
            ),
            (
                "Content-Type:\r\n Application/x-what\r\n\r\n".to_owned(),
                true,
            ),
            (
                format!(
                    "{signed}text/plain\r\n\r\n7\r\n--b\r\nContent-Type: application/pkcs7-signature; name=a.p7s"
                ),
                false,
            ),
            (format!("{signed}application/X-PKCS7-Mime\r\n"), true),
            (
                format!("{signed}application/octet-stream; name=a.P7M"),
                true,
            ),
            (format!("{signed}7\r\n.p7"), false),
        ] {
            assert_eq!(seems_encrypted(raw.as_bytes()), expected, "{raw}");
        }
    }

    #[test]
    fn the_client_is_the_one_that_is_told_of() {
        let plain = mail("bob@example.jp", "x");
        let of = |addr: Option<&str>, client: &str| {
            let mut envelope = (*plain.envelope).clone();
            envelope.xforward.addr = addr.map(str::to_owned);
            envelope.client = client.parse().unwrap();
            client_of(&envelope).map(|address| address.to_string())
        };
        let told = |text: &str| Some(text.to_owned());
        assert_eq!(of(Some("192.0.2.7"), "127.0.0.1:9"), told("192.0.2.7"));
        assert_eq!(
            of(Some("IPv6:2001:db8::7"), "127.0.0.1:9"),
            told("2001:db8::7")
        );
        assert_eq!(of(Some("unknown"), "127.0.0.1:9"), told("127.0.0.1"));
        assert_eq!(of(None, "[::ffff:192.0.2.8]:9"), told("192.0.2.8"));
        assert_eq!(of(None, "0.0.0.0:0"), None);
    }
}
