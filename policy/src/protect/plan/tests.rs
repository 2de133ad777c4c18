use kenin_pki::crypto::{Aes, SoftKey};

use super::*;
use crate::mail::{Encrypt, Sign, Unknown, Whose};
use crate::testing::World;

const CBC: ContentKind = ContentKind::AesCbc(Aes::Bits256);
const GCM: ContentKind = ContentKind::AesGcm(Aes::Bits256);
const EVERY_WISH: [Encrypt; 3] = [Encrypt::Never, Encrypt::Opportunistic, Encrypt::Must];

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn wish(encrypt: Encrypt) -> Wish {
    Wish {
        encrypt,
        rule: Some(1),
        ..Wish::default()
    }
}

fn to(who: &str, wish: Wish) -> To {
    To {
        address: Address::parse(who).ok(),
        visible: true,
        wish,
    }
}

fn outgoing(recipients: &[To]) -> Outgoing<'_> {
    Outgoing {
        recipients,
        shape: Shape::Open,
        examined: true,
        sender: None,
        answered: &[],
        protecting: Protecting::default(),
        one_body: false,
        clock: true,
    }
}

/// What the places that are asked say.
#[derive(Default)]
struct Places {
    certificates: Vec<(&'static str, Found)>,
    key: Option<Answer>,
    came_encrypted: Option<Answer>,
}

impl Places {
    fn with(certificates: Vec<(&'static str, Found)>) -> Self {
        Self {
            certificates,
            ..Self::default()
        }
    }

    fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::RecipientCertificates(asked) => {
                let found = self
                    .certificates
                    .iter()
                    .find(|(own, _)| address(own) == *asked);
                Answer::Certificates(found.map(|(_, found)| found.clone()).unwrap_or_default())
            }
            Question::SenderKey(_) => self.key.clone().unwrap_or(Answer::SenderKey(false)),
            Question::CameEncrypted(_) => {
                let known = self.came_encrypted.clone();
                known.unwrap_or(Answer::CameEncrypted(false))
            }
        }
    }

    /// The plan, and all that was asked for it.
    fn plan(&self, mail: &Outgoing<'_>) -> (Plan, Vec<Question>) {
        let mut answers: Vec<Answered> = Vec::new();
        for _ in 0..8 {
            match step(mail, &answers) {
                Step::Done(plan) => {
                    let asked = answers.into_iter().map(|one| one.question).collect();
                    check(mail, &plan);
                    return (plan, asked);
                }
                Step::Ask(questions) => {
                    assert!(!questions.is_empty());
                    for question in questions {
                        let new = answers.iter().all(|one| one.question != question);
                        assert!(new, "asked twice: {question:?}");
                        let answer = self.answer(&question);
                        answers.push(Answered { question, answer });
                    }
                }
            }
        }
        panic!("there is no end of questions");
    }
}

/// What holds of every plan: each recipient stands in one group, and none of whom encryption is required gets the mail in
/// clear.
fn check(mail: &Outgoing<'_>, plan: &Plan) {
    let mut seen: Vec<usize> = plan
        .groups
        .iter()
        .flat_map(|g| g.recipients.clone())
        .collect();
    seen.sort_unstable();
    let all: Vec<usize> = (0..mail.recipients.len()).collect();
    assert_eq!(seen, all);
    for group in &plan.groups {
        let clear = match &group.course {
            Course::Clear => true,
            Course::Protect(protection) => protection.encryption.is_none(),
            Course::AsItIs | Course::Refuse(_) => false,
        };
        let must = |place: &usize| mail.recipients[*place].wish.encrypt == Encrypt::Must;
        assert!(!(clear && group.recipients.iter().any(must)), "{plan:?}");
    }
}

fn certificate(who: &str) -> Certificate {
    World::new().person(who).certificate
}

fn candidate(certificate: &Certificate, refused: Option<Reason>) -> Candidate {
    Candidate {
        certificate: certificate.clone(),
        refused,
        capabilities: None,
    }
}

fn good(certificate: &Certificate) -> Found {
    Found {
        candidates: vec![candidate(certificate, None)],
        unavailable: None,
    }
}

