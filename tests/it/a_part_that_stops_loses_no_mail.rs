//! Redis, slapd, PostgreSQL and an OCSP responder stop in the middle of mail, killed or silent, and come back: each
//! mail has the reply and the stamp that docs/operating.md and docs/reasons.md name for that, none is lost, and
//! nothing passes that should not.
//!
//! Directory and cache are asked about people whom mail is encrypted for. Here no rule has mail encrypted: it must not notice
//! that they stop, and who looks somebody up must be told the truth. What they do to mail that must be encrypted, and what
//! the store does to mail that is opened, have tests of their own (`what_must_be_encrypted_does_not_go_in_clear`,
//! `mail_to_decrypt_waits_or_goes_on`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kenin_tests::client::Envelope;
use kenin_tests::forge::certificates::{Authority, Person, pem};
use kenin_tests::forge::der::time;
use kenin_tests::forge::keys::Key;
use kenin_tests::forge::{Town, cms, mime};
use kenin_tests::kenin::{Gateway, Setup, kenin};
use kenin_tests::ledger::{Answers, Circumstances, Courier, Ledger, Truth, Try, fan};
use kenin_tests::neighbours::{Neighbours, Part, Stop, find};
use kenin_tests::sink::{Behaviour, Sink};
use kenin_tests::slapd::Entry;
use kenin_tests::world::{PATIENCE, wait_for};

#[test]
fn a_cache_that_stops_is_passed_by() {
    stops_and_comes_back(Part::Cache);
}

#[test]
fn a_directory_that_stops_holds_up_no_mail() {
    stops_and_comes_back(Part::Directory);
}

#[test]
fn a_store_that_stops_costs_what_only_it_knows() {
    stops_and_comes_back(Part::Store);
}

#[test]
fn a_responder_that_stops_makes_nothing_good() {
    stops_and_comes_back(Part::Responder);
}

fn stops_and_comes_back(part: Part) {
    let people = People::new();
    let mut around = people.neighbours();
    let mut post = Post::start(part, &around, people);
    post.batch(&[None], || {});
    let (descriptors, memory) = (post.gateway.descriptors(), post.gateway.resident_kib());
    for stop in [Stop::Killed, Stop::Silent] {
        find_in_the_cache(&post.gateway);
        post.batch(&[None, Some(part)], || around.stop(part, stop));
        post.batch(&[Some(part)], || {});
        assert_missed(part, &around, &post.gateway);
        around.bring_back(part, stop);
        wait_for("all is well again", || is_well(&post.gateway));
        // Who could not be asked about is not asked about again at once.
        let resting = (part == Part::Responder).then_some(part);
        post.once_more(&[None, resting]);
        post.batch(&[None], || {});
    }
    find_in_the_cache(&post.gateway);
    post.close(descriptors, memory);
}

/// Store, directory and cache answer, each by itself: in the end the cache does.
fn find_in_the_cache(gateway: &Gateway) {
    // A cache that is slow for once is passed by.
    wait_for("Alice is found in the cache", || {
        let (code, places) = find(gateway, ALICE);
        code == 0 && places.iter().all(|place| place.ends_with("(cached)"))
    });
}

/// Who asks for what a part alone has is told that it is away.
fn assert_missed(part: Part, around: &Neighbours, gateway: &Gateway) {
    match part {
        Part::Cache => {
            let directory = format!("ldap://{}", around.directory.plain);
            assert_eq!(find(gateway, ALICE), (0, vec![directory]));
        }
        Part::Directory => {
            find_in_the_cache(gateway);
            around.cache.flush();
            // EX_UNAVAILABLE: that nobody is there would be another answer.
            assert_eq!(find(gateway, ALICE), (69, Vec::new()));
        }
        Part::Store => {
            let (status, body) = gateway.get("/readyz?verbose");
            assert!(status == 200 && body.contains("degraded store"), "{body}");
            wait_for("the log says so", || misses_the_store(gateway));
        }
        // The stamps tell.
        Part::Responder => {}
    }
}

/// Kenin says of itself that all is well. Where the store was missed, whoever looks after it has to have heard of it
/// again: a question from before may still end in vain.
fn is_well(gateway: &Gateway) -> bool {
    let (status, body) = gateway.get("/readyz?verbose");
    status == 200 && !body.contains("degraded") && !misses_the_store(gateway)
}

fn misses_the_store(gateway: &Gateway) -> bool {
    let log = gateway.log();
    let times = |words: &str| log.matches(words).count();
    times("the store does not answer: mail is judged") > times("the store answers again")
}

/// Who writes, besides the town.
struct People {
    /// Good once, until 2021.
    old: Person,
    /// Who vouches for the card.
    cards: Authority,
    /// Holds no address, which is registered.
    card: Person,
    /// For each batch one who is good and one who is revoked, of whom nobody has heard.
    new: Vec<(Person, Person)>,
}

