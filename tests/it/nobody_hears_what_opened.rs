//! What does not open is told to nobody outside (DEC-01, DEC-03, DEC-04, DEC-06): whatever was changed, the client hears the
//! same, and the recipient gets what came.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kenin_tests::client::{Client, Envelope};
use kenin_tests::forge::der::{octets, oid};
use kenin_tests::forge::enveloped::{
    AES_256_CBC, AES_256_GCM, AES_256_OFB, ENVELOPED, Parts, Way, encrypted, fields, forms, mail,
    shows, with_last_bit_changed,
};
use kenin_tests::kenin::Gateway;
use kenin_tests::memory::{in_files, is_unnamed, open_files, written};
use kenin_tests::opened::{
    BOB, People, is_as_it_came, keep_metrics, secrets, setup, started, states, text, to_bob, told,
    used,
};
use kenin_tests::sink::{Behaviour, Dot, Received, Sink};
use kenin_tests::world::files;
use rustix::process::Pid;

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
    let many = u64::try_from(files.len()).unwrap();
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
    assert_eq!(states(&gateway, "undecryptable"), many);
    assert_eq!(states(&gateway, "opened"), 1);
}

/// What is looked for in the files that the gateway has open when a mail is at the next hop, and what was found.
struct Watch {
    edge: Pid,
    needles: Vec<Vec<u8>>,
    found: Vec<String>,
    /// Whether there was a file without a name, or none can be seen.
    unnamed: bool,
}

impl Watch {
    fn look(&mut self) {
        let Some(open) = open_files(self.edge) else {
            self.unnamed = true;
            return;
        };
        self.found.extend(in_files(&open, &self.needles));
        self.unnamed |= open.iter().any(|file| is_unnamed(file));
    }
}

/// DEC-04: one wrong bit at the very end of a long content.
#[test]
fn dec_04_nothing_of_a_content_is_released_before_its_tag_is_right() {
    let watch = Arc::new(Mutex::new(None::<Watch>));
    let sink = {
        let watch = Arc::clone(&watch);
        Sink::with(Behaviour::default().at_dot(move |_, _| {
            if let Some(watch) = watch.lock().unwrap().as_mut() {
                watch.look();
            }
            Dot::Accept
        }))
    };
    let mut setup = setup(sink.address);
    setup.limits = "message_size = \"100M\"\ndeadline = \"60s\"\n".to_owned();
    setup.log_lines = "level = \"trace\"\n".to_owned();
    let mut gateway = started(&setup);
    let bob = &People::get().bob;
    for size in [480_000, 40_000_000] {
        let mut entity = text(CANARY);
        let line = format!("{CANARY} {CANARY}\r\n");
        while entity.len() < size {
            entity.extend_from_slice(line.as_bytes());
        }
        let object = encrypted(Way::Gcm, &[bob], &entity);
        let content_key = Parts::of(&object).content_key(bob);
        *watch.lock().unwrap() = Some(Watch {
            edge: gateway.process().pid(),
            needles: [forms(CANARY), written(&content_key)].concat(),
            found: Vec::new(),
            unnamed: false,
        });
        let needles = secrets(CANARY, &[content_key]);
        let traces = || in_files(&files(gateway.folder.path()), &needles);
        let header = fields(SENDER, "long@example.jp");
        let raw = mail(&header, &with_last_bit_changed(&object));
        let (reply, got) = sent(&gateway, &sink, &raw);
        assert_eq!(reply, ACCEPTED);
        assert!(is_as_it_came(&got, &raw), "{size}");
        assert_eq!(sink.count(), 1);
        assert_eq!(traces(), [""; 0]);
        // That is for the tag alone.
        let (reply, got) = sent(&gateway, &sink, &mail(&header, &object));
        assert_eq!(reply, ACCEPTED);
        assert!(got.raw.ends_with(line.as_bytes()), "{size}");
        keep_metrics(&gateway);
        assert_eq!(traces(), [""; 0]);
        let watch = watch.lock().unwrap().take().expect("it was put there");
        assert_eq!(watch.found, [""; 0], "{size}");
        // A large mail waits in one, as it came.
        assert!(watch.unnamed || size < 1 << 20, "{size}");
    }
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
