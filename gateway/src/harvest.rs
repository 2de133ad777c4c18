//! Certificates of people whose signed mail was good, kept for later: `harvest` in `mail.toml`.
//!
//! It begins when the mail is decided, beside it, and no mail waits for it. What cannot be kept now comes again with
//! the next mail. Only what nobody could have put in somebody else's name is kept: the certificate that made the
//! signature, of mail that passed, for the address in From; and beside it what that person's program says it reads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kenin_certstore::{DEFAULT_TENANT, KeptCapabilities, Store};
use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use kenin_pki::time::UnixTime;
use kenin_policy::verdict::{CheckResult, SignatureVerdict, Verdict};
use kenin_policy::{Disclosure, Harvest, ResultWord};
use kenin_smime::Capabilities;
use kenin_smtp_filter::{Mail, Treatment};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use crate::act::{self, Decided};
use crate::clock::{now, unix_time};
use crate::snapshot::Snapshot;
use crate::worker::Pool;

/// Keeps them, one at a time.
#[derive(Clone, Debug)]
pub(crate) struct Harvester {
    store: Option<Store>,
    hands: Arc<Semaphore>,
    /// Who parses mail, where that is somebody else.
    workers: Option<Arc<Pool>>,
    /// Whose mail need not be looked at again, unless it was signed that much later than this.
    seen: Arc<Mutex<HashMap<Signer, UnixTime>>>,
}

/// Whose certificate, by its fingerprint in hex, for which address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Signer {
    sha256: String,
    address: String,
}

impl Harvester {
    /// Into this store.
    pub(crate) fn new(store: Option<Store>) -> Self {
        Self {
            store,
            hands: Arc::new(Semaphore::new(1)),
            workers: None,
            seen: Arc::default(),
        }
    }

    /// The same, with others who parse the mail.
    pub(crate) fn with_workers(mut self, workers: Arc<Pool>) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Begins to keep the signer's certificate, where the rules and the verdict allow it.
    pub(crate) fn begin(&self, mail: &Mail, snapshot: &Arc<Snapshot>, decided: &Decided) {
        let Some(store) = self.store.clone() else {
            return;
        };
        let refused = matches!(decided.treatment, Treatment::Refuse(_));
        if refused || !snapshot.mail.may_harvest() {
            return;
        }
        let Some((signer, signed)) = signer(&decided.verdict) else {
            return;
        };
        if self.has_seen(&signer, said_at(signed, unix_time(now()))) {
            return;
        }
        // Whoever comes while another one is kept comes again.
        let Ok(hands) = Arc::clone(&self.hands).try_acquire_owned() else {
            return;
        };
        let (own, mail, snapshot) = (self.clone(), mail.clone(), Arc::clone(snapshot));
        tokio::spawn(async move {
            let _hands = hands;
            own.keep(&store, mail, snapshot, signer).await;
        });
    }

    async fn keep(&self, store: &Store, mail: Mail, snapshot: Arc<Snapshot>, signer: Signer) {
        let (wanted, workers) = (signer.sha256.clone(), self.workers.clone());
        let looked = spawn_blocking(move || match &workers {
            None => look(&mail, &snapshot, &wanted),
            Some(pool) => pool.find(&mail, &snapshot, &wanted),
        });
        // Another mail of the same person may go to somebody with another rule.
        let Ok(Some(found)) = looked.await else {
            return;
        };
        let Ok(address) = Address::parse(&signer.address) else {
            return;
        };
        let kept = store.harvest(DEFAULT_TENANT, &found.certificate, &address, found.used);
        match kept.await {
            Ok(false) => {}
            Ok(true) => info!(sha256 = signer.sha256, "kept the certificate of a signer"),
            Err(error) => {
                warn!(%error, "cannot keep the certificate of a signer");
                return;
            }
        }
        let time = said_at(found.signing_time, unix_time(now()));
        if let Some(said) = found.said {
            let said = KeptCapabilities {
                ciphers: said.ciphers,
                oaep: said.oaep,
            };
            let sha256 = found.certificate.sha256();
            let kept = store.put_capabilities(DEFAULT_TENANT, sha256, &said, time.0);
            if let Err(error) = kept.await {
                warn!(%error, "cannot keep what a signer can read");
                return;
            }
        }
        self.note(signer, time);
    }

