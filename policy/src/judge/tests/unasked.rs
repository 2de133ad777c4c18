//! Status that nobody told: what of it is remembered, and that it counts as open only where somebody was asked.

use kenin_pki::crl::Crl;

use super::*;

/// One question that fails must not let all mail of the next hour through.
#[test]
fn a_path_with_an_open_status_is_not_kept() {
    let mut world = World::new();
    world.settings.revocation = RevocationMode::IfAvailable;
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let cache = PathCache::default();
    let lists = std::mem::take(&mut world.crls);
    for known in [&lists[..0], &lists[..1], &lists[1..]] {
        world.crls = known.to_vec();
        let (verdict, asked) = world.cached_verdict(&mail, NOW, &cache);
        assert_eq!((reason(&verdict), asked), (Reason::Ok, 3));
        assert!(has_note(&verdict, NoteId::StatusUnknown));
        assert!(cache.is_empty());
    }
    world.publish(&[&alice.certificate]);
    let (verdict, _) = world.cached_verdict(&mail, NOW, &cache);
    assert_eq!(reason(&verdict), Reason::Revoked);
    // With nothing left open it is kept as ever.
    world.publish(&[]);
    world.cached_verdict(&mail, NOW, &cache);
    assert_eq!(cache.len(), 1);
    assert_eq!(world.cached_verdict(&mail, NOW, &cache).1, 0);
}

/// A sender may have used up what a message may ask, by signers or issuers before the one that matters.
#[test]
fn a_status_that_nobody_was_asked_for_does_not_pass() {
    let mut world = World::new();
    world.settings.revocation = RevocationMode::IfAvailable;
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let trust = world.trust();
    let judged = |world: &World, about: &str, answer: &dyn Fn(Vec<Crl>) -> Answer| {
        let cache = PathCache::default();
        let case = Case::cached(&mail, &trust, &[], NOW, &Limits::default(), &cache);
        let verdict = step::run(&case, |question| match (question, world.answer(question)) {
            (Question::Status { certificate, .. }, Answer::Status { crls, .. })
                if certificate.subject().to_string() == about =>
            {
                answer(crls)
            }
            (_, other) => other,
        })
        .verdict;
        (reason(&verdict), cache.len())
    };
    let told = |unasked| {
        move |crls| Answer::Status {
            crls,
            ocsp: Vec::new(),
            unasked,
        }
    };
    let away = |_: Vec<Crl>| Answer::Unavailable("no time".to_owned());
    // With a list nobody is missed.
    for about in ["CN=Somebody", "CN=Middle"] {
        assert_eq!(judged(&world, about, &told(true)), (Reason::Ok, 1));
        let nothing = (Reason::RevocationUnavailable, 0);
        assert_eq!(judged(&world, about, &away), nothing);
    }
    world.crls.clear();
    for about in ["CN=Somebody", "CN=Middle"] {
        let nothing = (Reason::RevocationUnavailable, 0);
        assert_eq!(judged(&world, about, &told(true)), nothing, "{about}");
        assert_eq!(judged(&world, about, &away), nothing, "{about}");
        // Who was asked and knew nothing is what the setting is for.
        assert_eq!(judged(&world, about, &told(false)), (Reason::Ok, 0));
    }
    // It concerns those whose status it is.
    assert_eq!(judged(&world, "CN=Other", &told(true)), (Reason::Ok, 0));
}

/// Asked while its issuer is still being looked for, nobody could tell who knows, and it was never asked again.
#[test]
fn a_status_is_asked_when_the_whole_way_up_is_at_hand() {
    let mut world = World::new();
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let low = builder("Low", &key)
        .authority(None)
        .issued_by(&world.middle.certificate, &world.middle.key)
        .unwrap();
    world.known.push(low.clone());
    let own = SoftKey::generate(KeyType::P256).unwrap();
    let certificate = builder("Somebody", &own)
        .mail_signer(&[ALICE])
        .issued_by(&low, &key)
        .unwrap();
    let alice = Party {
        key: own,
        certificate,
    };
    let mail = alice.sign(ALICE, Form::Clear);
    let trust = world.trust();
    let case = Case::new(&mail, &trust, &[], NOW, &Limits::default());
    let mut asked = Vec::new();
    step::run(&case, |question| {
        asked.push(match question {
            Question::Issuers { name, .. } => format!("issuer {name}"),
            Question::Status { certificate, .. } => format!("status {}", certificate.subject()),
            Question::Registration { .. } => "registration".to_owned(),
        });
        world.answer(question)
    });
    let wanted = [
        "issuer CN=Low",
        "issuer CN=Middle",
        "status CN=Somebody",
        "status CN=Low",
        "status CN=Middle",
    ];
    assert_eq!(asked, wanted);
}

/// Who is asked about a signer may hang on an authority that nobody but the message names.
#[test]
fn a_question_about_status_says_what_came_with_the_message() {
    let mut world = World::new();
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let middle = world.known.pop().unwrap();
    let trust = world.trust();
    let mut case = Case::new(&mail, &trust, &[], NOW, &Limits::default());
    let junk = world.person("bob@bank.jp").certificate;
    case.examined.signatures[0].certificates = vec![junk.clone(), middle.clone()];
    let mut asked = 0;
    let verdict = step::run(&case, |question| {
        if let Question::Status { candidates, .. } = question {
            asked += 1;
            assert!(candidates.contains(&middle));
            assert!(!candidates.contains(&junk), "nobody needs it");
        }
        world.answer(question)
    })
    .verdict;
    assert_eq!((reason(&verdict), asked), (Reason::Ok, 2));
}
