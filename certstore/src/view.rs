//! What is known at one moment, merged from files and store, immutable and indexed by name.
//!
//! Revocation lists are monotonic here: of two lists of one issuer, key and scope only the newer
//! is kept, whatever file the older one stands in; but a list that a known certificate of its
//! issuer signed is never replaced by one that none did. The view never says what is trusted.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::crypto::PublicKey;
use kenin_pki::name::Name;
use kenin_pki::time::UnixTime;

use crate::scope;

/// Known certificates and revocation lists.
#[derive(Default)]
pub struct CertStore {
    certificates: Vec<Certificate>,
    by_subject: HashMap<Vec<u8>, Vec<usize>>,
    crls: Vec<Crl>,
    /// The key that signed each, where it is known.
    signed: Vec<Option<PublicKey>>,
    crls_by_issuer: HashMap<Vec<u8>, Vec<usize>>,
    /// By the position of a list that is not at hand: that of the one that stands in for it.
    stand_ins: HashMap<usize, usize>,
}

impl CertStore {
    /// Indexes certificates and lists; the same certificate twice is kept once, and of two lists
    /// of one scope the newer. `signers` are certificates besides (the anchors) that may have
    /// signed lists.
    pub fn new(certificates: Vec<Certificate>, crls: Vec<Crl>, signers: &[Certificate]) -> Self {
        let mut seen = HashSet::new();
        let mut view = Self::default();
        for certificate in certificates {
            if seen.insert(*certificate.sha256()) {
                let key = certificate.subject().canonical().to_vec();
                view.by_subject
                    .entry(key)
                    .or_default()
                    .push(view.certificates.len());
                view.certificates.push(certificate);
            }
        }
        let mut signer_keys: HashMap<&[u8], Vec<&PublicKey>> = HashMap::new();
        for one in view.certificates.iter().chain(signers) {
            let name = one.subject().canonical();
            signer_keys.entry(name).or_default().push(one.public_key());
        }
        let signed = |crl: &Crl| -> Option<PublicKey> {
            let keys = signer_keys.get(crl.issuer().canonical());
            let mut keys = keys.into_iter().flatten().copied();
            keys.find(|key| crl.verify_signature(key).is_ok()).cloned()
        };
        let marked = crls.into_iter().map(|crl| (signed(&crl), crl)).collect();
        for (signed, crl) in newest(marked) {
            view.push(crl, signed);
        }
        view
    }

    /// Lets a list that was held before stand in for a newer one of its scope and key that is not at hand. Any other is
    /// left out.
    pub fn stand_in(&mut self, crl: &Crl) {
        if crl.is_absent() {
            return;
        }
        let mut all = self.crls.iter().zip(&self.signed).enumerate();
        let newer = all.find_map(|(position, (absent, by))| {
            let by = by.as_ref().filter(|_| absent.is_absent())?;
            let stands =
                is_of_scope(crl, absent, by) && scope::compare(absent, crl) == Ordering::Greater;
            stands.then(|| (position, by.clone()))
        });
        if let Some((position, by)) = newer {
            self.stand_ins.insert(position, self.crls.len());
            self.push(crl.clone(), Some(by));
        }
    }

    fn push(&mut self, crl: Crl, signed: Option<PublicKey>) {
        let key = crl.issuer().canonical().to_vec();
        let places = self.crls_by_issuer.entry(key).or_default();
        places.push(self.crls.len());
        self.crls.push(crl);
        self.signed.push(signed);
    }

    /// Certificates whose subject is this name, those with the key id first: a key id is a hint,
    /// never a reason to leave a certificate out.
    pub fn issuers(&self, name: &Name, key_id: Option<&[u8]>) -> Vec<Certificate> {
        let positions = self.by_subject.get(name.canonical()).map(Vec::as_slice);
        let mut found: Vec<Certificate> = pick(&self.certificates, positions).collect();
        if let Some(wanted) = key_id {
            found.sort_by_key(|one| match one.subject_key_id() {
                Ok(Some(id)) if id == wanted => 0,
                Ok(None) => 1,
                _ => 2,
            });
        }
        found
    }