    /// Whether mail that this person signed then brings nothing new. With another program they may read other ciphers, so
    /// that they are heard again; an old mail that comes again does not put that off.
    fn has_seen(&self, signer: &Signer, signed: UnixTime) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(signer)
            .is_some_and(|heard| signed < heard.plus(HEARD_AGAIN))
    }

    fn note(&self, signer: Signer, signed: UnixTime) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_SEEN {
            seen.clear();
        }
        let heard = seen.entry(signer).or_insert(signed);
        *heard = signed.max(*heard);
    }
}

/// Who signed, if there is no doubt about it at all, and when, as they say.
fn signer(verdict: &Verdict) -> Option<(Signer, Option<UnixTime>)> {
    let [address] = verdict.from.as_slice() else {
        return None;
    };
    if !verdict.is_pass() || verdict.is_shielded() {
        return None;
    }
    let signature = verdict.root_signatures().find(|one| is_beyond_doubt(one))?;
    let signer = Signer {
        sha256: signature.signer.as_ref()?.sha256.clone(),
        address: address.clone(),
    };
    let signed = signature.signing_time.as_deref();
    Some((signer, signed.and_then(UnixTime::parse_rfc3339)))
}

/// Known not to be revoked, and not only excused by a time stamp, of which `detail` tells.
fn is_beyond_doubt(signature: &SignatureVerdict) -> bool {
    signature.result == ResultWord::Pass
        && signature.disclosure == Disclosure::Full
        && signature.signers == 1
        && signature.detail.is_none()
        && signature.checks.identity == CheckResult::Ok
        && signature.checks.revocation == CheckResult::Ok
}

/// What is kept of a mail.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// With which it was signed.
    pub(crate) certificate: Certificate,
    /// What its holder can read, where that was said.
    pub(crate) said: Option<Capabilities>,
    /// When that was, as the signer says.
    pub(crate) signing_time: Option<UnixTime>,
    /// Whether the rules want it used.
    pub(crate) used: bool,
}

/// The certificate with this fingerprint (hex) with which the message was signed, where the rules want it kept.
pub(crate) fn look(mail: &Mail, snapshot: &Snapshot, sha256: &str) -> Option<Found> {
    let wish = act::harvest(mail, snapshot);
    let used = wish == Harvest::Use;
    match wish {
        Harvest::Off => None,
        Harvest::Quarantine | Harvest::Use => found(mail, snapshot, sha256, used),
    }
}

/// Whether this is the certificate with this fingerprint.
pub(crate) fn is_it(certificate: &Certificate, sha256: &str) -> bool {
    hex(certificate.sha256()) == sha256
}

/// The certificate with which the message was signed, and what was said beside the signature.
fn found(mail: &Mail, snapshot: &Snapshot, sha256: &str, used: bool) -> Option<Found> {
    let limits = snapshot.config.engine_limits();
    let examined = kenin_smime::examine(&mail.raw, &limits, snapshot.known.intermediates());
    let roots = examined
        .signatures
        .iter()
        .filter(|signature| signature.root);
    let mut made = roots
        .flat_map(|signature| &signature.signers)
        .filter_map(|signer| Some((signer.verified()?, signer)));
    let (one, signer) = made.find(|(one, _)| is_it(&one.certificate, sha256))?;
    Some(Found {
        certificate: one.certificate.clone(),
        said: signer.capabilities.clone(),
        signing_time: signer.signing_time,
        used,
    })
}

