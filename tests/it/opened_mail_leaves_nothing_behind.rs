//! What was opened goes to its recipient and nowhere else (DEC-12, DEC-14): not back in a notification, not by a receipt, not in
//! an answer.

use std::net::SocketAddr;

use kenin_tests::client::{Client, Envelope, stuffed};
use kenin_tests::forge::enveloped::{Way, encrypted, fields, mail, shows, with_last_bit_changed};
use kenin_tests::kenin::Setup;
use kenin_tests::ledger::behind_postfix;
use kenin_tests::opened::{
    BOB, MALLORY, People, TABLES, import, setup, started, text, to_bob, write_secrets,
};
use kenin_tests::postfix::Postfix;
use kenin_tests::sink::{Behaviour, Dot, Received, Sink};
use kenin_tests::world::{PATIENCE, children, pause, wait_for};
use rustix::process::{Pid, Signal, kill_process};

const CANARY: &str = "the canary sings in the coal mine";
const ATTACKER: &str = "attacker@evil.example";
const RETURNED: &str = "kenin-returned@gw.example.jp";

fn from_attacker() -> Envelope {
    Envelope::new(ATTACKER, BOB)
}

fn with_return_path(next_hop: SocketAddr) -> Setup {
    let mut setup = setup(next_hop);
    setup
        .tables
        .push_str(&format!("[decrypt]\nreturn_path = \"{RETURNED}\"\n"));
    setup
}

/// DEC-12: Bob's mailbox is full, and the mail server in front of it tells the sender so, with the mail.
#[test]
fn dec_12_what_comes_back_of_opened_mail_does_not_go_to_the_sender() {
    // The mailbox is full for Bob's mail; notifications go on.
    let sink = Sink::with(Behaviour::default().at_dot(|_, mail| {
        match mail.recipients.iter().any(|to| to.contains(BOB)) {
            true => Dot::Reply("552 5.2.2 Over quota".to_owned()),
            false => Dot::Accept,
        }
    }));
    let postfix = Postfix::start(sink.address, "");
    let raw = to_bob(Way::Gcm, ATTACKER, "full@evil.example", &text(CANARY));
    for setup in [setup(postfix.front), with_return_path(postfix.front)] {
        let gateway = started(&setup);
        let bounced = || postfix.log().matches("status=bounced").count();
        let before = bounced();
        let mut client = gateway.client();
        // Somebody who wants to know it all.
        let said = format!("MAIL FROM:<{ATTACKER}> RET=FULL ENVID=probe");
        assert_eq!(client.command(&said).code, 250);
        let to = format!("RCPT TO:<{BOB}> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;{BOB}");
        assert_eq!(client.command(&to).code, 250);
        assert_eq!(client.command("DATA").code, 354);
        client.send(&stuffed(&raw));
        assert_eq!(
            client.reply().expect("a reply").text(),
            "250 2.0.0 Accepted"
        );
        wait_for("it comes back", || {
            bounced() > before && postfix.queued() == 0
        });
    }
    // One came back to the gateway's own address, and it has the header only.
    let mails = sink.wait(1, PATIENCE);
    assert_eq!(mails.len(), 1);
    assert!(mails[0].recipients[0].contains(RETURNED));
    assert!(!shows(&mails[0].raw, CANARY));
    let commands = sink.commands();
    assert!(
        !commands.iter().any(|line| line.contains(ATTACKER)),
        "{commands:?}"
    );
}

/// DEC-12: the envelope that says so, and the address where it ends.
#[test]
fn dec_12_the_return_path_is_ours_and_what_comes_to_it_is_taken_in() {
    let sink = Sink::start();
    let gateway = started(&with_return_path(sink.address));
    let good = encrypted(Way::Gcm, &[&People::get().bob], &text(CANARY));
    let header = fields(ATTACKER, "path@evil.example");
    // Whether it opens or not.
    for object in [good.clone(), with_last_bit_changed(&good)] {
        sink.clear();
        let raw = mail(&header, &object);
        assert_eq!(gateway.send(&from_attacker(), &raw).code, 250);
        let got = &sink.mails()[0];
        assert!(
            got.mail.starts_with(&format!("MAIL FROM:<{RETURNED}>")),
            "{}",
            got.mail
        );
        assert!(got.mail.contains(" RET=HDRS"), "{}", got.mail);
        assert_eq!(got.recipients, [format!("RCPT TO:<{BOB}>")]);
    }
    sink.clear();
    let notification = [
        &b"From: MAILER-DAEMON@mx.example.jp\r\nSubject: Undelivered\r\n\r\n"[..],
        CANARY.as_bytes(),
        b"\r\n",
    ]
    .concat();
    let reply = gateway.send(&Envelope::new("", RETURNED), &notification);
    assert_eq!(reply.code, 250, "{}", reply.text());
    assert_eq!(sink.count(), 0);
    let (_, metrics) = gateway.get("/metrics");
    assert!(metrics.contains("kenin_return_path_mails_total 1"));
    // Whoever else it is for gets it.
    let both = Envelope {
        to: vec![RETURNED.to_owned(), BOB.to_owned()],
        ..Envelope::new("", BOB)
    };
    assert_eq!(gateway.send(&both, &notification).code, 250);
    let mails = sink.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].recipients.len(), 1);
    assert!(mails[0].recipients[0].contains(BOB));
}

