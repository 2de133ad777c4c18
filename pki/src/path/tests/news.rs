//! Which of several lists and answers is the newest, and what an older one still has to say.

use super::*;
use crate::crl::RevokedEntry;
use crate::issue::OcspBuilder;
use crate::ocsp::{CertStatus, OcspResponse};

const HOUR: i64 = 3600;

/// An authority that makes its lists once a day, with the midnight in them, and one more in a hurry.
#[test]
fn of_two_lists_of_one_moment_the_number_decides_and_else_the_worse_news() {
    let (root, ca, leaf) = three(same, person);
    let serial = leaf.certificate.serial();
    let (date, why) = (now().plus(-9), RevocationReason::KeyCompromise);
    let list = |number: Option<u64>, revoked: bool| {
        let list = ca.list();
        let list = match number {
            Some(number) => list.number(number),
            None => list.without_number(),
        };
        let list = match revoked {
            true => list.revoke(serial, date, why),
            false => list,
        };
        list.issued_by(&ca.certificate, &ca.key).unwrap()
    };
    let run = |lists: [&Crl; 2]| {
        let [one, other] = lists.map(Clone::clone);
        let crls = [root.crl(|c| c), one, other];
        let rules = PathRules::new(now());
        find_with(&leaf, &[&ca], &[root.anchor()], &crls, &rules)
    };
    let kind = PathErrorKind::Revoked {
        time: date,
        reason: why,
    };
    for (before, after) in [
        (Some(1), Some(2)),
        (Some(0xff), Some(0x100)),
        (Some(1), Some(1)),
        (None, Some(1)),
        (Some(1), None),
        (None, None),
    ] {
        let (good, bad) = (list(before, false), list(after, true));
        fails(run([&good, &bad]), kind, "revoked");
        fails(run([&bad, &good]), kind, "revoked");
    }
    // What the later one says counts, as between lists of two days.
    let (bad, good) = (list(Some(1), true), list(Some(2), false));
    run([&bad, &good]).unwrap();
    run([&good, &bad]).unwrap();
    // One list twice is one.
    let path = run([&good, &good]).unwrap();
    assert_eq!(path.revocation().len(), 2);
}

/// The complete list of a week ago is current, and the delta of yesterday is not: what it revoked stays so.
#[test]
fn a_stale_delta_is_heard_as_a_stale_list_is() {
    let (root, ca, leaf) = three(same, person);
    let date = now().plus(-5 * DAY);
    let list = |from: i64, until: i64, number: u64| {
        CrlBuilder::new(now().plus(from * DAY), Some(now().plus(until * DAY))).number(number)
    };
    let by = |key: &SoftKey, list: CrlBuilder| list.issued_by(&ca.certificate, key).unwrap();
    let base = by(&ca.key, list(-7, 7, 1));
    let run = |more: &[Crl]| {
        let crls = [&[root.crl(|c| c), base.clone()], more].concat();
        let rules = PathRules::new(now());
        find_with(&leaf, &[&ca], &[root.anchor()], &crls, &rules)
    };
    let serial = leaf.certificate.serial();
    let delta =
        |key: &SoftKey, reason| by(key, list(-4, -1, 2).delta(1).revoke(serial, date, reason));
    let (stolen, hold) = (
        RevocationReason::KeyCompromise,
        RevocationReason::CertificateHold,
    );
    let kind = PathErrorKind::Revoked {
        time: date,
        reason: stolen,
    };
    fails(run(&[delta(&ca.key, stolen)]), kind, "revoked");
    let unknown = PathErrorKind::RevocationUnavailable;
    fails(run(&[delta(&ca.key, hold)]), unknown, "not current");
    // Nobody else may say so, and not everything may.
    run(&[delta(&key(), stolen)]).unwrap();
    run(&[by(&ca.key, list(-4, -1, 2).delta(1))]).unwrap();
    run(&[delta(&ca.key, RevocationReason::RemoveFromCrl)]).unwrap();
    // Newer ones take its place: a delta, stale or not, and a complete list.
    let lifted = list(-3, -1, 3).delta(1);
    let lifted = lifted.revoke(serial, date, RevocationReason::RemoveFromCrl);
    run(&[delta(&ca.key, hold), by(&ca.key, lifted)]).unwrap();
    run(&[delta(&ca.key, hold), by(&ca.key, list(-3, 1, 3).delta(1))]).unwrap();
    run(&[delta(&ca.key, stolen), by(&ca.key, list(-3, 1, 2))]).unwrap();
}