    /// The current revocation lists in this issuer's name, whoever signed them. While one that was held before and is
    /// still fresh stands in for one that is not at hand, only the former is among them: it is what a node has that has
    /// not heard of the latter yet.
    pub fn crls(&self, issuer: &Name, now: UnixTime) -> Vec<Crl> {
        let positions = self.crls_by_issuer.get(issuer.canonical());
        let positions = positions.into_iter().flatten().copied();
        let is_replaced = |absent: &usize| {
            let held = self.stand_ins.get(absent).and_then(|at| self.crls.get(*at));
            held.is_some_and(|held| held.next_update().is_some_and(|end| now < end))
        };
        let in_force = positions.filter(|position| !is_replaced(position));
        in_force
            .filter_map(|at| self.crls.get(at).cloned())
            .collect()
    }

    /// Every certificate known, for candidates of paths.
    pub fn intermediates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Every current revocation list.
    pub fn all_crls(&self) -> &[Crl] {
        &self.crls
    }

    /// Those current lists that a certificate known here signed, with its key.
    pub fn signed_crls(&self) -> impl Iterator<Item = (&Crl, &PublicKey)> {
        self.crls
            .iter()
            .zip(&self.signed)
            .filter_map(|(crl, by)| Some((crl, by.as_ref()?)))
    }

    /// Those that a certificate known here signed, and that are not at hand, with its key.
    fn absent(&self) -> impl Iterator<Item = (&Crl, &PublicKey)> {
        self.signed_crls().filter(|(crl, _)| crl.is_absent())
    }

    /// Whether the list with this SHA-256 is not at hand, or stands in for one that is not: then it has to be had
    /// again from where it came from.
    pub fn is_lacking(&self, sha256: &[u8; 32]) -> bool {
        let mut absent = self.absent();
        absent.any(|(absent, by)| {
            let mut all = self.crls.iter();
            all.any(|crl| crl.sha256() == sha256 && is_of_scope(crl, absent, by))
        })
    }

    /// Whether a list that this key signed is newer than what is held of its scope.
    pub fn is_news(&self, crl: &Crl, by: &PublicKey) -> bool {
        let scope = scope::of(crl, Some(by));
        let mut held = self.signed_crls();
        !held.any(|(held, key)| {
            held.issuer() == crl.issuer()
                && scope::of(held, Some(key)) == scope
                && scope::compare(crl, held) != Ordering::Greater
        })
    }

    /// The earliest end of a list's time: from then on a status is stale.
    pub fn next_update(&self) -> Option<UnixTime> {
        self.crls
            .iter()
            .filter_map(Crl::next_update)
            .min_by_key(|time| time.0)
    }
}

impl std::fmt::Debug for CertStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (certificates, crls) = (self.certificates.len(), self.crls.len());
        write!(
            f,
            "CertStore({certificates} certificates, {crls} revocation lists)"
        )
    }
}

/// Whether this key, which signed `other`, signed `crl` too, about the same certificates.
fn is_of_scope(crl: &Crl, other: &Crl, by: &PublicKey) -> bool {
    crl.issuer() == other.issuer()
        && scope::of(crl, Some(by)) == scope::of(other, Some(by))
        && crl.verify_signature(by).is_ok()
}

/// Of each scope the newest list, in the order of first appearance.
fn newest(crls: Vec<(Option<PublicKey>, Crl)>) -> Vec<(Option<PublicKey>, Crl)> {
    let mut kept: Vec<(Option<PublicKey>, Crl)> = Vec::new();
    let mut places: HashMap<[u8; 32], usize> = HashMap::new();
    for one in crls {
        let scope = scope::of(&one.1, one.0.as_ref());
        let place = *places.entry(scope).or_insert(kept.len());
        match kept.get_mut(place) {
            Some(held) => {
                if scope::compare(&one.1, &held.1) == Ordering::Greater {
                    *held = one;
                }
            }
            None => kept.push(one),
        }
    }
    kept
}

fn pick<'a, T: Clone>(all: &'a [T], at: Option<&'a [usize]>) -> impl Iterator<Item = T> + 'a {
    at.unwrap_or_default()
        .iter()
        .filter_map(|position| all.get(*position).cloned())
}

#[cfg(test)]
mod tests;
