//! CRLs: what they say, and the ones that must not be believed.

use super::*;
use crate::time::CLOCK_SKEW;

#[test]
fn revocation_modes() {
    let (root, ca, leaf) = three(same, person);
    let date = now().plus(-DAY);
    let revoked = [
        root.crl(|c| c),
        ca.crl(|c| {
            c.revoke(
                leaf.certificate.serial(),
                date,
                RevocationReason::KeyCompromise,
            )
        }),
    ];
    let good = [
        root.crl(|c| c),
        ca.crl(|c| c.revoke(&[9], date, RevocationReason::Superseded)),
    ];
    let rules = |revocation| PathRules {
        revocation,
        ..PathRules::new(now())
    };
    let run = |crls: &[Crl], mode| find_with(&leaf, &[&ca], &[root.anchor()], crls, &rules(mode));
    let kind = PathErrorKind::Revoked {
        time: date,
        reason: RevocationReason::KeyCompromise,
    };
    for mode in [RevocationMode::Required, RevocationMode::IfAvailable] {
        run(&good, mode).unwrap();
        fails(run(&revoked, mode), kind, "revoked");
        assert!(run(&revoked, mode).unwrap_err().is_revocation());
    }
    run(&revoked, RevocationMode::Off).unwrap();
    let end = run(&good[..1], RevocationMode::Required);
    fails(end, PathErrorKind::RevocationUnavailable, "no CRL");
    let path = run(&good[..1], RevocationMode::IfAvailable).unwrap();
    assert_eq!(path.notes().len(), 1);
    // A revoked intermediate counts like a revoked leaf.
    let serial = ca.certificate.serial();
    let crls = [
        root.crl(|c| c.revoke(serial, date, RevocationReason::CaCompromise)),
        good[1].clone(),
    ];
    let kind = PathErrorKind::Revoked {
        time: date,
        reason: RevocationReason::CaCompromise,
    };
    fails(run(&crls, RevocationMode::IfAvailable), kind, "revoked");
}

#[test]
fn the_newest_of_several_lists_counts() {
    let (root, ca, leaf) = three(same, person);
    let serial = leaf.certificate.serial().to_vec();
    let revoke = |c: CrlBuilder| c.revoke(&serial, now().plus(-DAY), RevocationReason::Unspecified);
    let list =
        |age: i64, number| CrlBuilder::new(now().plus(-age), Some(now().plus(DAY))).number(number);
    let sign = |c: CrlBuilder| c.issued_by(&ca.certificate, &ca.key).unwrap();
    let (old, new) = (sign(list(500, 1)), sign(revoke(list(100, 2))));
    for order in [[old.clone(), new.clone()], [new, old]] {
        let crls = [&order[..], &[root.crl(|c| c)]].concat();
        let end = find_with(
            &leaf,
            &[&ca],
            &[root.anchor()],
            &crls,
            &PathRules::new(now()),
        );
        assert!(matches!(
            end.unwrap_err().kind(),
            PathErrorKind::Revoked { .. }
        ));
    }
}

#[test]
fn what_a_stale_list_says_is_revoked_stays_revoked() {
    let (root, ca, leaf) = three(same, person);
    let date = now().plus(-20 * DAY);
    let list = |from: i64, until: i64, reason: Option<RevocationReason>| {
        let list = CrlBuilder::new(now().plus(from * DAY), Some(now().plus(until * DAY)));
        let list = match reason {
            Some(reason) => list.revoke(leaf.certificate.serial(), date, reason),
            None => list,
        };
        list.issued_by(&ca.certificate, &ca.key).unwrap()
    };
    let run = |crls: &[Crl], revocation| {
        let rules = PathRules {
            revocation,
            ..PathRules::new(now())
        };
        let crls = [crls, &[root.crl(|c| c)]].concat();
        find_with(&leaf, &[&ca], &[root.anchor()], &crls, &rules)
    };
    let stale = list(-9, -1, Some(RevocationReason::Superseded));
    for mode in [RevocationMode::Required, RevocationMode::IfAvailable] {
        let kind = PathErrorKind::Revoked {
            time: date,
            reason: RevocationReason::Superseded,
        };
        fails(run(std::slice::from_ref(&stale), mode), kind, "revoked");
        // A newer list of the same scope replaces it, whatever it says.
        run(&[stale.clone(), list(-1, 1, None)], mode).unwrap();
    }
    // A hold may have been lifted since; a list of tomorrow says nothing good yet.
    let hold = list(-9, -1, Some(RevocationReason::CertificateHold));
    let tomorrow = list(1, 9, None);
    for unsure in [hold, tomorrow] {
        run(std::slice::from_ref(&unsure), RevocationMode::IfAvailable).unwrap();
        let end = run(&[unsure], RevocationMode::Required);
        fails(end, PathErrorKind::RevocationUnavailable, "");
    }
}