/// A card is lost and put on hold, and the list of before is still current: only news from after the hold can
/// tell that it was found.
#[test]
fn a_list_from_before_a_hold_does_not_lift_it() {
    let root = Party::root("Root");
    let (old, new) = (root.ca("CA", same), root.ca("CA", same));
    let leaf = old.leaf("Alice", person);
    let list = |party: &Party, from: i64, until: i64, hold: bool| {
        let list = CrlBuilder::new(now().plus(from * HOUR), Some(now().plus(until * HOUR)));
        let list = match hold {
            true => {
                let (serial, why) = (leaf.certificate.serial(), RevocationReason::CertificateHold);
                list.revoke(serial, now().plus(-5 * HOUR), why)
            }
            false => list,
        };
        list.issued_by(&party.certificate, &party.key).unwrap()
    };
    let run = |crls: &[Crl], ocsp: &[OcspResponse]| {
        let crls = [&[root.crl(|c| c)], crls].concat();
        find_path(
            &leaf.certificate,
            &[old.certificate.clone(), new.certificate.clone()],
            &[root.anchor()],
            StatusSources { crls: &crls, ocsp },
            &PathRules::new(now()),
            &mut Budget::default(),
        )
    };
    let hold = CertStatus::Revoked(RevokedEntry {
        date: now().plus(-5 * HOUR),
        reason: RevocationReason::CertificateHold,
        invalidity_date: None,
    });
    let answer = |status, from: i64| {
        let times = (now().plus(from * HOUR), Some(now().plus(-HOUR)));
        let key = old.certificate.public_key();
        OcspBuilder::new(times.0)
            .answer(&leaf.certificate, key, status, times)
            .signed_by(&old.key)
            .unwrap()
    };
    let unknown = PathErrorKind::RevocationUnavailable;
    for (made, good) in [(-6, false), (-4, false), (-3, true)] {
        let ends = [
            // By an answer, and by the list of an old key of the authority.
            run(&[list(&old, made, 9, false)], &[answer(hold, -4)]),
            run(&[list(&new, made, 9, false), list(&old, -4, -1, true)], &[]),
        ];
        for end in ends {
            match good {
                true => assert!(end.is_ok(), "{made}"),
                false => fails(end, unknown, "not current"),
            }
        }
    }
    // A stale answer that has no hold keeps nobody from being good.
    run(&[list(&old, -6, 9, false)], &[answer(CertStatus::Good, -4)]).unwrap();
}

/// A responder that lags behind the others gives out one more "good", and it is stale by now.
#[test]
fn an_answer_that_is_of_no_use_hides_no_older_revocation() {
    let (root, ca, leaf) = three(same, person);
    let date = now().plus(-DAY);
    let reason = RevocationReason::KeyCompromise;
    let stolen = CertStatus::Revoked(RevokedEntry {
        date,
        reason,
        invalidity_date: None,
    });
    let answer = |status, from: i64, until: i64| {
        let times = (now().plus(from * HOUR), Some(now().plus(until * HOUR)));
        let key = ca.certificate.public_key();
        OcspBuilder::new(times.0).answer(&leaf.certificate, key, status, times)
    };
    let sha1 = SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha1);
    let (good, unknown) = (CertStatus::Good, CertStatus::Unknown);
    for newer in [
        answer(good, -2, -1),
        answer(unknown, -2, -1),
        answer(unknown, -2, 9),
        answer(good, -2, 9).algorithm(sha1),
        answer(good, -2, 9).extension(oid::ED448, true, b"x"),
    ] {
        let newer = newer.signed_by(&ca.key).unwrap();
        let older = answer(stolen, -8, 9).signed_by(&ca.key).unwrap();
        for ocsp in [[newer.clone(), older.clone()], [older, newer]] {
            let crls = [root.crl(|c| c), ca.crl(|c| c)];
            let end = find_path(
                &leaf.certificate,
                std::slice::from_ref(&ca.certificate),
                &[root.anchor()],
                StatusSources {
                    crls: &crls,
                    ocsp: &ocsp,
                },
                &PathRules::new(now()),
                &mut Budget::default(),
            );
            fails(
                end,
                PathErrorKind::Revoked { time: date, reason },
                "by OCSP",
            );
        }
    }
}

/// SHA-1 is too weak to say that a certificate is good; who breaks it could only revoke one.
#[test]
fn what_is_revoked_under_a_weak_algorithm_is_revoked() {
    let (root, ca, leaf) = three(same, person);
    let date = now().plus(-DAY);
    let sha1 = SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha1);
    let list = |reason: Option<RevocationReason>| {
        ca.crl(|c| {
            let c = c.algorithm(sha1);
            match reason {
                Some(reason) => c.revoke(leaf.certificate.serial(), date, reason),
                None => c,
            }
        })
    };
    let answer = |reason| {
        let entry = RevokedEntry {
            date,
            reason,
            invalidity_date: None,
        };
        let times = (now().plus(-HOUR), Some(now().plus(HOUR)));
        let (status, key) = (CertStatus::Revoked(entry), ca.certificate.public_key());
        OcspBuilder::new(times.0)
            .answer(&leaf.certificate, key, status, times)
            .algorithm(sha1)
            .signed_by(&ca.key)
            .unwrap()
    };
    let run = |crls: &[Crl], ocsp: &[OcspResponse], revocation| {
        let crls = [&[root.crl(|c| c)], crls].concat();
        find_path(
            &leaf.certificate,
            std::slice::from_ref(&ca.certificate),
            &[root.anchor()],
            StatusSources { crls: &crls, ocsp },
            &PathRules {
                revocation,
                ..PathRules::new(now())
            },
            &mut Budget::default(),
        )
    };
    let (required, lax) = (RevocationMode::Required, RevocationMode::IfAvailable);
    let (stolen, hold) = (
        RevocationReason::KeyCompromise,
        RevocationReason::CertificateHold,
    );
    let kind = PathErrorKind::Revoked {
        time: date,
        reason: stolen,
    };
    for mode in [required, lax] {
        fails(run(&[list(Some(stolen))], &[], mode), kind, "by CRL");
        fails(run(&[], &[answer(stolen)], mode), kind, "by OCSP");
    }
    let unknown = PathErrorKind::RevocationUnavailable;
    for reason in [None, Some(hold)] {
        fails(run(&[list(reason)], &[], required), unknown, "weak");
        assert_eq!(run(&[list(reason)], &[], lax).unwrap().notes().len(), 1);
    }
    fails(run(&[], &[answer(hold)], required), unknown, "");
    run(&[], &[answer(hold)], lax).unwrap();
}
