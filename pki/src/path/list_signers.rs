//! Who may sign a list of revocations: the key that issued the certificate, or another certificate of the list's
//! issuer that may sign lists and has a valid path, not revoked, to the same anchor (RFC 5280 §6.3.3 (f)).

use std::borrow::Cow;

use crate::crypto::{KeyKind, PublicKey, SignatureAlgorithm};
use crate::extension::KeyUsage;

use super::budget::Budget;
use super::error::{PathError, PathErrorKind};
use super::rules::{PathRules, Purpose};
use super::search::Search;
use super::validate;

impl<'a> Search<'a> {
    /// The key that signed a list, if it may: that of an issuer above in the chain, of the anchor, or
    /// of another certificate of the list's issuer.
    pub(super) fn signer(
        &mut self,
        at: usize,
        chain: &[usize],
        position: usize,
        anchor: usize,
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<Option<Cow<'a, PublicKey>>, PathError> {
        let Some(crl) = self.signers.crls.get(at).copied() else {
            return Ok(None);
        };
        let above = chain.get(position.saturating_add(1)..).unwrap_or_default();
        for place in position.saturating_add(1)..chain.len() {
            let issuer = chain.get(place).and_then(|at| self.certificates.get(*at));
            let (Some(issuer), Some(key)) = (issuer, self.working_key(chain, place, anchor)) else {
                continue;
            };
            let usage = issuer.key_usage();
            if issuer.subject() == crl.issuer()
                && usage.is_ok_and(|u| u.is_none_or(|u| u.any(KeyUsage::CRL_SIGN)))
                && self.signed(at, &key, rules, budget)?
            {
                return Ok(Some(key));
            }
        }
        if let Some(by) = self
            .anchors
            .get(anchor)
            .filter(|by| by.name() == crl.issuer())
        {
            // Whoever holds the anchor's key may sign lists, unless its certificate says otherwise.
            let usage = by.certificate().map_or(Ok(None), |c| c.key_usage());
            if usage.is_ok_and(|u| u.is_none_or(|u| u.any(KeyUsage::CRL_SIGN)))
                && self.signed(at, by.key(), rules, budget)?
            {
                return Ok(Some(Cow::Borrowed(by.key())));
            }
        }
        let mut others = self
            .by_subject
            .get(crl.issuer())
            .cloned()
            .unwrap_or_default();
        others.retain(|other| !above.contains(other));
        // The one that the list names first; a crowd of strangers must not use up the budget.
        let wanted = crl.authority_key_id().ok().flatten();
        let wanted = wanted.and_then(|id| id.key_id.as_deref());
        others.sort_by_key(|other| {
            let own = self.certificates.get(*other);
            let own = own.and_then(|c| c.subject_key_id().ok().flatten());
            own.is_none() || own != wanted
        });
        for other in others.into_iter().take(MAX_STRANGERS) {
            let Some(by) = self.certificates.get(other).copied() else {
                continue;
            };
            // A stranger to the chain must be named a signer of lists outright.
            let usage = by.key_usage().ok().flatten();
            if !usage.is_some_and(|u| u.any(KeyUsage::CRL_SIGN))
                || !self.signed(at, by.public_key(), rules, budget)?
            {
                continue;
            }
            if self.is_sound_signer(other, chain, position, anchor, rules, budget)? {
                return Ok(Some(Cow::Borrowed(by.public_key())));
            }
        }
        Ok(None)
    }

    /// The key that issued a certificate, if it made the signature of a list in its own name.
    pub(super) fn issuing_key(
        &mut self,
        at: usize,
        chain: &[usize],
        position: usize,
        anchor: usize,
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<Option<Cow<'a, PublicKey>>, PathError> {
        let place = position.saturating_add(1);
        let above = chain.get(place).and_then(|at| self.certificates.get(*at));
        let (name, key) = match (above, self.working_key(chain, place, anchor)) {
            (Some(issuer), Some(key)) => (issuer.subject(), key),
            _ => match self.anchors.get(anchor) {
                Some(anchor) => (anchor.name(), Cow::Borrowed(anchor.key())),
                None => return Ok(None),
            },
        };
        let own = self
            .signers
            .crls
            .get(at)
            .is_some_and(|crl| crl.issuer() == name);
        Ok((own && self.signed(at, &key, rules, budget)?).then_some(key))
    }

    /// Whether a signer of lists has a valid path of its own to the anchor, by none but authorities
    /// that also stand above the certificate in question. RFC 5280 §6.3.3 (f) asks for the same
    /// anchor only; then a revoked authority could name a signer after its issuer and clear itself.
    ///
    /// A certificate may be on the list that it signs: an issuer may put the status of its signer of
    /// lists on that signer's own list.
    fn is_sound_signer(
        &mut self,
        signer: usize,
        chain: &[usize],
        position: usize,
        anchor: usize,
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<bool, PathError> {
        if chain.get(position) == Some(&signer) {
            return Ok(true);
        }
        let nested = &self.signers.in_progress;
        if chain.contains(&signer) || nested.contains(&signer) || nested.len() >= MAX_NESTED {
            return Ok(false);
        }
        let rules = PathRules {
            purpose: Purpose::Any,
            initial_policies: Vec::new(),
            require_explicit_policy: false,
            // What was signed by then is not the list.
            proven_at: None,
            ..rules.clone()
        };
        self.signers.in_progress.push(signer);
        let found = self.run(signer, Some(anchor), &rules, budget);
        self.signers.in_progress.pop();
        let above = chain.get(position.saturating_add(1)..).unwrap_or_default();
        match found {
            Ok(found) => Ok(found.chain.iter().skip(1).all(|issuer| {
                above
                    .iter()
                    .any(|own| self.is_same_authority(*own, *issuer))
            })),
            Err(error) if error.kind() == PathErrorKind::Budget => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Whether two certificates are of one name and key, as after a renewal.
    fn is_same_authority(&self, one: usize, other: usize) -> bool {
        let at = |place: usize| self.certificates.get(place).copied();
        one == other
            || at(one).zip(at(other)).is_some_and(|(one, other)| {
                one.subject() == other.subject() && one.public_key().id() == other.public_key().id()
            })
    }

    /// Whether the key signed the list, verified once.
    pub(super) fn signed(
        &mut self,
        at: usize,
        key: &PublicKey,
        rules: &PathRules,
        budget: &mut Budget,
    ) -> Result<bool, PathError> {
        if let Some(known) = self.signers.verified.get(&(at, key.id())) {
            return Ok(*known);
        }
        let Some(crl) = self.signers.crls.get(at) else {
            return Ok(false);
        };
        if validate::weak_key(key, rules.algorithms).is_some() {
            return Ok(false);
        }
        // Other algorithms share one hash of the list between all keys.
        let algorithm = SignatureAlgorithm::from_identifier(crl.signature_algorithm());
        match (algorithm, key.kind()) {
            (Ok(SignatureAlgorithm::Ed25519), KeyKind::Ed25519)
            | (Ok(SignatureAlgorithm::MlDsa(_)), KeyKind::MlDsa(_))
                if !crl.is_known_of(key) =>
            {
                budget.long_signature(crl.tbs().len())
            }
            _ => budget.signature(),
        }
        .map_err(PathError::spent)?;
        let good = crl.verify_signature(key).is_ok();
        self.signers.verified.insert((at, key.id()), good);
        Ok(good)
    }
}

/// A signer of lists whose own status comes from a list of another such signer, and so on: this deep.
const MAX_NESTED: usize = 3;

/// Certificates of a list's issuer from outside the chain that are tried for its signature.
const MAX_STRANGERS: usize = 8;
