//! One list from one URL: fetched, judged, kept.
//!
//! It counts only if a known authority below the right anchor signed it, says nothing that is not understood,
//! and is newer than what is held. RFC 5280 §5: <https://www.rfc-editor.org/rfc/rfc5280#section-5>.

use kenin_certstore::fetch::{Fetch, HttpError, Limits, Place, Request, SinkError};
use kenin_certstore::{
    CertStore, DEFAULT_TENANT, IndexBuilder, IndexError, RevocationIndex, Store, StoreError,
};
use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::crypto::{DigestAlgorithm, PublicKey, SignatureAlgorithm};
use kenin_pki::extension::{FieldError, KeyUsage};
use kenin_pki::time::UnixTime;

use crate::sources::AnchorSources;

/// Where a list comes from, and what is known to judge it by.
pub(crate) struct Source<'a> {
    pub(crate) network: &'a dyn Fetch,
    pub(crate) anchor: &'a AnchorSources,
    pub(crate) place: &'a Place,
    pub(crate) known: &'a CertStore,
    /// Certificates at hand besides, which prove themselves by signatures that lead to the anchor.
    pub(crate) more: &'a [Certificate],
    /// Takes long lists as they come.
    pub(crate) index: &'a RevocationIndex,
}

/// A list that may be kept, and the key that signed it.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) crl: Crl,
    pub(crate) by: PublicKey,
}

/// A list that is held now.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) crl: Crl,
    /// Whether it was not held before.
    pub(crate) new: bool,
}

/// Why the list that is held stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    /// Nothing came, or not all of it.
    #[error(transparent)]
    Fetch(HttpError),
    /// What came is no list.
    #[error("what came is no revocation list: {0}; see that the URL is right")]
    NoList(String),
    /// It is a list, and does not count.
    #[error("the list that came does not count: {0}")]
    Refused(String),
    /// It is older than what is held.
    #[error(
        "the list that came is older than the one held; its server lags behind, or somebody repeats an old one"
    )]
    Older,
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<IndexError> for NotTaken {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::List(text) => Self::NoList(text),
            IndexError::Store(error) => Self::Store(error),
        }
    }
}

/// The outcome in one word, for a metric.
pub(crate) fn word(outcome: &Result<Taken, NotTaken>) -> &'static str {
    match outcome {
        Ok(Taken { new: true, .. }) => "new",
        Ok(Taken { new: false, .. }) => "unchanged",
        Err(NotTaken::Fetch(_)) => "failed",
        Err(NotTaken::NoList(_) | NotTaken::Refused(_)) => "refused",
        Err(NotTaken::Older) => "older",
        Err(NotTaken::Store(_)) => "not-kept",
    }
}

