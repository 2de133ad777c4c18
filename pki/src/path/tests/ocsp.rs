//! OCSP (RFC 6960): whose answers count, and that nothing but "good" is good (PKI-02).

use super::*;
use crate::crl::RevokedEntry;
use crate::issue::OcspBuilder;
use crate::ocsp::{CertStatus, OcspResponse};
use crate::time::CLOCK_SKEW;

/// A root that is asked by list, an authority that answers by OCSP, and someone below it.
struct World {
    root: Party,
    ca: Party,
    leaf: Party,
}

const HOUR: i64 = 3600;

fn world() -> World {
    let (root, ca, leaf) = three(same, person);
    World { root, ca, leaf }
}

fn revoked(reason: RevocationReason) -> CertStatus {
    CertStatus::Revoked(RevokedEntry {
        date: now().plus(-DAY),
        reason,
        invalidity_date: None,
    })
}

impl World {
    /// An answer about the leaf, made at the same time.
    fn answer(&self, status: CertStatus, since: i64, until: Option<i64>) -> OcspBuilder {
        let times = (now().plus(since), until.map(|until| now().plus(until)));
        OcspBuilder::new(now().plus(since)).answer(
            &self.leaf.certificate,
            self.ca.certificate.public_key(),
            status,
            times,
        )
    }

    fn by_issuer(&self, builder: OcspBuilder) -> OcspResponse {
        builder.signed_by(&self.ca.key).unwrap()
    }

    /// The same by somebody with a certificate.
    fn by(&self, builder: OcspBuilder, responder: &Party) -> OcspResponse {
        builder
            .certificate(&responder.certificate)
            .signed_by(&responder.key)
            .unwrap()
    }

    fn responder(&self, change: impl Fn(CertificateBuilder) -> CertificateBuilder) -> Party {
        self.ca.leaf("Responder", |b| {
            change(
                b.key_usage(KeyUsage::DIGITAL_SIGNATURE)
                    .ext_key_usage(&[oid::OCSP_SIGNING]),
            )
        })
    }

    fn find(&self, ocsp: &[OcspResponse], more: &[Crl]) -> Result<ValidPath, PathError> {
        let crls = [&[self.root.crl(same_list)], more].concat();
        find_path(
            &self.leaf.certificate,
            std::slice::from_ref(&self.ca.certificate),
            &[self.root.anchor()],
            StatusSources { crls: &crls, ocsp },
            &PathRules::new(now()),
            &mut Budget::default(),
        )
    }

    #[track_caller]
    fn unknown(&self, ocsp: OcspResponse, why: &str) {
        fails(
            self.find(&[ocsp], &[]),
            PathErrorKind::RevocationUnavailable,
            why,
        );
    }
}

fn same_list(list: CrlBuilder) -> CrlBuilder {
    list
}

fn named(builder: CertificateBuilder) -> CertificateBuilder {
    builder.ext_key_usage(&[oid::OCSP_SIGNING])
}

/// id-pkix-ocsp-nocheck.
fn no_check(builder: CertificateBuilder) -> CertificateBuilder {
    builder.extension(oid::OCSP_NO_CHECK, false, &[5, 0])
}

#[test]
fn the_issuer_answers_for_its_certificates() {
    let world = world();
    let good = world.by_issuer(world.answer(CertStatus::Good, -HOUR, Some(HOUR)));
    let path = world.find(std::slice::from_ref(&good), &[]).unwrap();
    let fact = path.revocation().iter().find(|f| f.position == 0).unwrap();
    assert_eq!(fact.source, "ocsp");
    assert_eq!(fact.digest, *good.sha256());
    assert_eq!(fact.this_update, now().plus(-HOUR));
    assert_eq!(path.valid_until(), now().plus(HOUR));

    for reason in [
        RevocationReason::KeyCompromise,
        RevocationReason::CertificateHold,
    ] {
        let bad = world.by_issuer(world.answer(revoked(reason), -HOUR, Some(HOUR)));
        let kind = PathErrorKind::Revoked {
            time: now().plus(-DAY),
            reason,
        };
        fails(world.find(std::slice::from_ref(&bad), &[]), kind, "by OCSP");
        // Of two sources the worse news counts, in whatever order they come.
        fails(
            world.find(&[bad], &[world.ca.crl(same_list)]),
            kind,
            "by OCSP",
        );
    }
    let serial = world.leaf.certificate.serial();
    let date = now().plus(-DAY);
    let list = world
        .ca
        .crl(|c| c.revoke(serial, date, RevocationReason::Superseded));
    let kind = PathErrorKind::Revoked {
        time: date,
        reason: RevocationReason::Superseded,
    };
    fails(world.find(&[good], &[list]), kind, "by CRL");
}