fn only(plan: &Plan) -> &Course {
    assert_eq!(plan.groups.len(), 1, "{plan:?}");
    &plan.groups[0].course
}

fn protection(course: &Course) -> &Protection {
    match course {
        Course::Protect(protection) => protection,
        other => panic!("{other:?}"),
    }
}

fn refusal(course: &Course) -> Refusal {
    match course {
        Course::Refuse(refusal) => *refusal,
        other => panic!("{other:?}"),
    }
}

const BOB: &str = "bob@partner.example";
const CAROL: &str = "carol@partner.example";
const GATEWAY_OF_PARTNER: &str = "domain-confidentiality-authority@partner.example";

/// Every wish, every state of a certificate, and the directory there and not there.
#[test]
fn what_is_required_goes_encrypted_or_not_at_all() {
    let bob = certificate(BOB);
    let states = [
        ("good", Some(None)),
        ("expired", Some(Some(Reason::CertificateExpired))),
        ("revoked", Some(Some(Reason::Revoked))),
        ("unknown", Some(Some(Reason::RevocationUnavailable))),
        ("absent", None),
    ];
    for (state, refused) in states {
        for down in [false, true] {
            let found = Found {
                candidates: refused
                    .map(|why| candidate(&bob, why))
                    .into_iter()
                    .collect(),
                unavailable: down.then_some(Unavailable::Directory),
            };
            let places = Places::with(vec![(BOB, found)]);
            for encrypt in EVERY_WISH {
                let what = format!("{state} {down} {encrypt:?}");
                let recipients = [to(BOB, wish(encrypt))];
                let (plan, asked) = places.plan(&outgoing(&recipients));
                let course = only(&plan);
                let encrypted = matches!(course, Course::Protect(p) if p.encryption.is_some());
                let expected = match (encrypt, state, down) {
                    (Encrypt::Never, ..) => {
                        assert!(asked.is_empty(), "{what}");
                        None
                    }
                    (_, "good", _) => {
                        assert!(encrypted, "{what}");
                        continue;
                    }
                    (Encrypt::Opportunistic, ..) => None,
                    (Encrypt::Must, _, true) => Some(Refusal::Unavailable(Unavailable::Directory)),
                    (Encrypt::Must, "unknown", false) => Some(Refusal::Status),
                    (Encrypt::Must, ..) => Some(Refusal::NoCertificate(Some(0))),
                };
                match expected {
                    None => assert!(matches!(course, Course::Clear), "{what}: {course:?}"),
                    Some(expected) => assert_eq!(refusal(course), expected, "{what}"),
                }
            }
        }
    }
}

#[test]
fn whoever_is_not_there_is_named_by_weight() {
    let bob = certificate(BOB);
    let recipients = [to(BOB, wish(Encrypt::Must))];
    for (unavailable, expected) in [
        (
            Some(Unavailable::Store),
            Refusal::Unavailable(Unavailable::Store),
        ),
        (
            Some(Unavailable::Directory),
            Refusal::Unavailable(Unavailable::Directory),
        ),
        (None, Refusal::Status),
    ] {
        let found = Found {
            candidates: vec![
                candidate(&bob, Some(Reason::Revoked)),
                candidate(&bob, Some(Reason::IssuerUnavailable)),
            ],
            unavailable,
        };
        let (plan, _) = Places::with(vec![(BOB, found)]).plan(&outgoing(&recipients));
        assert_eq!(refusal(only(&plan)), expected);
        assert!(expected.is_transient());
    }
    assert!(!Refusal::NoCertificate(Some(0)).is_transient() && !Refusal::Separately.is_transient());
    // An address that no certificate has.
    let odd = [To {
        address: None,
        ..recipients[0].clone()
    }];
    let (plan, asked) = Places::default().plan(&outgoing(&odd));
    assert_eq!(refusal(only(&plan)), Refusal::NoCertificate(Some(0)));
    assert!(asked.is_empty());
}