impl People {
    fn new() -> Self {
        let issuer = &Town::get().issuer;
        let (cards, key) = (Authority::root("Cards"), Key::p256());
        let mut form = cards.person_form("Card", HOLDER, &key);
        // Its subjectAltName.
        form.extensions.remove(0);
        let card = cards.issue(&form, key);
        let key = Key::p256();
        let mut form = issuer.person_form("Old", OLD, &key);
        form.not_after = time("20210101000000Z");
        let old = issuer.issue(&form, key);
        let person = |name: &str, number: usize| {
            let address = format!("{name}{number}@example.jp");
            issuer.person(name, &address, Key::p256())
        };
        let new = (0..BATCHES).map(|number| (person("new", number), person("gone", number)));
        Self {
            new: new.collect(),
            old,
            cards,
            card,
        }
    }

    /// The four that know of them.
    fn neighbours(&self) -> Neighbours {
        let town = Town::get();
        let alice = Entry::person("Alice").with("mail", ALICE);
        let mut good = vec![&town.bob, &self.old];
        let mut revoked = vec![&town.rita];
        for (one, other) in &self.new {
            good.push(one);
            revoked.push(other);
        }
        let alice = alice.certificate(&town.alice.certificate);
        Neighbours::start(&[alice], &good, &revoked)
    }
}

/// What a mail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Not signed.
    Plain,
    /// Signed by somebody of whom it is known that he is not revoked.
    Known,
    /// The same, and changed.
    Tampered,
    /// Signed by the same in another's name.
    Foreign,
    /// Signed by somebody who was not asked about yet.
    New,
    /// The same, revoked.
    NewRevoked,
    /// Signed by somebody of whom it is known that he is revoked.
    Revoked,
    /// Signed with a certificate that has ended.
    Expired,
    /// Signed with a card whose holder's address is registered.
    Card,
}

impl Kind {
    fn truth(self) -> Truth {
        match self {
            Self::Known => Truth::Good,
            Self::New | Self::Card => Truth::Unsure,
            _ => Truth::NotGood,
        }
    }

    /// What its stamp says while a part is away.
    fn stamp(self, away: Option<Part>) -> &'static str {
        match (self, away) {
            (Self::New | Self::NewRevoked, Some(Part::Responder)) => STATUS_UNKNOWN,
            (Self::Card | Self::Foreign, Some(Part::Store)) => HOLDER_UNKNOWN,
            (Self::Known | Self::New | Self::Card, _) => PASS,
            (Self::Plain, _) => "smime=none (not-signed)",
            (Self::Tampered, _) => TAMPERED,
            (Self::Foreign, _) => "smime=policy (from-mismatch)",
            (Self::NewRevoked | Self::Revoked, _) => REVOKED,
            (Self::Expired, _) => "smime=fail (certificate-expired)",
        }
    }
}

/// How the refusal of a strict rule begins; nothing for what it lets through.
fn refusal(stamp: &str) -> Option<&'static str> {
    match stamp {
        PASS => None,
        STATUS_UNKNOWN => Some("451 4.7.5 Revocation status unavailable, try again later"),
        HOLDER_UNKNOWN => Some("451 4.7.5 Cryptographic failure, try again later"),
        TAMPERED => Some("550 5.7.7 Message integrity failure"),
        REVOKED => Some("550 5.7.5 "),
        _ => Some("550 5.7.1 "),
    }
}

/// A mail with its envelope.
struct Letter {
    kind: Kind,
    strict: bool,
    id: String,
    envelope: Envelope,
    raw: Vec<u8>,
}

impl Letter {
    /// Whether this is what has to become of it while a part is away.
    fn fits(&self, away: Option<Part>, reply: &str, stamp: Option<&str>) -> bool {
        let wanted = self.kind.stamp(away);
        match refusal(wanted).filter(|_| self.strict) {
            Some(begin) => reply.starts_with(begin) && stamp.is_none(),
            None => reply.starts_with("250 ") && stamp.is_some_and(|said| said.contains(wanted)),
        }
    }
}

/// A gateway, what it is given, and what arrives.
struct Post {
    part: Part,
    gateway: Gateway,
    sink: Sink,
    ledger: Ledger,
    people: People,
    batches: usize,
    /// Mails that were put off: they are still their sender's.
    kept: Vec<Letter>,
}

