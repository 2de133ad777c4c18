//! Certificates, roots, revocation and the cache of paths.

use kenin_pki::extension::DistributionPoint;

use super::*;

#[test]
fn time_and_revocation() {
    let mut world = World::new();
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let all =
        |check: &'static str, revocation: &'static str| ["ok", "ok", "ok", check, revocation, "ok"];
    let verdict = world.verdict_at(&mail, days(101));
    assert_eq!(reason(&verdict), Reason::CertificateExpired);
    assert_eq!(checks(&verdict), all("certificate-expired", "unchecked"));
    let verdict = world.verdict_at(&mail, days(-101));
    assert_eq!(reason(&verdict), Reason::CertificateNotYetValid);
    // The lists are stale a week later.
    let verdict = world.verdict_at(&mail, days(8));
    assert_eq!(reason(&verdict), Reason::RevocationUnavailable);
    assert_eq!(checks(&verdict), all("ok", "revocation-unavailable"));

    world.publish(&[&alice.certificate]);
    let verdict = world.verdict(&mail);
    assert_eq!(reason(&verdict), Reason::Revoked);
    assert_eq!(checks(&verdict), all("ok", "revoked"));
    assert_eq!(
        verdict.signatures[0].revoked,
        Some((days(-2).to_string(), Some(1)))
    );

    world.crls.clear();
    assert_eq!(reason(&world.verdict(&mail)), Reason::RevocationUnavailable);
    world.settings.revocation = RevocationMode::IfAvailable;
    let verdict = world.verdict(&mail);
    assert_eq!(reason(&verdict), Reason::Ok);
    assert_eq!(checks(&verdict), all("ok", "unchecked"));
    assert!(has_note(&verdict, NoteId::StatusUnknown));
    world.settings.revocation = RevocationMode::Off;
    let verdict = world.verdict(&mail);
    assert_eq!(reason(&verdict), Reason::Ok);
    assert!(!has_note(&verdict, NoteId::StatusUnknown));
}

#[test]
fn unknown_issuers_and_issuers_that_cannot_be_asked() {
    let world = World::new();
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let stranger = World::new();
    let verdict = stranger.verdict(&mail);
    assert_eq!(
        reason(&verdict),
        Reason::IssuerNotTrusted,
        "same names, other keys: {verdict:?}"
    );
    let none = TrustPolicy::from_parts(Vec::new(), PathOptions::default());
    let case = Case::new(&mail, &none, &[], NOW, &Limits::default());
    let verdict = step::run(&case, |question| world.answer(question)).verdict;
    assert_eq!(reason(&verdict), Reason::IssuerNotTrusted);
    let trust = world.trust();
    let case = Case::new(&mail, &trust, &[], NOW, &Limits::default());
    let verdict = step::run(&case, |question| match question {
        Question::Issuers { .. } => Answer::Unavailable("directory is down".to_owned()),
        other => world.answer(other),
    })
    .verdict;
    assert_eq!(reason(&verdict), Reason::IssuerUnavailable);
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let own = builder("Self", &key)
        .mail_signer(&[ALICE])
        .self_signed(&key)
        .unwrap();
    let own = Party {
        key,
        certificate: own,
    };
    assert_eq!(
        reason(&world.verdict(&own.sign(ALICE, Form::Clear))),
        Reason::IssuerNotTrusted
    );
}

#[test]
fn questions_are_asked_once_and_by_level() {
    let world = World::new();
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let trust = world.trust();
    let case = Case::new(&mail, &trust, &[], NOW, &Limits::default());
    let mut answers = Vec::new();
    let mut asked = Vec::new();
    loop {
        match step::step(&case, &answers) {
            Step::Done(outcome) => {
                assert_eq!(reason(&outcome.verdict), Reason::Ok);
                break;
            }
            Step::Ask(questions) => {
                asked.push(questions.len());
                for question in questions {
                    let answer = world.answer(&question);
                    answers.push(step::Answered { question, answer });
                }
            }
        }
        assert!(asked.len() <= step::MAX_ROUNDS);
    }
    // The issuer of the leaf, then the status of both: only then it shows who may be asked about them.
    assert_eq!(asked, [1, 2]);
    // Nothing known and nothing answered comes to an end too.
    let outcome = step::run(&case, |_| Answer::Unavailable("no".to_owned()));
    assert_eq!(reason(&outcome.verdict), Reason::IssuerUnavailable);
}

#[test]
fn a_certificate_not_meant_for_mail() {
    let mut world = World::new();
    world.settings = off();
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let server = world.issue(key, |certificate| {
        certificate
            .ext_key_usage(&[oid::SERVER_AUTH])
            .mail(&[ALICE])
    });
    let verdict = world.verdict(&server.sign(ALICE, Form::Clear));
    assert_eq!(reason(&verdict), Reason::KeyUsage);
    assert_eq!(checks(&verdict)[3], "key-usage");
}

