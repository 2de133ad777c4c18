//! Lists and answers whose makers' clocks are ahead of ours: a little is nothing, and what is revoked by more than that
//! is not good.

use super::*;
use crate::crl::RevokedEntry;
use crate::issue::OcspBuilder;
use crate::ocsp::{CertStatus, OcspResponse};
use crate::time::CLOCK_SKEW;

const MODES: [RevocationMode; 2] = [RevocationMode::Required, RevocationMode::IfAvailable];

/// A root with a list, an authority, and someone below it.
struct World {
    root: Party,
    ca: Party,
    leaf: Party,
}

fn world() -> World {
    let (root, ca, leaf) = three(same, person);
    World { root, ca, leaf }
}

impl World {
    /// An answer about the leaf that was made at `produced` and holds from `since`, in seconds from now.
    fn answer(&self, status: CertStatus, since: i64, produced: i64) -> OcspResponse {
        OcspBuilder::new(now().plus(produced))
            .answer(
                &self.leaf.certificate,
                self.ca.certificate.public_key(),
                status,
                (now().plus(since), Some(now().plus(9 * DAY))),
            )
            .signed_by(&self.ca.key)
            .unwrap()
    }

    /// The authority's list, made at `since`; it revokes the leaf where there is a date for that.
    fn list(&self, since: i64, revoked: Option<i64>) -> Crl {
        let list = CrlBuilder::new(now().plus(since), Some(now().plus(9 * DAY)));
        let list = match revoked {
            Some(date) => list.revoke(
                self.leaf.certificate.serial(),
                now().plus(date),
                RevocationReason::KeyCompromise,
            ),
            None => list,
        };
        list.issued_by(&self.ca.certificate, &self.ca.key).unwrap()
    }

    fn find(
        &self,
        crls: &[Crl],
        ocsp: &[OcspResponse],
        mode: RevocationMode,
    ) -> Result<ValidPath, PathError> {
        let crls = [&[self.root.crl(|list| list)], crls].concat();
        let rules = PathRules {
            revocation: mode,
            ..PathRules::new(now())
        };
        find_path(
            &self.leaf.certificate,
            std::slice::from_ref(&self.ca.certificate),
            &[self.root.anchor()],
            StatusSources { crls: &crls, ocsp },
            &rules,
            &mut Budget::default(),
        )
    }
}

/// Revoked at that time, in seconds from now.
fn revoked(date: i64) -> CertStatus {
    CertStatus::Revoked(RevokedEntry {
        date: now().plus(date),
        reason: RevocationReason::KeyCompromise,
        invalidity_date: None,
    })
}

fn kind(date: i64) -> PathErrorKind {
    PathErrorKind::Revoked {
        time: now().plus(date),
        reason: RevocationReason::KeyCompromise,
    }
}

#[test]
fn a_responder_whose_clock_is_a_second_ahead_is_heard() {
    let world = world();
    for (since, produced) in [(1, 1), (0, 1), (CLOCK_SKEW, CLOCK_SKEW)] {
        for mode in MODES {
            let good = world.answer(CertStatus::Good, since, produced);
            let path = world.find(&[], &[good], mode).unwrap();
            assert!(path.notes().is_empty(), "{since} {produced}");
            let bad = world.answer(revoked(-DAY), since, produced);
            fails(world.find(&[], &[bad], mode), kind(-DAY), "by OCSP");
        }
    }
}

#[test]
fn a_list_made_a_second_ahead_is_heard() {
    let world = world();
    for since in [1, CLOCK_SKEW] {
        for mode in MODES {
            let path = world.find(&[world.list(since, None)], &[], mode).unwrap();
            assert!(path.notes().is_empty(), "{since}");
            let bad = [world.list(-DAY, None), world.list(since, Some(-DAY))];
            fails(world.find(&bad, &[], mode), kind(-DAY), "by CRL");
        }
    }
}

#[test]
fn an_answer_of_the_future_that_revokes_is_in_nobodys_favour() {
    let world = world();
    let good = world.answer(CertStatus::Good, -60, -60);
    let list = [world.list(-60, None)];
    let early = CLOCK_SKEW + 1;
    for (since, produced) in [(early, early), (-DAY, early), (9 * DAY, 9 * DAY)] {
        // Beside an older one that is good, whatever their order; and beside a list.
        let bad = world.answer(revoked(-DAY), since, produced);
        for mode in MODES {
            for answers in [
                vec![bad.clone()],
                vec![bad.clone(), good.clone()],
                vec![good.clone(), bad.clone()],
            ] {
                for crls in [&[][..], &list[..]] {
                    let end = world.find(crls, &answers, mode);
                    fails(end, PathErrorKind::RevocationUnavailable, "of the future");
                }
            }
        }
        // What is revoked now is that all the same.
        let now_too = world.answer(revoked(-2 * DAY), -60, -60);
        let end = world.find(&[], &[bad, now_too], RevocationMode::IfAvailable);
        fails(end, kind(-2 * DAY), "by OCSP");
    }
    // Revoked in the future only: not known by today.
    let later = world.answer(revoked(DAY), early, early);
    let end = world.find(&list, &[later.clone(), good], RevocationMode::Required);
    fails(end, PathErrorKind::RevocationUnavailable, "not current");
    let path = world.find(&list, &[later], RevocationMode::IfAvailable);
    assert_eq!(path.unwrap().notes().len(), 1);
}

#[test]
fn a_list_of_the_future_that_revokes_is_in_nobodys_favour() {
    let world = world();
    let good = world.answer(CertStatus::Good, -60, -60);
    let early = CLOCK_SKEW + 1;
    let (old, new) = (world.list(-60, None), world.list(early, Some(-DAY)));
    for mode in MODES {
        for crls in [vec![new.clone()], vec![old.clone(), new.clone()]] {
            for answers in [&[][..], std::slice::from_ref(&good)] {
                let end = world.find(&crls, answers, mode);
                fails(end, PathErrorKind::RevocationUnavailable, "of the future");
            }
        }
        let later = [old.clone(), world.list(early, Some(DAY))];
        let end = world.find(&later, std::slice::from_ref(&good), mode);
        match mode {
            RevocationMode::Required => {
                fails(end, PathErrorKind::RevocationUnavailable, "not current");
            }
            _ => assert_eq!(end.unwrap().notes().len(), 1),
        }
        // One that says nothing of the certificate takes nothing from what is said now.
        let silent = [old.clone(), world.list(early, None)];
        world.find(&silent, &[], mode).unwrap();
    }
    // Nobody needs to have signed what is not believed: a stranger's list is no news.
    let stranger = Party::root("Intermediate");
    let forged = CrlBuilder::new(now().plus(early), Some(now().plus(9 * DAY)))
        .revoke(
            world.leaf.certificate.serial(),
            now().plus(-DAY),
            RevocationReason::KeyCompromise,
        )
        .issued_by(&stranger.certificate, &stranger.key)
        .unwrap();
    world
        .find(&[old, forged], &[], RevocationMode::Required)
        .unwrap();
}
