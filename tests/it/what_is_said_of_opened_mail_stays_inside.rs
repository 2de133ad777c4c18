//! What the next hop, or a rule, thinks of the content of opened mail stays inside (DEC-13): the client hears that the mail is
//! accepted, or that it should try again later, as for every other mail that names a key here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kenin_tests::client::{Client, Envelope};
use kenin_tests::forge::enveloped::{
    Parts, Way, encrypted, fields, mail, shows, with_last_bit_changed,
};
use kenin_tests::held::Desk;
use kenin_tests::opened::{
    BOB, MALLORY, People, is_as_it_came, setup, started, states, text, told, traces,
};
use kenin_tests::sink::{Behaviour, Dot, Received, Sink};

const CANARY: &str = "the canary sings in the coal mine";
const SENDER: &str = "alice@example.jp";
const ACCEPTED: &str = "250 2.0.0 Accepted";

/// DEC-13: a content scanner behind the gateway reads what was opened, and says so.
#[test]
fn dec_13_what_the_next_hop_says_of_the_content_stays_inside() {
    stays_inside("before-queue");
}

#[test]
fn dec_13_what_the_next_hop_says_of_the_content_stays_inside_by_lmtp() {
    stays_inside("lmtp");
}

fn stays_inside(mode: &'static str) {
    let refuses = Arc::new(AtomicBool::new(true));
    let lines = Arc::new(Mutex::new(String::new()));
    let behaviour = {
        let (refuses, lines) = (Arc::clone(&refuses), Arc::clone(&lines));
        Behaviour::default().at_dot(move |_, mail| {
            let notice = mail.fields("Auto-Submitted") == ["auto-generated"];
            match refuses.load(Ordering::SeqCst) && !notice {
                true => Dot::Reply(lines.lock().unwrap().clone()),
                false => Dot::Accept,
            }
        })
    };
    let sink = Sink::with(behaviour);
    let mut setup = setup(sink.address);
    setup.mode = mode;
    let gateway = started(&setup);
    let desk = Desk::of(&gateway, &[]);
    let good = Parts::of(&encrypted(Way::Gcm, &[&People::get().bob], &text(CANARY)));
    let bad = Parts {
        mac: Some(vec![0; 16]),
        ..good.clone()
    };
    let send = |parts: &Parts, id: &str| {
        let raw = mail(&fields(SENDER, id), &parts.object());
        let mut client = match mode {
            "lmtp" => Client::greeted_by_lmtp(gateway.address),
            _ => gateway.client(),
        };
        let reply = client.mail(&Envelope::new(SENDER, BOB), &raw);
        reply.expect("a reply").text()
    };
    // As much as could be known of it.
    *lines.lock().unwrap() = format!("554 5.7.1 Virus in: {CANARY}");
    let refused = [send(&good, "one@example.jp"), send(&bad, "two@example.jp")];
    *lines.lock().unwrap() = format!("452 4.3.1 No room for: {CANARY}");
    let put_off = [
        send(&good, "three@example.jp"),
        send(&bad, "four@example.jp"),
    ];
    refuses.store(false, Ordering::SeqCst);
    let taken = [send(&good, "five@example.jp"), send(&bad, "six@example.jp")];
    assert_eq!(refused, [ACCEPTED; 2]);
    assert_eq!(taken, [ACCEPTED; 2]);
    assert_eq!(put_off, ["451 4.3.0 Try again later"; 2]);
    // What was refused is here, sealed, and Bob is told of it.
    assert_eq!(traces(&gateway, CANARY), [""; 0]);
    let held = desk.ids();
    assert_eq!(held.len(), 2);
    let opened = held.iter().filter(|id| shows(&desk.raw(id), CANARY));
    assert_eq!(opened.count(), 1);
    let mails = sink.wait(4, Duration::from_secs(60));
    let notices = mails
        .iter()
        .filter(|got| got.fields("Auto-Submitted") == ["auto-generated"]);
    let notices: Vec<&Received> = notices.collect();
    assert_eq!(notices.len(), 2);
    for notice in notices {
        assert!(notice.mail.starts_with("MAIL FROM:<>"));
        assert!(notice.recipients.iter().all(|to| to.contains(BOB)));
        assert!(!shows(&notice.raw, CANARY));
    }
    // Bob has it released.
    sink.clear();
    for id in held {
        let (code, said) = desk.said(&["release", &id]);
        assert_eq!(code, 0, "{said}");
    }
    let released = sink.wait(2, Duration::from_secs(60));
    let opened = released.iter().filter(|got| shows(&got.raw, CANARY));
    assert_eq!(opened.count(), 1);
    assert!(
        released
            .iter()
            .all(|got| got.mail.starts_with("MAIL FROM:<>"))
    );
}