/// When it was said: not when the mail came, which anybody can send again years later, to have others encrypt as they did
/// then. Nobody has signed in the future, and what has no date is older than what has one.
fn said_at(signing_time: Option<UnixTime>, now: UnixTime) -> UnixTime {
    signing_time.map_or(UnixTime(0), |signed| signed.min(now))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// So many people write to one site between two restarts that asking the store again costs nothing.
const MAX_SEEN: usize = 10_000;
/// How much later, in seconds, somebody who was heard has to have signed to be heard again: most mail costs no second look.
const HEARD_AGAIN: i64 = 3600;

#[cfg(test)]
mod tests {
    use kenin_policy::Reason;
    use kenin_policy::verdict::{Checks, SignerVerdict};

    use super::*;

    fn good() -> Verdict {
        let signer = SignerVerdict {
            addresses: vec!["alice@example.jp".to_owned()],
            identifier: Some("alice@example.jp".to_owned()),
            subject: "CN=Alice".to_owned(),
            issuer: "CN=A".to_owned(),
            serial: "01".to_owned(),
            sha256: "ab".repeat(32),
        };
        let signature = SignatureVerdict {
            section: "2".to_owned(),
            root: true,
            within: Vec::new(),
            result: ResultWord::Pass,
            reason: Reason::Ok,
            checks: Checks {
                content: CheckResult::Ok,
                signature: CheckResult::Ok,
                algorithm: CheckResult::Ok,
                path: CheckResult::Ok,
                revocation: CheckResult::Ok,
                identity: CheckResult::Ok,
            },
            signer: Some(signer),
            digest: None,
            algorithm: None,
            signing_time: None,
            detail: None,
            notes: Vec::new(),
            path: Vec::new(),
            anchor: None,
            status: Vec::new(),
            status_as_of: None,
            revoked: None,
            disclosure: Disclosure::Full,
            signers: 1,
            traces: Vec::new(),
        };
        Verdict {
            result: Some(ResultWord::Pass),
            reason: Some(Reason::Ok),
            from: vec!["alice@example.jp".to_owned()],
            signatures: vec![signature],
            encryption: Vec::new(),
            layers: Vec::new(),
            notes: Vec::new(),
            detail: None,
            revision: String::new(),
        }
    }

    #[test]
    fn an_old_mail_that_comes_again_says_nothing_new() {
        let (then, now) = (UnixTime(1_700_000_000), UnixTime(1_800_000_000));
        assert_eq!(said_at(Some(then), now), then);
        assert_eq!(said_at(Some(now), then), then);
        // Nor does one of which nobody knows how old it is.
        assert_eq!(said_at(None, now), UnixTime(0));
    }

    #[test]
    fn who_has_another_program_now_is_heard_again() {
        let harvester = Harvester::new(None);
        let (then, signed) = (UnixTime(1_700_000_000), UnixTime(1_800_000_000));
        let mut verdict = good();
        verdict.signatures[0].signing_time = Some(signed.to_string());
        let (alice, said) = signer(&verdict).unwrap();
        assert_eq!(said, Some(signed));
        assert!(!harvester.has_seen(&alice, then));
        harvester.note(alice.clone(), signed);
        assert!(harvester.has_seen(&alice, signed));
        assert!(harvester.has_seen(&alice, signed.plus(HEARD_AGAIN - 1)));
        assert!(!harvester.has_seen(&alice, signed.plus(HEARD_AGAIN)));
        // Whoever sends an old mail again keeps nobody from being heard.
        harvester.note(alice.clone(), then);
        assert!(harvester.has_seen(&alice, then));
        assert!(!harvester.has_seen(&alice, signed.plus(HEARD_AGAIN)));
        // What has no date is looked at once.
        let (bob, undated) = (
            Signer {
                address: "bob@example.jp".to_owned(),
                ..alice
            },
            said_at(None, signed),
        );
        assert!(!harvester.has_seen(&bob, undated));
        harvester.note(bob.clone(), undated);
        assert!(harvester.has_seen(&bob, undated) && !harvester.has_seen(&bob, signed));
    }

    /// PKI-07: what comes unsigned, mismatched or in doubt changes nothing.
    #[test]
    fn only_a_signer_beyond_doubt_is_kept() {
        let (signer_of_good, _) = signer(&good()).unwrap();
        assert_eq!(signer_of_good.address, "alice@example.jp");
        let change = |edit: &dyn Fn(&mut Verdict)| {
            let mut verdict = good();
            edit(&mut verdict);
            signer(&verdict)
        };
        let doubts: [&dyn Fn(&mut Verdict); 12] = [
            &|v| v.signatures.clear(),
            &|v| v.result = Some(ResultWord::Fail),
            &|v| v.result = None,
            &|v| v.from.clear(),
            &|v| v.from.push("bob@example.jp".to_owned()),
            &|v| v.signatures[0].root = false,
            &|v| v.signatures[0].result = ResultWord::Policy,
            &|v| v.signatures[0].disclosure = Disclosure::VerdictOnly,
            &|v| v.signatures[0].signers = 2,
            &|v| v.signatures[0].detail = Some("revoked since".to_owned()),
            &|v| v.signatures[0].checks.revocation = CheckResult::Unchecked,
            &|v| v.signatures[0].checks.identity = CheckResult::Failed(Reason::FromMismatch),
        ];
        for (number, doubt) in doubts.iter().enumerate() {
            assert_eq!(change(*doubt), None, "{number}");
        }
    }
}
