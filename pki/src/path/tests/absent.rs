//! Lists that are known to exist and are not at hand: whoever might be on them is not known to be good.

use std::convert::Infallible;

use super::*;
use crate::crl::{CrlStream, RevokedEntry, StreamedEntry};
use crate::issue::OcspBuilder;
use crate::ocsp::{CertStatus, OcspResponse};

/// The same list, of which nobody has the entries.
fn absent(list: &Crl) -> Crl {
    let mut stream = CrlStream::new();
    let pushed = stream.push(list.der(), &mut |_: StreamedEntry<'_>| {
        Ok::<(), Infallible>(())
    });
    pushed.unwrap();
    let absent = Crl::absent(&stream.finish().unwrap()).unwrap();
    assert!(absent.is_absent() && absent == *list);
    absent
}

/// A list of this authority between these times, in seconds from now.
fn list(by: &Party, from: i64, until: i64) -> Crl {
    CrlBuilder::new(now().plus(from), Some(now().plus(until)))
        .issued_by(&by.certificate, &by.key)
        .unwrap()
}

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
    fn run(
        &self,
        more: &[&Party],
        crls: &[Crl],
        mode: RevocationMode,
    ) -> Result<ValidPath, PathError> {
        let rules = PathRules {
            revocation: mode,
            ..PathRules::new(now())
        };
        let candidates = [&[&self.ca][..], more].concat();
        let crls = [crls, &[self.root.crl(|c| c)]].concat();
        find_with(
            &self.leaf,
            &candidates,
            &[self.root.anchor()],
            &crls,
            &rules,
        )
    }

    /// The same with answers of the authority's.
    fn hear(
        &self,
        crls: &[Crl],
        ocsp: &[OcspResponse],
        rules: &PathRules,
    ) -> Result<ValidPath, PathError> {
        let crls = [crls, &[self.root.crl(|c| c)]].concat();
        find_path(
            &self.leaf.certificate,
            std::slice::from_ref(&self.ca.certificate),
            &[self.root.anchor()],
            StatusSources { crls: &crls, ocsp },
            rules,
            &mut Budget::default(),
        )
    }

    /// An answer of this time, in seconds from now, that is current.
    fn answer(&self, from: i64, status: CertStatus) -> OcspResponse {
        let (made, key) = (now().plus(from), self.ca.certificate.public_key());
        let times = (made, Some(now().plus(DAY)));
        OcspBuilder::new(made)
            .answer(&self.leaf.certificate, key, status, times)
            .signed_by(&self.ca.key)
            .unwrap()
    }

    #[track_caller]
    fn passes(&self, crls: &[Crl]) {
        for mode in MODES {
            self.run(&[], crls, mode).unwrap();
        }
    }

    #[track_caller]
    fn lacks(&self, crls: &[Crl]) {
        for mode in MODES {
            let kind = PathErrorKind::RevocationUnavailable;
            fails(self.run(&[], crls, mode), kind, "not at hand");
        }
        self.run(&[], crls, RevocationMode::Off).unwrap();
    }
}

const MODES: [RevocationMode; 2] = [RevocationMode::Required, RevocationMode::IfAvailable];
const HOUR: i64 = 3600;

#[test]
fn a_list_that_is_not_at_hand_lets_nobody_pass() {
    let world = world();
    let ca = &world.ca;
    world.lacks(&[absent(&list(ca, -DAY, DAY))]);
    // Whoever was on a list that is stale by now is revoked still.
    world.lacks(&[absent(&list(ca, -9 * DAY, -DAY))]);
    // One that a stranger made up in the name of the issuer is nobody's.
    let stranger = Party::root("Intermediate");
    let own = list(ca, -DAY, DAY);
    world.passes(&[own, absent(&list(&stranger, -60, DAY))]);
}

#[test]
fn no_older_list_stands_in_and_what_it_revokes_is_heard() {
    let world = world();
    let ca = &world.ca;
    let lost = || absent(&list(ca, -60, DAY));
    world.lacks(&[lost(), list(ca, -DAY, DAY)]);
    world.lacks(&[lost(), list(ca, -DAY, -30)]);
    // A newer one replaces it as ever.
    world.passes(&[lost(), list(ca, -30, DAY)]);
    // So does the very list itself, in whatever order they come; another one of that moment does not.
    let whole = list(ca, -60, DAY);
    world.passes(&[absent(&whole), whole.clone()]);
    world.passes(&[whole.clone(), absent(&whole)]);
    let other = list(ca, -60, 2 * DAY);
    world.lacks(&[absent(&whole), other.clone()]);
    world.lacks(&[other, absent(&whole)]);
    let date = now().plus(-20 * DAY);
    let revoking = CrlBuilder::new(now().plus(-DAY), Some(now().plus(DAY)))
        .revoke(
            world.leaf.certificate.serial(),
            date,
            RevocationReason::Superseded,
        )
        .issued_by(&ca.certificate, &ca.key)
        .unwrap();
    let kind = PathErrorKind::Revoked {
        time: date,
        reason: RevocationReason::Superseded,
    };
    for mode in MODES {
        let end = world.run(&[], &[lost(), revoking.clone()], mode);
        fails(end, kind, "revoked");
    }
}

