//! What does not open is told to nobody outside (DEC-01, DEC-03 to DEC-06): whatever was changed, the client hears the
//! same, and the recipient gets what came.

use std::time::{Duration, Instant};

use kenin_tests::client::{Client, Envelope, stuffed};
use kenin_tests::forge::certificates::Person;
use kenin_tests::forge::der::{elements, null, octets, oid, seq};
use kenin_tests::forge::enveloped::{
    AES_256_CBC, AES_256_GCM, AES_256_OFB, ENVELOPED, Parts, Way, encrypted, fields, mail, shows,
    with_last_bit_changed,
};
use kenin_tests::kenin::Gateway;
use kenin_tests::opened::{
    BOB, People, is_as_it_came, setup, started, states, text, to_bob, told, traces, used,
};
use kenin_tests::sink::{Behaviour, Received, Sink};
use openssl::rsa::Padding;
use openssl::x509::X509;

const CANARY: &str = "the canary sings in the coal mine";
const SENDER: &str = "alice@example.jp";
const ACCEPTED: &str = "250 2.0.0 Accepted";
const XFORWARD: &str = "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE";

fn to_bob_from_outside() -> Envelope {
    Envelope::new(SENDER, BOB)
}

fn object(way: Way) -> Parts {
    Parts::of(&encrypted(way, &[&People::get().bob], &text(CANARY)))
}

fn of(parts: &Parts, id: &str) -> Vec<u8> {
    mail(&fields(SENDER, id), &parts.object())
}

/// Sends it, and gives what the client heard and what Bob got.
fn sent(gateway: &Gateway, sink: &Sink, raw: &[u8]) -> (String, Received) {
    sink.clear();
    let reply = gateway.send(&to_bob_from_outside(), raw);
    let mut mails = sink.mails();
    assert_eq!(mails.len(), 1, "{}\n{}", reply.text(), gateway.log());
    (reply.text(), mails.remove(0))
}

/// An octet string encrypted for a certificate by RSA, PKCS #1 v1.5.
fn by_rsa(person: &Person, key: &[u8]) -> Vec<u8> {
    let certificate = X509::from_der(&person.certificate).unwrap();
    let rsa = certificate.public_key().unwrap().rsa().unwrap();
    let mut out = vec![0; rsa.size() as usize];
    rsa.public_encrypt(key, &mut out, Padding::PKCS1).unwrap();
    out
}

/// DEC-01: somebody on the way has changed what is in it, and nobody can tell what.
#[test]
fn dec_01_content_that_nobody_vouches_for_says_so_or_stays_closed() {
    let sink = Sink::start();
    let mut setup = setup(sink.address);
    setup.mail = "[[rule]]\nwhen = { sender_domain = \"strict.example\" }\n\
                  then = { enforce = \"strict\" }\n"
        .to_owned();
    let gateway = started(&setup);
    // The first block is what its IV says: a mail program reads another type.
    let entity = format!("Content-Type: text/plain\r\n\r\n{CANARY}\r\n");
    let bob = &People::get().bob;
    let flipped = || {
        let mut parts = Parts::of(&encrypted(Way::Cbc, &[bob], entity.as_bytes()));
        let at = parts.parameters.len() - 2;
        // "Content-Type: te" becomes "Content-Type: ve".
        parts.parameters[at] ^= b't' ^ b'v';
        parts
    };
    let raw = of(&flipped(), "flipped@example.jp");
    let (reply, got) = sent(&gateway, &sink, &raw);
    assert_eq!(reply, ACCEPTED);
    assert!(got.fields("Content-Type")[0].starts_with("vext/plain"));
    assert_eq!(
        got.fields("X-Kenin-Decryption"),
        ["opened; integrity=none; sender=not-proven"]
    );
    assert!(
        !got.fields("Authentication-Results")
            .concat()
            .contains("pass")
    );
    // For a domain that wants to be sure it stays encrypted, changed or not.
    let strict = "boss@strict.example";
    for raw in [
        mail(&fields(strict, "strict@x"), &flipped().object()),
        to_bob(Way::Cbc, strict, "unchanged@x", &text(CANARY)),
    ] {
        sink.clear();
        let reply = gateway.send(&Envelope::new(strict, BOB), &raw);
        assert_eq!(reply.text(), ACCEPTED);
        assert!(is_as_it_came(&sink.mails()[0], &raw));
    }
}