#[test]
fn settings_of_the_anchor_decide_about_addresses() {
    let mut world = World::new();
    world.settings = off();
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let subject = NameBuilder::default()
        .with(oid::COMMON_NAME, "common@example.jp")
        .with(oid::EMAIL_ADDRESS, ALICE)
        .build()
        .unwrap();
    let certificate = CertificateBuilder::new(subject, key.public_key())
        .validity(days(-1), days(1))
        .issued_by(&world.middle.certificate, &world.middle.key)
        .unwrap();
    let party = Party { key, certificate };
    let mail = party.sign(ALICE, Form::Clear);
    assert_eq!(reason(&world.verdict(&mail)), Reason::FromMismatch);
    assert_eq!(
        reason(&world.verdict(&party.sign("common@example.jp", Form::Clear))),
        Reason::FromMismatch
    );
    world.settings.dn_email = true;
    assert_eq!(reason(&world.verdict(&mail)), Reason::Ok);

    // One that is there and cannot be read is one all the same.
    for names in [
        vec![GeneralName::Rfc822("Dave <dave@example.jp>".into())],
        vec![GeneralName::smtp_utf8_mailbox("evil@example.jp")],
    ] {
        let key = SoftKey::generate(KeyType::P256).unwrap();
        let subject = NameBuilder::default()
            .with(oid::EMAIL_ADDRESS, ALICE)
            .build()
            .unwrap();
        let certificate = CertificateBuilder::new(subject, key.public_key())
            .validity(days(-1), days(1))
            .subject_alt_names(&names)
            .issued_by(&world.middle.certificate, &world.middle.key)
            .unwrap();
        let both = Party { key, certificate };
        let verdict = world.verdict(&both.sign(ALICE, Form::Clear));
        assert_ne!(reason(&verdict), Reason::Ok, "{names:?}");
    }

    let alice = world.person("Alice@example.jp");
    assert_eq!(
        reason(&world.verdict(&alice.sign(ALICE, Form::Clear))),
        Reason::Ok
    );
    world.settings.exact_case = true;
    assert_eq!(
        reason(&world.verdict(&alice.sign(ALICE, Form::Clear))),
        Reason::FromMismatch
    );
    assert_eq!(
        reason(&world.verdict(&alice.sign("Alice@EXAMPLE.jp", Form::Clear))),
        Reason::Ok
    );
}

#[test]
fn internationalised_addresses_compare() {
    let mut world = World::new();
    world.settings = off();
    let taro = world.person("甲@例え.jp");
    assert_eq!(
        reason(&world.verdict(&taro.sign("甲@xn--r8jz45g.jp", Form::Clear))),
        Reason::Ok
    );
    assert_eq!(
        reason(&world.verdict(&taro.sign("甲@例え.jp", Form::Clear))),
        Reason::Ok
    );
    assert_eq!(
        reason(&world.verdict(&taro.sign("乙@例え.jp", Form::Clear))),
        Reason::FromMismatch
    );
}

/// What `world` says about Alice's mail once its root is another certificate of the same key.
fn with_root(world: &mut World, certificate: Certificate) -> Reason {
    world.root.certificate = certificate;
    world.settings = off();
    let alice = world.person(ALICE);
    reason(&world.verdict(&alice.sign(ALICE, Form::Clear)))
}

#[test]
fn a_root_vouches_for_no_more_than_it_says() {
    let mut world = World::new();
    let key = SoftKey::from_pkcs8(&world.root.key.to_pkcs8().unwrap()).unwrap();
    let root = |shape: &dyn Fn(CertificateBuilder) -> CertificateBuilder| {
        shape(builder("Root", &key).authority(None))
            .self_signed(&key)
            .unwrap()
    };
    let same = root(&|root| root);
    assert_eq!(with_root(&mut world, same), Reason::Ok);
    let expired = root(&|root| root.validity(days(-300), days(-1)));
    assert_eq!(with_root(&mut world, expired), Reason::CertificateExpired);
    let short = builder("Root", &key)
        .authority(Some(0))
        .self_signed(&key)
        .unwrap();
    assert_eq!(with_root(&mut world, short), Reason::PathInvalid);
    let no_authority = builder("Root", &key)
        .mail_signer(&[ALICE])
        .self_signed(&key)
        .unwrap();
    assert_eq!(with_root(&mut world, no_authority), Reason::PathInvalid);
}

#[test]
fn a_certificate_that_is_itself_trusted_vouches_for_itself() {
    let mut world = World::new();
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let own = builder("Self", &key)
        .mail_signer(&[ALICE])
        .self_signed(&key)
        .unwrap();
    let own = Party {
        key,
        certificate: own,
    };
    let mail = own.sign(ALICE, Form::Clear);
    world.settings = off();
    assert_eq!(reason(&world.verdict(&mail)), Reason::IssuerNotTrusted);
    world.root.certificate = own.certificate.clone();
    assert_eq!(reason(&world.verdict(&mail)), Reason::Ok);
}

