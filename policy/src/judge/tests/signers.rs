//! Several signers, and several certificates for one.

use kenin_pki::crypto::MlDsa;

use super::*;

/// Judges the mail of one person with further SignerInfos put beside the first.
fn with_signers(
    world: &World,
    mails: &[Vec<u8>],
    shape: impl FnOnce(&mut Vec<SignerFacts>),
) -> Verdict {
    let trust = world.trust();
    let mut case = Case::new(&mails[0], &trust, &world.known, NOW, &Limits::default());
    for mail in &mails[1..] {
        let other = Case::new(mail, &trust, &world.known, NOW, &Limits::default());
        let signers = other.examined.signatures[0].signers.clone();
        case.examined.signatures[0].signers.extend(signers);
    }
    shape(&mut case.examined.signatures[0].signers);
    step::run(&case, |question| world.answer(question)).verdict
}

#[test]
fn sig_04_several_signers_are_grouped_by_person() {
    let world = World::new();
    let (alice, bob) = (world.person(ALICE), world.person("bob@bank.jp"));
    let other = world.person(ALICE);
    let mail = |party: &Party| party.sign(ALICE, Form::Clear);
    let mails = [mail(&alice), mail(&bob)];
    assert_eq!(
        reason(&with_signers(&world, &mails, |_| {})),
        Reason::MultipleSigners
    );
    let spoilt = |signer: &mut SignerFacts| {
        signer.defect = Some(Defect::SignatureInvalid);
        signer.candidates[0].signature = Check::Failed(Defect::SignatureInvalid);
    };
    for place in [0, 1] {
        let verdict = with_signers(&world, &mails, |signers| spoilt(&mut signers[place]));
        assert_eq!(reason(&verdict), Reason::SignatureInvalid, "{place}");
    }
    // The same person twice is one person.
    let twice = [mail(&alice), mail(&other)];
    assert_eq!(reason(&with_signers(&world, &twice, |_| {})), Reason::Ok);
    for place in [0, 1] {
        let verdict = with_signers(&world, &twice, |signers| {
            signers[place].digest = None;
            signers[place].defect = Some(Defect::UnsupportedAlgorithm);
        });
        assert_eq!(reason(&verdict), Reason::Ok, "{place}");
        assert!(has_note(&verdict, NoteId::UnsupportedSigner));
        let verdict = with_signers(&world, &twice, |signers| {
            signers[place].digest = Some(DigestAlgorithm::Sha1);
        });
        assert_eq!(reason(&verdict), Reason::Ok, "{place}");
        assert!(has_note(&verdict, NoteId::UnsupportedSigner));
        let verdict = with_signers(&world, &twice, |signers| spoilt(&mut signers[place]));
        assert_eq!(reason(&verdict), Reason::SignatureInvalid);
    }
    let verdict = with_signers(&world, &twice, |signers| {
        for signer in signers {
            signer.digest = Some(DigestAlgorithm::Sha1);
        }
    });
    assert_eq!(reason(&verdict), Reason::WeakAlgorithm);
    // The same address under another issuer, who is not trusted, is not the same person.
    let stranger = World::new();
    let mut mixed = twice.clone();
    mixed[1] = mail(&stranger.person(ALICE));
    assert_eq!(
        reason(&with_signers(&world, &mixed, |_| {})),
        Reason::MultipleSigners
    );
    let verdict = with_signers(&world, &twice, Vec::clear);
    assert_eq!(reason(&verdict), Reason::NoSigners);
}

#[test]
fn sig_12_every_certificate_of_the_key_is_tried() {
    let mut world = World::new();
    world.settings = off();
    let alice = world.person(ALICE);
    let second = |address: &str| {
        builder("Second", &alice.key)
            .serial(&[7])
            .mail_signer(&[address])
            .issued_by(&world.middle.certificate, &world.middle.key)
            .unwrap()
    };
    let expired = builder("Old", &alice.key)
        .validity(days(-50), days(-10))
        .mail_signer(&["old@example.jp"])
        .issued_by(&world.middle.certificate, &world.middle.key)
        .unwrap();
    let mails = [alice.sign(ALICE, Form::Clear)];
    let judged = |certificate: &Certificate, first: bool, ess: Check| {
        let verdict = with_signers(&world, &mails, |signers| {
            let mut candidate = signers[0].candidates[0].clone();
            candidate.certificate = certificate.clone();
            candidate.ess = ess;
            match first {
                true => signers[0].candidates.insert(0, candidate),
                false => signers[0].candidates.push(candidate),
            }
        });
        reason(&verdict)
    };
    for first in [true, false] {
        let other = second("bob@bank.jp");
        assert_eq!(
            judged(&other, first, Check::Unchecked),
            Reason::MultipleSigners
        );
        let mismatch = Check::Failed(Defect::EssMismatch);
        assert_eq!(judged(&other, first, mismatch), Reason::Ok);
        assert_eq!(judged(&second(ALICE), first, Check::Unchecked), Reason::Ok);
        assert_eq!(judged(&expired, first, Check::Unchecked), Reason::Ok);
    }
    let verdict = with_signers(&world, &mails, |signers| {
        signers[0].candidates[0].ess = Check::Failed(Defect::EssMismatch);
        signers[0].defect = Some(Defect::EssMismatch);
    });
    assert_eq!(reason(&verdict), Reason::EssMismatch);
    let verdict = with_signers(&world, &mails, |signers| {
        signers[0].candidates.clear();
        signers[0].defect = Some(Defect::SignerCertificateMissing);
    });
    assert_eq!(reason(&verdict), Reason::SignerCertificateMissing);
}

