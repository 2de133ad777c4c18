use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};
use kenin_pki::extension::KeyUsage;
use kenin_pki::issue::CertificateBuilder;
use kenin_pki::name::NameBuilder;

use super::*;
use crate::News;
use crate::profile::Profile;
use crate::testing::{NOW, Party, World, days, off};
use crate::trust::Disclosure;

const BOB: &str = "bob@example.jp";

fn bob() -> Address {
    Address::parse(BOB).unwrap()
}

/// Somebody whose key is agreed with.
fn reader(world: &World, shape: impl FnOnce(CertificateBuilder) -> CertificateBuilder) -> Party {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    world.issue(key, |c| {
        shape(c.mail(&[BOB]).key_usage(KeyUsage::KEY_AGREEMENT))
    })
}

fn judged(world: &World, certificates: &[&Certificate]) -> Judged {
    judged_by(world, certificates, |question| world.answer(question))
}

fn judged_by(
    world: &World,
    certificates: &[&Certificate],
    answer: impl FnMut(&Question) -> Answer,
) -> Judged {
    let certificates: Vec<_> = certificates.iter().map(|one| (*one).clone()).collect();
    let (address, trust) = (bob(), world.trust());
    run(
        &RecipientCase::new(&address, &certificates, &trust, &[], NOW),
        answer,
    )
}

#[track_caller]
fn refused(judged: &Judged, reason: Reason) {
    assert!(judged.good.is_empty(), "{judged:?}");
    let reasons: Vec<Reason> = judged.refused.iter().map(|one| one.reason).collect();
    assert_eq!(reasons, [reason], "{judged:?}");
}

#[test]
fn the_certificate_that_was_issued_last_comes_first() {
    let world = World::new();
    let old = reader(&world, |c| c.validity(days(-90), days(10)));
    let new = reader(&world, |c| c.validity(days(-9), days(10)));
    let found = judged(&world, &[&old.certificate, &new.certificate]);
    assert_eq!(found.good, [1, 0]);
    assert!(found.refused.is_empty() && !found.is_to_be_tried_again());
    assert_eq!(judged(&world, &[]), Judged::default());
}

/// SIG keys are no keys to encrypt for, and neither is one whose status nobody tells.
#[test]
fn what_a_certificate_is_not_good_for_is_told() {
    let mut world = World::new();
    let signer = world.person(BOB);
    refused(&judged(&world, &[&signer.certificate]), Reason::KeyUsage);
    let ended = reader(&world, |c| c.validity(days(-9), days(-1)));
    let ended = judged(&world, &[&ended.certificate]);
    refused(&ended, Reason::CertificateExpired);
    let key = SoftKey::generate(KeyType::Ed25519).unwrap();
    let other = world.issue(key, |c| c.mail(&[BOB]));
    refused(&judged(&world, &[&other.certificate]), Reason::KeyUsage);
    let good = reader(&world, |c| c);
    world.publish(&[&good.certificate]);
    refused(&judged(&world, &[&good.certificate]), Reason::Revoked);
    world.crls.clear();
    let unknown = judged(&world, &[&good.certificate]);
    refused(&unknown, Reason::RevocationUnavailable);
    assert!(unknown.is_to_be_tried_again());
    world.settings = off();
    assert_eq!(judged(&world, &[&good.certificate]).good, [0]);
    let stranger = World::called("Other");
    refused(
        &judged(&stranger, &[&good.certificate]),
        Reason::IssuerNotTrusted,
    );
}

#[test]
fn what_is_wrong_with_a_key_is_said_of_no_signature() {
    let world = World::new();
    let key = SoftKey::generate(KeyType::Ed25519).unwrap();
    let signer = world.issue(key, |c| c.mail(&[BOB]));
    let found = judged(&world, &[&signer.certificate]);
    refused(&found, Reason::KeyUsage);
    let detail = "its key signs, and nothing is encrypted for such a key";
    assert_eq!(found.refused[0].detail, detail);
}