/// Mallory is on the list that is not at hand, and attaches what was made before it and is current still.
#[test]
fn what_a_sender_attaches_from_before_a_list_that_is_not_at_hand_does_not_outvote_it() {
    let world = world();
    // Whoever was on one that is stale by now is revoked still.
    for until in [DAY, -60] {
        let lost = absent(&list(&world.ca, -HOUR, until));
        for (from, counts) in [
            (-2 * HOUR, false),
            (-HOUR, false),
            (1 - HOUR, true),
            (-60, true),
        ] {
            let attached = list(&world.ca, from, 2 * DAY);
            let answer = [world.answer(from, CertStatus::Good)];
            let (none, answer) = (&answer[..0], &answer[..]);
            let (lost, attached) = (|| lost.clone(), || attached.clone());
            let older = || list(&world.ca, -3 * HOUR, 2 * DAY);
            for (crls, ocsp) in [
                (vec![lost(), attached()], none),
                (vec![attached(), lost()], none),
                (vec![older(), attached(), lost()], none),
                (vec![lost()], answer),
                (vec![older(), lost()], answer),
                (vec![attached(), lost(), older()], answer),
            ] {
                for revocation in MODES {
                    let rules = PathRules {
                        revocation,
                        ..PathRules::new(now())
                    };
                    let end = world.hear(&crls, ocsp, &rules);
                    match counts {
                        true => assert!(end.is_ok(), "{until} {from} {}", crls.len()),
                        false => {
                            fails(end, PathErrorKind::RevocationUnavailable, "not at hand");
                        }
                    }
                }
            }
        }
    }
}

/// The key may have been stolen since, as the list that is not at hand would say.
#[test]
fn a_revocation_from_before_a_list_that_is_not_at_hand_is_not_excused_by_a_time_stamp() {
    let world = world();
    let (date, reason) = (now().plus(-5 * DAY), RevocationReason::Superseded);
    let lost = absent(&list(&world.ca, -HOUR, DAY));
    let revoking = CrlBuilder::new(now().plus(-2 * HOUR), Some(now().plus(DAY)))
        .revoke(world.leaf.certificate.serial(), date, reason)
        .issued_by(&world.ca.certificate, &world.ca.key)
        .unwrap();
    let revoked = CertStatus::Revoked(RevokedEntry {
        date,
        reason,
        invalidity_date: None,
    });
    let answer = [world.answer(-2 * HOUR, revoked)];
    let rules = PathRules {
        proven_at: Some(now().plus(-9 * DAY)),
        ..PathRules::new(now())
    };
    for (crls, ocsp) in [(vec![revoking], &answer[..0]), (vec![], &answer[..])] {
        let path = world.hear(&crls, ocsp, &rules).unwrap();
        assert!(path.outlived().is_some());
        let crls = [crls, vec![lost.clone()]].concat();
        let end = world.hear(&crls, ocsp, &rules);
        fails(
            end,
            PathErrorKind::Revoked { time: date, reason },
            "revoked",
        );
    }
}

/// An authority that changed its key goes on with two lists, and either may name the certificate.
#[test]
fn a_list_by_another_key_does_not_stand_in() {
    let world = world();
    let other = world.root.ca("Intermediate", same);
    let own = list(&world.ca, -DAY, DAY);
    for mode in MODES {
        let lost = absent(&list(&other, -DAY, DAY));
        let end = world.run(&[&other], &[own.clone(), lost], mode);
        fails(end, PathErrorKind::RevocationUnavailable, "not at hand");
        let ended = absent(&list(&other, -9 * DAY, -DAY));
        world.run(&[&other], &[own.clone(), ended], mode).unwrap();
    }
}

#[test]
fn a_delta_that_is_not_at_hand_is_missed_where_it_would_count() {
    let world = world();
    let (ca, date) = (&world.ca, now().plus(-2 * DAY));
    let delta = |from: i64, until: i64| {
        let delta = CrlBuilder::new(now().plus(from), Some(now().plus(until)))
            .number(2)
            .delta(1)
            .issued_by(&ca.certificate, &ca.key);
        absent(&delta.unwrap())
    };
    let base = ca.crl(|c| c);
    world.lacks(&[base.clone(), delta(-60, DAY)]);
    world.passes(&[base, delta(-DAY, -60)]);
    let serial = world.leaf.certificate.serial();
    let revoking = ca.crl(|c| c.revoke(serial, date, RevocationReason::Superseded));
    let end = world.run(&[], &[revoking, delta(-60, DAY)], RevocationMode::Required);
    let kind = PathErrorKind::Revoked {
        time: date,
        reason: RevocationReason::Superseded,
    };
    fails(end, kind, "revoked");
}

#[test]
fn an_answer_from_before_a_delta_that_is_not_at_hand_does_not_outvote_it() {
    let world = world();
    let delta = CrlBuilder::new(now().plus(-HOUR), Some(now().plus(DAY)))
        .number(2)
        .delta(1)
        .issued_by(&world.ca.certificate, &world.ca.key)
        .unwrap();
    let base = world.ca.crl(|c| c);
    for revocation in MODES {
        let rules = PathRules {
            revocation,
            ..PathRules::new(now())
        };
        let run = |crls: &[Crl], from: i64| {
            let answer = world.answer(from, CertStatus::Good);
            world.hear(crls, &[answer], &rules)
        };
        let lost = [base.clone(), absent(&delta)];
        for from in [-2 * HOUR, -HOUR] {
            let end = run(&lost, from);
            fails(end, PathErrorKind::RevocationUnavailable, "not at hand");
        }
        run(&lost, -60).unwrap();
        // Here it is.
        run(&[absent(&delta), base.clone(), delta.clone()], -2 * HOUR).unwrap();
    }
}
