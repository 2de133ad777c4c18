//! Certificates without mail addresses: whose they are is registered, or nobody's.

use super::*;
use crate::trust::Disclosure;

const ALICE: &str = "alice@example.jp";

fn judged(world: &World, mail: &[u8], answer: &Answer) -> (Verdict, Vec<String>) {
    let trust = world.trust();
    let case = Case::new(mail, &trust, &[], NOW, &Limits::default());
    let mut asked = Vec::new();
    let outcome = step::run(&case, |question| match question {
        Question::Registration { address, .. } => {
            asked.push(address.to_string());
            answer.clone()
        }
        other => world.answer(other),
    });
    (outcome.verdict, asked)
}

fn card(world: &World) -> Party {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    world.issue(key, |c| c.key_usage(KeyUsage::DIGITAL_SIGNATURE))
}

#[test]
fn a_registered_address_speaks_for_its_certificate() {
    let mut world = World::new();
    world.settings.disclosure = Disclosure::VerdictOnly;
    let mail = card(&world).sign(ALICE, Form::Clear);
    for (answer, wanted) in [
        (Answer::Registered(true), Reason::Ok),
        (Answer::Registered(false), Reason::NotRegistered),
        (
            Answer::Unavailable("the store is away".to_owned()),
            Reason::RegistrationUnavailable,
        ),
    ] {
        let (verdict, asked) = judged(&world, &mail, &answer);
        assert_eq!(verdict.reason, Some(wanted));
        assert_eq!(asked, [ALICE]);
        let identifier = verdict.signatures[0].identifier();
        assert_eq!(identifier, (wanted == Reason::Ok).then_some(ALICE));
        // Of the path nothing changes.
        assert_eq!(verdict.signatures[0].checks.path, CheckResult::Ok);
    }
    // Elsewhere a certificate without an address just is not the sender's.
    world.settings.disclosure = Disclosure::Full;
    let (verdict, _) = judged(&world, &mail, &Answer::Registered(false));
    assert_eq!(verdict.reason, Some(Reason::FromMismatch));
}

#[test]
fn a_registration_makes_no_other_condition_hold() {
    let mut world = World::new();
    let card = card(&world);
    let yes = Answer::Registered(true);
    let two = card.sign("a@example.jp, b@example.jp", Form::Clear);
    assert_eq!(
        judged(&world, &two, &yes).0.reason,
        Some(Reason::FromAmbiguous)
    );
    world.publish(&[&card.certificate]);
    let mail = card.sign(ALICE, Form::Clear);
    assert_eq!(judged(&world, &mail, &yes).0.reason, Some(Reason::Revoked));
    world.known.clear();
    assert_eq!(
        judged(&world, &mail, &yes).0.reason,
        Some(Reason::IssuerNotTrusted)
    );
}

#[test]
fn nobody_is_asked_about_an_address_that_stands_in_the_certificate() {
    let world = World::new();
    let alice = world.person(ALICE);
    let (verdict, asked) = judged(
        &world,
        &alice.sign("Alice@Example.JP", Form::Clear),
        &Answer::Registered(false),
    );
    assert!(verdict.is_pass() && asked.is_empty());
}