#[test]
fn somebody_elses_certificate_needs_a_registration() {
    let world = World::new();
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let other = world.issue(key, |c| {
        c.mail(&["eve@example.jp"])
            .key_usage(KeyUsage::KEY_AGREEMENT)
    });
    let mut asked = 0;
    let none = judged_by(&world, &[&other.certificate], |question| {
        asked += usize::from(!matches!(question, Question::Registration { .. }));
        world.answer(question)
    });
    refused(&none, Reason::NotRegistered);
    assert_eq!(asked, 0);
    let registered = judged_by(&world, &[&other.certificate], |question| match question {
        Question::Registration { address, .. } => Answer::Registered(*address == bob()),
        other => world.answer(other),
    });
    assert_eq!(registered.good, [0]);
    let silent = judged_by(&world, &[&other.certificate], |question| match question {
        Question::Registration { .. } => Answer::Unavailable("down".to_owned()),
        other => world.answer(other),
    });
    refused(&silent, Reason::RegistrationUnavailable);
    assert!(silent.is_to_be_tried_again());
}

/// An address that stands in the certificate, and that its anchor does not count, is registered as any other.
#[test]
fn an_address_that_does_not_count_for_its_anchor_may_be_registered() {
    let registered = |world: &World, party: &Party, is_it: bool| {
        judged_by(world, &[&party.certificate], |question| match question {
            Question::Registration { address, .. } => {
                Answer::Registered(is_it && *address == bob())
            }
            other => world.answer(other),
        })
    };
    let mut world = World::new();
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let subject = NameBuilder::default().with(oid::EMAIL_ADDRESS, BOB);
    let certificate = CertificateBuilder::new(subject.build().unwrap(), key.public_key())
        .validity(days(-9), days(9))
        .key_usage(KeyUsage::KEY_AGREEMENT)
        .issued_by(&world.middle.certificate, &world.middle.key)
        .unwrap();
    let in_subject = Party { key, certificate };
    assert_eq!(registered(&world, &in_subject, true).good, [0]);
    refused(
        &registered(&world, &in_subject, false),
        Reason::NotRegistered,
    );
    world.settings.exact_case = true;
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let in_capitals = world.issue(key, |c| {
        c.mail(&["Bob@example.jp"])
            .key_usage(KeyUsage::KEY_AGREEMENT)
    });
    assert_eq!(registered(&world, &in_capitals, true).good, [0]);
    refused(
        &registered(&world, &in_capitals, false),
        Reason::NotRegistered,
    );
}

/// Keys of cards are never encrypted for (mission R3).
#[test]
fn below_an_anchor_of_cards_nothing_is_encrypted_for() {
    let mut world = World::new();
    world.settings.profile = Some(Profile {
        key_usage: Some(KeyUsage(KeyUsage::KEY_AGREEMENT)),
        ..Profile::default()
    });
    let good = reader(&world, |c| c);
    refused(&judged(&world, &[&good.certificate]), Reason::Profile);
    world.settings = AnchorSettings {
        disclosure: Disclosure::VerdictOnly,
        ..AnchorSettings::default()
    };
    refused(&judged(&world, &[&good.certificate]), Reason::Profile);
}

#[test]
fn a_crowd_of_certificates_is_bounded() {
    let world = World::new();
    let good = reader(&world, |c| c);
    let crowd = vec![&good.certificate; 1000];
    let mut asked = 0;
    let found = judged_by(&world, &crowd, |question| {
        asked += 1;
        world.answer(question)
    });
    assert_eq!(found.good.len(), MAX_CANDIDATES);
    assert!(asked < 10, "{asked}");
}

/// STO-01: whoever has write access to a directory, or many certificates for other things, hides no good one.
#[test]
fn a_crowd_that_is_no_good_hides_no_good_one() {
    let world = World::new();
    let good = reader(&world, |c| c);
    let ended = reader(&world, |c| c.validity(days(-9), days(-1)));
    let early = reader(&world, |c| c.validity(days(1), days(9)));
    let signer = world.person(BOB);
    let strange = reader(&World::called("Other"), |c| c);
    let (address, trust) = (bob(), world.trust());
    for odd in [&ended, &early, &signer, &strange] {
        let mut crowd = vec![&odd.certificate; 2 * MAX_CANDIDATES];
        crowd.push(&good.certificate);
        let crowd: Vec<_> = crowd.into_iter().cloned().collect();
        let case = RecipientCase::new(&address, &crowd, &trust, &world.known, NOW);
        let found = run(&case, |question| world.answer(question));
        assert_eq!(found.good, [crowd.len() - 1], "{found:?}");
        assert_eq!(found.refused.len(), MAX_CANDIDATES - 1);
    }
}

