//! Mail that is to be opened here, while a part fails: without the store it waits, whether it would open or not; a list that
//! is too old, and a next hop that cannot take what was inside, hold up nothing, and nobody outside hears of it.

use std::net::SocketAddr;

use kenin_tests::client::Envelope;
use kenin_tests::forge::enveloped::{Way, encrypted, fields, mail, shows, with_last_bit_changed};
use kenin_tests::forge::{Town, cms, mime};
use kenin_tests::kenin::{Gateway, Setup};
use kenin_tests::ledger::{Courier, Ledger, Truth};
use kenin_tests::opened::{
    BOB, People, import, is_as_it_came, setup, started, states, text, write_secrets,
};
use kenin_tests::postgres::Postgres;
use kenin_tests::sink::{Behaviour, Sink};
use kenin_tests::world::{PATIENCE, wait_for, write_secret};

const CANARY: &str = "the canary sings in the coal mine";
const SENDER: &str = "carol@sender.example";
const ACCEPTED: &str = "250 2.0.0 Accepted";

fn send(gateway: &Gateway, from: &str, raw: &[u8]) -> String {
    gateway.send(&Envelope::new(from, BOB), raw).text()
}

#[test]
fn without_the_store_it_waits_whether_it_would_open_or_not() {
    let (sink, database) = (Sink::start(), Postgres::start());
    let mut setup = setup(sink.address);
    setup.tables.push_str(&format!(
        "[store]\nurl = \"{}\"\npassword_file = \"password\"\n",
        database.url()
    ));
    let mut gateway = Gateway::prepare(&setup);
    write_secrets(&gateway);
    write_secret(&gateway.folder.join("password"), b"any");
    let people = People::get();
    import(&gateway, &people.bob, &[]);
    gateway.restart();
    let good = encrypted(Way::Gcm, &[&people.bob], &text(CANARY));
    let opens = mail(&fields(SENDER, "opens@sender.example"), &good);
    let changed = with_last_bit_changed(&good);
    let broken = mail(&fields(SENDER, "broken@sender.example"), &changed);
    assert_eq!(send(&gateway, SENDER, &opens), ACCEPTED);
    database.stop();
    let waits = "451 4.3.5 Certificate store unavailable, try again later";
    for raw in [&opens, &broken] {
        assert_eq!(send(&gateway, SENDER, raw), waits);
    }
    // What needs no key here goes on.
    let strangers = encrypted(Way::Gcm, &[&people.stranger], &text(CANARY));
    let strangers = mail(&fields(SENDER, "others@sender.example"), &strangers);
    let plain = mime::plain(&mime::headers(SENDER), "Hello");
    for raw in [&strangers, &plain] {
        let reply = send(&gateway, SENDER, raw);
        assert!(reply.starts_with("250 "), "{reply}");
    }
    assert_eq!(sink.count(), 3);
    database.begin();
    wait_for("the store is asked again", || {
        send(&gateway, SENDER, &opens) == ACCEPTED
    });
    assert_eq!(send(&gateway, SENDER, &broken), ACCEPTED);
    let mails = sink.mails();
    for place in [0, 3] {
        assert!(shows(&mails[place].raw, CANARY), "{place}");
    }
    assert!(is_as_it_came(&mails[4], &broken));
    assert_eq!(mails.len(), 5);
}

/// A mail of the town's Bob, signed, and encrypted for the Bob whose key is held.
fn signed_inside() -> Vec<u8> {
    let (town, part) = (Town::get(), text(CANARY));
    let signature = cms::detached(&town.bob, &town.chain(), &part);
    let entity = mime::signed_entity(mime::BOUNDARY, &part, &signature);
    let object = encrypted(Way::Gcm, &[&People::get().bob], &entity);
    mail(&fields("bob@example.jp", "signed@example.jp"), &object)
}

#[test]
fn a_list_that_is_too_old_holds_up_nothing() {
    let (town, sink) = (Town::get(), Sink::start());
    let old = ("20210101000000Z", Some("20210201000000Z"));
    let lists = [
        (town.issuer.crl(&[]), "smime=pass"),
        (
            town.issuer.crl_between(&[], old.0, old.1),
            "smime=temperror (revocation-unavailable)",
        ),
    ];
    // The second one's rule puts off what is signed by anybody of whom that cannot be known.
    let strict = setup(sink.address).strict("example.jp");
    for setup in [setup(sink.address), strict] {
        for (list, word) in &lists {
            let mut gateway = Gateway::prepare(&setup);
            write_secrets(&gateway);
            import(&gateway, &People::get().bob, &[]);
            // Before the first start: the newest list that was ever seen stays.
            std::fs::write(gateway.folder.join("crls/issuer.crl"), list).unwrap();
            gateway.restart();
            sink.clear();
            let told = send(&gateway, "bob@example.jp", &signed_inside());
            assert_eq!(told, ACCEPTED, "{word}");
            let mails = sink.mails();
            assert_eq!(mails.len(), 1, "{word}");
            assert!(shows(&mails[0].raw, CANARY), "{word}");
            let stamp = mails[0].fields("Authentication-Results").concat();
            assert!(stamp.contains(word), "{word}: {stamp}");
        }
    }
}

/// What is said of a mail to Bob over SMTP or LMTP.
fn answer(address: SocketAddr, lmtp: bool, id: &str, raw: &[u8]) -> String {
    let (ledger, envelope) = (Ledger::default(), Envelope::new(SENDER, BOB));
    ledger.open(id, Truth::NotGood, &envelope, raw);
    let courier = Courier::new(address, PATIENCE);
    let mut courier = if lmtp { courier.lmtp() } else { courier };
    let told = courier.hand_over(&ledger, id, &envelope, raw);
    told.answer.expect("a reply").text()
}

/// It was announced and not sent, which its sender could see by the time.
#[test]
fn octets_inside_that_the_next_hop_cannot_take_stay_encrypted() {
    let said = "かなりあは歌う";
    // What is signed is not encoded anew.
    let entity = format!(
        "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; boundary=b\r\n\r\n--b\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{said}\r\n--b\r\n\
         Content-Type: application/pkcs7-signature\r\n\r\nnobody's\r\n--b--\r\n"
    );
    let object = encrypted(Way::Gcm, &[&People::get().bob], entity.as_bytes());
    let raw = mail(&fields(SENDER, "octets@sender.example"), &object);
    for (mode, lmtp) in [("before-queue", false), ("lmtp", true)] {
        let sink = Sink::with(Behaviour::default().without("8BITMIME"));
        let gateway = started(&Setup {
            mode,
            ..setup(sink.address)
        });
        let told = answer(gateway.address, lmtp, "<octets@sender.example>", &raw);
        assert_eq!(told, ACCEPTED, "{mode}");
        let mails = sink.mails();
        assert_eq!(mails.len(), 1, "{mode}");
        assert!(is_as_it_came(&mails[0], &raw), "{mode}");
        assert_eq!(states(&gateway, "undecryptable"), 1, "{mode}");
        // What is of seven bits goes the same way and arrives.
        let ascii = encrypted(Way::Gcm, &[&People::get().bob], &text(CANARY));
        let ascii = mail(&fields(SENDER, "ascii@sender.example"), &ascii);
        let told = answer(gateway.address, lmtp, "<ascii@sender.example>", &ascii);
        assert_eq!(told, ACCEPTED, "{mode}");
        assert!(sink.mails().iter().any(|mail| shows(&mail.raw, CANARY)));
    }
}