/// DEC-13 by LMTP, in one mail with somebody who cannot read it: the scanner refuses what it reads, and one recipient of two
/// is not answered otherwise for that.
#[test]
fn dec_13_by_lmtp_no_recipients_answer_tells_what_was_read() {
    let sink = Sink::with(
        Behaviour::default().at_dot(|_, mail| match shows(&mail.raw, CANARY) {
            true => Dot::Reply(format!("554 5.7.1 Virus in: {CANARY}")),
            false => Dot::Accept,
        }),
    );
    let mut setup = setup(sink.address);
    setup.mode = "lmtp";
    let gateway = started(&setup);
    let desk = Desk::of(&gateway, &[]);
    let good = encrypted(Way::Gcm, &[&People::get().bob], &text(CANARY));
    let mut client = Client::greeted_by_lmtp(gateway.address);
    let both = Envelope {
        to: vec![MALLORY.to_owned(), BOB.to_owned()],
        ..Envelope::new(SENDER, BOB)
    };
    let mut send = |object: &[u8], id: &str| {
        let raw = mail(&fields(SENDER, id), object);
        let mallorys = client.mail(&both, &raw).expect("an answer for Mallory");
        let bobs = client.reply().expect("an answer for Bob");
        (raw, [mallorys.text(), bobs.text()])
    };
    let (read, refused) = send(&good, "read@example.jp");
    assert_eq!(desk.ids().len(), 1, "{}", gateway.log());
    let (unread, taken) = send(&with_last_bit_changed(&good), "unread@example.jp");
    assert_eq!(refused, taken);
    assert_eq!(taken[1], ACCEPTED);
    assert!(taken[0].starts_with("250 "), "{}", taken[0]);
    // Bob's is here; what the scanner has taken are Mallory's copies, Bob's that did not open, and the notice.
    let held = desk.ids();
    assert_eq!(held.len(), 1);
    assert!(shows(&desk.raw(&held[0]), CANARY));
    assert_eq!(traces(&gateway, CANARY), [""; 0]);
    let mails = sink.wait(4, Duration::from_secs(60));
    let to = |recipient: &str| {
        let got = mails.iter().filter(move |got| {
            let mut all = got.recipients.iter();
            all.any(|own| own.contains(recipient))
        });
        got.collect::<Vec<&Received>>()
    };
    let mallorys = to(MALLORY);
    assert_eq!(mallorys.len(), 2);
    for (got, raw) in mallorys.iter().zip([&read, &unread]) {
        assert!(got.raw.ends_with(raw));
    }
    let bobs = to(BOB);
    let notices = bobs
        .iter()
        .filter(|got| got.fields("Auto-Submitted") == ["auto-generated"]);
    assert_eq!(notices.count(), 1);
    let closed = bobs.iter().filter(|got| is_as_it_came(got, &unread));
    assert_eq!(closed.count(), 1);
}

/// Whoever's mailbox is full kept everybody from being told of mail that was held after theirs.
#[test]
fn a_notice_that_is_put_off_keeps_nobody_else_from_being_told() {
    let behaviour = Behaviour::default().at_dot(|_, mail| {
        let notice = mail.fields("Auto-Submitted") == ["auto-generated"];
        let bobs = mail.recipients.iter().any(|to| to.contains(BOB));
        match (notice, bobs) {
            (false, _) => Dot::Reply("554 5.7.1 No".to_owned()),
            (true, true) => Dot::Reply("452 4.2.2 Mailbox full".to_owned()),
            (true, false) => Dot::Accept,
        }
    });
    let sink = Sink::with(behaviour);
    let gateway = started(&setup(sink.address));
    let people = People::get();
    // His comes first, also in the order of the ids.
    for (to, person) in [(BOB, &people.bob), (MALLORY, &people.mallory)] {
        let object = encrypted(Way::Gcm, &[person], &text(CANARY));
        let raw = mail(&fields(SENDER, &format!("held-{to}")), &object);
        let reply = gateway.send(&Envelope::new(SENDER, to), &raw);
        assert_eq!(reply.text(), ACCEPTED, "{}", gateway.log());
    }
    let told = sink.wait(1, Duration::from_secs(60));
    assert!(told[0].recipients.iter().all(|to| to.contains(MALLORY)));
}

/// What a strict rule would refuse goes as what does not open: a refusal would tell what is inside, and so would the time, if it
/// were held and not sent.
#[test]
fn what_a_rule_refuses_of_opened_mail_goes_as_it_came() {
    for enforce in ["strict", "quarantine"] {
        let sink = Sink::start();
        let mut setup = setup(sink.address);
        setup.mail = format!(
            "[[rule]]\nwhen = {{ sender_domain = \"strict.example\" }}\n\
             then = {{ enforce = \"{enforce}\", require_signature = true }}\n"
        );
        let gateway = started(&setup);
        let desk = Desk::of(&gateway, &[]);
        let sender = "boss@strict.example";
        let good = encrypted(Way::Gcm, &[&People::get().bob], &text(CANARY));
        let tampered = with_last_bit_changed(&good);
        for (object, id) in [(&good, "unsigned"), (&tampered, "tampered")] {
            sink.clear();
            let raw = mail(&fields(sender, &format!("{id}@strict.example")), object);
            let reply = gateway.send(&Envelope::new(sender, BOB), &raw);
            assert_eq!(reply.text(), ACCEPTED);
            let mails = sink.mails();
            let [got] = mails.as_slice() else {
                panic!("{} mails", mails.len())
            };
            assert!(is_as_it_came(got, &raw), "{id}");
            assert!(got.mail.starts_with("MAIL FROM:<>"), "{id}");
        }
        assert!(desk.ids().is_empty());
        assert_eq!(states(&gateway, "undecryptable"), 2);
        // Who has to find out why finds it in the log.
        told(&gateway, "\"policy\":\"mail.toml#1\"", 1);
        assert_eq!(traces(&gateway, CANARY), [""; 0]);
    }
}
