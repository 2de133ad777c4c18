use std::time::{Duration, UNIX_EPOCH};

use kenin_pki::address::Address;
use kenin_policy::{Question, Reason};
use kenin_smtp_filter::{Confided, Group, Reply};

use super::super::What;
use super::super::codec::question::{Errand, Given};
use super::super::codec::tests::{decided as decided_to, plan_answers};
use super::*;
use crate::clock::{Moment, Trust};
use crate::config::Config;
use crate::fuzzing::tests::hold;
use crate::init::{InitOptions, Mode, postfix};
use crate::snapshot::Snapshot;

fn framed(kind: Kind, what: &impl Coded) -> Vec<u8> {
    let mut octets = Vec::new();
    send(&mut octets, kind, &written(what)).unwrap();
    octets
}

fn job(what: What) -> Vec<u8> {
    let mail = usual();
    let job = Job {
        what,
        envelope: mail.envelope,
        author: Some(Address::parse("a@example.net").unwrap()),
        signatory: None,
        now: Moment {
            time: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            trust: Trust::Yes,
        },
        had: vec![1],
        keys: Vec::new(),
    };
    let raw = mail.raw.to_vec();
    let here = Here;
    framed(Kind::Job, &Sent { job, here, raw })
}

/// What becomes of the usual mail, where the edge believes it.
fn treatments() -> Vec<Treatment> {
    let edits = || {
        vec![
            Edit::Prepend(b"A: b\r\n".to_vec()),
            Edit::Remove(0..21),
            Edit::Insert(30, b"[t] ".to_vec()),
            Edit::Body(35, b"new\r\n".to_vec().into()),
        ]
    };
    let confided = Confided {
        content: Some(b"C: d\r\n\r\n".to_vec().into()),
        edits: vec![Edit::Remove(0..6), Edit::ReturnPath(String::new())],
        return_path: Some("r@example.jp".to_owned()),
        reason: "why".to_owned(),
    };
    let all = vec![
        Treatment::Relay(edits()),
        Treatment::Refuse(Reply::new(550, "5.7.1", "No").line("not at all")),
        Treatment::Quarantine {
            edits: edits(),
            reason: "why".to_owned(),
        },
        Treatment::Divide(vec![
            Group {
                recipients: vec![1],
                share: Share::Confide(confided),
            },
            Group {
                recipients: vec![0],
                share: Share::Hold {
                    edits: edits(),
                    reason: "why".to_owned(),
                },
            },
        ]),
    ];
    let mail = usual();
    for treatment in &all {
        let found = decided_to(treatment.clone());
        assert_eq!(
            decided::check(&found, &mail.envelope, mail.raw.len()),
            Ok(())
        );
        if let Treatment::Relay(edits) = treatment {
            assert!(Outgoing::new(mail.raw.clone(), b"", edits).is_some());
        }
    }
    all
}

#[test]
fn what_edge_and_worker_say_holds_whatever_octet_changes() {
    let mut decided = job(What::Decide);
    for treatment in treatments() {
        decided.extend(framed(Kind::Decided, &decided_to(treatment)));
    }
    let asked = [
        Ask::Questions(vec![Question::Registration {
            certificate: [7; 32],
            address: Address::parse("a@example.net").unwrap(),
        }]),
        Ask::Entry {
            list: [1; 32],
            issuer: 0,
            serial: vec![1, 2, 3],
        },
        Ask::Statement(b"a.b".to_vec()),
        Ask::Office(Errand::Room(1 << 20, true)),
    ];
    let mut talk: Vec<u8> = asked
        .iter()
        .flat_map(|ask| framed(Kind::Ask, ask))
        .collect();
    for told in [
        Told::Given(vec![Given::Registered(true)]),
        Told::Entry(None),
        Told::Signature(Some(vec![1])),
        Told::Protection(plan_answers()),
        Told::Done,
    ] {
        talk.extend(framed(Kind::Told, &told));
    }
    talk.extend(framed(Kind::Found, &None::<harvest::Found>));
    send(&mut talk, Kind::Ready, b"").unwrap();
    let inputs = [
        ("decided", decided),
        ("stamped", job(What::Stamp(Reason::Malformed))),
        ("looked_for", job(What::Find("ab".repeat(32)))),
        ("talk", talk),
    ];
    hold("worker_frame", frames, &inputs);
}

#[tokio::test]
async fn what_a_worker_judges_by_holds_whatever_octet_changes() {
    let dir = tempfile::tempdir().unwrap();
    let options = InitOptions {
        dir: dir.path().join("etc"),
        state_dir: dir.path().join("state"),
        ..InitOptions::new(Mode::BeforeQueue, "gw.example.jp")
    };
    postfix(&options).unwrap();
    let file = dir.path().join("etc/kenin.toml");
    std::fs::write(&file, SHORT).unwrap();
    let config = Config::load(&[file]).unwrap();
    let snapshot = Snapshot::build(Arc::new(config), None).await.unwrap();
    let outfit = framed(Kind::Outfit, &Outfit::of(&snapshot));
    assert!(again::<Outfit>(&outfit[5..]).is_some());
    hold("worker_frame", frames, &[("outfit", outfit)]);
}

/// The shortest settings.
const SHORT: &str = r#"
hostname = "gw.example.jp"
state_dir = "../state"
[[listener]]
address = "127.0.0.1:10025"
mode = "before-queue"
[next_hop]
address = "127.0.0.1:10026"
"#;