#[test]
fn unknown_is_never_good() {
    let world = world();
    let unknown = world.by_issuer(world.answer(CertStatus::Unknown, -HOUR, Some(HOUR)));
    world.unknown(unknown.clone(), "does not know");
    // A list says who was revoked, not who was issued.
    fails(
        world.find(&[unknown], &[world.ca.crl(same_list)]),
        PathErrorKind::RevocationUnavailable,
        "does not know",
    );
    // Nor is it where status counts only if it is to be had.
    let unknown = world.by_issuer(world.answer(CertStatus::Unknown, -HOUR, Some(HOUR)));
    let lax = PathRules {
        revocation: RevocationMode::IfAvailable,
        ..PathRules::new(now())
    };
    let end = find_path(
        &world.leaf.certificate,
        std::slice::from_ref(&world.ca.certificate),
        &[world.root.anchor()],
        StatusSources {
            crls: &[],
            ocsp: &[unknown],
        },
        &lax,
        &mut Budget::default(),
    );
    fails(end, PathErrorKind::RevocationUnavailable, "does not know");
}

#[test]
fn an_old_answer_is_not_good() {
    let world = world();
    let at = |since, until| world.by_issuer(world.answer(CertStatus::Good, since, until));
    world.find(&[at(0, Some(0))], &[]).unwrap();
    world.unknown(at(-2 * HOUR, Some(-1)), "not current");
    let tomorrow = CLOCK_SKEW + 1;
    world.unknown(at(tomorrow, Some(HOUR)), "not current");
    // Without nextUpdate it is of the moment.
    world.find(&[at(-HOUR, None)], &[]).unwrap();
    world.unknown(at(-HOUR - 1, None), "not current");
    // Made tomorrow about today.
    let times = (now().plus(-HOUR), Some(now().plus(HOUR)));
    let early = OcspBuilder::new(now().plus(tomorrow)).answer(
        &world.leaf.certificate,
        world.ca.certificate.public_key(),
        CertStatus::Good,
        times,
    );
    world.unknown(world.by_issuer(early), "not current");
    // A list does in its stead.
    let stale = at(-2 * HOUR, Some(-1));
    world.find(&[stale], &[world.ca.crl(same_list)]).unwrap();
}

#[test]
fn a_replayed_good_does_not_undo_what_came_after() {
    let world = world();
    let good = world.by_issuer(world.answer(CertStatus::Good, -9 * HOUR, Some(HOUR)));
    let stale = revoked(RevocationReason::Superseded);
    let stale = world.by_issuer(world.answer(stale, -8 * HOUR, Some(-HOUR)));
    let kind = PathErrorKind::Revoked {
        time: now().plus(-DAY),
        reason: RevocationReason::Superseded,
    };
    let hold = revoked(RevocationReason::CertificateHold);
    let hold_kind = PathErrorKind::Revoked {
        time: now().plus(-DAY),
        reason: RevocationReason::CertificateHold,
    };
    let hold = world.by_issuer(world.answer(hold, -8 * HOUR, Some(HOUR)));
    let unknown = world.by_issuer(world.answer(CertStatus::Unknown, -8 * HOUR, Some(HOUR)));
    let stale_hold = revoked(RevocationReason::CertificateHold);
    let stale_hold = world.by_issuer(world.answer(stale_hold, -8 * HOUR, Some(-HOUR)));
    let stale_unknown = world.answer(CertStatus::Unknown, -8 * HOUR, Some(-HOUR));
    let stale_unknown = world.by_issuer(stale_unknown);
    let lifted = world.by_issuer(world.answer(CertStatus::Good, -HOUR, Some(HOUR)));
    for turned in [false, true] {
        let both = |one: &OcspResponse, other: &OcspResponse| match turned {
            false => [one.clone(), other.clone()],
            true => [other.clone(), one.clone()],
        };
        fails(world.find(&both(&good, &stale), &[]), kind, "revoked");
        fails(world.find(&both(&good, &hold), &[]), hold_kind, "revoked");
        fails(
            world.find(&both(&good, &unknown), &[]),
            PathErrorKind::RevocationUnavailable,
            "does not know",
        );
        for newer in [&stale_hold, &stale_unknown] {
            fails(
                world.find(&both(&good, newer), &[]),
                PathErrorKind::RevocationUnavailable,
                "not current",
            );
        }
        // News of the same moment: the worse.
        let same = world.by_issuer(world.answer(CertStatus::Good, -8 * HOUR, Some(HOUR)));
        fails(world.find(&both(&same, &hold), &[]), hold_kind, "revoked");
        // As a newer list replaces an older one.
        world.find(&both(&hold, &lifted), &[]).unwrap();
        // But for good is for good: who says otherwise lags behind, and the sender may have chosen whose word to bring.
        fails(world.find(&both(&stale, &lifted), &[]), kind, "revoked");
    }
}