/// Nobody knows then which one an administrator put there.
#[test]
fn while_the_store_is_silent_no_directory_stands_for_it() {
    let bob = certificate(BOB);
    for (encrypt, unavailable, goes) in [
        (Encrypt::Must, Unavailable::Store, false),
        (Encrypt::Must, Unavailable::Directory, true),
        (Encrypt::Opportunistic, Unavailable::Store, true),
    ] {
        let found = Found {
            candidates: vec![candidate(&bob, None)],
            unavailable: Some(unavailable),
        };
        let recipients = [to(BOB, wish(encrypt))];
        let (plan, _) = Places::with(vec![(BOB, found)]).plan(&outgoing(&recipients));
        match goes {
            true => assert!(protection(only(&plan)).encryption.is_some()),
            false => assert_eq!(
                refusal(only(&plan)),
                Refusal::Unavailable(Unavailable::Store)
            ),
        }
    }
}

#[test]
fn those_who_are_seen_share_a_copy_and_the_others_get_their_own() {
    let (bob, carol) = (certificate(BOB), certificate(CAROL));
    let dave = "dave@partner.example";
    let places = Places::with(vec![
        (BOB, good(&bob)),
        (CAROL, good(&carol)),
        (dave, good(&certificate(dave))),
        (
            "eve@partner.example",
            good(&certificate("eve@partner.example")),
        ),
    ]);
    let must = wish(Encrypt::Must);
    let mut recipients = vec![
        to(BOB, must),
        to(dave, must),
        to(CAROL, wish(Encrypt::Opportunistic)),
        to("eve@partner.example", must),
        to("frank@elsewhere.example", wish(Encrypt::Never)),
        to("gina@partner.example", must),
    ];
    recipients[1].visible = false;
    recipients[3].visible = false;
    let (plan, _) = places.plan(&outgoing(&recipients));
    let shape: Vec<&[usize]> = plan.groups.iter().map(|g| &g.recipients[..]).collect();
    assert_eq!(shape, [&[0, 2][..], &[1], &[3], &[4], &[5]]);
    let readers = |at: usize| {
        let encryption = protection(&plan.groups[at].course).encryption.as_ref();
        encryption.unwrap().readers.len()
    };
    assert_eq!([readers(0), readers(1), readers(2)], [2, 1, 1]);
    assert!(protection(&plan.groups[0].course).required);
    assert!(matches!(plan.groups[3].course, Course::Clear));
    assert_eq!(
        refusal(&plan.groups[4].course),
        Refusal::NoCertificate(Some(5))
    );
    // Two mailboxes of one certificate are one reader.
    let places = Places::with(vec![(BOB, good(&bob)), (CAROL, good(&bob))]);
    let recipients = [to(BOB, must), to(CAROL, must)];
    let (plan, _) = places.plan(&outgoing(&recipients));
    let encryption = protection(only(&plan)).encryption.as_ref().unwrap();
    assert_eq!(encryption.readers.len(), 1);
}

#[test]
fn a_gateway_reads_for_its_domain_where_the_rule_says_so() {
    let (bob, gateway) = (certificate(BOB), certificate(GATEWAY_OF_PARTNER));
    let both = || {
        Places::with(vec![
            (BOB, good(&bob)),
            (GATEWAY_OF_PARTNER, good(&gateway)),
        ])
    };
    let only_gateway = || Places::with(vec![(GATEWAY_OF_PARTNER, good(&gateway))]);
    let only_bob = || Places::with(vec![(BOB, good(&bob))]);
    for (places, whose, expected, questions) in [
        (both(), Whose::Person, Some(&bob), 1),
        (both(), Whose::Domain, Some(&gateway), 1),
        (both(), Whose::Either, Some(&bob), 1),
        (only_gateway(), Whose::Person, None, 1),
        (only_gateway(), Whose::Either, Some(&gateway), 2),
        (only_bob(), Whose::Domain, None, 1),
        (Places::default(), Whose::Either, None, 2),
    ] {
        let recipients = [to(
            BOB,
            Wish {
                certificates: whose,
                ..wish(Encrypt::Must)
            },
        )];
        let (plan, asked) = places.plan(&outgoing(&recipients));
        assert_eq!(asked.len(), questions, "{whose:?}");
        match expected {
            Some(expected) => {
                let encryption = protection(only(&plan)).encryption.as_ref().unwrap();
                assert_eq!(encryption.readers[0].certificate, *expected);
            }
            None => assert_eq!(refusal(only(&plan)), Refusal::NoCertificate(Some(0))),
        }
    }
    // While the directory does not tell of the person, the gateway's is as good: the rule permits it.
    let silent = Found {
        candidates: Vec::new(),
        unavailable: Some(Unavailable::Directory),
    };
    let places = Places::with(vec![(BOB, silent), (GATEWAY_OF_PARTNER, good(&gateway))]);
    let recipients = [to(
        BOB,
        Wish {
            certificates: Whose::Either,
            ..wish(Encrypt::Must)
        },
    )];
    let (plan, _) = places.plan(&outgoing(&recipients));
    assert!(protection(only(&plan)).encryption.is_some());
}

