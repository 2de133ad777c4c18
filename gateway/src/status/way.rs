//! Who issued a certificate, where that leads to an authority that may be asked about it: nobody is asked about what no
//! authority issued.
//!
//! An issuer that only came with the mail counts once signatures lead from it to an authority that is known. Anybody can
//! put certificates into a mail: so the way is not long, and the signatures that are verified for one
//! message are counted. Whether the way is a valid path is not asked here.

use kenin_pki::certificate::Certificate;
use kenin_pki::extension::KeyUsage;

use super::{Desk, MAX_FOUND};
use crate::sources::{AnchorSources, Sources};

/// An issuer, and the entries above it that say who may be asked.
pub(super) struct Above<'a> {
    pub(super) by: Certificate,
    pub(super) entries: Vec<&'a AnchorSources>,
}

/// More signatures than are verified for one message.
#[derive(Debug)]
pub(super) struct TooMany;

impl Desk<'_> {
    /// Who issued this certificate; nothing where no way leads from there to an anchor that has sources.
    pub(super) fn issuer_of<'a>(
        &mut self,
        certificate: &Certificate,
        candidates: &[Certificate],
        sources: &'a Sources,
    ) -> Result<Option<Above<'a>>, TooMany> {
        let known = self.snapshot.known.issuers(certificate.issuer(), None);
        let anchors = sources.anchors.iter().flat_map(|entry| &entry.certificates);
        let signed = |by: &&Certificate| {
            by.subject() == certificate.issuer()
                && certificate.verify_signature(by.public_key()).is_ok()
        };
        let all = known.iter().chain(anchors).chain(&self.found);
        for by in all.filter(signed) {
            let entries = sources.above(by, &self.snapshot.known, &self.found);
            if !entries.is_empty() {
                let by = by.clone();
                return Ok(Some(Above { by, entries }));
            }
        }
        self.brought(certificate, candidates, sources)
    }

    /// The same over what came with the mail, level by level. Those on the way are found then.
    fn brought<'a>(
        &mut self,
        certificate: &Certificate,
        candidates: &[Certificate],
        sources: &'a Sources,
    ) -> Result<Option<Above<'a>>, TooMany> {
        // Each with the place of the one that it issued.
        let mut way = vec![(certificate.clone(), 0)];
        let mut level = 0..1;
        for _ in 0..MAX_DEPTH {
            let start = way.len();
            for place in level {
                let Some((child, _)) = way.get(place).cloned() else {
                    continue;
                };
                for one in candidates.iter().take(MAX_FOUND) {
                    let is_new = !way.iter().any(|(other, _)| other == one);
                    if one.subject() != child.issuer() || !is_new || !is_authority(one) {
                        continue;
                    }
                    self.check()?;
                    if child.verify_signature(one.public_key()).is_err() {
                        continue;
                    }
                    way.push((one.clone(), place));
                    self.check()?;
                    let entries = sources.above(one, &self.snapshot.known, &self.found);
                    if !entries.is_empty() {
                        let by = self.take(&way);
                        return Ok(by.map(|by| Above { by, entries }));
                    }
                }
            }
            level = start..way.len();
        }
        Ok(None)
    }

    /// Finds those on the way from the last one down to the one that issued the first.
    fn take(&mut self, way: &[(Certificate, usize)]) -> Option<Certificate> {
        let mut by = None;
        let mut place = way.len().saturating_sub(1);
        while let Some((one, below)) = way.get(place).filter(|_| place > 0) {
            if self.found.len() < MAX_FOUND {
                self.found.push(one.clone());
            }
            by = Some(one.clone());
            place = *below;
        }
        by
    }

    /// One more signature.
    fn check(&mut self) -> Result<(), TooMany> {
        self.checks = self.checks.checked_sub(1).ok_or(TooMany)?;
        Ok(())
    }
}

/// Whether a certificate may be one of an authority (RFC 5280 §4.2.1.3 and §4.2.1.9).
fn is_authority(certificate: &Certificate) -> bool {
    let basic = certificate.basic_constraints().ok().flatten();
    let may_sign = |usage: Option<KeyUsage>| usage.is_none_or(|u| u.any(KeyUsage::KEY_CERT_SIGN));
    basic.is_some_and(|basic| basic.ca) && certificate.key_usage().is_ok_and(may_sign)
}

/// Authorities above each other that came with a mail.
const MAX_DEPTH: usize = 10;
/// As many as paths of one message may cost.
pub(super) const MAX_CHECKS: u32 = 100;