/// DEC-03: objects that say of themselves what they are not.
#[test]
fn dec_03_what_has_a_tag_is_not_opened_without_it() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let good = object(Way::Gcm);
    let renamed = |cipher: &str| Parts {
        cipher: oid(cipher),
        parameters: octets(&[9; 16]),
        ..good.clone()
    };
    let bare = |parts: Parts| Parts {
        kind: oid(ENVELOPED),
        mac: None,
        ..parts
    };
    let whole_blocks = |mut parts: Parts| {
        parts.content.resize(parts.content.len() / 16 * 16, 0);
        parts
    };
    // All but this one can be seen to be wrong without a key, and no key is asked about them.
    let plausible = "CBC, which it was not";
    let files = [
        ("CBC with a tag", whole_blocks(renamed(AES_256_CBC))),
        ("OFB with a tag", renamed(AES_256_OFB)),
        ("a tag of one octet", good.clone().with_tag_of(1)),
        ("a tag of eleven octets", good.clone().with_tag_of(11)),
        ("a tag of seventeen octets", good.clone().with_tag_of(17)),
        (
            "no tag",
            Parts {
                mac: None,
                ..good.clone()
            },
        ),
        ("GCM in EnvelopedData", bare(good.clone())),
        ("OFB in EnvelopedData", bare(renamed(AES_256_OFB))),
        (plausible, bare(whole_blocks(renamed(AES_256_CBC)))),
        (
            "GCM, which it was not",
            Parts {
                cipher: oid(AES_256_GCM),
                parameters: good.parameters.clone(),
                ..object(Way::Cbc)
            },
        ),
    ];
    let mut uses = 0;
    for (what, parts) in files {
        let raw = of(&parts, "mismatch@example.jp");
        let (reply, got) = sent(&gateway, &sink, &raw);
        assert!(reply.starts_with("250 "), "{what}: {reply}");
        assert!(got.raw.ends_with(&raw), "{what}");
        assert!(!shows(&got.raw, CANARY), "{what}");
        assert!(got.fields("X-Kenin-Decryption").is_empty(), "{what}");
        uses += usize::from(what == plausible);
        // It is shown where the next line fails.
        println!("{what}");
        used(&gateway, uses);
    }
    assert_eq!(uses, 1);
    // As it was, it opens.
    let (_, got) = sent(&gateway, &sink, &of(&good, "good@example.jp"));
    assert!(shows(&got.raw, CANARY));
    used(&gateway, uses + 1);
    assert_eq!(states(&gateway, "undecryptable"), 1);
    assert_eq!(states(&gateway, "opened"), 1);
}

/// DEC-04: one wrong bit at the very end of a long content.
#[test]
fn dec_04_nothing_of_a_content_is_released_before_its_tag_is_right() {
    let sink = Sink::start();
    let mut setup = setup(sink.address);
    setup.limits = "message_size = \"100M\"\ndeadline = \"60s\"\n".to_owned();
    let gateway = started(&setup);
    for size in [480_000, 40_000_000] {
        let mut entity = text(CANARY);
        let line = format!("{CANARY} {CANARY}\r\n");
        while entity.len() < size {
            entity.extend_from_slice(line.as_bytes());
        }
        let object = encrypted(Way::Gcm, &[&People::get().bob], &entity);
        let header = fields(SENDER, "long@example.jp");
        let raw = mail(&header, &with_last_bit_changed(&object));
        let (reply, got) = sent(&gateway, &sink, &raw);
        assert_eq!(reply, ACCEPTED);
        assert!(is_as_it_came(&got, &raw), "{size}");
        assert_eq!(sink.count(), 1);
        assert_eq!(traces(&gateway, CANARY), [""; 0]);
        // That is for the tag alone.
        let (reply, got) = sent(&gateway, &sink, &mail(&header, &object));
        assert_eq!(reply, ACCEPTED);
        assert!(got.raw.ends_with(line.as_bytes()), "{size}");
        assert_eq!(traces(&gateway, CANARY), [""; 0]);
    }
}