fn answering<'a>(
    recipients: &'a [To],
    sender: &'a Address,
    answered: &'a [[u8; 32]],
) -> Outgoing<'a> {
    Outgoing {
        sender: Some(sender),
        answered,
        ..outgoing(recipients)
    }
}

/// DEC-14.
#[test]
fn an_answer_to_encrypted_mail_must_be_encrypted() {
    let alice = address("alice@own.example");
    let ids = [[7; 32]];
    let bob = certificate(BOB);
    let answers = |came: Answer, certificates| Places {
        came_encrypted: Some(came),
        ..Places::with(certificates)
    };
    for encrypt in [Encrypt::Never, Encrypt::Opportunistic] {
        let recipients = [to(BOB, wish(encrypt))];
        let mail = answering(&recipients, &alice, &ids);
        let (plan, _) = answers(Answer::CameEncrypted(true), vec![(BOB, good(&bob))]).plan(&mail);
        let protection = protection(only(&plan));
        assert!(protection.encryption.is_some() && protection.required);
        let (plan, _) = answers(Answer::CameEncrypted(true), vec![]).plan(&mail);
        assert_eq!(refusal(only(&plan)), Refusal::NoCertificate(Some(0)));
        let (plan, _) = answers(Answer::CameEncrypted(false), vec![]).plan(&mail);
        assert!(matches!(only(&plan), Course::Clear));
        // Where nobody can say, nothing goes in clear.
        let unknown = Answer::Unavailable(Unavailable::Store);
        let (plan, _) = answers(unknown, vec![]).plan(&mail);
        let expected = Refusal::Unavailable(Unavailable::Store);
        assert_eq!(refusal(only(&plan)), expected);
    }
    // Whoever else wrote it, the client has the same to quote.
    let recipients = [to(BOB, wish(Encrypt::Never))];
    let alias = Outgoing {
        sender: None,
        ..answering(&recipients, &alice, &ids)
    };
    let (plan, _) = answers(Answer::CameEncrypted(true), vec![]).plan(&alias);
    assert_eq!(refusal(only(&plan)), Refusal::NoCertificate(Some(0)));
    // A stranger is not told what came encrypted.
    let stranger = answering(&recipients, &alice, &[]);
    let by_rule = Outgoing {
        protecting: Protecting {
            replies: false,
            ..Protecting::default()
        },
        ..answering(&recipients, &alice, &ids)
    };
    for mail in [stranger, by_rule] {
        let (plan, asked) = answers(Answer::CameEncrypted(true), vec![]).plan(&mail);
        assert!(matches!(only(&plan), Course::Clear) && asked.is_empty());
    }
}