/// A list of yesterday had the certificate on hold; an answer from before does not make that undone.
#[test]
fn a_good_from_before_a_hold_does_not_count() {
    let world = world();
    let stale_list = |since: i64| {
        CrlBuilder::new(now().plus(since), Some(now().plus(-60)))
            .revoke(
                world.leaf.certificate.serial(),
                now().plus(since),
                RevocationReason::CertificateHold,
            )
            .issued_by(&world.ca.certificate, &world.ca.key)
            .unwrap()
    };
    let good = world.by_issuer(world.answer(CertStatus::Good, -5 * HOUR, Some(9 * HOUR)));
    for (list, fresh) in [(-4 * HOUR, false), (-5 * HOUR, false), (-6 * HOUR, true)] {
        let end = world.find(std::slice::from_ref(&good), &[stale_list(list)]);
        if fresh {
            end.unwrap();
        } else {
            fails(end, PathErrorKind::RevocationUnavailable, "not current");
        }
    }
}

#[test]
fn every_answer_of_a_response_is_looked_at_and_only_those_about_the_certificate() {
    let world = world();
    let times = (now().plus(-HOUR), Some(now().plus(HOUR)));
    let (leaf, ca) = (&world.leaf.certificate, world.ca.certificate.public_key());
    // The same number under another authority, first, with other times.
    let stranger = Party::root("Stranger");
    let other = stranger.issue("Other", |b| b.serial(leaf.serial()));
    let long = (now().plus(-2 * HOUR), Some(now().plus(99 * HOUR)));
    let response = OcspBuilder::new(now()).answer(
        &other.certificate,
        stranger.certificate.public_key(),
        CertStatus::Good,
        long,
    );
    let response = world.by_issuer(response.answer(leaf, ca, CertStatus::Good, times));
    let path = world.find(&[response], &[]).unwrap();
    assert_eq!(path.valid_until(), now().plus(HOUR));
    // By two digests, differently.
    let status = revoked(RevocationReason::KeyCompromise);
    let response = OcspBuilder::new(now())
        .answer(leaf, ca, CertStatus::Good, times)
        .digest(DigestAlgorithm::Sha256)
        .answer(leaf, ca, status, times);
    let kind = PathErrorKind::Revoked {
        time: now().plus(-DAY),
        reason: RevocationReason::KeyCompromise,
    };
    fails(
        world.find(&[world.by_issuer(response)], &[]),
        kind,
        "revoked",
    );
}

/// What a responder said before its certificate ended stays said where it cannot be undone.
#[test]
fn a_responder_that_is_gone_has_still_revoked() {
    let world = world();
    let responder = world.ca.leaf("Responder", |b| {
        named(b).validity(now().plus(-9 * DAY), now().plus(-60))
    });
    let answer = |status| world.by(world.answer(status, -HOUR, Some(HOUR)), &responder);
    let kind = PathErrorKind::Revoked {
        time: now().plus(-DAY),
        reason: RevocationReason::KeyCompromise,
    };
    let bad = answer(revoked(RevocationReason::KeyCompromise));
    fails(world.find(&[bad], &[]), kind, "revoked");
    for status in [
        CertStatus::Good,
        CertStatus::Unknown,
        revoked(RevocationReason::CertificateHold),
    ] {
        world.unknown(answer(status), "no authorised responder");
    }
}

#[test]
fn a_path_lasts_no_longer_than_its_responder() {
    let world = world();
    let responder = world.ca.leaf("Responder", |b| {
        no_check(named(b)).validity(now().plus(-9 * DAY), now().plus(60))
    });
    let good = world.answer(CertStatus::Good, -HOUR, Some(HOUR));
    let path = world.find(&[world.by(good, &responder)], &[]).unwrap();
    assert_eq!(path.valid_until(), now().plus(60));
}

