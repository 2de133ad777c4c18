//! Somebody answers what came encrypted, and quotes it (DEC-14): where the correspondent has a certificate that is good the
//! answer goes, encrypted for that, though no rule asks for it. Where there is none it is refused:
//! `opened_mail_leaves_nothing_behind.rs`.

use kenin_tests::client::Envelope;
use kenin_tests::forge::enveloped::{
    Way, encrypted, fields, mail, opens_to, reader, shows, with_last_bit_changed,
};
use kenin_tests::kenin::Gateway;
use kenin_tests::opened::{BOB, People, import, keep, of, setup, text, traces, write_secrets};
use kenin_tests::sink::{Received, Sink};

const CANARY: &str = "the canary sings in the coal mine";
const CORRESPONDENT: &str = "alex@elsewhere.example";

/// Bob's answer to a mail of this name, as it arrives.
fn answer(gateway: &Gateway, sink: &Sink, id: &str) -> Received {
    answer_as(BOB, gateway, sink, id)
}

/// The same under another name.
fn answer_as(from: &str, gateway: &Gateway, sink: &Sink, id: &str) -> Received {
    sink.clear();
    let raw = format!(
        "From: {from}\r\nTo: {CORRESPONDENT}\r\nSubject: Re: {CANARY}\r\nMessage-ID: <to-{id}>\r\n\
         In-Reply-To: <{id}>\r\nReferences: <other@elsewhere.example> <{id}>\r\n\r\n> {CANARY}\r\n"
    );
    let reply = gateway.send(&Envelope::new(BOB, CORRESPONDENT), raw.as_bytes());
    assert_eq!(reply.code, 250, "{id}: {}", reply.text());
    of(&sink.mails(), CORRESPONDENT).clone()
}

#[test]
fn dec_14_an_answer_goes_encrypted_where_its_reader_has_a_certificate() {
    let sink = Sink::start();
    let mut setup = setup(sink.address);
    // The MTA in front has seen who everybody is.
    setup.trusted_peers = Some("[\"127.0.0.1\"]\nsubmission = true".to_owned());
    let correspondent = reader("Alex", CORRESPONDENT);
    let mut gateway = Gateway::prepare(&setup);
    write_secrets(&gateway);
    import(&gateway, &People::get().bob, &[]);
    keep(&gateway, &correspondent);
    gateway.restart();
    let good = encrypted(Way::Gcm, &[&People::get().bob], &text(CANARY));
    let opens = ("one@elsewhere.example", good.clone());
    let fails = ("two@elsewhere.example", with_last_bit_changed(&good));
    for (id, object) in [&opens, &fails] {
        let raw = mail(&fields(CORRESPONDENT, id), object);
        let reply = gateway.send(&Envelope::new(CORRESPONDENT, BOB), &raw);
        assert_eq!(reply.code, 250, "{}", reply.text());
    }

    // Whether it opened is not to be seen by this either.
    for (id, _) in [&opens, &fails] {
        let got = answer(&gateway, &sink, id);
        assert!(!shows(&got.raw, CANARY), "{id} is answered in clear");
        assert_eq!(got.fields("Subject"), ["[...]"]);
        let inside = opens_to(&correspondent, &got.raw).expect("its reader opens it");
        assert!(shows(&inside, &format!("> {CANARY}")), "{id}");
    }
    // Nor does what he calls himself change what he quotes.
    for from in [
        "Office <office@elsewhere.example>".to_owned(),
        format!("{BOB}, office@elsewhere.example"),
        format!("\"x@y.example\" <{BOB}>"),
    ] {
        let got = answer_as(&from, &gateway, &sink, opens.0);
        assert!(!shows(&got.raw, CANARY), "{from}");
    }
    // Nor that he redirects what he got, or attaches it.
    let opened = format!(
        "From: {CORRESPONDENT}\r\nTo: {BOB}\r\nSubject: x\r\nMessage-ID: <{}>\r\n\r\n{CANARY}\r\n",
        opens.0
    );
    let own = format!("From: {BOB}\r\nTo: {CORRESPONDENT}\r\nMessage-ID: <own@opened.example>\r\n");
    for (what, raw) in [
        (
            "redirected",
            format!("Resent-From: {BOB}\r\nResent-To: {CORRESPONDENT}\r\n{opened}"),
        ),
        (
            "attached",
            format!(
                "{own}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee below\r\n\
                 --b\r\nContent-Type: message/rfc822\r\n\r\n{opened}\r\n--b--\r\n"
            ),
        ),
    ] {
        sink.clear();
        let reply = gateway.send(&Envelope::new(BOB, CORRESPONDENT), raw.as_bytes());
        assert_eq!(reply.code, 250, "{what}: {}", reply.text());
        let got = of(&sink.mails(), CORRESPONDENT).clone();
        assert!(!shows(&got.raw, CANARY), "{what} in clear");
        let inside = opens_to(&correspondent, &got.raw).expect("its reader opens it");
        assert!(shows(&inside, CANARY), "{what}");
    }
    // No rule asked for it: what answers nothing of the sort goes as it is.
    let got = answer(&gateway, &sink, "three@elsewhere.example");
    assert!(shows(&got.raw, CANARY));
    assert_eq!(traces(&gateway, CANARY), [""; 0]);
}