#[test]
fn a_path_is_believed_for_its_hour_and_a_failure_never() {
    let mut world = World::new();
    let good = reader(&world, |c| c);
    let cache = PathCache::default();
    let judged_at = |world: &World, leaf: &Party, time: UnixTime| {
        let (address, trust, certificates) = (bob(), world.trust(), [leaf.certificate.clone()]);
        let case = RecipientCase::new(&address, &certificates, &trust, &[], time).cached(&cache);
        let mut asked = 0;
        let judged = run(&case, |question| {
            asked += 1;
            world.answer(question)
        });
        (judged, asked)
    };
    let (first, asked) = judged_at(&world, &good, NOW);
    assert!(first.good == [0] && asked > 0, "{asked}");
    let (again, none) = judged_at(&world, &good, UnixTime(NOW.0 + 3599));
    assert_eq!((again.good.as_slice(), none), (&[0][..], 0));
    let (later, again) = judged_at(&world, &good, UnixTime(NOW.0 + 3600));
    assert_eq!((later.good.as_slice(), again), (&[0][..], asked));
    // Never beyond the end of the list that it was found with.
    let late = UnixTime(days(7).0 - 10);
    assert_eq!(judged_at(&world, &good, late).0.good, [0]);
    let (ended, _) = judged_at(&world, &good, UnixTime(days(7).0 + 1));
    refused(&ended, Reason::RevocationUnavailable);
    // Another one's is asked about, and is revoked each time.
    let revoked = reader(&world, |c| c);
    world.publish(&[&revoked.certificate]);
    for _ in 0..2 {
        let (judged, asked) = judged_at(&world, &revoked, NOW);
        refused(&judged, Reason::Revoked);
        assert!(asked > 0);
    }
    // A signer's path is none for encryption.
    let signer = world.person(BOB);
    refused(&judged_at(&world, &signer, NOW).0, Reason::KeyUsage);
}

/// What comes while a path is searched for may be about it, and it was found without.
#[test]
fn no_path_is_believed_beyond_news_that_came_after_its_search_began() {
    let world = World::new();
    let good = reader(&world, |c| c);
    let news = News::default();
    let cache = PathCache::following(news.clone());
    let (address, trust, certificates) = (bob(), world.trust(), [good.certificate.clone()]);
    let is_searched = |comes: bool| {
        let case = RecipientCase::new(&address, &certificates, &trust, &[], NOW).cached(&cache);
        let mut asked = 0;
        let judged = run(&case, |question| {
            asked += 1;
            if comes {
                news.came();
            }
            world.answer(question)
        });
        assert_eq!(judged.good, [0]);
        asked > 0
    };
    assert!(is_searched(true));
    assert!(is_searched(false));
    assert!(!is_searched(false));
    news.came();
    assert_eq!(cache.len(), 0);
    assert!(is_searched(false));
}

/// Whoever was not asked about, since a path was known, is judged by that path.
#[test]
fn what_becomes_of_the_cache_meanwhile_changes_nothing() {
    let world = World::new();
    let good = reader(&world, |c| c);
    let (cache, address, trust) = (PathCache::default(), bob(), world.trust());
    let certificates = [good.certificate.clone()];
    let case = |time| RecipientCase::new(&address, &certificates, &trust, &[], time).cached(&cache);
    let (now, later) = (case(NOW), case(UnixTime(NOW.0 + 3600)));
    assert_eq!(run(&now, |question| world.answer(question)).good, [0]);
    let mut at_hand = AtHand::collect(&[]);
    at_hand.cached_for_encryption = now.cached_paths();
    assert!(now.questions(&at_hand).is_empty());
    // A mail that is judged later puts its own path there, which is none for this one.
    assert_eq!(run(&later, |question| world.answer(question)).good, [0]);
    assert!(now.cached_paths().is_empty());
    assert_eq!(now.judge(&at_hand).good, [0]);
}
