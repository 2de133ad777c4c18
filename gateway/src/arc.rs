//! The seal on a mail that we change: whoever takes it after us finds a DKIM signature that no longer
//! holds, and beside it our signed word on what held when the mail came (ARC, RFC 8617).
//!
//! Only changed copies are sealed, and only what was evaluated is told. A chain that does not hold is
//! never continued. Whatever goes wrong here, the mail goes on without a seal: it is as good as it was
//! before there were seals.

use std::sync::Arc;
use std::time::Duration;

use kenin_pki::crypto::Secret;
use kenin_policy::{ArrivalResults, HeaderEdits, header};
use kenin_smtp_filter::{Edit, Mail, MailBytes, Share, Treatment};
use mail_auth::arc::ArcSealer;
use mail_auth::common::headers::HeaderWriter;
use mail_auth::{ArcOutput, AuthenticatedMessage, AuthenticationResults, MessageAuthenticator};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;
use tracing::{error, warn};

use crate::act::Decided;
use crate::config::{Config, ConfigError};
use crate::dns;
use crate::snapshot::Snapshot;

mod arrival;
mod key;

use key::Key;
pub(crate) use key::{generate, record_of};

/// Evaluates mail on arrival and seals what is changed of it.
pub(crate) struct Sealer {
    domain: String,
    selector: String,
    key: Key,
    authenticator: MessageAuthenticator,
}

/// What became of a mail that was to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// Every changed copy has a seal.
    Yes,
    /// It came with a chain that does not hold, or is as long as a chain may be.
    Chain,
    /// It came with more signatures than are looked at.
    TooMuch,
    /// The domain name system did not answer in time, so that nothing can be said of its chain.
    Unanswered,
    /// The clock is not trusted, and a seal has a date, as has what it would be about.
    Clock,
    /// Something of ours failed.
    Failed,
}

impl Sealed {
    /// A stable word for the log and a metric's label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "sealed",
            Self::Chain => "chain-broken",
            Self::TooMuch => "too-many-signatures",
            Self::Unanswered => "dns-unavailable",
            Self::Clock => "clock-not-trusted",
            Self::Failed => "failed",
        }
    }
}

impl Sealer {
    /// Reads the key; nothing where `[arc]` is not set.
    pub(crate) fn new(config: &Config) -> Result<Option<Self>, ConfigError> {
        let Some(arc) = &config.arc else {
            return Ok(None);
        };
        Ok(Some(Self {
            domain: arc.domain.clone(),
            selector: arc.selector.clone(),
            key: Key::read(config, &arc.key)?,
            authenticator: dns::resolver(config)?,
        }))
    }

    /// Whether the domain name system has the public half of the key, and where.
    pub(crate) async fn published(&self) -> (String, Result<bool, String>) {
        let name = format!("{}._domainkey.{}", self.selector, self.domain);
        let found = self.authenticator.txt_raw_lookup(format!("{name}."));
        let found = match tokio::time::timeout(PATIENCE, found).await {
            Ok(Ok(text)) => Ok(self.key.is_in(&text)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        };
        (name, found)
    }

    /// The record to publish.
    pub(crate) fn record(&self) -> String {
        self.key.record()
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("domain", &self.domain)
            .field("selector", &self.selector)
            .finish_non_exhaustive()
    }
}

/// Seals the copies of a mail in which a field of the sender's is changed. In a task of its own: what it
/// reads comes from strangers and goes through a library, and must not take the mail with it.
pub(crate) async fn seal(
    mail: &Mail,
    snapshot: &Arc<Snapshot>,
    decided: &mut Decided,
    by: Instant,
) {
    if decided.changed.is_empty() || snapshot.arc.is_none() {
        return;
    }
    if !decided.clock.is_trusted() {
        crate::metrics::sealed(Sealed::Clock.as_str());
        decided.sealed = Sealed::Clock.as_str();
        return;
    }
    let by = by.min(Instant::now() + PATIENCE);
    let task = tokio::spawn({
        let (mail, snapshot) = (mail.clone(), Arc::clone(snapshot));
        let (treatment, changed) = (decided.treatment.clone(), decided.changed.clone());
        async move { sealed(&mail, &snapshot, treatment, &changed, by).await }
    });
    let id = &mail.envelope.id;
    let outcome = match task.await {
        Ok(Ok(treatment)) => {
            decided.treatment = treatment;
            Sealed::Yes
        }
        Ok(Err(outcome)) => {
            warn!(
                id,
                why = outcome.as_str(),
                "a changed mail goes on without an ARC seal"
            );
            outcome
        }
        Err(_) => {
            error!(
                id,
                "sealing a message panicked; it goes on without an ARC seal"
            );
            Sealed::Failed
        }
    };
    crate::metrics::sealed(outcome.as_str());
    decided.sealed = outcome.as_str();
}

async fn sealed(
    mail: &Mail,
    snapshot: &Snapshot,
    mut treatment: Treatment,
    changed: &[usize],
    by: Instant,
) -> Result<Treatment, Sealed> {
    let Some(sealer) = &snapshot.arc else {
        return Err(Sealed::Failed);
    };
    let raw: &[u8] = &mail.raw;
    let chained = arrival::bounded(raw)?;
    // The digests of the body are made here.
    let message = aside(raw.len(), || AuthenticatedMessage::parse(raw)).ok_or(Sealed::Failed)?;
    let config = &snapshot.config;
    let (chain, results) = arrival::evaluate(
        &sealer.authenticator,
        &message,
        &mail.envelope,
        &config.hostname,
        by,
    )
    .await;
    arrival::may_continue(&chain, chained)?;
    let seal = Seal {
        sealer,
        authserv_id: &config.authserv_id,
        message: &message,
        chain: &chain,
        results: &results,
    };
    let copies: Vec<(Option<MailBytes>, &mut Vec<Edit>)> = match &mut treatment {
        Treatment::Relay(edits) | Treatment::Quarantine { edits, .. } => vec![(None, edits)],
        Treatment::Divide(groups) => {
            let shares = groups.iter_mut().enumerate();
            shares
                .filter(|(place, _)| changed.contains(place))
                .filter_map(|(_, group)| match &mut group.share {
                    Share::Relay(edits) | Share::Hold { edits, .. } => Some((None, edits)),
                    Share::Confide(confided) => {
                        Some((confided.content.clone(), &mut confided.edits))
                    }
                    Share::Refuse(_) | Share::Had => None,
                })
                .collect()
        }
        Treatment::Refuse(_) => Vec::new(),
    };
    for (other, edits) in copies {
        let set = aside(raw.len(), || seal.over(raw, other.as_deref(), edits));
        let set = set.ok_or(Sealed::Failed)?;
        edits.push(Edit::Prepend(set));
    }
    Ok(treatment)
}

/// What a seal is made of, but for the copy that it is on.
struct Seal<'a> {
    sealer: &'a Sealer,
    authserv_id: &'a str,
    message: &'a AuthenticatedMessage<'a>,
    chain: &'a ArcOutput<'a>,
    results: &'a ArrivalResults,
}

