//! The key that signs a mail for its author: one that works for this mailbox now, with a certificate that holds it and is
//! valid today. The key itself is elsewhere, and signs by what the mail was granted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kenin_certstore::DEFAULT_TENANT;
use kenin_keys::{Granted, KeyFacts, NoKey};
use kenin_pki::address::{Address, AddressCase};
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::SignatureAlgorithm;
use kenin_pki::path::mail_signing_usage;
use kenin_pki::time::UnixTime;
use kenin_smtp_filter::Envelope;
use tokio::time::timeout;
use tracing::warn;

use crate::keyring::{Ask, Keyring};
use crate::sender::Proven;
use crate::snapshot::Snapshot;

/// Who signs a mail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Author {
    /// Whose mail it is, as was proven.
    pub(crate) address: Option<Address>,
    /// Domains of the client's mailboxes, whichever of them wrote the mail; none where nobody knows who the client is.
    pub(crate) domains: Vec<String>,
    pub(crate) key: Option<AuthorKey>,
    /// There is a key, and it cannot be used now.
    pub(super) gone: bool,
}

/// A key of the author's, and the right to have it sign this mail.
#[derive(Clone)]
pub(crate) struct AuthorKey {
    pub(crate) signatory: Signatory,
    pub(crate) granted: Arc<dyn Granted>,
}

/// What is known of a key of the author's.
#[derive(Clone, Debug)]
pub(crate) struct Signatory {
    pub(crate) facts: Arc<KeyFacts>,
    pub(crate) certificate: Certificate,
    /// What leads up from the certificate.
    pub(crate) chain: Vec<Certificate>,
}

impl AuthorKey {
    /// A signature for somebody who cannot reach the key, if it signs. It blocks.
    pub(crate) fn sign(
        &self,
        id: &str,
        algorithm: SignatureAlgorithm,
        attributes: &[u8],
    ) -> Option<Vec<u8>> {
        let signed = self
            .granted
            .sign(self.signatory.facts.id, algorithm, attributes);
        let signed = signed.inspect_err(|error| warn!(id, %error, "a key did not sign"));
        signed.ok()
    }
}

impl fmt::Debug for AuthorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuthorKey").field(&self.signatory).finish()
    }
}

impl Author {
    /// Somebody of whom is known whether there is a key.
    pub(crate) fn known(address: Option<Address>, key: Option<AuthorKey>) -> Self {
        Self {
            address,
            key,
            ..Self::default()
        }
    }

    /// Asks for what it takes to sign, where rules have mail signed.
    pub(crate) async fn of(
        Proven { author, domains }: Proven,
        envelope: &Envelope,
        snapshot: &Snapshot,
        keyring: &Keyring,
        now: UnixTime,
    ) -> Self {
        let mail = &snapshot.mail;
        let wanted = mail.may_sign() || mail.may_encrypt() || snapshot.config.keys.is_some();
        if !wanted {
            return Self::default();
        }
        let author = Self {
            address: author,
            domains,
            ..Self::default()
        };
        let Some(address) = author.address.clone() else {
            return author;
        };
        let keys = keyring.of(DEFAULT_TENANT, &address);
        let Some(signatory) = best(&keys, &address, now) else {
            return author;
        };
        let gone = Self {
            gone: true,
            ..author.clone()
        };
        if !keyring.is_there() {
            return gone;
        }
        let ask = Ask {
            tenant: DEFAULT_TENANT.to_owned(),
            recipients: Vec::new(),
            sender: Some(address),
            client: Some(envelope.client.ip()),
            seconds: LIFETIME,
        };
        let granted = timeout(PATIENCE, keyring.grant(ask)).await;
        match granted.unwrap_or(Err(NoKey::Gone)) {
            Ok(lease) => Self {
                key: Some(AuthorKey {
                    signatory,
                    granted: Arc::new(lease),
                }),
                ..author
            },
            Err(error) => {
                warn!(id = envelope.id, %error, "no key signs for the author");
                gone
            }
        }
    }
}

/// The key whose certificate was issued last, of those that are valid now.
fn best(keys: &[Arc<KeyFacts>], address: &Address, now: UnixTime) -> Option<Signatory> {
    let signing = keys.iter().filter(|facts| facts.may_sign());
    let usable = signing.flat_map(|facts| {
        let own = facts.certificates.iter().enumerate();
        own.filter(move |(_, one)| one.public_key() == &facts.public && is_good(one, address, now))
            .map(move |(at, one)| (facts, at, one))
    });
    let (facts, at, certificate) = usable.max_by_key(|(_, _, one)| one.not_before().ok())?;
    let above = facts.certificates.iter().skip(at + 1);
    let chain = above.take_while(|one| one.public_key() != &facts.public);
    // RFC 8550 §2.3: readers have the root, or do not believe it.
    let chain = chain.filter(|one| !one.is_self_signed());
    Some(Signatory {
        facts: Arc::clone(facts),
        certificate: certificate.clone(),
        chain: chain.cloned().collect(),
    })
}

/// Whether it holds the mailbox, is for signing mail, and this is one of its moments. Whether others believe its issuer is
/// their business.
fn is_good(certificate: &Certificate, address: &Address, now: UnixTime) -> bool {
    let begun = certificate.not_before().is_ok_and(|begin| begin <= now);
    let lasts = certificate.not_after().is_ok_and(|end| now <= end);
    let own = certificate.addresses().unwrap_or_default();
    let holds = |own: &Address| own.matches(address, AddressCase::Insensitive);
    begun && lasts && mail_signing_usage(certificate).is_ok() && own.iter().any(holds)
}

/// The keys' part of our time for one message.
const PATIENCE: Duration = Duration::from_secs(5);
/// For how many seconds it may sign: longer than we work on a mail.
const LIFETIME: u32 = 120;