#[test]
fn signers_without_addresses_are_told_apart_by_their_subjects() {
    let mut world = World::new();
    world.settings = off();
    let named = |common: &str| {
        let key = SoftKey::generate(KeyType::P256).unwrap();
        let made = builder(common, &key).key_usage(KeyUsage::DIGITAL_SIGNATURE);
        let certificate = made
            .issued_by(&world.middle.certificate, &world.middle.key)
            .unwrap();
        Party { key, certificate }
    };
    let (one, other) = (named("One"), named("Other"));
    let together = |second: &Party| {
        let mail = |party: &Party| party.sign(ALICE, Form::Clear);
        let trust = world.trust();
        let facts =
            |party: &Party| kenin_smime::examine(&mail(party), &Limits::default(), &world.known);
        let mut examined = facts(&one);
        let more = facts(second).signatures.swap_remove(0).signers;
        examined.signatures[0].signers.extend(more);
        let case = Case::bare(examined, &trust, &world.known, NOW);
        reason(&step::run(&case, |question| world.answer(question)).verdict)
    };
    assert_eq!(together(&one), Reason::Ok);
    assert_eq!(together(&other), Reason::MultipleSigners);
}

/// One of a person's signatures that cannot be checked now may be that of a revoked certificate.
#[test]
fn a_signer_that_could_not_be_checked_keeps_the_other_from_passing() {
    let mut world = World::new();
    let known = world.person(ALICE);
    // The same address under an authority of which there is no list.
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let quiet = builder("Quiet", &key)
        .authority(None)
        .issued_by(&world.root.certificate, &world.root.key)
        .unwrap();
    world.known.push(quiet.clone());
    let own = SoftKey::generate(KeyType::P256).unwrap();
    let certificate = builder("Somebody", &own)
        .mail_signer(&[ALICE])
        .issued_by(&quiet, &key)
        .unwrap();
    let unlisted = Party {
        key: own,
        certificate,
    };
    let trust = world.trust();
    let examine = |party: &Party| {
        kenin_smime::examine(
            &party.sign(ALICE, Form::Clear),
            &Limits::default(),
            &world.known,
        )
    };
    let alone = Case::bare(examine(&unlisted), &trust, &world.known, NOW);
    let verdict = step::run(&alone, |question| world.answer(question)).verdict;
    assert_eq!(reason(&verdict), Reason::RevocationUnavailable);
    for order in [[&known, &unlisted], [&unlisted, &known]] {
        let mut examined = examine(order[0]);
        let more = examine(order[1]).signatures.swap_remove(0).signers;
        examined.signatures[0].signers.extend(more);
        let case = Case::bare(examined, &trust, &world.known, NOW);
        let verdict = step::run(&case, |question| world.answer(question)).verdict;
        assert_eq!(reason(&verdict), Reason::RevocationUnavailable);
    }
}

/// Certificates that only have the name of the signer cost nothing.
#[test]
fn nothing_is_asked_about_candidates_that_did_not_sign() {
    let world = World::new();
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let trust = world.trust();
    let mut case = Case::new(&mail, &trust, &[], NOW, &Limits::default());
    let mut wrong = case.examined.signatures[0].signers[0].candidates[0].clone();
    let stranger = SoftKey::generate(KeyType::P256).unwrap();
    wrong.certificate = builder("Mallory", &stranger)
        .self_signed(&stranger)
        .unwrap();
    wrong.signature = Check::Failed(Defect::SignatureInvalid);
    let candidates = &mut case.examined.signatures[0].signers[0].candidates;
    candidates.insert(0, wrong);
    let mut asked = Vec::new();
    let verdict = step::run(&case, |question| {
        if let Question::Status { certificate, .. } = question {
            asked.push(certificate.subject().to_string());
        }
        world.answer(question)
    })
    .verdict;
    assert_eq!(reason(&verdict), Reason::Ok);
    assert!(!asked.contains(&"CN=Mallory".to_owned()), "{asked:?}");
}

#[test]
fn facts_without_a_defect_are_still_not_enough() {
    let mut world = World::new();
    world.settings = off();
    let mails = [world.person(ALICE).sign(ALICE, Form::Clear)];
    for spoil in [0, 1, 2, 3] {
        let verdict = with_signers(&world, &mails, |signers| match spoil {
            0 => signers[0].content = Check::Unchecked,
            1 => signers[0].candidates[0].signature = Check::Unchecked,
            2 => signers[0].algorithm = None,
            _ => signers[0].candidates.clear(),
        });
        assert_ne!(verdict.result, Some(ResultWord::Pass), "{spoil}");
    }
}

#[test]
fn ml_dsa_is_accepted_with_digests_of_its_strength() {
    let world = World::new();
    for set in [MlDsa::Dsa44, MlDsa::Dsa65, MlDsa::Dsa87] {
        let key = SoftKey::generate(KeyType::MlDsa(set)).unwrap();
        let alice = world.issue(key, |certificate| certificate.mail_signer(&[ALICE]));
        let verdict = world.verdict(&alice.sign(ALICE, Form::Clear));
        assert_eq!(reason(&verdict), Reason::Ok, "{verdict:#?}");
        let signature = &verdict.signatures[0];
        assert_eq!(signature.algorithm.as_deref(), Some(set.name()));
        assert_eq!(checks(&verdict), ["ok"; 6]);
        let weak = world.verdict(&alice.sign_as(ALICE, Form::Clear, |signer| {
            signer.digest = DigestAlgorithm::Sha1;
        }));
        assert_eq!(reason(&weak), Reason::AlgorithmMismatch, "{set:?}");
    }
}
