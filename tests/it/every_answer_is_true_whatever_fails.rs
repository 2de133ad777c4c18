//! The ledger's invariants under seeded chaos: clients that leave at any moment, a next hop that
//! refuses, dies or keeps and dies. Every mail answered 250 is at the sink; nothing is there whose
//! last answer was a refusal; what is there twice was in doubt; afterwards nothing is left open.

use std::collections::BTreeMap;
use std::sync::Mutex;

use kenin_tests::client::{Client, stuffed};
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::sink::{Behaviour, Dot, Sink, fields};
use kenin_tests::world::{Dice, files, wait_for};

/// What the client knows of a mail in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Accepted,
    Refused,
    /// The dot was sent (perhaps), no answer read.
    Doubt,
    /// The dot was never sent.
    Unsent,
}

/// What the sink will do with a mail is written in its subject.
const FATES: [&str; 4] = ["accept", "refuse", "die", "keep-and-die"];

fn behaviour() -> Behaviour {
    Behaviour::default().at_dot(
        |_, mail| match fields(&mail.raw, "Subject").concat().as_str() {
            "refuse" => Dot::Reply("451 4.3.0 later".to_owned()),
            "die" => Dot::Die,
            "keep-and-die" => Dot::KeepAndDie,
            _ => Dot::Accept,
        },
    )
}

fn one(gateway: &Gateway, dice: &mut Dice, id: &str, fate: &str) -> Known {
    let mut client = Client::connect(gateway.address);
    let leave = dice.below(12);
    let head = format!("From: a@b.example\r\nSubject: {fate}\r\nMessage-ID: {id}\r\n\r\n");
    let raw = [
        head.as_bytes(),
        "line\r\n".repeat(dice.below(2000) as usize).as_bytes(),
    ]
    .concat();
    let lines = [
        "",
        "EHLO x.example",
        "MAIL FROM:<a@b.example>",
        "RCPT TO:<c@d.example>",
        "DATA",
    ];
    for (n, line) in lines.iter().enumerate() {
        if leave == n as u64 {
            return Known::Unsent;
        }
        let reply = if line.is_empty() {
            client.reply()
        } else {
            client.try_command(line)
        };
        match reply {
            Some(reply) if reply.code < 400 => {}
            _ => return Known::Unsent,
        }
    }
    let wire = stuffed(&raw);
    match leave {
        5 => {
            let cut = dice.below(wire.len() as u64 - 5) as usize;
            client.send(&wire[..cut]);
            Known::Unsent
        }
        6 => {
            client.send(&wire);
            Known::Doubt
        }
        _ => {
            client.send(&wire);
            match client.reply() {
                Some(reply) if reply.code == 250 => Known::Accepted,
                Some(_) => Known::Refused,
                None => Known::Doubt,
            }
        }
    }
}

#[test]
fn invariants_hold_under_seeded_chaos() {
    let sink = Sink::with(behaviour());
    let mut gateway = Gateway::start(&Setup::new(sink.address));
    let pid = gateway.process().pid().as_raw_nonzero();
    let open = || {
        std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .count()
    };
    // The first mail opens what stays open.
    let _ = one(&gateway, &mut Dice::new(1), "<first@x.example>", "accept");
    let before = open();
    let ledger: Mutex<BTreeMap<String, (Known, &str)>> = Mutex::default();
    let gateway_ref = &gateway;
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let ledger = &ledger;
            scope.spawn(move || {
                let mut dice = Dice::new(0xc4a0 + worker);
                for n in 0..60 {
                    let id = format!("<{worker}.{n}@chaos.example>");
                    let fate = FATES[dice.below(4) as usize];
                    let known = one(gateway_ref, &mut dice, &id, fate);
                    ledger.lock().unwrap().insert(id, (known, fate));
                }
            });
        }
    });
    wait_for("nothing is left open", || open() <= before + 1);
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    for mail in sink.mails() {
        *copies
            .entry(fields(&mail.raw, "Message-ID").concat())
            .or_default() += 1;
        assert_eq!(mail.fields("Authentication-Results").len(), 1);
    }
    let ledger = ledger.into_inner().unwrap();
    let mut seen = BTreeMap::new();
    for (id, (known, fate)) in &ledger {
        let count = copies.get(id).copied().unwrap_or(0);
        let right = match (known, *fate) {
            (Known::Accepted, "accept") => count == 1,
            (Known::Accepted, _) => false,
            // The next hop kept it and died: the answer was a tempfail, and it was in doubt.
            (Known::Refused, "keep-and-die") => count == 1,
            (Known::Refused | Known::Unsent, _) => count == 0,
            (Known::Doubt, _) => count <= 1,
        };
        assert!(right, "{id}: {known:?}, {fate}, {count} at the sink");
        *seen.entry(format!("{known:?} {fate}")).or_insert(0) += 1;
    }
    println!("{seen:#?}");
    assert!(seen.len() >= 10, "{seen:?}");
    let left = files(&gateway.folder.join("state"));
    assert!(
        left.iter()
            .all(|path| path.to_string_lossy().contains("sqlite")),
        "{left:?}"
    );
    assert_eq!(gateway.client().command("NOOP").code, 250);
}
