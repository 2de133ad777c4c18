use std::fmt::Debug;

use kenin_keys::KeyId;
use kenin_keys::protocol::Transaction;
use kenin_pki::crl::{RevocationReason, RevokedEntry};
use kenin_pki::crypto::{
    Aes, ContentKind, DigestAlgorithm, KeyType, SignatureAlgorithm, SigningKey, SoftKey,
};
use kenin_pki::issue::{CertificateBuilder, common_name};
use kenin_policy::verdict::{
    CheckResult, EncryptionVerdict, LayerVerdict, NoteVerdict, SignerVerdict,
};
use kenin_policy::{Disclosure, NoteId, Question, Reason, ResultWord, protect};
use kenin_smime::Capabilities;
use kenin_smtp_filter::{Confided, Division, Edit, Envelope, Group, Reply, Share, Treatment};
use proptest::prelude::*;

use super::decided::{check, room};
use super::question::{Errand, Given, List};
use super::*;
use crate::act::Decided;
use crate::clock::{Moment, Trust};
use crate::opening::{Answers, Arrival, Closed, NoRoom, State};
use crate::pipeline::tests::{mail, mail_to};
use crate::substitute::tests::signed;

pub(in crate::worker) fn decided(treatment: Treatment) -> Decided {
    Decided {
        verdict: signed(),
        treatment,
        action: "stamp",
        changed: vec![0, 3],
        sealed: "",
        clock: Trust::Jumped,
        rule: Some(7),
        bodies: vec![true, false],
        protected: vec!["signed-encrypted", "encrypted"],
        states: vec![State::Opened, State::Throttled],
        discreet: true,
    }
}

/// What comes out at the other end; whatever is cut off, it is an error and nothing else.
fn through<T: Coded>(what: &T) -> T {
    let octets = written(what);
    for cut in 0..octets.len() {
        assert!(read::<T>(&octets[..cut]).is_err(), "{cut}");
    }
    let more = [&octets[..], b"x"].concat();
    assert!(read::<T>(&more).is_err());
    let read = read(&octets).unwrap();
    assert_eq!(written(&read), octets);
    read
}

fn shown(what: &impl Debug) -> String {
    format!("{what:?}")
}

#[test]
fn a_verdict_is_the_same_at_the_other_end() {
    let mut verdict = signed();
    let signature = &mut verdict.signatures[0];
    signature.reason = Reason::Revoked;
    signature.result = ResultWord::Fail;
    signature.checks.revocation = CheckResult::Failed(Reason::Revoked);
    signature.checks.content = CheckResult::Ok;
    signature.signer = Some(SignerVerdict {
        addresses: vec!["アリス@example.jp".to_owned()],
        identifier: None,
        subject: "CN=A\\,B".to_owned(),
        issuer: String::new(),
        serial: "01".to_owned(),
        sha256: "ab".repeat(32),
    });
    signature.revoked = Some(("2026-01-01T00:00:00Z".to_owned(), Some(1)));
    signature.disclosure = Disclosure::VerdictOnly;
    signature.traces = vec![vec![1, 2], Vec::new()];
    signature.within = vec!["1/2".to_owned()];
    signature.notes.push(NoteVerdict {
        id: NoteId::MicalgOdd,
        section: Some("2".to_owned()),
    });
    verdict.layers.push(LayerVerdict {
        section: "1".to_owned(),
        kind: "clear-signed",
        root: true,
    });
    verdict.encryption.push(EncryptionVerdict {
        section: "1".to_owned(),
        opened: false,
        reason: "undecryptable",
        content: "aes256-cbc".to_owned(),
        integrity: "none".to_owned(),
        recipients: 2,
    });
    assert_eq!(shown(&through(&verdict)), shown(&verdict));
    for reason in Reason::ALL {
        assert_eq!(through(reason), *reason);
    }
    for note in NoteId::ALL {
        assert_eq!(through(&note), note);
    }
    // A word that nobody here says is none.
    assert!(read::<&str>(&written(&"opened by magic".to_owned())).is_err());
}

