//! The parts of the harness tried on each other, without Kenin: what the forger calls honest OpenSSL
//! accepts, what it breaks OpenSSL refuses, and a mail through Postfix comes out as it went in.

use std::time::Duration;

use kenin_tests::client::{Client, Envelope};
use kenin_tests::forge::Town;
use kenin_tests::openssl_mail::Workshop;
use kenin_tests::postfix::Postfix;
use kenin_tests::sink::{Sink, split};

#[test]
fn openssl_accepts_the_forgers_honest_mail() {
    let town = Town::get();
    let workshop = Workshop::new(town);
    for (name, person) in [
        ("alice", &town.alice),
        ("bob", &town.bob),
        ("carol", &town.carol),
        ("dave", &town.dave),
    ] {
        let from = format!("{name}@example.jp");
        let clear = town.clear_signed(person, &from, "Honest");
        workshop.verify(&clear, name).unwrap();
        workshop
            .verify(&town.opaque(person, &from, "Honest"), name)
            .unwrap();
        let changed = String::from_utf8(clear)
            .unwrap()
            .replace("Honest", "honest");
        workshop.verify(changed.as_bytes(), name).unwrap_err();
    }
    let strange = town.clear_signed(&town.strange_alice, "alice@example.jp", "Strange");
    workshop.verify(&strange, "strange").unwrap_err();
}

#[test]
fn mail_through_postfix_alone_keeps_its_signed_bytes() {
    let workshop = Workshop::new(Town::get());
    let sink = Sink::start();
    let postfix = Postfix::start(sink.address, "");
    let mails = workshop.mails(20);
    let mut client = Client::greeted(postfix.front);
    for mail in &mails {
        let envelope =
            Envelope::new("sender@example.jp", "reader@example.jp").with("BODY=8BITMIME");
        assert_eq!(client.mail(&envelope, &mail.raw).unwrap().code, 250);
    }
    let arrived = sink.wait(mails.len(), Duration::from_secs(60));
    for mail in &mails {
        let (_, body) = split(&mail.raw);
        let same = arrived.iter().filter(|got| got.split().1 == body).count();
        assert!(same >= 1, "{} changed on the way", mail.kind.name);
        workshop
            .verify(&mail.raw, "before")
            .unwrap_or_else(|e| panic!("{}: {e}", mail.kind.name));
    }
}
