//! `reencrypt`: mail for somebody who has another key, of her own, behind Kenin is opened, judged, stamped and encrypted again
//! for that one (DEC-10). Where that cannot be done she gets what came.

use kenin_tests::client::Envelope;
use kenin_tests::encryption::object;
use kenin_tests::forge::certificates::Person;
use kenin_tests::forge::enveloped::{
    Parts, Way, encrypted, fields, mail, opens_to, reader, shows, with_last_bit_changed,
};
use kenin_tests::forge::{Town, cms, mime};
use kenin_tests::kenin::Gateway;
use kenin_tests::opened::{
    BOB, People, import, is_as_it_came, keep, of, setup, states, text, traces, write_secrets,
};
use kenin_tests::sink::{Received, Sink, split};

const CANARY: &str = "the canary sings in the coal mine";
const SENDER: &str = "alice@example.jp";
const CARLA: &str = "carla@opened.example";

/// A gateway with Carla's key and Bob's, and the rule for her; not started.
fn prepared(sink: &Sink, carla: &Person) -> Gateway {
    let mut setup = setup(sink.address);
    setup.mail =
        format!("[[rule]]\nwhen = {{ recipient = \"{CARLA}\" }}\nthen = {{ reencrypt = true }}\n");
    let gateway = Gateway::prepare(&setup);
    write_secrets(&gateway);
    for person in [carla, &People::get().bob] {
        import(&gateway, person, &[]);
    }
    gateway
}

/// What Alice signs, and the mail that brings it to Carla and Bob, encrypted for both.
fn written(carla: &Person) -> (Vec<u8>, Vec<u8>) {
    let (town, part) = (Town::get(), text(CANARY));
    let cms = cms::detached(&town.alice, &town.chain(), &part);
    let entity = mime::signed_entity(mime::BOUNDARY, &part, &cms);
    let object = encrypted(Way::Gcm, &[carla, &People::get().bob], &entity);
    let raw = mail(&fields(SENDER, "again@example.jp"), &object);
    (entity, raw)
}

/// What arrives of it, in one transaction for both.
fn arrived(gateway: &Gateway, sink: &Sink, raw: &[u8]) -> Vec<Received> {
    let envelope = Envelope {
        to: vec![CARLA.to_owned(), BOB.to_owned()],
        ..Envelope::new(SENDER, BOB)
    };
    let reply = gateway.send(&envelope, raw);
    assert_eq!(reply.text(), "250 2.0.0 Accepted", "{}", gateway.log());
    sink.mails()
}

/// That Bob, for whom there is no such rule, reads it, judged.
#[track_caller]
fn is_read_by_bob(mails: &[Received]) {
    let his = of(mails, BOB);
    assert!(shows(&his.raw, CANARY));
    let stamp = his.fields("Authentication-Results").concat();
    assert!(stamp.contains("smime=pass"), "{stamp}");
}

#[test]
fn who_has_a_key_of_her_own_gets_opened_mail_stamped_and_encrypted_for_it_alone() {
    let sink = Sink::start();
    let (here, own) = (reader("Carla", CARLA), reader("Carla", CARLA));
    let mut gateway = prepared(&sink, &here);
    keep(&gateway, &own);
    gateway.restart();
    let (entity, raw) = written(&here);
    let mails = arrived(&gateway, &sink, &raw);
    is_read_by_bob(&mails);

    let hers = of(&mails, CARLA);
    assert!(!shows(&hers.raw, CANARY), "in clear");
    let kind = hers.fields("Content-Type").concat();
    assert!(kind.starts_with("application/pkcs7-mime"), "{kind}");
    let stamp = hers.fields("Authentication-Results").concat();
    assert!(stamp.contains("smime=pass"), "{stamp}");
    let said = ["opened; integrity=aead; sender=proven"];
    assert_eq!(hers.fields("X-Kenin-Decryption"), said);
    // As with all that was opened, what comes back goes to nobody outside.
    assert!(hers.mail.starts_with("MAIL FROM:<>"), "{}", hers.mail);

    // Her own key opens it, to the octets that Alice signed.
    let inside = opens_to(&own, &hers.raw).expect("her own key opens it");
    assert!(shows(&inside, CANARY) && inside.ends_with(split(&entity).1));
    // The key that Kenin has does not: it is not named, nor does it fit what is wrapped for hers.
    assert_eq!(Parts::of(&object(&hers.raw)).recipients.len(), 1);
    assert!(opens_to(&here, &hers.raw).is_none());
    let other = Person {
        key: here.key.clone(),
        ..own
    };
    let opened = opens_to(&other, &hers.raw).unwrap_or_default();
    assert!(!shows(&opened, CANARY));
    // It did open that which came.
    assert!(opens_to(&here, &raw).is_some_and(|inside| shows(&inside, CANARY)));

    assert_eq!(states(&gateway, "opened"), 2);
    assert_eq!(traces(&gateway, CANARY), [""; 0]);
}