#[test]
fn the_cache_answers_for_its_hour_and_never_for_a_failure() {
    let mut world = World::new();
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let cache = PathCache::default();
    let (verdict, asked) = world.cached_verdict(&mail, NOW, &cache);
    assert_eq!((reason(&verdict), asked), (Reason::Ok, 3));
    let (verdict, asked) = world.cached_verdict(&mail, UnixTime(NOW.0 + 3599), &cache);
    assert_eq!((reason(&verdict), asked), (Reason::Ok, 0));
    assert_eq!(checks(&verdict), ["ok"; 6]);
    // Another sender, the same certificate: identity is never cached.
    let (verdict, asked) =
        world.cached_verdict(&alice.sign("bob@bank.jp", Form::Clear), NOW, &cache);
    assert_eq!((reason(&verdict), asked), (Reason::FromMismatch, 1));
    // An hour later, or a second earlier, it is looked at again.
    for time in [UnixTime(NOW.0 + 3600), UnixTime(NOW.0 - 1)] {
        let cache = PathCache::default();
        world.cached_verdict(&mail, NOW, &cache);
        assert_eq!(world.cached_verdict(&mail, time, &cache).1, 3);
    }
    // Never beyond the freshness of the lists.
    let cache = PathCache::default();
    let late = UnixTime(days(7).0 - 10);
    assert_eq!(
        reason(&world.cached_verdict(&mail, late, &cache).0),
        Reason::Ok
    );
    assert_eq!(
        reason(
            &world
                .cached_verdict(&mail, UnixTime(days(7).0 + 1), &cache)
                .0
        ),
        Reason::RevocationUnavailable
    );
    // Another policy does not find it.
    world.settings = AnchorSettings {
        exact_case: true,
        ..AnchorSettings::default()
    };
    assert_eq!(world.cached_verdict(&mail, late, &cache).1, 3);
    world.publish(&[&alice.certificate]);
    let cache = PathCache::default();
    assert_eq!(
        reason(&world.cached_verdict(&mail, NOW, &cache).0),
        Reason::Revoked
    );
    assert!(cache.is_empty());
    assert_eq!(
        reason(&world.cached_verdict(&mail, NOW, &cache).0),
        Reason::Revoked
    );
}

/// The same certificate below another layer of one message, which brings a list that revokes it.
#[test]
fn a_path_out_of_the_cache_serves_one_signature_only() {
    let world = World::new();
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let cache = PathCache::default();
    assert_eq!(
        reason(&world.cached_verdict(&mail, NOW, &cache).0),
        Reason::Ok
    );
    let newer = CrlBuilder::new(NOW, Some(days(7)))
        .revoke(
            alice.certificate.serial(),
            NOW,
            RevocationReason::KeyCompromise,
        )
        .issued_by(&world.middle.certificate, &world.middle.key)
        .unwrap();
    let trust = world.trust();
    let mut case = Case::cached(&mail, &trust, &[], NOW, &Limits::default(), &cache);
    let mut nested = case.examined.signatures[0].clone();
    (nested.root, nested.section) = (false, "1.2".to_owned());
    nested.crls = vec![newer];
    case.examined.signatures.push(nested);
    let verdict = step::run(&case, |question| world.answer(question)).verdict;
    let reasons: Vec<Reason> = verdict.signatures.iter().map(|one| one.reason).collect();
    assert_eq!(reasons, [Reason::Ok, Reason::Revoked]);
}

/// An issuer that is left out on purpose does not open what its anchor keeps closed.
#[test]
fn without_a_way_to_an_anchor_the_closed_one_decides_what_is_shown() {
    let mut world = World::new();
    world.settings.disclosure = Disclosure::VerdictOnly;
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    world.known.clear();
    let verdict = world.verdict(&mail);
    assert_eq!(reason(&verdict), Reason::IssuerNotTrusted);
    assert_eq!(verdict.signatures[0].disclosure, Disclosure::VerdictOnly);
    world.settings.disclosure = Disclosure::Full;
    let verdict = world.verdict(&mail);
    assert_eq!(verdict.signatures[0].disclosure, Disclosure::Full);
}

/// A crowd of certificates in a message that asks about everything but the one that is revoked.
#[test]
fn a_crowd_of_certificates_does_not_hide_a_revoked_one() {
    let mut world = World::new();
    world.settings.revocation = RevocationMode::IfAvailable;
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    world.crls[1] = CrlBuilder::new(days(-1), Some(days(7)))
        .revoke(
            world.middle.certificate.serial(),
            days(-2),
            RevocationReason::KeyCompromise,
        )
        .issued_by(&world.root.certificate, &world.root.key)
        .unwrap();
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let crowd = (0..62).map(|number| {
        let issuers = (0..3).map(|more| GeneralName::Directory(name(&format!("{number}-{more}"))));
        let point = DistributionPoint {
            crl_issuer: issuers.collect(),
            ..DistributionPoint::default()
        };
        builder("Middle", &key)
            .authority(None)
            .crl_distribution_points(&[point])
            .sign(&name(&format!("Junk {number}")), b"x", &key)
            .unwrap()
    });
    let crowd: Vec<Certificate> = crowd.collect();
    let trust = world.trust();
    let mut case = Case::new(&mail, &trust, &[], NOW, &Limits::default());
    let known = vec![world.middle.certificate.clone()];
    case.examined.signatures[0].certificates = [crowd, known].concat();
    let verdict = step::run(&case, |question| world.answer(question)).verdict;
    assert_ne!(reason(&verdict), Reason::Ok, "{verdict:?}");
}