#[test]
fn a_signature_is_made_where_it_is_wished_and_can_be() {
    let alice = address("alice@own.example");
    let there = || Places {
        key: Some(Answer::SenderKey(true)),
        ..Places::default()
    };
    let recipients = |sign| {
        [to(
            BOB,
            Wish {
                sign,
                ..wish(Encrypt::Never)
            },
        )]
    };
    for (sign, expected) in [
        (Sign::Clear, Some(Form::Clear)),
        (Sign::Opaque, Some(Form::Opaque)),
        (Sign::Never, None),
        (Sign::Inside, None),
    ] {
        let recipients = recipients(sign);
        let proven = Outgoing {
            sender: Some(&alice),
            ..outgoing(&recipients)
        };
        let (plan, asked) = there().plan(&proven);
        match expected {
            Some(form) => {
                let protection = protection(only(&plan));
                assert_eq!(protection.sign, Some(form));
                assert_eq!(protection.header, Some(HeaderProtection::Clear));
                assert!(protection.encryption.is_none() && !protection.required);
            }
            None => assert!(matches!(only(&plan), Course::Clear) && asked.is_empty()),
        }
        // Nobody signs for one who was not proven.
        let (plan, asked) = there().plan(&outgoing(&recipients));
        assert!(matches!(only(&plan), Course::Clear) && asked.is_empty());
        // What is signed already stays as it is.
        let kept = Outgoing {
            shape: Shape::Kept,
            ..proven.clone()
        };
        assert!(matches!(only(&there().plan(&kept).0), Course::Clear));
        // Somebody without a key sends as ever.
        let (plan, _) = Places::default().plan(&proven);
        assert!(matches!(only(&plan), Course::Clear));
        if expected.is_none() {
            continue;
        }
        let gone = Places {
            key: Some(Answer::Unavailable(Unavailable::Keys)),
            ..Places::default()
        };
        let (plan, _) = gone.plan(&proven);
        let expected = Refusal::Unavailable(Unavailable::Keys);
        assert_eq!(refusal(only(&plan)), expected);
        let wrong_clock = Outgoing {
            clock: false,
            ..proven
        };
        assert_eq!(refusal(only(&there().plan(&wrong_clock).0)), Refusal::Clock);
    }
}

#[test]
fn a_cipher_without_integrity_gets_a_signature_inside() {
    let alice = address("alice@own.example");
    let bob = certificate(BOB);
    let modern = Found {
        candidates: vec![Candidate {
            capabilities: Some(Capabilities {
                ciphers: vec![GCM, CBC],
                oaep: true,
            }),
            ..candidate(&bob, None)
        }],
        unavailable: None,
    };
    let gcm = Protecting {
        unknown: Unknown::Gcm,
        ..Protecting::default()
    };
    let usual = Protecting::default();
    for (found, protecting, sign, cipher, signed) in [
        (good(&bob), usual, Sign::Inside, CBC, Some(Form::Clear)),
        (good(&bob), usual, Sign::Never, CBC, None),
        (good(&bob), usual, Sign::Opaque, CBC, Some(Form::Opaque)),
        (good(&bob), gcm, Sign::Inside, GCM, None),
        (modern.clone(), usual, Sign::Inside, GCM, None),
        (modern.clone(), usual, Sign::Clear, GCM, Some(Form::Clear)),
    ] {
        let recipients = [to(
            BOB,
            Wish {
                sign,
                ..wish(Encrypt::Must)
            },
        )];
        let mail = Outgoing {
            sender: Some(&alice),
            protecting,
            ..outgoing(&recipients)
        };
        let said = found.candidates[0].capabilities.is_some();
        let places = |key| Places {
            key: Some(key),
            ..Places::with(vec![(BOB, found.clone())])
        };
        let (plan, _) = places(Answer::SenderKey(true)).plan(&mail);
        let made = protection(only(&plan));
        let encryption = made.encryption.as_ref().unwrap();
        assert_eq!((encryption.cipher, made.sign), (cipher, signed));
        assert_eq!(encryption.readers[0].oaep, said);
        assert_eq!(made.header, Some(HeaderProtection::Cipher));
        // A signature that nobody asked for keeps no mail from being encrypted.
        if sign == Sign::Inside {
            let gone = Answer::Unavailable(Unavailable::Keys);
            let (plan, _) = places(gone).plan(&mail);
            assert_eq!(protection(only(&plan)).sign, None);
        }
    }
    let bare = Outgoing {
        protecting: Protecting {
            header: false,
            ..Protecting::default()
        },
        ..outgoing(&[])
    };
    let recipients = [to(BOB, wish(Encrypt::Must))];
    let bare = Outgoing {
        recipients: &recipients,
        ..bare
    };
    let (plan, _) = Places::with(vec![(BOB, good(&bob))]).plan(&bare);
    assert_eq!(protection(only(&plan)).header, None);
}

