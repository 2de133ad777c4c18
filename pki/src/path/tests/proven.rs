//! What was signed before a revocation: which revocations are passed over, and that nothing else is. And who may
//! stamp the time that proves it.

use super::*;
use crate::crl::RevokedEntry;
use crate::der::{GENERALIZED_TIME, write};
use crate::issue::OcspBuilder;
use crate::ocsp::{CertStatus, OcspResponse};

/// The moment that is proven.
fn proven() -> UnixTime {
    now().plus(-10 * DAY)
}

fn rules(mode: RevocationMode) -> PathRules {
    PathRules {
        revocation: mode,
        proven_at: Some(proven()),
        ..PathRules::new(now())
    }
}

const SOUND: [RevocationReason; 4] = [
    RevocationReason::AffiliationChanged,
    RevocationReason::Superseded,
    RevocationReason::CessationOfOperation,
    RevocationReason::PrivilegeWithdrawn,
];

const UNSOUND: [RevocationReason; 5] = [
    RevocationReason::Unspecified,
    RevocationReason::KeyCompromise,
    RevocationReason::CaCompromise,
    RevocationReason::CertificateHold,
    RevocationReason::AaCompromise,
];

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
    fn find(&self, crls: &[Crl], ocsp: &[OcspResponse]) -> Result<ValidPath, PathError> {
        self.find_by(crls, ocsp, &rules(RevocationMode::Required))
    }

    fn find_by(
        &self,
        crls: &[Crl],
        ocsp: &[OcspResponse],
        rules: &PathRules,
    ) -> Result<ValidPath, PathError> {
        find_path(
            &self.leaf.certificate,
            std::slice::from_ref(&self.ca.certificate),
            &[self.root.anchor()],
            StatusSources { crls, ocsp },
            rules,
            &mut Budget::default(),
        )
    }

    fn of_root(&self) -> Crl {
        self.root.crl(|list| list)
    }

    fn revoking(&self, date: UnixTime, reason: RevocationReason) -> Crl {
        let serial = self.leaf.certificate.serial();
        self.ca.crl(|list| list.revoke(serial, date, reason))
    }

    /// The authority's own answer, from a day ago until `until`.
    fn answer(&self, entry: RevokedEntry, until: i64) -> OcspResponse {
        let since = now().plus(-DAY);
        OcspBuilder::new(since)
            .answer(
                &self.leaf.certificate,
                self.ca.certificate.public_key(),
                CertStatus::Revoked(entry),
                (since, Some(now().plus(until))),
            )
            .signed_by(&self.ca.key)
            .unwrap()
    }
}

fn entry(date: UnixTime, reason: RevocationReason) -> RevokedEntry {
    RevokedEntry {
        date,
        reason,
        invalidity_date: None,
    }
}

#[track_caller]
fn revoked(result: Result<ValidPath, PathError>) {
    let error = result.expect_err("a path was found");
    assert!(
        matches!(error.kind(), PathErrorKind::Revoked { .. }),
        "{error}"
    );
}

#[test]
fn a_later_revocation_for_a_sound_reason_is_passed_over() {
    let world = world();
    let later = proven().plus(1);
    for mode in [RevocationMode::Required, RevocationMode::IfAvailable] {
        for reason in SOUND {
            let lists = [world.of_root(), world.revoking(later, reason)];
            let path = world.find_by(&lists, &[], &rules(mode)).unwrap();
            assert_eq!(path.outlived(), Some(entry(later, reason)));
            // It has a status, and is looked at again when that is stale.
            assert_eq!(path.revocation().len(), 2);
            assert_eq!(path.valid_until(), now().plus(DAY));
            // Without the proof it is revoked.
            let plain = PathRules {
                revocation: mode,
                ..PathRules::new(now())
            };
            revoked(world.find_by(&lists, &[], &plain));
            for date in [proven(), proven().plus(-1)] {
                revoked(world.find(&[world.of_root(), world.revoking(date, reason)], &[]));
            }
        }
        for reason in UNSOUND {
            let lists = [world.of_root(), world.revoking(later, reason)];
            revoked(world.find_by(&lists, &[], &rules(mode)));
        }
    }
    let good = [world.of_root(), world.ca.crl(|list| list)];
    assert_eq!(world.find(&good, &[]).unwrap().outlived(), None);
}