#[test]
fn what_was_decided_is_the_same_at_the_other_end() {
    let edits = vec![
        Edit::Prepend(b"A: b\r\n".to_vec()),
        Edit::Remove(1..5),
        Edit::Insert(7, b"\r\n ".to_vec()),
        Edit::Body(9, vec![0; 3].into()),
    ];
    let refusal = Reply::new(550, "5.7.1", "No").line("not at all");
    for treatment in [
        Treatment::Relay(edits.clone()),
        Treatment::Refuse(refusal.clone()),
        Treatment::Refuse(Reply::plain(451, "later")),
        Treatment::Quarantine {
            edits: edits.clone(),
            reason: "why".to_owned(),
        },
        Treatment::Divide(vec![
            Group {
                recipients: vec![0, 2],
                share: Share::Relay(edits),
            },
            Group {
                recipients: vec![1],
                share: Share::Refuse(refusal),
            },
            Group {
                recipients: vec![3],
                share: Share::Hold {
                    edits: vec![Edit::Prepend(b"A: b\r\n".to_vec())],
                    reason: "why".to_owned(),
                },
            },
            Group {
                recipients: vec![4],
                share: Share::Confide(Confided {
                    content: Some(b"C: d\r\n\r\n".to_vec().into()),
                    edits: vec![Edit::ReturnPath("a@b.example".to_owned())],
                    return_path: Some("a@b.example".to_owned()),
                    reason: "why".to_owned(),
                }),
            },
            Group {
                recipients: Vec::new(),
                share: Share::Had,
            },
        ]),
    ] {
        let before = decided(treatment);
        let after = through(&before);
        assert_eq!(shown(&after.treatment), shown(&before.treatment));
        assert_eq!(shown(&after.verdict), shown(&before.verdict));
        assert_eq!(
            (after.action, after.sealed, after.clock, after.rule),
            (before.action, before.sealed, before.clock, before.rule)
        );
        assert_eq!(
            (after.changed, after.bodies, after.protected),
            (before.changed, before.bodies, before.protected)
        );
        assert_eq!(
            (after.states, after.discreet),
            (before.states, before.discreet)
        );
    }
}

/// DEC-15: what goes to no file on one side goes to none on the other.
#[test]
fn what_was_opened_stays_what_it_is_at_the_other_end() {
    let opened = Plain::new(Secret::new(b"canary".to_vec()), None);
    let after = through(&MailBytes::from(opened));
    assert!(after.is_lent());
    assert_eq!(&after[..], b"canary");
    assert!(!through(&MailBytes::from(b"mail".to_vec())).is_lent());
}

#[test]
fn an_envelope_and_a_time_are_the_same_at_the_other_end() {
    let mut envelope = Envelope::clone(&mail("b@example.net", "x").envelope);
    envelope.size = Some(u64::MAX);
    envelope.client = "[2001:db8::1]:65535".parse().unwrap();
    envelope.authenticated = Some("alice".to_owned());
    envelope.xforward.addr = Some("192.0.2.1".to_owned());
    envelope.division = Division::Answers;
    assert_eq!(shown(&through(&envelope)), shown(&envelope));
    let now = Moment {
        time: UNIX_EPOCH + Duration::new(1_800_000_000, 5),
        trust: Trust::Yes,
    };
    assert_eq!(shown(&through(&now)), shown(&now));
}

pub(in crate::worker) fn plan_answers() -> Vec<protect::Answered> {
    let address = Address::parse("b@example.jp").unwrap();
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let certificate = CertificateBuilder::new(common_name("B").unwrap(), key.public_key())
        .self_signed(&key)
        .unwrap();
    let found = protect::Found {
        candidates: vec![protect::Candidate {
            certificate,
            refused: Some(Reason::Revoked),
            capabilities: Some(Capabilities {
                ciphers: CIPHERS.to_vec(),
                oaep: true,
            }),
        }],
        unavailable: Some(protect::Unavailable::Directory),
    };
    let answers = [
        protect::Answer::Certificates(found),
        protect::Answer::SenderKey(true),
        protect::Answer::CameEncrypted(false),
        protect::Answer::Unavailable(protect::Unavailable::Keys),
        protect::Answer::Unavailable(protect::Unavailable::Store),
    ];
    let question = protect::Question::RecipientCertificates(address);
    let answered = answers.into_iter().map(|answer| protect::Answered {
        question: question.clone(),
        answer,
    });
    answered.collect()
}