#[test]
fn what_is_encrypted_already_goes_as_it_is() {
    for encrypt in EVERY_WISH {
        let recipients = [to(BOB, wish(encrypt)), to(CAROL, wish(encrypt))];
        let mail = Outgoing {
            shape: Shape::Encrypted,
            examined: false,
            clock: false,
            ..outgoing(&recipients)
        };
        let (plan, asked) = Places::default().plan(&mail);
        assert!(matches!(only(&plan), Course::AsItIs) && asked.is_empty());
    }
}

#[test]
fn what_cannot_be_looked_at_is_not_let_out() {
    let bob = certificate(BOB);
    let places = Places::with(vec![(BOB, good(&bob))]);
    for encrypt in EVERY_WISH {
        let recipients = [to(BOB, wish(encrypt))];
        let usual = outgoing(&recipients);
        for (mail, expected) in [
            (
                Outgoing {
                    examined: false,
                    ..usual.clone()
                },
                Refusal::Limits,
            ),
            (
                Outgoing {
                    clock: false,
                    ..usual.clone()
                },
                Refusal::Clock,
            ),
        ] {
            let (plan, asked) = places.plan(&mail);
            assert!(asked.is_empty());
            match encrypt {
                Encrypt::Must => assert_eq!(refusal(only(&plan)), expected),
                _ => assert!(matches!(only(&plan), Course::Clear)),
            }
        }
    }
}

/// A gateway that has the key opens no copy that names it twice.
#[test]
fn no_copy_names_one_key_by_two_certificates() {
    let world = World::new();
    let bob = world.person(BOB);
    let key = SoftKey::from_pkcs8(&bob.key.to_pkcs8().unwrap()).unwrap();
    let again = world.issue(key, |certificate| certificate.mail_signer(&[CAROL]));
    let dave = "dave@partner.example";
    let places = || {
        Places::with(vec![
            (BOB, good(&bob.certificate)),
            (CAROL, good(&again.certificate)),
            (dave, good(&certificate(dave))),
        ])
    };
    let must = wish(Encrypt::Must);
    let recipients = [
        to(BOB, must),
        to(CAROL, must),
        to(dave, must),
        to(CAROL, must),
        to(BOB, must),
    ];
    let (plan, _) = places().plan(&outgoing(&recipients));
    let shared: Vec<(&[usize], usize)> = plan
        .groups
        .iter()
        .map(|group| {
            let encryption = protection(&group.course).encryption.as_ref().unwrap();
            (group.recipients.as_slice(), encryption.readers.len())
        })
        .collect();
    assert_eq!(shared, [(&[0, 2, 4][..], 2), (&[1, 3][..], 1)]);
    // One body is for all of them; each finds the own certificate named.
    let mail = Outgoing {
        one_body: true,
        ..outgoing(&recipients)
    };
    let (plan, _) = places().plan(&mail);
    let encryption = protection(only(&plan)).encryption.as_ref().unwrap();
    assert_eq!(encryption.readers.len(), 3);
}