#[test]
fn the_day_since_when_it_was_no_good_counts() {
    let world = world();
    let serial = world.leaf.certificate.serial();
    let list = |value: &[u8]| {
        world.ca.crl(|list| {
            let extension = (oid::INVALIDITY_DATE, false, value);
            list.revoke_with(serial, now(), RevocationReason::Superseded, extension)
        })
    };
    let time = |text: &str| write::element(GENERALIZED_TIME, text.as_bytes());
    // now() is 2026-06-01.
    world
        .find(&[world.of_root(), list(&time("20260530000000Z"))], &[])
        .unwrap();
    for bad in [
        time("20260501000000Z"),
        time("soon"),
        write::null(),
        Vec::new(),
    ] {
        revoked(world.find(&[world.of_root(), list(&bad)], &[]));
    }
}

#[test]
fn an_authority_is_never_excused() {
    let world = world();
    let serial = world.ca.certificate.serial();
    let of_root = world
        .root
        .crl(|list| list.revoke(serial, proven().plus(DAY), RevocationReason::Superseded));
    revoked(world.find(&[of_root.clone(), world.ca.crl(|list| list)], &[]));
    let leaf = world.revoking(proven().plus(DAY), RevocationReason::Superseded);
    revoked(world.find(&[of_root, leaf.clone()], &[]));
    // Of which nothing is known, that is all there is to say.
    let end = world.find(&[leaf], &[]);
    fails(end, PathErrorKind::RevocationUnavailable, "no CRL");
}

/// Where a newer list may have worse news, the older one does not excuse what it says.
#[test]
fn news_that_is_old_or_in_parts_excuses_nothing() {
    let world = world();
    let serial = world.leaf.certificate.serial();
    let later = proven().plus(DAY);
    let sign = |list: CrlBuilder| {
        list.issued_by(&world.ca.certificate, &world.ca.key)
            .unwrap()
    };
    let stale = sign(
        CrlBuilder::new(now().plus(-3 * DAY), Some(now().plus(-DAY))).revoke(
            serial,
            later,
            RevocationReason::Superseded,
        ),
    );
    revoked(world.find(&[world.of_root(), stale.clone()], &[]));
    // Nor with a fresh list of another signer beside it that does not have it at all.
    let lister = world
        .ca
        .issue("Intermediate", |b| b.key_usage(KeyUsage::CRL_SIGN));
    let beside = [world.of_root(), stale, lister.crl(|list| list)];
    let candidates = [&world.ca, &lister];
    revoked(find_with(
        &world.leaf,
        &candidates,
        &[world.root.anchor()],
        &beside,
        &rules(RevocationMode::Required),
    ));
    // The superseded ones only: another list may have it as stolen.
    let some = IssuingDistributionPoint {
        only_some_reasons: Some(ReasonFlags(1 << 4)),
        ..IssuingDistributionPoint::default()
    };
    let partial = world.ca.crl(|list| {
        list.issuing_distribution_point(&some)
            .revoke(serial, later, RevocationReason::Superseded)
    });
    revoked(world.find(&[world.of_root(), partial], &[]));
}

#[test]
fn of_two_sources_the_worse_news_counts() {
    let world = world();
    let later = proven().plus(DAY);
    let (mild, bad) = (
        RevocationReason::Superseded,
        RevocationReason::KeyCompromise,
    );
    let mild_answer = world.answer(entry(later, mild), DAY);
    let lists = [world.of_root()];
    let path = world
        .find(&lists, std::slice::from_ref(&mild_answer))
        .unwrap();
    assert_eq!(path.outlived(), Some(entry(later, mild)));
    let fact = path.revocation().iter().find(|fact| fact.position == 0);
    assert_eq!(fact.unwrap().source, "ocsp");

    let worse_list = [world.of_root(), world.revoking(later.plus(9), bad)];
    revoked(world.find(&worse_list, std::slice::from_ref(&mild_answer)));
    let earlier_list = [world.of_root(), world.revoking(proven(), mild)];
    revoked(world.find(&earlier_list, std::slice::from_ref(&mild_answer)));
    let mild_list = [world.of_root(), world.revoking(later, mild)];
    world.find(&mild_list, &[mild_answer]).unwrap();
    revoked(world.find(&mild_list, &[world.answer(entry(later, bad), DAY)]));
    // An answer that is stale excuses nothing; nor does one by a responder that does not know it.
    revoked(world.find(&lists, &[world.answer(entry(later, mild), -1)]));
    let unknown = OcspBuilder::new(now().plus(-DAY))
        .answer(
            &world.leaf.certificate,
            world.ca.certificate.public_key(),
            CertStatus::Unknown,
            (now().plus(-DAY), Some(now().plus(DAY))),
        )
        .signed_by(&world.ca.key)
        .unwrap();
    revoked(world.find(&mild_list, &[unknown]));
    // A stale list that had it on hold stands between.
    let hold = CrlBuilder::new(now().plus(-3 * DAY), Some(now().plus(-DAY)))
        .revoke(
            world.leaf.certificate.serial(),
            later,
            RevocationReason::CertificateHold,
        )
        .issued_by(&world.ca.certificate, &world.ca.key)
        .unwrap();
    let held = [world.of_root(), hold];
    revoked(world.find(&held, &[world.answer(entry(later, mild), DAY)]));
}