/// PKI-01: lists that look right and are not.
#[test]
fn poisoned_lists_leave_the_status_unknown() {
    let (root, ca, leaf) = three(same, person);
    let impostor = Party::root("Intermediate");
    let no_crl_sign = root.issue("Intermediate", |b| {
        b.basic_constraints(BasicConstraints {
            ca: true,
            path_len: None,
        })
        .key_usage(KeyUsage::KEY_CERT_SIGN)
    });
    let tampered = {
        let mut der = ca.crl(|c| c).der().to_vec();
        *der.last_mut().unwrap() ^= 1;
        Crl::from_der(&der).unwrap()
    };
    let scope = |value: IssuingDistributionPoint| ca.crl(|c| c.issuing_distribution_point(&value));
    let uri = |text: &str| DistributionPointName::Full(vec![GeneralName::Uri(text.into())]);
    let none = IssuingDistributionPoint::default;
    let at = |from: i64, until: Option<i64>| {
        CrlBuilder::new(now().plus(from), until.map(|u| now().plus(u)))
            .number(1)
            .issued_by(&ca.certificate, &ca.key)
            .unwrap()
    };
    let removed = leaf.certificate.serial();
    let poisoned = [
        ("signature", tampered),
        ("same name, other key", impostor.crl(|c| c)),
        ("signer may not sign lists", no_crl_sign.crl(|c| c)),
        ("other issuer", root.crl(|c| c)),
        ("stale", at(-9 * DAY, Some(-1))),
        ("from the future", at(CLOCK_SKEW + 1, Some(DAY))),
        ("no nextUpdate", at(-1, None)),
        ("delta without base", ca.crl(|c| c.delta(1))),
        (
            "critical unknown",
            ca.crl(|c| c.extension(oid::CMS_DATA, true, &[5, 0])),
        ),
        (
            "other partition",
            scope(IssuingDistributionPoint {
                name: Some(uri("http://x/")),
                ..none()
            }),
        ),
        (
            "authorities only",
            scope(IssuingDistributionPoint {
                only_ca_certs: true,
                ..none()
            }),
        ),
        (
            "attributes only",
            scope(IssuingDistributionPoint {
                only_attribute_certs: true,
                ..none()
            }),
        ),
        (
            "some reasons",
            scope(IssuingDistributionPoint {
                only_some_reasons: Some(ReasonFlags(2)),
                ..none()
            }),
        ),
        (
            "removed in a complete list",
            ca.crl(|c| c.revoke(removed, now().plus(-1), RevocationReason::RemoveFromCrl)),
        ),
    ];
    for (what, crl) in poisoned {
        let crls = [root.crl(|c| c), crl];
        let candidates = [&ca, &impostor, &no_crl_sign];
        let rules = PathRules::new(now());
        let end = find_with(&leaf, &candidates, &[root.anchor()], &crls, &rules);
        let kind = end.err().map(|e| e.kind());
        assert_eq!(kind, Some(PathErrorKind::RevocationUnavailable), "{what}");
    }
}

