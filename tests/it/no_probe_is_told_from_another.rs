//! Probes of every kind, and one answer (DEC-05, DEC-07): who changes what is wrapped for somebody, or what is inside, hears
//! what the sender of a good mail hears, and the recipient gets what came.

use std::time::{Duration, Instant};

use kenin_tests::client::{Envelope, stuffed};
use kenin_tests::forge::certificates::Person;
use kenin_tests::forge::der::{elements, null, oid, seq};
use kenin_tests::forge::enveloped::{Parts, Way, encrypted, fields, mail, shows};
use kenin_tests::kenin::Gateway;
use kenin_tests::opened::{BOB, People, is_as_it_came, setup, started, states, text};
use kenin_tests::sink::{Received, Sink};
use openssl::rsa::Padding;
use openssl::x509::X509;

const CANARY: &str = "the canary sings in the coal mine";
const SENDER: &str = "alice@example.jp";
const ACCEPTED: &str = "250 2.0.0 Accepted";

fn object(way: Way) -> Parts {
    Parts::of(&encrypted(way, &[&People::get().bob], &text(CANARY)))
}

fn of(parts: &Parts, id: &str) -> Vec<u8> {
    mail(&fields(SENDER, id), &parts.object())
}

/// Sends it, and gives what the client heard and what Bob got.
fn sent(gateway: &Gateway, sink: &Sink, raw: &[u8]) -> (String, Received) {
    sink.clear();
    let reply = gateway.send(&Envelope::new(SENDER, BOB), raw);
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
