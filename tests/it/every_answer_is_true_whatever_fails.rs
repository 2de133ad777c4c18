//! The ledger's invariants under seeded chaos: clients that leave at any moment, a next hop that
//! refuses, dies or keeps and dies. Every mail answered 250 is at the sink; nothing is there whose
//! last answer was a refusal; what is there twice was in doubt; afterwards nothing is left open.

use std::collections::BTreeSet;
use std::sync::Mutex;

use kenin_tests::client::Envelope;
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::ledger::{Answers, Circumstances, Courier, Leave, Ledger, Truth};
use kenin_tests::sink::{Behaviour, Dot, Sink, fields};
use kenin_tests::world::{Dice, PATIENCE, wait_for};

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

/// Sends a mail, or leaves in the middle; says what was seen.
fn one(gateway: &Gateway, ledger: &Ledger, dice: &mut Dice, id: &str, fate: &str) -> String {
    let leave = match dice.below(12) {
        at @ 0..5 => Leave::Before(at as usize),
        5 => Leave::InData(dice.below(6000) as usize),
        6 => Leave::AfterDot,
        _ => Leave::Never,
    };
    let head = format!("From: a@b.example\r\nSubject: {fate}\r\nMessage-ID: {id}\r\n\r\n");
    let lines = "line\r\n".repeat(dice.below(2000) as usize);
    let raw = [head.as_bytes(), lines.as_bytes()].concat();
    let envelope = Envelope::new("a@b.example", "c@d.example");
    ledger.open(id, Truth::NotGood, &envelope, &raw);
    let mut courier = Courier::new(gateway.address, PATIENCE);
    let told = courier.hand_over_or_leave(ledger, id, &envelope, &raw, leave);
    let code = told.answer.map_or(0, |reply| reply.code);
    let sent = if told.dot { "sent" } else { "unsent" };
    format!("{fate} {sent} {code}")
}

#[test]
fn invariants_hold_under_seeded_chaos() {
    let sink = Sink::with(behaviour());
    let mut gateway = Gateway::start(&Setup::new(sink.address));
    let ledger = Ledger::default();
    // The first mail opens what stays open.
    let first = one(
        &gateway,
        &ledger,
        &mut Dice::new(1),
        "<first@x.example>",
        "accept",
    );
    let before = gateway.descriptors();
    let seen = Mutex::new(BTreeSet::from([first]));
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let (gateway, ledger, seen) = (&gateway, &ledger, &seen);
            scope.spawn(move || {
                let mut dice = Dice::new(0xc4a0 + worker);
                for n in 0..60 {
                    let id = format!("<{worker}.{n}@chaos.example>");
                    let fate = FATES[dice.below(4) as usize];
                    let what = one(gateway, ledger, &mut dice, &id, fate);
                    seen.lock().unwrap().insert(what);
                }
            });
        }
    });
    let circumstances = Circumstances {
        answers: Answers::of_the_sink().and("451 4.3.0 later"),
        hop_breaks: sink.broken(),
        left_behind: gateway.left_behind(before, PATIENCE),
        ..Circumstances::default()
    };
    // Those that were needed once stay.
    wait_for(
        "the store has no more connections than it may by default",
        || gateway.store_connections() <= 4,
    );
    let account = ledger.check(&sink.records(), &circumstances);
    let seen = seen.into_inner().unwrap();
    println!("{account}\n{seen:#?}\n{:#?}", account.replies);
    assert!(account.balanced(), "{account:#?}");
    assert!(seen.len() >= 10, "{seen:?}");
    assert_eq!(gateway.client().command("NOOP").code, 250);
}