/// DEC-12: fields that have Bob's mail program tell the sender that he has read it.
#[test]
fn dec_12_no_receipt_is_asked_for() {
    let sink = Sink::start();
    let asks = format!(
        "Disposition-Notification-To: {ATTACKER}\r\nReturn-Receipt-To: {ATTACKER}\r\n\
         X-Confirm-Reading-To: {ATTACKER}\r\n"
    );
    let header = [asks.as_bytes(), &fields(ATTACKER, "receipt@evil.example")].concat();
    // Inside, where the header is protected, too.
    let entity = format!(
        "From: {ATTACKER}\r\nDisposition-Notification-To: {ATTACKER}\r\n\
         Content-Type: text/plain; hp=\"cipher\"\r\n\r\n{CANARY}\r\n"
    );
    let bob = &People::get().bob;
    let raw = mail(&header, &encrypted(Way::Gcm, &[bob], entity.as_bytes()));
    let names = [
        "Disposition-Notification-To",
        "Return-Receipt-To",
        "X-Confirm-Reading-To",
    ];
    let asked = |got: &Received| names.iter().any(|name| !got.fields(name).is_empty());
    let mut keeping = setup(sink.address);
    keeping.tables.push_str("[decrypt]\nreceipts = \"keep\"\n");
    for (setup, kept) in [(setup(sink.address), false), (keeping, true)] {
        let gateway = started(&setup);
        sink.clear();
        assert_eq!(gateway.send(&from_attacker(), &raw).code, 250);
        let got = &sink.mails()[0];
        assert!(shows(&got.raw, CANARY));
        assert_eq!(asked(got), kept);
    }
}

/// DEC-14: that a mail came encrypted is known by its name, whether it opened or not, so that an answer to it does not go out
/// in clear.
#[test]
fn dec_14_the_store_knows_what_came_encrypted() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let known = || {
        let dump = gateway.store_dump();
        let rows = dump
            .lines()
            .filter(|line| line.starts_with("INSERT INTO \"encrypted_mail\""));
        rows.count()
    };
    let send = |raw: &[u8]| assert_eq!(gateway.send(&from_attacker(), raw).code, 250);
    let people = People::get();
    let good = encrypted(Way::Gcm, &[&people.bob], &text(CANARY));
    assert_eq!(known(), 0);
    send(&mail(&fields(ATTACKER, "one@evil.example"), &good));
    assert_eq!(known(), 1);
    send(&mail(
        &fields(ATTACKER, "two@evil.example"),
        &with_last_bit_changed(&good),
    ));
    assert_eq!(known(), 2);
    let others = encrypted(Way::Gcm, &[&people.stranger], &text(CANARY));
    send(&mail(&fields(ATTACKER, "three@evil.example"), &others));
    assert_eq!(known(), 2, "nobody here could read it");
}

/// DEC-14: Bob answers, and quotes what he has read.
#[test]
fn dec_14_an_answer_to_what_came_encrypted_does_not_go_in_clear() {
    let sink = Sink::start();
    let mut setup = setup(sink.address);
    // The MTA in front has seen who everybody is.
    setup.trusted_peers = Some("[\"127.0.0.1\"]\nsubmission = true".to_owned());
    let gateway = started(&setup);
    let good = encrypted(Way::Gcm, &[&People::get().bob], &text(CANARY));
    for (id, object) in [
        ("one@evil.example", good.clone()),
        ("two@evil.example", with_last_bit_changed(&good)),
    ] {
        let raw = mail(&fields(ATTACKER, id), &object);
        assert_eq!(gateway.send(&from_attacker(), &raw).code, 250);
    }
    sink.clear();
    let answer = |id: &str| {
        let raw = format!(
            "From: {BOB}\r\nTo: {ATTACKER}\r\nSubject: Re: Outside\r\nMessage-ID: <answer@opened.example>\r\n\
             In-Reply-To: <{id}>\r\nReferences: <other@evil.example> <{id}>\r\n\r\n> {CANARY}\r\n"
        );
        gateway.send(&Envelope::new(BOB, ATTACKER), raw.as_bytes())
    };
    // Whether it opened is not to be seen by this either.
    for id in ["one@evil.example", "two@evil.example"] {
        let reply = answer(id).text();
        assert!(
            reply.starts_with("550 5.7.1 Encryption required"),
            "{reply}"
        );
    }
    assert_eq!(sink.count(), 0);
    let reply = answer("three@evil.example");
    assert_eq!(reply.code, 250, "{}", reply.text());
    assert_eq!(sink.count(), 1);
}