#[test]
fn one_body_is_one_copy_or_none() {
    let (bob, carol) = (certificate(BOB), certificate(CAROL));
    let places = || Places::with(vec![(BOB, good(&bob)), (CAROL, good(&carol))]);
    let must = wish(Encrypt::Must);
    let maybe = wish(Encrypt::Opportunistic);
    let nobody = "nobody@partner.example";
    let hidden = |mut one: To| {
        one.visible = false;
        one
    };
    let course = |recipients: &[To]| {
        let mail = Outgoing {
            one_body: true,
            ..outgoing(recipients)
        };
        let (plan, _) = places().plan(&mail);
        only(&plan).clone()
    };
    let encrypted =
        |course: &Course| matches!(course, Course::Protect(p) if p.encryption.is_some());
    assert!(encrypted(&course(&[to(BOB, must), to(CAROL, maybe)])));
    assert!(encrypted(&course(&[hidden(to(BOB, must))])));
    let separately = [
        vec![to(BOB, must), hidden(to(CAROL, must))],
        vec![to(BOB, must), to(nobody, wish(Encrypt::Never))],
        vec![to(BOB, must), to(nobody, maybe)],
    ];
    for recipients in separately {
        assert_eq!(refusal(&course(&recipients)), Refusal::Separately);
    }
    let refused = course(&[to(BOB, must), to(nobody, must)]);
    assert_eq!(refusal(&refused), Refusal::NoCertificate(Some(1)));
    // However many: another try brings no more, and is not asked for.
    let crowd = |wish: Wish| vec![hidden(to(BOB, wish)); 20];
    assert_eq!(refusal(&course(&crowd(must))), Refusal::Separately);
    assert!(matches!(course(&crowd(maybe)), Course::Clear));
    // Nobody asks for more.
    let mixed = course(&[to(BOB, maybe), to(nobody, maybe)]);
    assert!(matches!(mixed, Course::Clear));
}

#[test]
fn one_body_is_signed_where_all_want_it_so() {
    let alice = address("alice@own.example");
    let bob = certificate(BOB);
    let signed = |encrypt, sign| Wish {
        sign,
        ..wish(encrypt)
    };
    let places = Places {
        key: Some(Answer::SenderKey(true)),
        ..Places::with(vec![(BOB, good(&bob))])
    };
    for (other, expected) in [(Sign::Clear, Some(Form::Clear)), (Sign::Opaque, None)] {
        let recipients = [
            to(BOB, signed(Encrypt::Opportunistic, Sign::Clear)),
            to(CAROL, signed(Encrypt::Never, other)),
        ];
        let mail = Outgoing {
            one_body: true,
            sender: Some(&alice),
            ..outgoing(&recipients)
        };
        let (plan, _) = places.plan(&mail);
        match expected {
            Some(form) => {
                let protection = protection(only(&plan));
                assert_eq!(protection.sign, Some(form));
                assert!(protection.encryption.is_none());
                assert_eq!(protection.header, Some(HeaderProtection::Clear));
            }
            None => assert!(matches!(only(&plan), Course::Clear)),
        }
    }
}

#[test]
fn a_mail_has_not_more_copies_and_refusals_than_can_be_sent_and_read() {
    let bob = certificate(BOB);
    let names: Vec<String> = (0..40).map(|n| format!("p{n}@partner.example")).collect();
    let must = wish(Encrypt::Must);
    let recipients: Vec<To> = names
        .iter()
        .map(|name| To {
            visible: false,
            ..to(name, must)
        })
        .collect();
    let mail = outgoing(&recipients);
    let answered = |found: &Found| -> Vec<Answered> {
        let Step::Ask(questions) = step(&mail, &[]) else {
            panic!("there is something to ask");
        };
        assert_eq!(questions.len(), 40);
        let answers = questions.into_iter().map(|question| Answered {
            question,
            answer: Answer::Certificates(found.clone()),
        });
        answers.collect()
    };
    let plan = |found: &Found| match step(&mail, &answered(found)) {
        Step::Done(plan) => plan,
        Step::Ask(questions) => panic!("{questions:?}"),
    };
    let encrypted = plan(&good(&bob));
    check(&mail, &encrypted);
    assert_eq!(encrypted.groups.len(), 9);
    let last = encrypted.groups.last().unwrap();
    assert_eq!(refusal(&last.course), Refusal::Copies);
    assert!(Refusal::Copies.is_transient() && last.recipients.len() == 32);
    let refused = plan(&Found::default());
    check(&mail, &refused);
    assert_eq!(refused.groups.len(), 5);
    let last = refused.groups.last().unwrap();
    assert_eq!(refusal(&last.course), Refusal::NoCertificate(None));
    assert_eq!(last.recipients.len(), 36);
}