#[test]
fn partitioned_and_indirect_lists() {
    let point = |uri: &str| DistributionPointName::Full(vec![GeneralName::Uri(uri.into())]);
    let root = Party::root("Root");
    let ca = root.ca("CA", same);
    let lister = root.issue("Lister", |b| b.key_usage(KeyUsage::CRL_SIGN));
    let leaf = ca.leaf("Alice", |b| {
        let name = Some(point("http://crl.example.jp/1"));
        person(b).crl_distribution_points(&[DistributionPoint {
            name,
            ..Default::default()
        }])
    });
    let partition = |ca: &Party, uri: &str| {
        let name = Some(point(uri));
        let scope = IssuingDistributionPoint {
            name,
            only_user_certs: true,
            ..Default::default()
        };
        ca.crl(|c| c.issuing_distribution_point(&scope))
    };
    let run = |leaf: &Party, crls: &[Crl]| {
        let crls = [&[root.crl(|c| c)], crls].concat();
        let rules = PathRules::new(now());
        find_with(leaf, &[&ca, &lister], &[root.anchor()], &crls, &rules)
    };
    run(&leaf, &[partition(&ca, "http://crl.example.jp/1")]).unwrap();
    let end = run(&leaf, &[partition(&ca, "http://crl.example.jp/2")]);
    fails(end, PathErrorKind::RevocationUnavailable, "covers");
    let leaf = ca.leaf("Alice", |b| {
        let crl_issuer = vec![GeneralName::Directory(name("Lister"))];
        person(b).crl_distribution_points(&[DistributionPoint {
            crl_issuer,
            ..Default::default()
        }])
    });
    let indirect = IssuingDistributionPoint {
        indirect: true,
        ..Default::default()
    };
    let list = |c: CrlBuilder| c.issuing_distribution_point(&indirect);
    run(&leaf, &[lister.crl(list)]).unwrap();
    let serial = leaf.certificate.serial();
    let why = RevocationReason::Superseded;
    let revoked = lister.crl(|c| list(c).revoke_of(&name("CA"), serial, now().plus(-DAY), why));
    let kind = run(&leaf, &[revoked]).unwrap_err().kind();
    assert!(matches!(kind, PathErrorKind::Revoked { .. }), "{kind:?}");
    let elsewhere = lister.crl(|c| list(c).revoke_of(&name("Else"), serial, now().plus(-DAY), why));
    run(&leaf, &[elsewhere]).unwrap();
    // Nobody else may name itself the issuer of the list, and a direct list says nothing here.
    let end = run(&leaf, &[lister.crl(|c| c)]);
    assert!(end.unwrap_err().is_revocation());
}

#[test]
fn a_delta_adds_and_removes() {
    let (root, ca, leaf) = three(same, person);
    let serial = leaf.certificate.serial().to_vec();
    let date = now().plus(-DAY);
    let run = |base: Crl, delta: Crl| {
        let crls = [root.crl(|c| c), base, delta];
        find_with(
            &leaf,
            &[&ca],
            &[root.anchor()],
            &crls,
            &PathRules::new(now()),
        )
    };
    let hold = |c: CrlBuilder| c.revoke(&serial, date, RevocationReason::CertificateHold);
    let remove = |c: CrlBuilder| c.revoke(&serial, date, RevocationReason::RemoveFromCrl);
    let end = run(ca.crl(|c| c), ca.crl(|c| hold(c.number(2).delta(1))));
    assert!(matches!(
        end.unwrap_err().kind(),
        PathErrorKind::Revoked { .. }
    ));
    run(ca.crl(hold), ca.crl(|c| remove(c.number(2).delta(1)))).unwrap();
    // A delta to a newer base says nothing about this one.
    let end = run(ca.crl(hold), ca.crl(|c| remove(c.number(3).delta(2))));
    assert!(matches!(
        end.unwrap_err().kind(),
        PathErrorKind::Revoked { .. }
    ));
}

/// An authority with a new key may go on with a list of its old key, for what the old key issued.
#[test]
fn lists_of_two_keys_of_one_authority_both_count() {
    let root = Party::root("Root");
    let (old, new) = (root.ca("CA", same), root.ca("CA", same));
    let leaf = old.leaf("Alice", person);
    let serial = leaf.certificate.serial();
    let (why, date) = (RevocationReason::KeyCompromise, now().plus(-DAY));
    let by = |party: &Party, age: i64, revoked: bool| {
        let list = CrlBuilder::new(now().plus(-age), Some(now().plus(DAY))).number(1);
        let list = if revoked {
            list.revoke(serial, date, why)
        } else {
            list
        };
        list.issued_by(&party.certificate, &party.key).unwrap()
    };
    for (by_old, by_new, good) in [
        (by(&old, 200, true), by(&new, 100, false), false),
        (by(&old, 100, false), by(&new, 200, true), false),
        (by(&old, 200, false), by(&new, 100, true), false),
        (by(&old, 200, false), by(&new, 100, false), true),
    ] {
        let crls = [root.crl(|c| c), by_old, by_new];
        let rules = PathRules::new(now());
        let end = find_with(&leaf, &[&old, &new], &[root.anchor()], &crls, &rules);
        assert_eq!(end.is_ok(), good);
    }
}