#[test]
fn without_a_certificate_that_is_good_now_what_came_arrives_as_it_came() {
    for revoked in [false, true] {
        let sink = Sink::start();
        let (here, own) = (reader("Carla", CARLA), reader("Carla", CARLA));
        let mut gateway = prepared(&sink, &here);
        if revoked {
            keep(&gateway, &own);
            let list = Town::get().issuer.crl(&[&own.serial]);
            std::fs::write(gateway.folder.join("crls/issuer.crl"), list).unwrap();
        }
        gateway.restart();
        let (_, raw) = written(&here);
        let mails = arrived(&gateway, &sink, &raw);
        is_read_by_bob(&mails);
        assert!(is_as_it_came(of(&mails, CARLA), &raw), "revoked: {revoked}");
        let told = (
            states(&gateway, "opened"),
            states(&gateway, "undecryptable"),
        );
        assert_eq!(told, (1, 1), "revoked: {revoked}");
        assert_eq!(traces(&gateway, CANARY), [""; 0]);
    }
}

/// More than Kenin hides itself (RFC 9788 §3.2.2).
#[test]
fn what_its_sender_hid_stays_inside_when_it_is_encrypted_again() {
    let sink = Sink::start();
    let (here, own) = (reader("Carla", CARLA), reader("Carla", CARLA));
    let mut gateway = prepared(&sink, &here);
    keep(&gateway, &own);
    gateway.restart();
    let entity = format!(
        "From: {CANARY} <{SENDER}>\r\nCc: hidden@elsewhere.example\r\nSubject: {CANARY}\r\n\
         References: <hidden@example.jp>\r\nContent-Type: text/plain; hp=\"cipher\"\r\n\r\nx\r\n"
    );
    let people = [&here, &People::get().bob];
    let object = encrypted(Way::Gcm, &people, entity.as_bytes());
    let raw = mail(&fields(SENDER, "hidden@example.jp"), &object);
    let mails = arrived(&gateway, &sink, &raw);
    let his = of(&mails, BOB);
    assert_eq!(his.fields("Cc"), ["hidden@elsewhere.example"]);
    let hers = of(&mails, CARLA);
    assert_eq!(hers.fields("From"), [SENDER]);
    assert_eq!(hers.fields("Subject"), ["[...]"]);
    for name in ["Cc", "References"] {
        assert!(hers.fields(name).is_empty(), "{name}");
    }
    let inside = opens_to(&own, &hers.raw).expect("her own key opens it");
    let inside = String::from_utf8(inside).unwrap();
    assert!(inside.contains(&format!("Subject: {CANARY}\r\n")));
    assert!(inside.contains("Cc: hidden@elsewhere.example\r\n"));
}

/// DEC-07: the client sees how long the transactions take, and so how many there are. A Bcc recipient gets a copy of her own
/// whether it opened or not; and the address inside, which only what opens shows, makes no other copies.
#[test]
fn what_stays_closed_goes_to_as_many_as_what_is_encrypted_again() {
    let sink = Sink::start();
    let names = ["carla", "dora", "eve"];
    let to = names.map(|name| format!("{name}@again.example"));
    let pairs = to
        .clone()
        .map(|to| (reader("Reader", &to), reader("Reader", &to)));
    let mut setup = setup(sink.address);
    setup.mail =
        "[[rule]]\nwhen = { recipient_domain = \"again.example\" }\nthen = { reencrypt = true }\n"
            .to_owned();
    let mut gateway = Gateway::prepare(&setup);
    write_secrets(&gateway);
    for (here, own) in &pairs {
        import(&gateway, here, &[]);
        keep(&gateway, own);
    }
    gateway.restart();
    let entity = format!(
        "From: {SENDER}\r\nTo: {}, {}\r\nSubject: x\r\nContent-Type: text/plain; hp=\"clear\"\r\n\r\n{CANARY}\r\n",
        to[1], to[2]
    );
    let readers: Vec<&Person> = pairs.iter().map(|(here, _)| here).collect();
    for (shown, groups) in [
        (vec![0, 1], vec![2, 1]),
        (vec![], vec![1, 1, 1]),
        (vec![0, 1, 2], vec![3]),
    ] {
        let shown: Vec<&str> = shown.into_iter().map(|at: usize| to[at].as_str()).collect();
        let header = fields(SENDER, &format!("{}@example.jp", shown.len()));
        let cc = format!("Cc: {}\r\n", shown.join(", "));
        let header = [&header, cc.as_bytes()].concat();
        for opens in [true, false] {
            let object = encrypted(Way::Gcm, &readers, entity.as_bytes());
            let object = match opens {
                true => object,
                false => with_last_bit_changed(&object),
            };
            let envelope = Envelope {
                to: to.to_vec(),
                ..Envelope::new(SENDER, BOB)
            };
            let before = sink.mails().len();
            let reply = gateway.send(&envelope, &mail(&header, &object));
            assert_eq!(reply.text(), "250 2.0.0 Accepted", "{}", gateway.log());
            let mails = sink.mails().split_off(before);
            let said = mails.iter().map(|mail| mail.recipients.len());
            assert_eq!(said.collect::<Vec<_>>(), groups, "{shown:?} {opens}");
            for mail in &mails {
                let copy = Parts::of(&kenin_tests::encryption::object(&mail.raw));
                let named = copy.recipients.len();
                assert_eq!(named, if opens { mail.recipients.len() } else { 3 });
            }
            for ((here, own), to) in pairs.iter().zip(&to) {
                let reads = |person| {
                    let inside = opens_to(person, &of(&mails, to).raw);
                    inside.is_some_and(|inside| shows(&inside, CANARY))
                };
                assert_eq!((reads(here), reads(own)), (false, opens), "{to} {opens}");
            }
        }
    }
}