fn arrival(octets: Option<usize>, wait: bool) -> Arrival {
    Arrival {
        message_ids: vec![[3; 32], [4; 32]],
        digests: vec![[5; 32], [6; 32]],
        answers: Answers::of(b"From: a@b\r\nMessage-ID: <1@b>\r\n\r\n"),
        octets,
        wait,
        grant: wait,
    }
}

const CIPHERS: [ContentKind; 7] = [
    ContentKind::AesCbc(Aes::Bits128),
    ContentKind::AesCbc(Aes::Bits192),
    ContentKind::AesCbc(Aes::Bits256),
    ContentKind::AesGcm(Aes::Bits128),
    ContentKind::AesGcm(Aes::Bits192),
    ContentKind::AesGcm(Aes::Bits256),
    ContentKind::ChaCha20Poly1305,
];

#[test]
fn questions_and_answers_are_the_same_at_the_other_end() {
    let registration = Question::Registration {
        certificate: [7; 32],
        address: Address::parse("a@example.jp").unwrap(),
    };
    for ask in [
        Ask::Questions(vec![registration]),
        Ask::Entry {
            list: [1; 32],
            issuer: 0,
            serial: vec![1, 2, 3],
        },
        Ask::Statement(b"a.b".to_vec()),
        Ask::Wrapping(
            SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256),
            vec![0x31, 0],
        ),
        Ask::Protection(vec![
            protect::Question::RecipientCertificates(Address::parse("b@example.jp").unwrap()),
            protect::Question::SenderKey(Address::parse("a@example.jp").unwrap()),
            protect::Question::CameEncrypted(vec![[3; 32], [4; 32]]),
        ]),
        Ask::Author(
            SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha384),
            vec![0x31, 0],
        ),
        Ask::Office(Errand::Grant),
        Ask::Office(Errand::Admit(arrival(Some(1 << 20), true))),
        Ask::Office(Errand::Admit(arrival(None, false))),
        Ask::Office(Errand::Room(1 << 20, true)),
        Ask::Office(Errand::Opened(
            vec![(
                Address::parse("b@example.jp").unwrap(),
                KeyId::from_octets([9; 16]),
            )],
            vec![[7; 32], [8; 32]],
        )),
    ] {
        assert_eq!(shown(&through(&ask)), shown(&ask));
    }
    let entry = RevokedEntry {
        date: UnixTime(-1),
        reason: RevocationReason::KeyCompromise,
        invalidity_date: Some(UnixTime(5)),
    };
    for told in [
        Told::Given(vec![
            Given::Issuers(Vec::new()),
            Given::Status {
                lists: vec![List::Known([9; 32]), List::Whole(vec![0x30, 0])],
                ocsp: Vec::new(),
                unasked: true,
            },
            Given::Registered(true),
            Given::Unavailable("nobody answers".to_owned()),
        ]),
        Told::Entry(Some(entry)),
        Told::Entry(None),
        Told::Signature(Some(vec![1])),
        Told::Protection(plan_answers()),
        Told::Granted(Some(Transaction::from_octets([1; 16]))),
        Told::Granted(None),
        Told::Admitted {
            firsts: vec![vec![1; 32], vec![2; 32]],
            granted: Some(Transaction::from_octets([1; 16])),
        },
        Told::Admitted {
            firsts: Vec::new(),
            granted: None,
        },
        Told::Done,
        Told::Closed(Closed::Memory),
        Told::Closed(Closed::Record),
        Told::Closed(Closed::Full),
        Told::Closed(Closed::Storage),
        Told::NoRoom(NoRoom::Now),
        Told::NoRoom(NoRoom::Ever),
    ] {
        assert_eq!(shown(&through(&told)), shown(&told));
    }
}