/// A revoked authority names a signer of lists after its own issuer, and has it clear the authority.
#[test]
fn an_authority_cannot_vouch_for_itself() {
    let (root, ca, leaf) = three(same, person);
    let impostor = ca.issue("Root", |b| b.key_usage(KeyUsage::CRL_SIGN));
    let crls = [impostor.crl(|c| c), ca.crl(|c| c)];
    let rules = PathRules::new(now());
    let end = find_with(&leaf, &[&ca, &impostor], &[root.anchor()], &crls, &rules);
    fails(
        end,
        PathErrorKind::RevocationUnavailable,
        "no authorised key",
    );
    // A signer that the root itself named is another matter.
    let deputy = root.issue("Root", |b| b.key_usage(KeyUsage::CRL_SIGN));
    let crls = [deputy.crl(|c| c), ca.crl(|c| c)];
    find_with(&leaf, &[&ca, &deputy], &[root.anchor()], &crls, &rules).unwrap();
}

/// A signer of lists in its issuer's name, revoked with the leaf, says that its list is by its issuer's
/// key: the issuer's own list still counts.
#[test]
fn a_claimed_key_id_hides_no_list() {
    let (root, ca, leaf) = three(same, person);
    let lister = ca.issue("Intermediate", |b| b.key_usage(KeyUsage::CRL_SIGN));
    let date = now().plus(-DAY);
    let own = ca.crl(|c| {
        let c = c.revoke(
            leaf.certificate.serial(),
            date,
            RevocationReason::Superseded,
        );
        c.revoke(
            lister.certificate.serial(),
            date,
            RevocationReason::KeyCompromise,
        )
    });
    let newer = || CrlBuilder::new(now().plus(-60), Some(now().plus(DAY))).number(9);
    let lying = newer().issued_by(&ca.certificate, &lister.key).unwrap();
    let honest = newer().issued_by(&lister.certificate, &lister.key).unwrap();
    for list in [lying, honest] {
        let crls = [root.crl(|c| c), own.clone(), list];
        let rules = PathRules::new(now());
        let end = find_with(&leaf, &[&ca, &lister], &[root.anchor()], &crls, &rules);
        let kind = end.unwrap_err().kind();
        assert!(matches!(kind, PathErrorKind::Revoked { .. }), "{kind:?}");
    }
}

/// What its issuer has revoked is revoked on every way to that issuer.
#[test]
fn another_way_does_not_forgive_a_revoked_target() {
    let (root, ca, leaf) = three(same, person);
    let date = now().plus(-DAY);
    let revoked = ca.crl(|c| {
        c.revoke(
            leaf.certificate.serial(),
            date,
            RevocationReason::Superseded,
        )
    });
    let second = Party::root("Second");
    // The same authority under another root, and not as a signer of lists.
    let cross = Party {
        certificate: CertificateBuilder::new(name("Intermediate"), ca.key.public_key())
            .serial(&[9])
            .basic_constraints(BasicConstraints {
                ca: true,
                path_len: None,
            })
            .key_usage(KeyUsage::KEY_CERT_SIGN)
            .issued_by(&second.certificate, &second.key)
            .unwrap(),
        key: copy(&ca.key),
    };
    let crls = [root.crl(|c| c), second.crl(|c| c), revoked];
    for revocation in [RevocationMode::Required, RevocationMode::IfAvailable] {
        let rules = PathRules {
            revocation,
            ..PathRules::new(now())
        };
        let anchors = [root.anchor(), second.anchor()];
        for order in [[&ca, &cross], [&cross, &ca]] {
            let end = find_with(&leaf, &order, &anchors, &crls, &rules);
            let end = end.map(|path| path.anchor());
            let kind = end.unwrap_err().kind();
            assert!(matches!(kind, PathErrorKind::Revoked { .. }), "{kind:?}");
        }
    }
}