/// Every road that `kenin init postfix` prints, with a real Postfix on both sides.
#[test]
fn every_road_through_postfix_opens_it_for_bob() {
    for mode in ["before-queue", "after-queue", "lmtp", "milter"] {
        let sink = Sink::start();
        let (postfix, mut gateway) = behind_postfix(&sink, mode, "");
        let config = gateway.config();
        let text_of_it = std::fs::read_to_string(&config).unwrap();
        // Behind a milter there is no next hop that could refuse it.
        let tables = match mode {
            "milter" => TABLES.split("[quarantine]").next().unwrap(),
            _ => TABLES,
        };
        std::fs::write(&config, format!("{text_of_it}\n{tables}")).unwrap();
        write_secrets(&gateway);
        for person in [&People::get().bob, &People::get().mallory] {
            import(&gateway, person, &[]);
        }
        gateway.restart();
        let raw = to_bob(Way::Gcm, ATTACKER, "road@evil.example", &text(CANARY));
        let send = |to: &[&str]| {
            let envelope = Envelope {
                to: to.iter().map(|to| (*to).to_owned()).collect(),
                ..from_attacker()
            };
            let reply = Client::greeted(postfix.front).mail(&envelope, &raw);
            assert_eq!(reply.expect("Postfix answers").code, 250, "{mode}");
        };
        send(&[BOB]);
        let mails = sink.wait(1, PATIENCE);
        assert!(shows(&mails[0].raw, CANARY), "{mode}\n{}", gateway.log());
        assert!(
            mails[0].mail.starts_with("MAIL FROM:<>"),
            "{mode}: {}",
            mails[0].mail
        );
        assert_eq!(mails[0].fields("X-Kenin-Decryption").len(), 1, "{mode}");
        sink.clear();
        send(&[BOB, MALLORY]);
        let copies = match mode {
            // There is one body for both, and it does not open for one of them.
            "milter" => 1,
            _ => 2,
        };
        for got in sink.wait(copies, PATIENCE) {
            let is_bobs = got.recipients.iter().all(|to| to.contains(BOB));
            assert_eq!(
                shows(&got.raw, CANARY),
                is_bobs && mode != "milter",
                "{mode}"
            );
            assert!(
                !is_bobs || got.mail.starts_with("MAIL FROM:<>"),
                "{mode}: {}",
                got.mail
            );
        }
        wait_for("the queue is empty", || postfix.queued() == 0);
        let arrived: usize = sink.mails().iter().map(|got| got.recipients.len()).sum();
        assert_eq!(arrived, 2, "{mode}");
    }
}

/// failures.md: a key process that says nothing.
#[test]
fn without_the_key_process_mail_that_needs_it_waits_and_other_mail_goes_on() {
    let sink = Sink::start();
    let mut gateway = started(&setup(sink.address));
    let parent = gateway.process().pid();
    let is_one = |pid: &Pid| {
        let words = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
        let words = words.unwrap_or_default();
        let mut words = words.split(|octet| *octet == 0);
        words.any(|word| word == b"key-process")
    };
    let keys = children(parent).into_iter().find(is_one);
    let keys = keys.expect("a key process");
    pause(keys);
    let people = People::get();
    let others = encrypted(Way::Gcm, &[&people.stranger], &text(CANARY));
    let others = mail(&fields(ATTACKER, "others@evil.example"), &others);
    let raw = to_bob(Way::Gcm, ATTACKER, "waits@evil.example", &text(CANARY));
    let reply = gateway.send(&from_attacker(), &others);
    assert_eq!(reply.code, 250, "{}", reply.text());
    let reply = gateway.send(&from_attacker(), &raw);
    let gone = "451 4.7.5 Cryptographic service unavailable";
    assert_eq!(reply.text(), gone);
    // Another may have been started in its place.
    let _ = kill_process(keys, Signal::CONT);
    wait_for("it opens", || {
        gateway.send(&from_attacker(), &raw).code == 250
    });
    let mails = sink.wait(2, PATIENCE);
    assert!(shows(&mails[1].raw, CANARY));
}