/// The list that covers the certificate is of a signer whose own certificate was revoked after the proof.
#[test]
fn a_signer_of_lists_is_never_excused() {
    let point = |uri: &str| DistributionPointName::Full(vec![GeneralName::Uri(uri.into())]);
    let listed_at = |b: CertificateBuilder, uri: &str| {
        b.crl_distribution_points(&[DistributionPoint {
            name: Some(point(uri)),
            ..DistributionPoint::default()
        }])
    };
    let scope = |c: CrlBuilder, uri: &str| {
        c.issuing_distribution_point(&IssuingDistributionPoint {
            name: Some(point(uri)),
            ..IssuingDistributionPoint::default()
        })
    };
    let (one, two) = ("http://crl.example.jp/1", "http://crl.example.jp/2");
    let root = Party::root("Root");
    let ca = root.ca("Intermediate", same);
    let leaf = ca.leaf("Alice", |b| listed_at(person(b), one));
    let lister = ca.issue("Intermediate", |b| {
        listed_at(b.key_usage(KeyUsage::CRL_SIGN), two)
    });
    let find = |revoked: Option<UnixTime>| {
        let serial = lister.certificate.serial();
        let of_ca = ca.crl(|c| match revoked {
            Some(date) => scope(c, two).revoke(serial, date, RevocationReason::Superseded),
            None => scope(c, two),
        });
        let crls = [root.crl(|c| c), of_ca, lister.crl(|c| scope(c, one))];
        let rules = rules(RevocationMode::Required);
        find_with(&leaf, &[&ca, &lister], &[root.anchor()], &crls, &rules)
    };
    find(None).unwrap();
    let end = find(Some(proven().plus(DAY)));
    fails(end, PathErrorKind::RevocationUnavailable, "");
}

#[test]
fn who_stamps_times_does_nothing_else() {
    let root = Party::root("Root");
    let ca = root.ca("Times", |b| b.ext_key_usage(&[oid::TIME_STAMPING]));
    let stamping = |b: CertificateBuilder, critical: bool, purposes: &[Oid<'_>]| {
        let all: Vec<_> = purposes.iter().map(|oid| write::oid(*oid)).collect();
        b.extension(oid::EXT_KEY_USAGE, critical, &write::seq(&all))
    };
    let rules = PathRules {
        purpose: Purpose::TimeStamping,
        ..off()
    };
    let right = ca.leaf("Stamper", |b| stamping(b, true, &[oid::TIME_STAMPING]));
    find(&right, &[&ca], &root, &rules).unwrap();
    fails(
        find(&right, &[&ca], &root, &off()),
        PathErrorKind::KeyUsage,
        "mail",
    );
    let both = [oid::TIME_STAMPING, oid::EMAIL_PROTECTION];
    let wrong: [(bool, &[Oid<'_>]); 5] = [
        (false, &both[..1]),
        (true, &both[..]),
        (true, &both[1..]),
        (true, &[oid::ANY_EXT_KEY_USAGE]),
        (true, &[]),
    ];
    for (critical, purposes) in wrong {
        let wrong = ca.leaf("Wrong", |b| stamping(b, critical, purposes));
        let end = find(&wrong, &[&ca], &root, &rules);
        assert!(end.is_err(), "{critical} {purposes:?}");
    }
    let none = ca.leaf("None", person);
    fails(
        find(&none, &[&ca], &root, &rules),
        PathErrorKind::KeyUsage,
        "time stamps only",
    );
    let agrees = ca.leaf("Agrees", |b| {
        stamping(b.key_usage(KeyUsage::KEY_AGREEMENT), true, &both[..1])
    });
    fails(
        find(&agrees, &[&ca], &root, &rules),
        PathErrorKind::KeyUsage,
        "signing",
    );
    // An authority for other purposes.
    let mail = root.ca("Mail", |b| b.ext_key_usage(&[oid::EMAIL_PROTECTION]));
    let below = mail.leaf("Stamper", |b| stamping(b, true, &both[..1]));
    fails(
        find(&below, &[&mail], &root, &rules),
        PathErrorKind::KeyUsage,
        "time stamps",
    );
}