impl Post {
    fn start(part: Part, around: &Neighbours, people: People) -> Self {
        let sink = Sink::with(Behaviour {
            keeps_bytes: false,
            ..Behaviour::default()
        });
        let mut gateway = gateway(around, &people.cards, sink.address);
        gateway.restart();
        let file = gateway.folder.join("card.pem").display().to_string();
        std::fs::write(&file, pem("CERTIFICATE", &people.card.certificate)).unwrap();
        let config = gateway.config().display().to_string();
        let done = kenin(&["cert", "register", HOLDER, &file, "--config", &config]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{said}");
        Self {
            part,
            gateway,
            sink,
            ledger: Ledger::default(),
            people,
            batches: 0,
            kept: Vec::new(),
        }
    }

    /// Sends one of each kind. When the first half is under way something happens, while the other half is
    /// handed over. All of them have to end as they should with one of these parts away.
    fn batch(&mut self, away: &[Option<Part>], happens: impl FnOnce()) {
        let batch = self.batches;
        self.batches += 1;
        let letter = |(place, (kind, strict)): (usize, &(Kind, bool))| {
            let id = format!("<{:?}.{batch}.{place}@stops.example>", self.part);
            let to = if *strict { STRICT } else { READER };
            let envelope = Envelope::new("sender@example.jp", to);
            let raw = self.written(*kind, batch, &id);
            self.ledger.open(&id, kind.truth(), &envelope, &raw);
            Letter {
                kind: *kind,
                strict: *strict,
                id,
                envelope,
                raw,
            }
        };
        let letters: Vec<Letter> = MIX.iter().enumerate().map(letter).collect();
        let told = self.handed_over(&letters, happens);
        self.look(letters, &told, away);
    }

    /// Hands over again what was put off.
    fn once_more(&mut self, away: &[Option<Part>]) {
        let letters = std::mem::take(&mut self.kept);
        let told = self.handed_over(&letters, || {});
        self.look(letters, &told, away);
    }

    fn written(&self, kind: Kind, batch: usize, id: &str) -> Vec<u8> {
        let town = Town::get();
        let text = format!("Pay 1000 yen, {batch}");
        let (new, gone) = &self.people.new[batch];
        let raw = match kind {
            Kind::Plain => mime::plain(&mime::headers(BOB), &text),
            Kind::Known | Kind::Tampered => town.clear_signed(&town.bob, BOB, &text),
            Kind::Foreign => town.clear_signed(&town.bob, ALICE, &text),
            Kind::New => town.clear_signed(new, &format!("new{batch}@example.jp"), &text),
            Kind::NewRevoked => town.clear_signed(gone, &format!("gone{batch}@example.jp"), &text),
            Kind::Revoked => town.clear_signed(&town.rita, "rita@example.jp", &text),
            Kind::Expired => town.clear_signed(&self.people.old, OLD, &text),
            Kind::Card => {
                let part = mime::text(&text);
                let object = cms::detached(&self.people.card, &[], &part);
                mime::clear_signed(&mime::headers(HOLDER), &part, &object)
            }
        };
        let mut text = String::from_utf8(raw).unwrap();
        text = text.replacen("<forged@example.jp>", id, 1);
        if kind == Kind::Tampered {
            text = text.replacen("1000", "9000", 1);
        }
        text.into_bytes()
    }

    /// Hands each over once, several side by side.
    fn handed_over(&self, letters: &[Letter], happens: impl FnOnce()) -> Vec<Try> {
        let (next, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (begun, told) = (AtomicBool::new(false), Mutex::new(BTreeMap::new()));
        let writing = || {
            let mut courier = Courier::new(self.gateway.address, PATIENCE);
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                let Some(letter) = letters.get(number) else {
                    return courier.quit();
                };
                if number >= letters.len() / 2 {
                    wait_for("the other half may go", || begun.load(Ordering::SeqCst));
                }
                let (id, envelope, raw) = (&letter.id, &letter.envelope, &letter.raw);
                let one = courier.hand_over(&self.ledger, id, envelope, raw);
                told.lock().unwrap().insert(number, one);
                answered.fetch_add(1, Ordering::SeqCst);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(writing);
            }
            wait_for("mail is under way", || {
                answered.load(Ordering::SeqCst) >= letters.len() / 4
            });
            begun.store(true, Ordering::SeqCst);
            happens();
        });
        told.into_inner().unwrap().into_values().collect()
    }

    /// Compares what was told and what arrived with what should be.
    fn look(&mut self, letters: Vec<Letter>, told: &[Try], away: &[Option<Part>]) {
        assert_eq!(letters.len(), told.len());
        let records = self.sink.records().into_iter();
        let stamps: BTreeMap<String, String> = records
            .map(|record| (record.id, record.stamps.concat()))
            .collect();
        for (letter, told) in letters.into_iter().zip(told) {
            let (kind, strict, id) = (letter.kind, letter.strict, &letter.id);
            let Ok(reply) = &told.answer else {
                panic!("{id}, {kind:?}, strict {strict}: {:?}", told.answer)
            };
            let (reply, stamp) = (reply.text(), stamps.get(id).map(String::as_str));
            assert!(
                away.iter().any(|away| letter.fits(*away, &reply, stamp)),
                "{id}, {kind:?}, strict {strict}, away {away:?}: {reply}, {stamp:?}"
            );
            if reply.starts_with('4') {
                self.kept.push(letter);
            }
        }
    }