/// DEC-05: probes of every kind, and the same answer.
#[test]
fn dec_05_no_probe_is_answered_otherwise_than_another() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let bob = &People::get().bob;
    let (gcm, cbc) = (object(Way::Gcm), object(Way::Cbc));
    let with_key = |parts: &Parts, key: Vec<u8>| parts.clone().key(0, |own| *own = key);
    let bad_padding = |key: &mut Vec<u8>| key[255] ^= 1;
    // Bob is named twice: does the one key open it, or the other?
    let twice = |first: &Parts, second: &Parts| {
        let mut both = first.clone();
        both.recipients.push(second.recipients[0].clone());
        both
    };
    let oaep = |parameters: Option<Vec<u8>>| {
        let mut said = gcm.clone();
        let info = elements(&gcm.recipients[0]);
        let name = oid("1.2.840.113549.1.1.7");
        let algorithm = match parameters {
            Some(parameters) => seq([name, parameters]),
            None => seq([name]),
        };
        said.recipients[0] = seq([info[0], info[1], &algorithm, info[3]]);
        said
    };
    let nonsense = |way: Way, entity: &[u8]| Parts::of(&encrypted(way, &[bob], entity));
    let probe = by_rsa(bob, &[5; 32]);
    let probes = [
        ("padding", gcm.clone().key(0, bad_padding)),
        ("padding, CBC", cbc.clone().key(0, bad_padding)),
        ("a key of nothing", with_key(&gcm, by_rsa(bob, b""))),
        ("a shorter key", with_key(&gcm, by_rsa(bob, &[5; 16]))),
        ("a longer key", with_key(&cbc, by_rsa(bob, &[5; 64]))),
        ("another key", with_key(&gcm, probe.clone())),
        ("another key, CBC", with_key(&cbc, probe.clone())),
        ("zero", with_key(&gcm, vec![0; 256])),
        ("above the modulus", with_key(&gcm, vec![0xff; 256])),
        ("too few octets", with_key(&gcm, vec![7; 255])),
        ("too many octets", with_key(&gcm, vec![7; 257])),
        ("no octets", with_key(&gcm, Vec::new())),
        (
            "named twice, the first is right",
            twice(&gcm, &gcm.clone().key(0, bad_padding)),
        ),
        (
            "named twice, the second is right",
            twice(&gcm.clone().key(0, bad_padding), &gcm),
        ),
        ("named twice, both are right", twice(&gcm, &gcm)),
        ("OAEP, which it is not", oaep(Some(seq::<_, Vec<u8>>([])))),
        ("OAEP without parameters", oaep(None)),
        ("OAEP with others", oaep(Some(null()))),
        (
            "a tag",
            Parts {
                mac: Some(vec![0; 16]),
                ..gcm.clone()
            },
        ),
        (
            "a bit",
            Parts {
                content: changed(&gcm.content, 40),
                ..gcm.clone()
            },
        ),
        (
            "nothing but a tag",
            Parts {
                content: Vec::new(),
                ..gcm.clone()
            },
        ),
        (
            "no message",
            nonsense(Way::Cbc, b"\0\0\0\0 no header at all"),
        ),
        (
            "no message, GCM",
            nonsense(Way::Gcm, b"\0\0\0\0 no header at all"),
        ),
    ];
    let (reply, got) = sent(&gateway, &sink, &of(&gcm, "good@example.jp"));
    assert_eq!(reply, ACCEPTED);
    assert!(shows(&got.raw, CANARY));
    for (what, parts) in probes {
        let raw = of(&parts, "probe@example.jp");
        sink.clear();
        let mut client = gateway.client();
        for line in [format!("MAIL FROM:<{SENDER}>"), format!("RCPT TO:<{BOB}>")] {
            assert_eq!(client.command(&line).code, 250);
        }
        assert_eq!(client.command("DATA").code, 354);
        let wire = stuffed(&raw);
        let before = Instant::now();
        client.send(&wire);
        let reply = client.reply().expect("a reply").text();
        assert_eq!(reply, ACCEPTED, "{what}");
        // DEC-07: an answer keeps its time to itself. How close it is to the next period is for bench/timing.
        let least = Duration::from_millis(49);
        assert!(before.elapsed() >= least, "{what}");
        let mails = sink.mails();
        assert!(is_as_it_came(&mails[0], &raw), "{what}");
        assert!(mails[0].mail.starts_with("MAIL FROM:<>"), "{what}");
    }
    assert_eq!(states(&gateway, "opened"), 1);
    // The failures that are counted end in the same silence.
    assert!(states(&gateway, "undecryptable") >= 20);
}

fn changed(octets: &[u8], at: usize) -> Vec<u8> {
    let mut changed = octets.to_vec();
    changed[at] ^= 1;
    changed
}

