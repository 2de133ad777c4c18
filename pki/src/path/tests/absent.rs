//! Lists that are known to exist and are not at hand: whoever might be on them is not known to be good.

use std::convert::Infallible;

use super::*;
use crate::crl::{CrlStream, StreamedEntry};

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
fn an_older_list_stands_in_as_long_as_it_is_fresh() {
    let world = world();
    let ca = &world.ca;
    let lost = || absent(&list(ca, -60, DAY));
    world.passes(&[lost(), list(ca, -DAY, DAY)]);
    world.lacks(&[lost(), list(ca, -DAY, -30)]);
    // A newer one replaces it as ever.
    world.passes(&[lost(), list(ca, -30, DAY)]);
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