impl Seal<'_> {
    /// The three fields for the copy with these edits: of `other`, where another message goes on in place of `raw`.
    fn over(&self, raw: &[u8], other: Option<&[u8]>, edits: &[Edit]) -> Option<Vec<u8>> {
        let body = edits.iter().find_map(|edit| match edit {
            Edit::Body(_, bytes) => Some(&**bytes),
            _ => None,
        });
        let edits = header_edits(edits);
        let value = self.results.value(self.authserv_id, &edits.prepend);
        let start = header::scan(other.unwrap_or(raw)).body;
        let body = body.or_else(|| other?.get(start..));
        let head = edits.apply(other.unwrap_or(raw).get(..start)?);
        // With room for the body, and wiped: it may have been opened.
        let mut whole = Vec::with_capacity(head.len() + body.map_or(0, <[u8]>::len));
        whole.extend_from_slice(&head);
        whole.extend_from_slice(body.unwrap_or_default());
        let whole = Secret::new(whole);
        let parsed = AuthenticatedMessage::parse(whole.expose())?;
        let copy = match body {
            // Only the header is another than on arrival: the body's digests are kept.
            None => AuthenticatedMessage {
                raw_message: self.message.raw_message,
                body_offset: self.message.body_offset,
                body_hashes: self.message.body_hashes.clone(),
                ..parsed
            },
            Some(_) => parsed,
        };
        // A field that is not there is not signed: MTAs add the Date or Message-ID that is missing.
        let signed = SIGNED.iter().copied().filter(|name| {
            let mut names = copy.headers.iter().map(|(name, _)| name);
            names.any(|one| one.eq_ignore_ascii_case(name.as_bytes()))
        });
        let sealer = ArcSealer::from_key(self.sealer.key.clone())
            .domain(self.sealer.domain.as_str())
            .selector(self.sealer.selector.as_str())
            .headers(signed);
        let results = AuthenticationResults::new(&value);
        let set = sealer.seal(&copy, &results, self.chain);
        let set = set.map_err(|error| warn!(%error, "no ARC seal can be made"));
        Some(folded(&set.ok()?.to_header()))
    }
}

/// The edits of the header, as the one who wrote the stamp made them.
fn header_edits(edits: &[Edit]) -> HeaderEdits {
    let mut out = HeaderEdits::default();
    for edit in edits {
        match edit {
            Edit::Prepend(bytes) => out.prepend.extend_from_slice(bytes),
            Edit::Remove(range) => out.remove.push(range.clone()),
            Edit::Insert(at, bytes) => out.insert.push((*at, bytes.clone())),
            Edit::Body(..) | Edit::ReturnPath(_) => {}
        }
    }
    out
}

/// The fields with every line folded at blanks outside quotes, where it is longer than a line should be.
fn folded(fields: &str) -> Vec<u8> {
    let mut out = String::with_capacity(fields.len() + 64);
    for line in fields.split_inclusive("\r\n") {
        let mut column = 0;
        for (place, piece) in words(line).into_iter().enumerate() {
            if place > 0 {
                // Not behind the name, and not where a line begins with the blank.
                if place > 1 && column > 1 && column + piece.trim_end().len() >= WIDTH {
                    out.push_str("\r\n");
                    column = 0;
                }
                out.push(' ');
                column += 1;
            }
            out.push_str(piece);
            column += piece.len();
        }
    }
    out.into_bytes()
}

/// What stands between blanks; a quoted string is one word, whatever is escaped in it.
fn words(line: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let blank = |c: char| {
        let ends = c == ' ' && !quoted;
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && quoted && !escaped;
        ends
    };
    line.split(blank).collect()
}

/// Work that is long for a large mail, where it holds up nobody else's I/O.
fn aside<T>(size: usize, work: impl FnOnce() -> T) -> T {
    let threads =
        Handle::try_current().is_ok_and(|h| h.runtime_flavor() == RuntimeFlavor::MultiThread);
    if size > LONG && threads {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

/// What of a header a seal covers (RFC 8617 §4.1.2, RFC 6376 §5.4.1), where it is there.
const SIGNED: [&str; 14] = [
    "From",
    "Reply-To",
    "Subject",
    "Date",
    "To",
    "Cc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "List-Id",
    "DKIM-Signature",
];
/// How long one mail waits for the domain name system at most.
const PATIENCE: Duration = Duration::from_secs(8);
const LONG: usize = 64 << 10;
const WIDTH: usize = 78;

#[cfg(test)]
mod tests;