    /// Everything goes through in the end, and the books are closed.
    fn close(mut self, descriptors: usize, memory: u64) {
        let mut left_behind = self.gateway.left_behind(descriptors + SLACK, PATIENCE);
        let resident = self.gateway.resident_kib();
        if resident > memory + MEMORY_SLACK_KIB {
            left_behind.push(format!("{resident} KiB, {memory} before"));
        }
        // One that was just started asks about everybody.
        self.gateway.restart();
        self.once_more(&[None]);
        assert!(self.kept.is_empty());
        assert!(!self.gateway.log().contains("panicked"));
        let circumstances = Circumstances {
            answers: Answers::of_the_sink(),
            left_behind,
            ..Circumstances::default()
        };
        let account = self.ledger.check(&self.sink.records(), &circumstances);
        println!("{:?}: {account}\n{:#?}", self.part, account.replies);
        assert!(account.balanced(), "{account:#?}");
        let refused = |(kind, strict): &&(Kind, bool)| *strict && kind.truth() == Truth::NotGood;
        let refused = BATCHES * MIX.iter().filter(refused).count();
        assert_eq!(self.batches, BATCHES);
        assert_eq!(account.sent, BATCHES * MIX.len());
        assert_eq!(account.kept_by_sender, refused);
        assert_eq!(account.arrived, account.sent - refused);
        assert_eq!((account.duplicates, account.in_doubt), (0, 0));
    }
}

/// One that asks all four, not yet started.
fn gateway(around: &Neighbours, cards: &Authority, next_hop: SocketAddr) -> Gateway {
    let setup = Setup {
        // On a machine of one core each of two silent answers is waited for while all other mail waits.
        limits: "deadline = \"60s\"\n".to_owned(),
        anchor: format!(
            "[anchor.fetch]\nocsp = \"{}\"\n[[anchor]]\nname = \"cards\"\nfile = \"anchors/cards.pem\"\n\
             [fetch]\nports = [{}]\nallow_networks = [\"127.0.0.0/8\"]\n",
            around.responder.url(),
            around.responder.address.port(),
        ),
        tables: around.tables(),
        mail: fan::RULES.to_owned(),
        ..Setup::new(next_hop)
    };
    let gateway = Gateway::prepare(&setup);
    around.write_files(&gateway);
    let folder = &gateway.folder;
    // Of the issuer's certificates nothing tells but the responder.
    std::fs::remove_file(folder.join("crls/issuer.crl")).unwrap();
    let anchor = pem("CERTIFICATE", &cards.certificate);
    std::fs::write(folder.join("anchors/cards.pem"), anchor).unwrap();
    std::fs::write(folder.join("crls/cards.crl"), cards.crl(&[])).unwrap();
    gateway
}

/// The mails of a batch, and whether each goes to a domain with a strict rule. Those of whom somebody has to be
/// asked are in the half that meets the stop.
const MIX: [(Kind, bool); 15] = [
    (Kind::Known, false),
    (Kind::Plain, false),
    (Kind::Card, false),
    (Kind::Tampered, true),
    (Kind::Plain, true),
    (Kind::Revoked, false),
    (Kind::Known, true),
    (Kind::New, false),
    (Kind::Card, true),
    (Kind::NewRevoked, false),
    (Kind::New, true),
    (Kind::Foreign, false),
    (Kind::NewRevoked, true),
    (Kind::Expired, false),
    (Kind::Tampered, false),
];
/// One before all, and three around each of two stops.
const BATCHES: usize = 7;
const WRITERS: usize = 4;

const READER: &str = "reader@example.jp";
const STRICT: &str = "two@strict.example";
const ALICE: &str = "alice@example.jp";
const BOB: &str = "bob@example.jp";
const OLD: &str = "old@example.jp";
const HOLDER: &str = "hanako@example.jp";

const PASS: &str = "smime=pass";
const TAMPERED: &str = "smime=fail (digest-mismatch)";
const REVOKED: &str = "smime=fail (revoked)";
const STATUS_UNKNOWN: &str = "smime=temperror (revocation-unavailable)";
const HOLDER_UNKNOWN: &str = "smime=temperror (registration-unavailable)";

/// What is opened when it is first needed: further connections to a store, a cache or a directory of its own.
const SLACK: usize = 8;
/// What an allocator keeps of a few sessions side by side.
const MEMORY_SLACK_KIB: u64 = 64 << 10;