/// A8: a worker that has been taken over says whatever it likes.
#[test]
fn what_cannot_be_done_with_the_mail_was_not_decided() {
    let to = ["a@b.example", "c@d.example"];
    let copies = mail_to(&to, "0123456789", Division::Copies);
    let whole = mail_to(&to, "0123456789", Division::Never);
    let group = |recipients: &[usize], share: Share| Group {
        recipients: recipients.to_vec(),
        share,
    };
    let relay = Treatment::Relay;
    let body = || Edit::Body(10, vec![0].into());
    let confided = |end: usize| {
        Share::Confide(Confided {
            content: Some(vec![b'x'; 20].into()),
            edits: vec![Edit::Remove(0..end)],
            return_path: None,
            reason: String::new(),
        })
    };
    let good = [
        relay(vec![
            Edit::Remove(0..10),
            Edit::Insert(10, Vec::new()),
            body(),
        ]),
        Treatment::Refuse(Reply::aborted()),
        Treatment::Divide(vec![group(&[1], Share::Had), group(&[0], Share::Had)]),
        // Its edits are those of another message.
        Treatment::Divide(vec![group(&[0, 1], confided(20))]),
    ];
    for treatment in good {
        let found = check(&decided(treatment), &copies.envelope, 10);
        assert_eq!(found, Ok(()));
    }
    let bad = [
        relay(vec![Edit::Remove(0..11)]),
        relay(vec![Edit::Insert(11, Vec::new())]),
        relay(vec![Edit::Body(11, vec![0].into())]),
        relay(vec![body(), body()]),
        Treatment::Quarantine {
            edits: vec![Edit::Remove(9..usize::MAX)],
            reason: String::new(),
        },
        Treatment::Divide(vec![group(&[0], Share::Had)]),
        Treatment::Divide(vec![group(&[0, 1], Share::Had), group(&[1], Share::Had)]),
        Treatment::Divide(vec![group(&[0, 1, 2], Share::Had)]),
        Treatment::Divide(vec![group(
            &[0, 1],
            Share::Relay(vec![Edit::Remove(0..11)]),
        )]),
        Treatment::Divide(vec![group(&[0, 1], confided(21))]),
    ];
    for treatment in bad {
        let text = shown(&treatment);
        let found = check(&decided(treatment), &copies.envelope, 10);
        assert!(found.is_err(), "{text}");
    }
    let divided = Treatment::Divide(vec![group(&[0, 1], Share::Had)]);
    assert!(check(&decided(divided), &whole.envelope, 10).is_err());
}

#[test]
fn lengths_that_are_only_claimed_cost_nothing() {
    let claimed = [0xff; 4];
    assert_eq!(read::<Vec<u8>>(&claimed), Err(Malformed("ends early")));
    assert!(read::<Vec<String>>(&claimed).is_err());
    assert!(read::<String>(&claimed).is_err());
    // A range must not end before it begins.
    assert!(read::<Range<usize>>(&written(&(5_usize, 4_usize))).is_err());
}

/// KEY-01: what was opened lay also where the vector had been before it grew.
#[test]
fn what_was_opened_is_written_where_it_stays() {
    let opened = || vec![b'x'; 300_000];
    let confided = Confided {
        content: Some(opened().into()),
        edits: vec![Edit::Body(9, opened().into()), Edit::Prepend(opened())],
        return_path: None,
        reason: String::new(),
    };
    let group = |share: Share| Group {
        recipients: vec![0],
        share,
    };
    let edits = vec![Edit::Remove(1..5), Edit::Body(9, opened().into())];
    for treatment in [
        Treatment::Divide(vec![
            group(Share::Confide(confided)),
            group(Share::Relay(edits.clone())),
        ]),
        Treatment::Relay(edits.clone()),
        Treatment::Quarantine {
            edits,
            reason: "why".to_owned(),
        },
    ] {
        let decided = decided(treatment);
        let octets = written_in_room(&decided, room(&decided));
        assert_eq!(octets, written(&decided));
        // No vector that grew has just the room that it was made with.
        assert_eq!(octets.capacity(), room(&decided));
    }
}

proptest! {
    /// Whatever a worker says, it is read or it is not, and nothing else happens.
    #[test]
    fn octets_of_anybody_are_no_danger(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = read::<Decided>(&octets);
        let _ = read::<Ask>(&octets);
        let _ = read::<Option<(Certificate, bool)>>(&octets);
    }

    #[test]
    fn what_was_nearly_right_is_no_danger(
        places in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let edits = vec![Edit::Remove(1..5), Edit::Body(9, vec![0; 3].into())];
        let mut octets = written(&decided(Treatment::Relay(edits)));
        for (place, value) in places {
            let place = place.index(octets.len());
            octets[place] = value;
        }
        let envelope = mail("b@example.net", "0123456789").envelope;
        if let Ok(decided) = read::<Decided>(&octets) {
            let _ = check(&decided, &envelope, 10);
        }
    }
}