impl Source<'_> {
    /// Fetches the list and judges it.
    ///
    /// # Errors
    /// Why it is not to be kept.
    pub(crate) async fn fetch(&self, limits: &Limits, now: UnixTime) -> Result<Received, NotTaken> {
        let request = Request::get(self.place, "application/pkix-crl");
        let mut receiver = Receiver {
            index: self.index,
            held: Vec::new(),
            builder: None,
        };
        let mut sink =
            |piece: &[u8]| -> Result<(), SinkError> { receiver.take(piece).map_err(Into::into) };
        let fetched = self.network.fetch(&request, limits, &mut sink).await;
        match fetched {
            Ok(_) => {}
            // It is what came that is wrong, not the way here.
            Err(HttpError::Sink(error)) => {
                return Err(match error.downcast::<IndexError>() {
                    Ok(error) => (*error).into(),
                    Err(error) => NotTaken::NoList(error.to_string()),
                });
            }
            Err(error) => return Err(NotTaken::Fetch(error)),
        }
        let mut best: Option<Received> = None;
        let mut refused = None;
        // A directory's entry may have more than one, of an earlier key for one: the newest that counts is meant.
        let most = match self.place.search() {
            Some(_) => MAX_LISTS,
            None => 1,
        };
        for crl in receiver.finish(most)? {
            match self.judge(&crl, now) {
                Ok(by) => {
                    let newest = best.as_ref().map(|best| best.crl.this_update());
                    if newest.is_none_or(|newest| newest < crl.this_update()) {
                        best = Some(Received { crl, by });
                    }
                }
                Err(why) => {
                    // What is in use may have been read from a file, whoever signed it.
                    let mut held = self.known.all_crls().iter();
                    if crl.is_indexed() && !held.any(|held| *held == crl) {
                        self.index.forget(crl.sha256());
                    }
                    refused.get_or_insert(why);
                }
            }
        }
        best.ok_or_else(|| NotTaken::Refused(refused.unwrap_or_default()))
    }

    /// The key that signed the list, or why it does not count.
    fn judge(&self, crl: &Crl, now: UnixTime) -> Result<PublicKey, String> {
        let unreadable = |error: FieldError| error.to_string();
        let number = crl.crl_number().map_err(unreadable)?;
        crl.delta_base().map_err(unreadable)?;
        crl.issuing_distribution_point().map_err(unreadable)?;
        crl.authority_key_id().map_err(unreadable)?;
        if let Some(unknown) = crl.unknown_critical().first() {
            return Err(format!(
                "it has a critical extension {unknown} that is not known here"
            ));
        }
        if crl.is_delta() && number.is_none() {
            return Err("it is a delta list without a number".to_owned());
        }
        // It would hide the one that is in force until its own time comes.
        if crl.this_update().is_ahead_of(now) {
            return Err(format!("it is of the future: {}", crl.this_update()));
        }
        self.signer(crl)
    }

    fn signer(&self, crl: &Crl) -> Result<PublicKey, String> {
        // No path believes it, and it would hide the older one that paths believe.
        if let Some(digest) = weak_digest(crl) {
            return Err(format!("its signature is over {digest}, which is too weak"));
        }
        let known = self.known.issuers(crl.issuer(), None);
        let own = self.anchor.certificates.iter().chain(self.more);
        let named: Vec<_> = own
            .filter(|one| one.subject() == crl.issuer())
            .chain(&known)
            .collect();
        if named.is_empty() {
            let issuer = crl.issuer();
            return Err(format!(
                "no certificate of its issuer {issuer} is known here"
            ));
        }
        let may_sign = |usage: Option<KeyUsage>| usage.is_none_or(|u| u.any(KeyUsage::CRL_SIGN));
        let mut signers = named
            .into_iter()
            .filter(|one| one.key_usage().is_ok_and(may_sign))
            .filter(|one| crl.verify_signature(one.public_key()).is_ok())
            .peekable();
        if signers.peek().is_none() {
            let issuer = crl.issuer();
            return Err(format!("no key of {issuer} that may sign lists signed it"));
        }
        let below = signers.find(|one| self.anchor.stands_above(one, self.known, self.more));
        below.map(|one| one.public_key().clone()).ok_or_else(|| {
            let (issuer, anchor) = (crl.issuer(), &self.anchor.name);
            format!("its issuer {issuer} does not stand below the anchor \"{anchor}\"")
        })
    }
}

/// The digest of a list's signature, where no signature over it counts.
fn weak_digest(crl: &Crl) -> Option<&'static str> {
    use DigestAlgorithm::{Md5, Sha1, Sha224};
    let algorithm = SignatureAlgorithm::from_identifier(crl.signature_algorithm()).ok()?;
    let digest = algorithm.digest();
    matches!(digest, Md5 | Sha1 | Sha224).then(|| digest.name())
}

/// Keeps a list in the store, which tells whoever watches it, and notes where it came from.
///
/// # Errors
/// When it is older than what is held, or the store fails.
pub(crate) async fn keep(
    store: &Store,
    place: &Place,
    received: Received,
    now: UnixTime,
) -> Result<Taken, NotTaken> {
    let Received { crl, by } = received;
    let new = store.put_crl(DEFAULT_TENANT, &crl, &by).await?;
    if !new && !store.has_crl(DEFAULT_TENANT, &crl, &by).await? {
        return Err(NotTaken::Older);
    }
    let url = place.to_string();
    store.put_fetched(DEFAULT_TENANT, &url, &crl, now).await?;
    Ok(Taken { crl, new })
}

/// Takes an answer: a short one whole, in DER or PEM, a long one into the index as it comes, in DER.
struct Receiver<'a> {
    index: &'a RevocationIndex,
    held: Vec<u8>,
    builder: Option<IndexBuilder>,
}

impl Receiver<'_> {
    fn take(&mut self, piece: &[u8]) -> Result<(), IndexError> {
        if let Some(builder) = &mut self.builder {
            return builder.push(piece);
        }
        self.held.extend_from_slice(piece);
        if RevocationIndex::is_for(u64::try_from(self.held.len()).unwrap_or(u64::MAX)) {
            let mut builder = self.index.receive()?;
            builder.push(&std::mem::take(&mut self.held))?;
            self.builder = Some(builder);
        }
        Ok(())
    }

    /// At least one, and no more than `most`.
    fn finish(self, most: usize) -> Result<Vec<Crl>, NotTaken> {
        if let Some(builder) = self.builder {
            return Ok(vec![builder.finish()?]);
        }
        let read = Crl::from_pem_or_der_many(&self.held);
        let read = read.map_err(|error| NotTaken::NoList(error.to_string()))?;
        match read.len() {
            // Each has a signature to be checked.
            count if count > most => {
                let text = format!("there are {count} of them in one answer");
                Err(NotTaken::NoList(text))
            }
            _ => Ok(read),
        }
    }
}

/// Lists of one answer of a directory.
const MAX_LISTS: usize = 16;

#[cfg(test)]
mod tests;
