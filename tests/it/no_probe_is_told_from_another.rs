//! Probes of every kind, and one answer (DEC-05, DEC-07): who changes what is wrapped for somebody, or what is inside, hears
//! what the sender of a good mail hears, and the recipient gets what came.

use std::time::{Duration, Instant};

use kenin_tests::client::{Client, stuffed};
use kenin_tests::forge::certificates::Person;
use kenin_tests::forge::der::{content, elements, null, oid, seq};
use kenin_tests::forge::enveloped::{Agreement, Parts, Way, encrypted, fields, mail, shows};
use kenin_tests::forge::keys::Key;
use kenin_tests::opened::{BOB, CAROL, People, is_as_it_came, setup, started, states, text};
use kenin_tests::sink::{Behaviour, Sink};
use openssl::rsa::Padding;
use openssl::x509::X509;

const CANARY: &str = "the canary sings in the coal mine";
const SENDER: &str = "alice@example.jp";
const ACCEPTED: &str = "250 2.0.0 Accepted";
const XFORWARD: &str = "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE";

/// What is wrong with it, and how it looks.
type Probe = (&'static str, Parts);

/// DEC-05: probes of every kind, and the same answer.
#[test]
fn dec_05_no_probe_is_answered_otherwise_than_another() {
    probed("before-queue");
}

#[test]
fn dec_05_no_probe_is_answered_otherwise_than_another_by_lmtp() {
    probed("lmtp");
}

/// Sends all probes to one gateway, over one connection.
fn probed(mode: &'static str) {
    let sink = Sink::with(Behaviour::default().with(XFORWARD));
    let mut setup = setup(sink.address);
    setup.mode = mode;
    setup.trusted_peers = Some("[\"127.0.0.0/8\"]".to_owned());
    let gateway = started(&setup);
    let mut client = match mode {
        "lmtp" => Client::greeted_by_lmtp(gateway.address),
        _ => Client::greeted(gateway.address),
    };
    let mut network = 0;
    let mut send = |recipient: &str, raw: &[u8]| {
        sink.clear();
        // From a network of its own: none stays closed since others failed before it.
        network += 1;
        for line in [
            format!("XFORWARD ADDR=198.51.{network}.7 HELO=mail.example.jp"),
            format!("MAIL FROM:<{SENDER}>"),
            format!("RCPT TO:<{recipient}>"),
        ] {
            assert_eq!(client.command(&line).code, 250, "{line}");
        }
        assert_eq!(client.command("DATA").code, 354);
        let wire = stuffed(raw);
        let before = Instant::now();
        client.send(&wire);
        let reply = client.reply().expect("a reply").text();
        let took = before.elapsed();
        let mut mails = sink.mails();
        assert_eq!(mails.len(), 1, "{reply}\n{}", gateway.log());
        (reply, took, mails.remove(0))
    };
    let people = People::get();
    let mut probes = 0;
    for (recipient, person, all) in [
        (BOB, &people.bob, by_transport(&people.bob)),
        (CAROL, &people.carol, by_agreement(&people.carol)),
    ] {
        let good = of(&object(Way::Gcm, person), "good@example.jp");
        let (answer, _, got) = send(recipient, &good);
        assert_eq!(answer, ACCEPTED);
        assert!(shows(&got.raw, CANARY), "{recipient}");
        // What is no mail opens where nothing else can have come out, and is answered to the same.
        for way in [Way::Gcm, Way::Cbc] {
            let parts = Parts::of(&encrypted(way, &[person], NONSENSE));
            let raw = of(&parts, "probe@example.jp");
            let (reply, took, got) = send(recipient, &raw);
            assert_eq!(reply, answer, "{recipient}, {way:?}");
            assert!(took >= Duration::from_millis(49), "{recipient}, {way:?}");
            let proven = recipient == CAROL || way == Way::Gcm;
            let opens = shows(&got.raw, "no header at all");
            assert_eq!(opens, proven, "{recipient}, {way:?}");
            assert_eq!(is_as_it_came(&got, &raw), !proven, "{recipient}, {way:?}");
        }
        for (what, parts) in all {
            let raw = of(&parts, "probe@example.jp");
            let (reply, took, got) = send(recipient, &raw);
            assert_eq!(reply, answer, "{recipient}: {what}");
            // DEC-07: an answer keeps its time to itself. How close it is to the next period is for bench/timing.
            assert!(
                took >= Duration::from_millis(49),
                "{recipient}: {what}: {took:?}"
            );
            assert!(is_as_it_came(&got, &raw), "{recipient}: {what}");
            assert!(
                got.mail.starts_with("MAIL FROM:<>"),
                "{recipient}: {what}: {}",
                got.mail
            );
            probes += 1;
        }
    }
    assert_eq!(states(&gateway, "opened"), 5);
    assert_eq!(states(&gateway, "undecryptable"), probes + 1);
}

fn object(way: Way, reader: &Person) -> Parts {
    Parts::of(&encrypted(way, &[reader], &text(CANARY)))
}

fn of(parts: &Parts, id: &str) -> Vec<u8> {
    mail(&fields(SENDER, id), &parts.object())
}

/// What is wrapped with a key of RSA.
fn by_transport(bob: &Person) -> Vec<Probe> {
    let (gcm, cbc) = (object(Way::Gcm, bob), object(Way::Cbc, bob));
    let with_key = |parts: &Parts, key: Vec<u8>| parts.clone().key(0, |own| *own = key);
    let bad_padding = |key: &mut Vec<u8>| key[255] ^= 1;
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
    let probe = by_rsa(bob, &[5; 32]);
    let mut probes = vec![
        ("padding", gcm.clone().key(0, bad_padding)),
        ("padding, CBC", cbc.clone().key(0, bad_padding)),
        ("a key of nothing", with_key(&gcm, by_rsa(bob, b""))),
        ("a shorter key", with_key(&gcm, by_rsa(bob, &[5; 16]))),
        ("a longer key", with_key(&cbc, by_rsa(bob, &[5; 64]))),
        ("another key", with_key(&gcm, probe.clone())),
        ("another key, CBC", with_key(&cbc, probe)),
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
        ("OAEP, which it is not", oaep(Some(seq::<_, Vec<u8>>([])))),
        ("OAEP without parameters", oaep(None)),
        ("OAEP with others", oaep(Some(null()))),
    ];
    probes.extend(inside(&gcm, &cbc));
    probes
}

/// An octet string encrypted for a certificate by RSA, PKCS #1 v1.5.
fn by_rsa(person: &Person, key: &[u8]) -> Vec<u8> {
    let certificate = X509::from_der(&person.certificate).unwrap();
    let rsa = certificate.public_key().unwrap().rsa().unwrap();
    let mut out = vec![0; rsa.size() as usize];
    rsa.public_encrypt(key, &mut out, Padding::PKCS1).unwrap();
    out
}

/// What is wrapped with what both sides agree on.
fn by_agreement(carol: &Person) -> Vec<Probe> {
    let (gcm, cbc) = (object(Way::Gcm, carol), object(Way::Cbc, carol));
    let others = Agreement::of(&object(Way::Gcm, carol).recipients[0]);
    let with_point = |point: Vec<u8>| with(&gcm, |own| own.point = point);
    // Another way to make the key that wraps, and another wrap.
    let by = |kdf: &str, wrap: Vec<u8>| {
        let algorithm = seq([oid(kdf), wrap]);
        with(&gcm, |own| own.algorithm = algorithm)
    };
    let aes_256_wrap = seq([oid("2.16.840.1.101.3.4.1.45")]);
    let bad_key = |own: &mut Agreement| own.key[0] ^= 1;
    let mut uncompressed = vec![4; 65];
    uncompressed[1..].fill(0xff);
    let mut compressed = vec![2; 33];
    compressed[1..].fill(0xff);
    let mut probes = vec![
        ("a bit of the wrapped key", with(&gcm, bad_key)),
        (
            "the last bit of the wrapped key",
            with(&gcm, |own| own.key[39] ^= 1),
        ),
        ("a bit of the wrapped key, CBC", with(&cbc, bad_key)),
        (
            "the wrapped key of another mail",
            with(&gcm, |own| own.key.clone_from(&others.key)),
        ),
        (
            "all for another mail",
            with(&gcm, |own| *own = others.clone()),
        ),
        ("a shorter key", with(&gcm, |own| own.key.truncate(24))),
        ("a longer key", with(&gcm, |own| own.key.resize(72, 7))),
        ("no whole blocks", with(&gcm, |own| own.key.truncate(39))),
        (
            "more than any wrap makes",
            with(&gcm, |own| own.key.resize(4000, 7)),
        ),
        ("no octets", with(&gcm, |own| own.key.clear())),
        ("another point", with_point(point_of(&Key::p256()))),
        (
            "the point of another mail",
            with_point(others.point.clone()),
        ),
        ("a point of no curve", with(&gcm, |own| own.point[64] ^= 1)),
        ("above the modulus", with_point(uncompressed)),
        ("above the modulus, half a point", with_point(compressed)),
        ("infinity", with_point(vec![0])),
        ("no point", with_point(Vec::new())),
        ("a point of P-384", with_point(point_of(&Key::p384()))),
        (
            "a point of P-384 that says so",
            with(&gcm, |own| {
                own.curve = seq([oid("1.2.840.10045.2.1"), oid("1.3.132.0.34")]);
                own.point = point_of(&Key::p384());
            }),
        ),
        ("another digest", by("1.3.132.1.11.1", aes_256_wrap.clone())),
        (
            "another wrap",
            by(SHA1_KDF, seq([oid("2.16.840.1.101.3.4.1.5")])),
        ),
        (
            "a wrap as old programs did",
            by(SHA1_KDF, seq([oid("1.2.840.113549.1.9.16.3.6"), null()])),
        ),
        (
            "an agreement that nobody knows",
            by("1.3.6.1.4.1.99999.1", aes_256_wrap),
        ),
        (
            "named twice, the first is right",
            twice(&gcm, &with(&gcm, bad_key)),
        ),
        (
            "named twice, the second is right",
            twice(&with(&gcm, bad_key), &gcm),
        ),
    ];
    probes.extend(inside(&gcm, &cbc));
    probes
}

/// The one agreement in it, changed.
fn with(parts: &Parts, change: impl FnOnce(&mut Agreement)) -> Parts {
    parts.clone().agreement(0, change)
}

/// The public key as a point.
fn point_of(key: &Key) -> Vec<u8> {
    let spki = key.spki();
    // In front stands how many bits are not used.
    content(elements(&spki)[1])[1..].to_vec()
}

/// Somebody is named twice: does the one key open it, or the other?
fn twice(first: &Parts, second: &Parts) -> Parts {
    let mut both = first.clone();
    both.recipients.push(second.recipients[0].clone());
    both
}

/// Contents that the right key does not open.
fn inside(gcm: &Parts, cbc: &Parts) -> Vec<Probe> {
    let holding = |content: Vec<u8>| Parts {
        content,
        ..gcm.clone()
    };
    let mut bit = gcm.content.clone();
    bit[40] ^= 1;
    // What is then at its end is text, and no padding.
    let blocks = &cbc.content[..cbc.content.len() - 16];
    vec![
        ("named twice, both are right", twice(gcm, gcm)),
        (
            "a tag",
            Parts {
                mac: Some(vec![0; 16]),
                ..gcm.clone()
            },
        ),
        (
            "Camellia, which is not known",
            Parts {
                cipher: oid("1.2.392.200011.61.1.1.1.4"),
                ..cbc.clone()
            },
        ),
        (
            "no parameters that a cipher has",
            Parts {
                parameters: null(),
                ..gcm.clone()
            },
        ),
        ("a bit", holding(bit)),
        ("nothing but a tag", holding(Vec::new())),
        (
            "a block less, CBC",
            Parts {
                content: blocks.to_vec(),
                ..cbc.clone()
            },
        ),
    ]
}

/// No mail to anybody.
const NONSENSE: &[u8] = b"\0\0\0\0 no header at all";
/// As OpenSSL makes the key that wraps, unless it is told otherwise.
const SHA1_KDF: &str = "1.3.133.16.840.63.0.2";