#[test]
fn responders_that_the_issuer_named_answer_too() {
    let world = world();
    let good = || world.answer(CertStatus::Good, -HOUR, Some(HOUR));
    let responder = world.responder(no_check);
    world.find(&[world.by(good(), &responder)], &[]).unwrap();
    let by_name = good().responder(crate::ocsp::Responder::Name(
        responder.certificate.subject().clone(),
    ));
    world.find(&[world.by(by_name, &responder)], &[]).unwrap();

    // Without id-pkix-ocsp-nocheck its own status must be known.
    let checked = world.responder(same);
    let answer = world.by(good(), &checked);
    world.unknown(answer.clone(), "no authorised responder");
    world
        .find(std::slice::from_ref(&answer), &[world.ca.crl(same_list)])
        .unwrap();
    let list = world.ca.crl(|c| {
        let serial = checked.certificate.serial();
        c.revoke(serial, now().plus(-DAY), RevocationReason::KeyCompromise)
    });
    // The list that revokes the responder still says that the leaf is good.
    let path = world.find(&[answer], &[list]).unwrap();
    assert!(path.revocation().iter().all(|fact| fact.source == "crl"));
}

#[test]
fn nobody_else_answers() {
    let world = world();
    let good = || world.answer(CertStatus::Good, -HOUR, Some(HOUR));
    let why = "no authorised responder";
    // Someone below another authority, the leaf itself, a person, an authority below.
    let other = world.root.ca("Other", same);
    let purpose = |b| no_check(named(b));
    world.unknown(world.by(good(), &other.leaf("Responder", purpose)), why);
    world.unknown(
        world.by(good(), &world.root.leaf("Responder", purpose)),
        why,
    );
    world.unknown(world.by(good(), &world.leaf), why);
    world.unknown(world.by(good(), &world.ca.leaf("Bob", no_check)), why);
    let below = world.ca.ca("Below", same);
    world.unknown(world.by(good(), &below.leaf("Responder", purpose)), why);
    let unfit: [Change; 7] = [
        |b| b.ext_key_usage(&[oid::ANY_EXT_KEY_USAGE]),
        |b| b.ext_key_usage(&[oid::EMAIL_PROTECTION]),
        |b| named(b).key_usage(KeyUsage::KEY_ENCIPHERMENT),
        |b| named(b).extension(oid::ED448, true, b"x"),
        |b| named(b).validity(now().plus(-9 * DAY), now().plus(-1)),
        |b| named(b).validity(now().plus(1), now().plus(DAY)),
        |b| named(b).algorithm(SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha1)),
    ];
    for change in unfit {
        let unfit = world.ca.leaf("Responder", |b| no_check(change(b)));
        world.unknown(world.by(good(), &unfit), why);
    }
    // The name of a responder without its key.
    let responder = world.responder(no_check);
    let forged = good()
        .certificate(&responder.certificate)
        .responder(crate::ocsp::Responder::Name(
            responder.certificate.subject().clone(),
        ))
        .signed_by(&key())
        .unwrap();
    world.unknown(forged, why);
    // The issuer's certificate of the same name and another key.
    let twin = Party::root("Twin");
    world.unknown(world.by(good(), &twin), why);
}

#[test]
fn what_is_not_understood_or_weak_does_not_count() {
    let world = world();
    let good = || world.answer(CertStatus::Good, -HOUR, Some(HOUR));
    let odd = good().extension(oid::ED448, true, b"x");
    world.unknown(world.by_issuer(odd), "not understood");
    let times = (now().plus(-HOUR), Some(now().plus(HOUR)));
    let odd = OcspBuilder::new(now()).answer_with(
        &world.leaf.certificate,
        world.ca.certificate.public_key(),
        CertStatus::Good,
        times,
        Some((oid::ED448, true, b"x")),
    );
    world.unknown(world.by_issuer(odd), "not understood");
    let weak = SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha1);
    world.unknown(world.by_issuer(good().algorithm(weak)), "weak");
    // Of another number: nothing is known, and nothing is wrong with the answer.
    let about_other = OcspBuilder::new(now()).answer(
        &world.ca.certificate,
        world.ca.certificate.public_key(),
        CertStatus::Good,
        times,
    );
    world.unknown(world.by_issuer(about_other), "no CRL");
}

/// BOMB-05: answers that must be looked at are work, and work is counted.
#[test]
fn a_crowd_of_answers_ends_with_the_budget() {
    let world = world();
    let wrong: Vec<OcspResponse> = (0..120)
        .map(|_| {
            world
                .answer(CertStatus::Good, -HOUR, Some(HOUR))
                .certificate(&world.ca.certificate)
                .responder(crate::ocsp::Responder::Name(
                    world.ca.certificate.subject().clone(),
                ))
                .signed_by(&key())
                .unwrap()
        })
        .collect();
    fails(world.find(&wrong, &[]), PathErrorKind::Budget, "signatures");
}
