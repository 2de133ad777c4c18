//! Who issued a certificate, where that leads to an authority that may be asked about it: nobody is asked about what no
//! authority issued.
//!
//! An issuer that only came with the mail counts once signatures lead from it to an authority that is known. Anybody can
//! put certificates into a mail: so the way is not long, and the signatures that are verified for one
//! message are counted. Whether the way is a valid path is not asked here.

use std::{mem, ptr};

use kenin_pki::certificate::Certificate;
use kenin_pki::extension::KeyUsage;

use super::{Desk, MAX_FOUND};
use crate::sources::{AnchorSources, Sources};

/// An issuer, and the entries above it that say who may be asked.
pub(super) struct Above<'a> {
    pub(super) by: Certificate,
    pub(super) entries: Vec<&'a AnchorSources>,
}

/// A certificate on a way up.
struct Step {
    certificate: Certificate,
    /// The place of the one that it issued.
    below: usize,
    /// By the mail alone.
    is_brought: bool,
}

/// More signatures than are verified for one message.
#[derive(Debug)]
pub(super) struct TooMany;

impl Desk<'_> {
    /// Who issued this certificate; nothing where no way leads from there to an anchor that has sources. The entries of
    /// all ways count: whose certificates come first in a mail does not decide who is asked. Where it brings more than
    /// may be looked at, that is the error: somebody might stand above who is not seen.
    pub(super) fn issuer_of<'a>(
        &mut self,
        certificate: &Certificate,
        candidates: &[Certificate],
        sources: &'a Sources,
    ) -> Result<Option<Above<'a>>, TooMany> {
        let mut above = None;
        self.climb(certificate, candidates, sources, &mut above)?;
        // As the settings have them, not the mail.
        if let Some(Above { entries, .. }) = &mut above {
            let led = mem::take(entries);
            let is_above = |entry: &&AnchorSources| is_among(entry, &led);
            *entries = sources.anchors.iter().filter(is_above).collect();
        }
        Ok(above)
    }

    /// Level by level over what is here and what came with the mail, until no entry is left that might stand above.
    /// Those of the mail that are on a way to one are found then.
    fn climb<'a>(
        &mut self,
        certificate: &Certificate,
        candidates: &[Certificate],
        sources: &'a Sources,
        above: &mut Option<Above<'a>>,
    ) -> Result<(), TooMany> {
        let snapshot = self.snapshot;
        let brought = self.brought(candidates, sources);
        let mut way = vec![Step {
            certificate: certificate.clone(),
            below: 0,
            is_brought: false,
        }];
        let mut level = 0..1;
        for _ in 0..MAX_DEPTH {
            let start = way.len();
            for place in level {
                let Some(child) = way.get(place).map(|step| step.certificate.clone()) else {
                    continue;
                };
                for one in self.here(&child, sources) {
                    if is_whole(above, sources) {
                        return Ok(());
                    }
                    if is_on(&way, &one) || child.verify_signature(one.public_key()).is_err() {
                        continue;
                    }
                    // Where one further up leads by what is here, the one below it was seen to lead.
                    if place == 0 {
                        let entries = sources.above(&one, &snapshot.known, &self.found);
                        add(above, &one, entries);
                    }
                    way.push(Step {
                        certificate: one,
                        below: place,
                        is_brought: false,
                    });
                }
                for one in &brought {
                    if is_whole(above, sources) {
                        return Ok(());
                    }
                    if one.subject() != child.issuer() || is_on(&way, one) {
                        continue;
                    }
                    self.check()?;
                    if child.verify_signature(one.public_key()).is_err() {
                        continue;
                    }
                    way.push(Step {
                        certificate: one.clone(),
                        below: place,
                        is_brought: true,
                    });
                    self.check()?;
                    let entries = sources.above(one, &snapshot.known, &self.found);
                    if !entries.is_empty()
                        && let Some(by) = self.take(&way)
                    {
                        add(above, &by, entries);
                    }
                }
            }
            if brought.is_empty() {
                return Ok(());
            }
            level = start..way.len();
        }
        Ok(())
    }

    /// Certificates that are here, known or found, and have the name of who issued this one.
    fn here(&self, child: &Certificate, sources: &Sources) -> Vec<Certificate> {
        let mut all = self.snapshot.known.issuers(child.issuer(), None);
        let anchors = sources.anchors.iter().flat_map(|entry| &entry.certificates);
        for one in anchors.chain(&self.found) {
            if one.subject() == child.issuer() && !all.contains(one) {
                all.push(one.clone());
            }
        }
        all
    }

    /// Authorities among the candidates that are not here.
    fn brought(&self, candidates: &[Certificate], sources: &Sources) -> Vec<Certificate> {
        let is_here = |one: &Certificate| {
            let mut anchors = sources.anchors.iter().flat_map(|entry| &entry.certificates);
            let known = &self.snapshot.known;
            self.found.contains(one)
                || anchors.any(|anchor| anchor == one)
                || known.issuers(one.subject(), None).contains(one)
        };
        let all = candidates.iter().take(MAX_FOUND);
        let brought = all.filter(|one| is_authority(one) && !is_here(one));
        brought.cloned().collect()
    }

    /// Finds those of the mail on the way from the last one down to the one that issued the first, which is given.
    fn take(&mut self, way: &[Step]) -> Option<Certificate> {
        let mut by = None;
        let mut place = way.len().saturating_sub(1);
        while let Some(step) = way.get(place).filter(|_| place > 0) {
            let one = &step.certificate;
            let is_new = step.is_brought && !self.found.contains(one);
            if is_new && self.found.len() < MAX_FOUND {
                self.found.push(one.clone());
            }
            by = Some(one.clone());
            place = step.below;
        }
        by
    }

    /// One more signature.
    fn check(&mut self) -> Result<(), TooMany> {
        self.checks = self.checks.checked_sub(1).ok_or(TooMany)?;
        Ok(())
    }
}

/// Adds where an issuer leads to.
fn add<'a>(above: &mut Option<Above<'a>>, by: &Certificate, entries: Vec<&'a AnchorSources>) {
    if entries.is_empty() {
        return;
    }
    let above = above.get_or_insert_with(|| Above {
        by: by.clone(),
        entries: Vec::new(),
    });
    for entry in entries {
        if !is_among(entry, &above.entries) {
            above.entries.push(entry);
        }
    }
}

/// Whether all entries stand above already.
fn is_whole(above: &Option<Above<'_>>, sources: &Sources) -> bool {
    let entries = above.as_ref().map_or(0, |above| above.entries.len());
    entries == sources.anchors.len()
}

fn is_among(entry: &AnchorSources, entries: &[&AnchorSources]) -> bool {
    entries.iter().any(|one| ptr::eq(*one, entry))
}

fn is_on(way: &[Step], one: &Certificate) -> bool {
    way.iter().any(|step| step.certificate == *one)
}

/// Whether a certificate may be one of an authority (RFC 5280 §4.2.1.3 and §4.2.1.9).
fn is_authority(certificate: &Certificate) -> bool {
    let basic = certificate.basic_constraints().ok().flatten();
    let may_sign = |usage: Option<KeyUsage>| usage.is_none_or(|u| u.any(KeyUsage::KEY_CERT_SIGN));
    basic.is_some_and(|basic| basic.ca) && certificate.key_usage().is_ok_and(may_sign)
}

/// Authorities above each other, where a mail brought some of them.
const MAX_DEPTH: usize = 10;
/// As many as paths of one message may cost.
pub(super) const MAX_CHECKS: u32 = 100;