/// The service opened it, as if somebody had asked for the ciphers of old programs.
#[test]
fn what_old_programs_encrypted_stays_closed() {
    let sink = Sink::start();
    let gateway = started(&setup(sink.address));
    let raw = of(&object(Way::TripleDes), "old@example.jp");
    let (reply, got) = sent(&gateway, &sink, &raw);
    assert_eq!(reply, ACCEPTED);
    assert!(is_as_it_came(&got, &raw), "{}", gateway.log());
    assert_eq!(states(&gateway, "undecryptable"), 1);
}

/// DEC-06: copies without end, and a key that is asked twenty times.
#[test]
fn dec_06_modified_copies_are_taken_without_a_word_and_cost_twenty_operations() {
    const COPIES: u64 = 250;
    let sink = Sink::with(Behaviour::default().with(XFORWARD));
    let mut setup = setup(sink.address);
    setup.trusted_peers = Some("[\"127.0.0.0/8\"]".to_owned());
    let gateway = started(&setup);
    let good = object(Way::Gcm);
    let envelope = to_bob_from_outside();
    let copy = |number: u64| {
        let mut parts = good.clone();
        for (octet, own) in number.to_be_bytes().iter().zip(&mut parts.content) {
            *own ^= *octet;
        }
        of(&parts, "probe@example.jp")
    };
    // It holds for one mail.
    let send = |client: &mut Client, address: &str, raw: &[u8]| {
        let line = format!("XFORWARD ADDR={address} HELO=mail.example.jp");
        assert_eq!(client.command(&line).code, 250);
        let reply = client.mail(&envelope, raw).expect("a reply");
        assert_eq!(reply.text(), ACCEPTED, "{address}");
    };
    let mut client = gateway.client();
    for number in 1..=COPIES {
        // From the whole of the network.
        let address = format!("192.0.2.{number}");
        send(&mut client, &address, &copy(number));
    }
    let mails = sink.mails();
    assert_eq!(
        mails.len() as u64,
        COPIES,
        "each of them, and no notification"
    );
    for (number, got) in (1..).zip(&mails) {
        assert!(is_as_it_came(got, &copy(number)), "{number}");
        assert!(got.mail.starts_with("MAIL FROM:<>"));
        assert_eq!(got.recipients.len(), 1);
        assert!(got.recipients[0].contains(BOB));
    }
    used(&gateway, 20);
    assert_eq!(states(&gateway, "undecryptable"), 20);
    assert_eq!(states(&gateway, "throttled"), COPIES - 20);
    let alert = "mail of this network fails too often for this key";
    told(&gateway, alert, 1);
    // Also the one that would open waits for the hour to end, and everybody else's mail does not.
    let genuine = of(&good, "good@example.jp");
    sink.clear();
    for address in ["192.0.2.9", "198.51.100.9"] {
        send(&mut client, address, &genuine);
    }
    let shown: Vec<bool> = sink
        .mails()
        .iter()
        .map(|got| shows(&got.raw, CANARY))
        .collect();
    assert_eq!(shown, [false, true]);
}

/// DEC-06: from very many networks together.
#[test]
fn dec_06_many_networks_have_their_answers_delayed_and_an_alert_raised() {
    let sink = Sink::with(Behaviour::default().with(XFORWARD));
    let mut setup = setup(sink.address);
    setup.trusted_peers = Some("[\"127.0.0.0/8\"]".to_owned());
    let gateway = started(&setup);
    let good = object(Way::Gcm);
    let probe = of(
        &Parts {
            mac: Some(vec![0; 16]),
            ..good.clone()
        },
        "probe@example.jp",
    );
    let alert = "mail fails too often for this key: its answers are delayed";
    let send = |network: u64, raw: &[u8]| {
        let mut client = gateway.client();
        let line = format!("XFORWARD ADDR=198.51.{network}.7 HELO=mail.example.jp");
        assert_eq!(client.command(&line).code, 250);
        let reply = client.mail(&to_bob_from_outside(), raw).expect("a reply");
        assert_eq!(reply.text(), ACCEPTED);
    };
    for number in 0..200 {
        send(number / 20, &probe);
    }
    told(&gateway, alert, 0);
    send(100, &probe);
    told(&gateway, alert, 1);
    // It is late, and it is there.
    sink.clear();
    let before = Instant::now();
    send(101, &of(&good, "good@example.jp"));
    assert!(before.elapsed() >= Duration::from_secs(2));
    assert!(shows(&sink.mails()[0].raw, CANARY));
    told(&gateway, alert, 1);
}