/// A newer list that is of no use is a reason to doubt the older one.
#[test]
fn an_older_list_does_not_speak_for_a_newer_one() {
    let (root, ca, leaf) = three(same, person);
    let list = |from: i64, until: i64| {
        CrlBuilder::new(now().plus(from * DAY), Some(now().plus(until * DAY)))
    };
    let sign = |c: CrlBuilder| c.issued_by(&ca.certificate, &ca.key).unwrap();
    let old = sign(list(-60, 60).number(1));
    let rules = PathRules::new(now());
    let run = |newer: Crl| {
        let crls = [root.crl(|c| c), old.clone(), newer];
        find_with(&leaf, &[&ca], &[root.anchor()], &crls, &rules)
    };
    let serial = leaf.certificate.serial();
    let held = list(-30, -10).number(2);
    let hold = RevocationReason::CertificateHold;
    for newer in [
        held.clone().revoke(serial, now().plus(-20 * DAY), hold),
        held,
        list(-30, 10)
            .number(2)
            .extension(oid::AUTHORITY_INFO_ACCESS, true, &[5, 0]),
    ] {
        fails(run(sign(newer)), PathErrorKind::RevocationUnavailable, "");
    }
    run(sign(list(-1, 1).number(2))).unwrap();
}

/// The issuer of a list may have two certificates, as after a renewal.
#[test]
fn a_signer_of_lists_below_a_renewed_authority_is_sound() {
    let (root, ca, leaf) = three(same, person);
    let renewed = Party {
        certificate: authority(CertificateBuilder::new(
            name("Intermediate"),
            ca.key.public_key(),
        ))
        .serial(&[9])
        .validity(now().plus(-DAY), now().plus(DAY))
        .issued_by(&root.certificate, &root.key)
        .unwrap(),
        key: copy(&ca.key),
    };
    let lister = ca.issue("Intermediate", |b| b.key_usage(KeyUsage::CRL_SIGN));
    let crls = [root.crl(|c| c), lister.crl(|c| c)];
    let rules = PathRules::new(now());
    for order in [[&ca, &renewed, &lister], [&renewed, &ca, &lister]] {
        find_with(&leaf, &order, &[root.anchor()], &crls, &rules).unwrap();
    }
}

/// RFC 5280 §7.4: the host of a distribution point is one in any case; one that cannot be read and need
/// not be leaves the list of everything.
#[test]
fn distribution_points_are_compared_as_uris() {
    let point = |uri: &str| DistributionPointName::Full(vec![GeneralName::Uri(uri.into())]);
    let root = Party::root("Root");
    let ca = root.ca("CA", same);
    let leaf = ca.leaf("Alice", |b| {
        person(b).crl_distribution_points(&[DistributionPoint {
            name: Some(point("HTTP://CRL.example.jp/One")),
            ..Default::default()
        }])
    });
    let run = |leaf: &Party, uri: Option<&str>| {
        let scope = IssuingDistributionPoint {
            name: uri.map(point),
            only_user_certs: true,
            ..Default::default()
        };
        let crls = [
            root.crl(|c| c),
            ca.crl(|c| c.issuing_distribution_point(&scope)),
        ];
        let rules = PathRules::new(now());
        find_with(leaf, &[&ca], &[root.anchor()], &crls, &rules)
    };
    run(&leaf, Some("http://crl.EXAMPLE.jp/One")).unwrap();
    assert!(run(&leaf, Some("http://crl.example.jp/one")).is_err());
    let odd = ca.leaf("Alice", |b| {
        person(b).extension(oid::CRL_DISTRIBUTION_POINTS, false, &[0x30, 2, 0x30, 0x81])
    });
    run(&odd, None).unwrap();
    assert!(run(&odd, Some("http://crl.example.jp/One")).is_err());
}

/// RFC 5280 §5.3.3: an entry of another issuer makes a list that is not indirect one that nobody
/// understands.
#[test]
fn an_entry_of_another_issuer_in_a_direct_list_is_not_understood() {
    let (root, ca, leaf) = three(same, person);
    let serial = leaf.certificate.serial();
    let date = now().plus(-DAY);
    let why = RevocationReason::Superseded;
    let list = ca.crl(|c| {
        c.revoke_of(&name("Else"), &[9], date, why)
            .revoke(serial, date, why)
    });
    let rules = PathRules::new(now());
    let crls = [root.crl(|c| c), list];
    let end = find_with(&leaf, &[&ca], &[root.anchor()], &crls, &rules);
    fails(end, PathErrorKind::RevocationUnavailable, "not understood");
}
