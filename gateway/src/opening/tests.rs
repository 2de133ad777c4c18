//! The rows of the threat model about decryption, on what is decided here: with real keys and no sockets.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use kenin_keys::protocol::Refusal;
use kenin_keys::{NoKey, State as KeyState, Uses};
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{
    Aes, ContentKind, KeyType, Secret, SignatureAlgorithm, SigningKey, SoftKey, Wrapped,
};
use kenin_pki::der::write;
use kenin_pki::issue::{CertificateBuilder, common_name};
use kenin_policy::Reason;
use kenin_smime::encrypt::{Addressee, Protect};
use kenin_smime::sign::{Form, Signer};

use super::*;
use crate::substitute;

pub(crate) mod room;

mod replayed;

const GCM: ContentKind = ContentKind::AesGcm(Aes::Bits256);

const CBC: ContentKind = ContentKind::AesCbc(Aes::Bits256);

const ENTITY: &str = "Content-Type: text/plain\r\n\r\nThe canary sings.\r\n";

const FROM: &str =
    "From: carol@example.net\r\nTo: alice@example.jp\r\nMessage-ID: <1@example.net>\r\n";

/// A private key with what everybody may know of it.
struct Owned {
    key: SoftKey,
    certificate: Certificate,
    facts: Arc<KeyFacts>,
}

impl Owned {
    fn new(address: &str, kind: KeyType) -> Self {
        let key = SoftKey::generate(kind).unwrap();
        let authority = SoftKey::generate(KeyType::P256).unwrap();
        let certificate = CertificateBuilder::new(common_name(address).unwrap(), key.public_key())
            .mail(&[address])
            .sign(&common_name("Authority").unwrap(), &[1; 20], &authority)
            .unwrap();
        let above =
            CertificateBuilder::new(common_name("Authority").unwrap(), authority.public_key())
                .authority(None)
                .self_signed(&authority)
                .unwrap();
        let facts = KeyFacts {
            id: KeyId::random().unwrap(),
            tenant: "default".to_owned(),
            version: 1,
            state: KeyState::Active,
            uses: Uses {
                decrypt: true,
                sign: false,
            },
            addresses: vec![Address::parse(address).unwrap()],
            public: key.public_key().clone(),
            certificates: vec![certificate.clone(), above],
        };
        Self {
            key,
            certificate,
            facts: Arc::new(facts),
        }
    }

    fn retired(mut self) -> Self {
        let facts = KeyFacts::clone(&self.facts);
        self.facts = Arc::new(KeyFacts {
            state: KeyState::Retired,
            ..facts
        });
        self
    }
}

/// Everything around a mail.
struct World {
    keys: HashMap<KeyId, SoftKey>,
    /// What the key process says instead.
    refusal: Mutex<Option<NoKey>>,
    /// Of this key alone, if of one.
    refused: Cell<Option<KeyId>>,
    unwraps: AtomicUsize,
    seen: RefCell<HashMap<[u8; 32], Vec<u8>>>,
    /// How many digests were.
    remembered: Cell<usize>,
    /// How many names of mails were.
    names: Cell<usize>,
    /// Whether it was said that nobody is to hear of it.
    told: Cell<bool>,
    /// How many layers can still be remembered.
    left: Cell<usize>,
    /// Uses that were said to be no guesses.
    said: RefCell<Vec<(Address, KeyId)>>,
    memory: Memory,
    reason: Cell<Reason>,
    receipts: Receipts,
}

impl Default for World {
    fn default() -> Self {
        Self {
            keys: HashMap::new(),
            refusal: Mutex::new(None),
            refused: Cell::new(None),
            unwraps: AtomicUsize::new(0),
            seen: RefCell::default(),
            remembered: Cell::new(0),
            names: Cell::new(0),
            told: Cell::new(false),
            left: Cell::new(usize::MAX),
            said: RefCell::default(),
            memory: Memory::new(64 << 20),
            reason: Cell::new(Reason::NotSigned),
            receipts: Receipts::Strip,
        }
    }
}

/// The key process.
struct Keys<'w>(
    &'w HashMap<KeyId, SoftKey>,
    &'w Mutex<Option<NoKey>>,
    &'w AtomicUsize,
    Option<KeyId>,
);

impl Granted for Keys<'_> {
    fn unwrap(
        &self,
        _: &Address,
        key: KeyId,
        length: usize,
        wrapped: &Wrapped,
    ) -> Result<Secret, NoKey> {
        if let (Some(no), true) = (*self.1.lock().unwrap(), self.3.is_none_or(|it| it == key)) {
            return Err(no);
        }
        self.2.fetch_add(1, Ordering::SeqCst);
        let key = &self.0[&key];
        let rejection = key.rejection_secret().unwrap();
        let opened = wrapped.unwrap(key, &rejection, length);
        opened.map_err(|_| NoKey::Refused(Refusal::Failed))
    }

    fn sign(&self, _: KeyId, _: SignatureAlgorithm, _: &[u8]) -> Result<Vec<u8>, NoKey> {
        panic!("nothing is signed here")
    }
}

impl Office for World {
    fn keys(&self, _: &Address) -> Vec<Arc<KeyFacts>> {
        panic!("the people are known")
    }

    fn granted(&self) -> Result<Box<dyn Granted + '_>, NoKey> {
        let refused = self.refused.get();
        Ok(Box::new(Keys(
            &self.keys,
            &self.refusal,
            &self.unwraps,
            refused,
        )))
    }

    fn admit(&self, arrival: &Arrival) -> Result<Admission, Closed> {
        self.told.set(true);
        let room = match arrival.octets.map(|octets| self.memory.try_take(octets)) {
            Some(Err(why)) => return Ok(Admission::NoRoom(why)),
            Some(Ok(room)) => Some(room),
            None => None,
        };
        let Some(left) = self.left.get().checked_sub(1) else {
            return Err(Closed::Record);
        };
        self.left.set(left);
        let (names, digests) = (arrival.message_ids.len(), arrival.digests.len());
        self.names.set(self.names.get() + names);
        self.remembered.set(self.remembered.get() + digests);
        let (mut seen, own) = (self.seen.borrow_mut(), arrival.answers.digest);
        let mut first = |digest: &[u8; 32]| seen.entry(*digest).or_insert(own.to_vec()).clone();
        let firsts = arrival.digests.iter().map(&mut first).collect();
        Ok(Admission::Granted { room, firsts })
    }

    fn room(&self, octets: usize, _: bool) -> Result<Room, NoRoom> {
        self.memory.try_take(octets)
    }

    fn opened(&self, used: &[(Address, KeyId)], message_ids: &[[u8; 32]]) -> Result<(), Closed> {
        assert!(message_ids.is_empty(), "nothing is called so here");
        self.said.borrow_mut().extend_from_slice(used);
        Ok(())
    }
}

impl World {
    /// Somebody with a key that is here.
    fn person(&mut self, address: &str, kind: KeyType) -> Owned {
        self.hold(Owned::new(address, kind))
    }

    fn hold(&mut self, owned: Owned) -> Owned {
        let pkcs8 = owned.key.to_pkcs8().unwrap();
        let copy = SoftKey::from_pkcs8(&pkcs8).unwrap();
        self.keys.insert(owned.facts.id, copy);
        owned
    }

    fn open(&self, raw: &[u8], people: &[Person]) -> Result<Opening, Closed> {
        let judge = |raw: &[u8]| substitute::unexamined(self.reason.get(), raw);
        open(&Job {
            raw,
            people,
            answers: &Answers::of(raw),
            limits: &Limits::default(),
            receipts: self.receipts,
            name: "2@gw.example",
            seven_bit: false,
            office: self,
            judge: &judge,
        })
    }

    fn unwraps(&self) -> usize {
        self.unwraps.load(Ordering::SeqCst)
    }
}

/// A recipient at this place who has these keys.
fn person(place: usize, address: &str, keys: &[&Owned]) -> Person {
    Person {
        place,
        address: Address::parse(address).unwrap(),
        keys: keys.iter().map(|owned| Arc::clone(&owned.facts)).collect(),
        rule: OpeningRule::default(),
    }
}

fn encrypted(entity: &[u8], to: &[&Owned], cipher: ContentKind) -> Vec<u8> {
    let to: Vec<Addressee<'_>> = to
        .iter()
        .map(|owned| Addressee::of(&owned.certificate))
        .collect();
    let protect = Protect {
        recipients: &to,
        cipher,
    };
    protect.protect(entity).unwrap()
}

fn mail(entity: &[u8]) -> Vec<u8> {
    [FROM.as_bytes(), entity].concat()
}

fn states(opening: &Opening) -> Vec<State> {
    opening.states.iter().map(|(_, state)| *state).collect()
}

fn text(copy: &OpenedCopy) -> String {
    String::from_utf8(copy.message.to_vec()).unwrap()
}

#[test]
fn a_mail_is_opened_for_the_one_whose_key_it_names() {
    for kind in [KeyType::Rsa(2048), KeyType::P256, KeyType::X25519] {
        for cipher in [GCM, CBC] {
            let mut world = World::default();
            let alice = world.person("alice@example.jp", kind);
            let raw = mail(&encrypted(ENTITY.as_bytes(), &[&alice], cipher));
            let people = [person(0, "Alice@example.jp", &[&alice])];
            let opening = world.open(&raw, &people).unwrap();
            assert_eq!(states(&opening), [State::Opened]);
            assert_eq!((opening.named, opening.gone), (vec![0], false));
            assert_eq!(opening.used, [(people[0].address.clone(), alice.facts.id)]);
            let [copy] = opening.copies.as_slice() else {
                panic!("one copy");
            };
            assert_eq!(text(copy), format!("{FROM}MIME-Version: 1.0\r\n{ENTITY}"));
            assert_eq!(copy.recipients, [0]);
            let [layer] = copy.verdict.encryption.as_slice() else {
                panic!("one layer");
            };
            assert!(layer.opened && layer.section == "1" && layer.recipients == 1);
            assert_eq!(world.unwraps(), 1);
        }
    }
}

/// DEC-02: a part that is encrypted stays as it is.
#[test]
fn dec_02_an_encrypted_part_is_not_at_the_root() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::P256);
    let part = String::from_utf8(encrypted(ENTITY.as_bytes(), &[&alice], GCM)).unwrap();
    let raw = format!(
        "{FROM}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n\
         <img src=\"http://mallory.example/\r\n--b\r\n{part}\r\n--b\r\n\r\n\">\r\n--b--\r\n"
    );
    let people = [person(0, "alice@example.jp", &[&alice])];
    let opening = world.open(raw.as_bytes(), &people).unwrap();
    assert_eq!(states(&opening), [State::NotRoot]);
    assert!(opening.copies.is_empty() && opening.named.is_empty());
    assert_eq!((world.unwraps(), world.remembered.get()), (0, 0));
}

/// DEC-08: somebody else's ciphertext. The key of whoever it is for does not work, and neither does another.
#[test]
fn dec_08_a_mail_to_mallory_opens_nothing_of_alices() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::Rsa(2048));
    let mallory = world.person("mallory@example.jp", KeyType::Rsa(2048));
    let raw = mail(&encrypted(ENTITY.as_bytes(), &[&alice], GCM));
    let people = [person(0, "mallory@example.jp", &[&mallory])];
    let opening = world.open(&raw, &people).unwrap();
    assert_eq!(states(&opening), [State::NotRecipient]);
    assert!(opening.copies.is_empty() && opening.named.is_empty());
    assert!(!world.told.get());
    assert_eq!((world.unwraps(), world.remembered.get()), (0, 0));
}

/// DEC-09: beside Alice, Mallory gets what came.
#[test]
fn dec_09_only_alice_gets_what_alices_key_opens() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::P256);
    let mallory = world.person("mallory@example.jp", KeyType::P256);
    let raw = mail(&encrypted(ENTITY.as_bytes(), &[&alice], GCM));
    let people = [
        person(0, "mallory@example.jp", &[&mallory]),
        person(2, "alice@example.jp", &[&alice]),
    ];
    let opening = world.open(&raw, &people).unwrap();
    assert_eq!(states(&opening), [State::NotRecipient, State::Opened]);
    assert_eq!(opening.named, [2]);
    assert_eq!(opening.copies.len(), 1);
    assert_eq!(opening.copies[0].recipients, [2]);
    assert_eq!(world.unwraps(), 1);
}

#[test]
fn what_two_open_alike_is_one_copy_and_each_key_works_once() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::P256);
    let bob = world.person("bob@example.jp", KeyType::Rsa(2048));
    let raw = mail(&encrypted(ENTITY.as_bytes(), &[&alice, &bob], GCM));
    let people = [
        person(0, "alice@example.jp", &[&alice]),
        person(1, "bob@example.jp", &[&bob]),
        // The key works for her there, too.
        person(2, "info@example.jp", &[&alice]),
    ];
    let opening = world.open(&raw, &people).unwrap();
    assert_eq!(opening.copies.len(), 1);
    assert_eq!(opening.copies[0].recipients, [0, 1, 2]);
    assert_eq!(world.unwraps(), 2);
    assert_eq!(opening.used.len(), 2);
}

#[test]
fn of_several_keys_the_one_in_use_is_asked_and_no_other() {
    let mut world = World::default();
    let old = world.hold(Owned::new("alice@example.jp", KeyType::P256).retired());
    let new = world.person("alice@example.jp", KeyType::P256);
    for (to, asked) in [
        (vec![&old, &new], &new),
        (vec![&new, &old], &new),
        (vec![&old], &old),
    ] {
        let raw = mail(&encrypted(ENTITY.as_bytes(), &to, GCM));
        let people = [person(0, "alice@example.jp", &[&old, &new])];
        let before = world.unwraps();
        let opening = world.open(&raw, &people).unwrap();
        assert_eq!(states(&opening), [State::Opened]);
        assert_eq!(opening.used, [(people[0].address.clone(), asked.facts.id)]);
        assert_eq!(world.unwraps(), before + 1);
    }
}

/// What an odd program encrypts is delivered, unless it could be what a wrong key opens to.
#[test]
fn what_is_no_entity_opens_where_its_key_is_proven() {
    for (kind, cipher, state) in [
        (KeyType::P256, CBC, State::Opened),
        (KeyType::P256, GCM, State::Opened),
        (KeyType::Rsa(2048), GCM, State::Opened),
        (KeyType::Rsa(2048), CBC, State::Undecryptable),
    ] {
        let mut world = World::default();
        let alice = world.person("alice@example.jp", kind);
        let people = [person(0, "alice@example.jp", &[&alice])];
        let raw = mail(&encrypted(b"The canary sings.\r\n", &[&alice], cipher));
        let opening = world.open(&raw, &people).unwrap();
        assert_eq!(states(&opening), [state], "{kind:?} {cipher:?}");
        assert_eq!(world.unwraps(), 1);
        if state == State::Opened {
            let out = text(&opening.copies[0]);
            assert!(out.ends_with("\r\n\r\nThe canary sings.\r\n"), "{out}");
        }
    }
}

/// RFC 2634 §1.1, and an encryption around an encryption.
#[test]
fn layers_are_opened_one_by_one() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::P256);
    let carol = Owned::new("carol@example.net", KeyType::P256);
    let signer = Signer::new(&carol.key, &carol.certificate);
    let people = [person(0, "alice@example.jp", &[&alice])];
    let inner = signer.sign(ENTITY.as_bytes(), Form::Clear).unwrap();
    let around = encrypted(&inner, &[&alice], CBC);
    for form in [Form::Clear, Form::Opaque] {
        let raw = mail(&signer.sign(&around, form).unwrap());
        let opening = world.open(&raw, &people).unwrap();
        assert_eq!(states(&opening), [State::Opened]);
        let out = text(&opening.copies[0]);
        assert!(out.contains("Content-Type: multipart/signed;"), "{out}");
        assert!(out.contains("The canary sings."), "{out}");
    }
    let twice = mail(&encrypted(
        &encrypted(ENTITY.as_bytes(), &[&alice], CBC),
        &[&alice],
        GCM,
    ));
    let opening = world.open(&twice, &people).unwrap();
    let copy = &opening.copies[0];
    assert!(text(copy).ends_with(ENTITY));
    let layers: Vec<&str> = copy
        .verdict
        .encryption
        .iter()
        .map(|layer| layer.section.as_str())
        .collect();
    assert_eq!(layers, ["1", "1/1"]);
    assert_eq!(Vouched::of(&copy.verdict), Some(Vouched::Nobody));
    // What is inside for somebody else stays so.
    let bob = Owned::new("bob@example.jp", KeyType::P256);
    let other = mail(&encrypted(
        &encrypted(ENTITY.as_bytes(), &[&bob], GCM),
        &[&alice],
        GCM,
    ));
    let opening = world.open(&other, &people).unwrap();
    assert_eq!(states(&opening), [State::Opened]);
    assert!(!text(&opening.copies[0]).contains("canary"));
    // Deeper than anybody goes it ends.
    let mut deep = ENTITY.as_bytes().to_vec();
    for _ in 0..Limits::default().layers + 2 {
        deep = encrypted(&deep, &[&alice], GCM);
    }
    let before = world.unwraps();
    let opening = world.open(&mail(&deep), &people).unwrap();
    assert_eq!(world.unwraps() - before, Limits::default().layers);
    assert!(!text(&opening.copies[0]).contains("canary"));
}

/// DEC-01: what nobody vouches for is said to be so, and stays closed for whom it has to.
#[test]
fn dec_01_without_integrity_it_stays_encrypted_where_that_is_required() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::P256);
    let bob = world.person("bob@example.jp", KeyType::P256);
    let strict = |mut person: Person| {
        person.rule.require_integrity = true;
        person
    };
    for (cipher, reason, state) in [
        (CBC, Reason::NotSigned, State::Undecryptable),
        (CBC, Reason::DigestMismatch, State::Undecryptable),
        (CBC, Reason::Ok, State::Opened),
        (GCM, Reason::NotSigned, State::Opened),
    ] {
        world.reason.set(reason);
        let raw = mail(&encrypted(ENTITY.as_bytes(), &[&alice, &bob], cipher));
        let people = [
            strict(person(0, "alice@example.jp", &[&alice])),
            person(1, "bob@example.jp", &[&bob]),
        ];
        let opening = world.open(&raw, &people).unwrap();
        assert_eq!(
            states(&opening),
            [state, State::Opened],
            "{cipher:?} {reason:?}"
        );
        let both = state == State::Opened;
        let got: &[usize] = if both { &[0, 1] } else { &[1] };
        assert_eq!(opening.copies[0].recipients, got);
        // It was no guess, whoever gets it.
        assert_eq!(opening.used.len(), 2);
        assert_eq!(opening.named, [0, 1]);
    }
}

/// DEC-03, DEC-05: whatever is wrong, it is one state, and looks like work.
#[test]
fn dec_05_every_failure_is_the_same() {
    let mut world = World::default();
    for kind in [KeyType::Rsa(2048), KeyType::P256] {
        let alice = world.person("alice@example.jp", kind);
        let people = [person(0, "alice@example.jp", &[&alice])];
        for cipher in [GCM, CBC] {
            let good = encrypted(ENTITY.as_bytes(), &[&alice], cipher);
            let layer = kenin_smime::open::EncryptedLayer::of(&good, &Limits::default()).unwrap();
            let wrapped = layer.recipients()[0]
                .wrapped
                .as_ref()
                .unwrap()
                .encrypted_key
                .clone();
            let start = memchr::memmem::find(&good, b"\r\n\r\n").unwrap() + 4;
            let text: Vec<u8> = good[start..]
                .iter()
                .copied()
                .filter(|b| !b.is_ascii_whitespace())
                .collect();
            let object =
                kenin_smime::mime::decode(&text, kenin_smime::mime::TransferEncoding::Base64)
                    .unwrap();
            let at_key = memchr::memmem::find(&object, &wrapped).unwrap();
            for place in [
                at_key,
                at_key + wrapped.len() / 2,
                object.len() - 1,
                object.len() - 20,
            ] {
                let mut bad = object.to_vec();
                bad[place] ^= 1;
                let raw = [FROM.as_bytes(), &good[..start], base64(&bad).as_bytes()].concat();
                let (before, kept) = (world.unwraps(), world.remembered.get());
                let opening = world.open(&raw, &people).unwrap();
                // A block of CBC that is not the last one opens to something else.
                if opening.copies.is_empty() {
                    assert_eq!(states(&opening), [State::Undecryptable]);
                    assert!(opening.used.is_empty());
                } else {
                    assert!(cipher == CBC && place > at_key + wrapped.len());
                }
                assert_eq!(opening.named, [0]);
                assert_eq!(world.unwraps(), before + 1);
                // The content, and what is wrapped for her.
                assert_eq!(world.remembered.get(), kept + 2);
            }
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    let lines: Vec<&str> = (0..text.len())
        .step_by(76)
        .map(|at| &text[at..text.len().min(at + 76)])
        .collect();
    lines.join("\r\n") + "\r\n"
}

/// An entity with another object in it.
fn with_object(entity: &[u8], change: impl Fn(&mut [u8])) -> Vec<u8> {
    let start = memchr::memmem::find(entity, b"\r\n\r\n").unwrap() + 4;
    let object = kenin_smime::mime::decode(
        &entity[start..],
        kenin_smime::mime::TransferEncoding::Base64,
    );
    let mut object = object.unwrap().into_owned();
    change(&mut object);
    [&entity[..start], base64(&object).as_bytes()].concat()
}

/// A person opens them with `kenin decrypt --legacy`, and nobody else does.
#[test]
fn ciphers_of_old_programs_ask_no_key() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::P256);
    let people = [person(0, "alice@example.jp", &[&alice])];
    let good = encrypted(ENTITY.as_bytes(), &[&alice], CBC);
    let old = with_object(&good, |object| {
        let aes = b"\x30\x1d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2a";
        // RC2 with keys of 128 bits, in as many octets.
        let rc2 = b"\x30\x84\x00\x00\x00\x19\x06\x08\x2a\x86\x48\x86\xf7\x0d\x03\x02\
            \x30\x0d\x02\x01\x3a\x04\x08";
        let at = memchr::memmem::find(object, aes).unwrap();
        object[at..at + rc2.len()].copy_from_slice(rc2);
    });
    let opening = world.open(&mail(&old), &people).unwrap();
    assert_eq!(states(&opening), [State::Undecryptable]);
    assert_eq!((opening.named, world.unwraps()), (vec![0], 0));
    assert!(opening.apart.is_empty());
    // By its name an answer to it is known.
    assert_eq!((world.names.get(), world.remembered.get()), (1, 0));
    // Nor where one is inside.
    let outer = mail(&encrypted(&old, &[&alice], GCM));
    let opening = world.open(&outer, &people).unwrap();
    assert_eq!(states(&opening), [State::Undecryptable]);
    assert!(opening.copies.is_empty());
    assert_eq!(world.unwraps(), 1);
}

/// failures.md: one word for every cause. The client heard the next hop's own words, and no wait.
#[test]
fn what_names_somebody_and_cannot_be_read_is_as_what_does_not_open() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::Rsa(2048));
    let bob = world.person("bob@example.jp", KeyType::Rsa(2048));
    let people = [
        person(0, "alice@example.jp", &[&alice]),
        person(1, "bob@example.jp", &[&bob]),
    ];
    let good = encrypted(ENTITY.as_bytes(), &[&alice], CBC);
    let aes = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2a\x04\x10";
    for (place, octet) in [(10, 99), (11, 5)] {
        // Another cipher; an initialisation vector that is none.
        let odd = with_object(&good, |object| {
            let at = memchr::memmem::find(object, aes).unwrap();
            object[at + place] = octet;
        });
        let opening = world.open(&mail(&odd), &people).unwrap();
        let expected = [State::Undecryptable, State::NotRecipient];
        assert_eq!(states(&opening), expected, "{place}");
        assert_eq!((opening.named, world.unwraps()), (vec![0], 0), "{place}");
        assert!(world.told.take() && world.names.take() == 1, "{place}");
    }
}

/// BOMB-10: nobody gets two tries with a key.
#[test]
fn bomb_10_a_key_that_is_named_twice_does_not_work() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::Rsa(2048));
    let many = vec![&alice; 50];
    for to in [&many[..], &many[..2]] {
        let raw = mail(&encrypted(ENTITY.as_bytes(), to, GCM));
        let people = [person(0, "alice@example.jp", &[&alice])];
        let opening = world.open(&raw, &people).unwrap();
        assert_eq!(states(&opening), [State::Undecryptable]);
        assert_eq!((&opening.named, &opening.apart), (&vec![0], &vec![0]));
        assert!(world.told.take() && world.names.take() == 1);
        assert_eq!(world.unwraps(), 0);
        // Nobody outside sees that of a layer inside.
        let inside = encrypted(ENTITY.as_bytes(), to, GCM);
        let raw = mail(&encrypted(&inside, &[&alice], GCM));
        let opening = world.open(&raw, &people).unwrap();
        assert!(opening.copies.is_empty() && opening.apart.is_empty());
        assert_eq!(world.unwraps.swap(0, Ordering::SeqCst), 1);
        assert!(world.told.take() && world.names.take() == 1);
    }
}

/// DEC-06, failures.md: what the key process says becomes a state, or another try.
#[test]
fn dec_06_refusals_of_the_key_process() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::P256);
    let raw = mail(&encrypted(ENTITY.as_bytes(), &[&alice], GCM));
    let people = [person(0, "alice@example.jp", &[&alice])];
    for (no, state, gone) in [
        (
            NoKey::Refused(Refusal::TooManyFailures),
            State::Throttled,
            false,
        ),
        (
            NoKey::Refused(Refusal::NotGranted),
            State::Undecryptable,
            false,
        ),
        (NoKey::Refused(Refusal::Failed), State::Undecryptable, false),
        (NoKey::Gone, State::Undecryptable, true),
        (
            NoKey::Refused(Refusal::Unavailable),
            State::Undecryptable,
            true,
        ),
        (NoKey::Refused(Refusal::Busy), State::Undecryptable, true),
    ] {
        *world.refusal.lock().unwrap() = Some(no);
        let opening = world.open(&raw, &people).unwrap();
        assert_eq!(
            (states(&opening), opening.gone),
            (vec![state], gone),
            "{no:?}"
        );
        assert!(opening.copies.is_empty() && opening.used.is_empty());
        assert_eq!(opening.named, [0]);
        // That others of the same client did not open may say what those were.
        let apart = gone || no == NoKey::Refused(Refusal::NotGranted);
        assert_eq!(!opening.apart.is_empty(), apart, "{no:?}");
    }
}

/// That a key for a layer inside is away was told with 451, and so that the one around it opened.
#[test]
fn a_key_that_is_away_for_a_layer_inside_is_told_to_nobody() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::P256);
    let other = world.person("alice@example.jp", KeyType::P256);
    *world.refusal.lock().unwrap() = Some(NoKey::Gone);
    let people = [person(0, "alice@example.jp", &[&alice, &other])];
    let raw = mail(&encrypted(
        &encrypted(ENTITY.as_bytes(), &[&other], GCM),
        &[&alice],
        GCM,
    ));
    for (away, gone) in [(&other, false), (&alice, true)] {
        world.refused.set(Some(away.facts.id));
        let opening = world.open(&raw, &people).unwrap();
        assert_eq!(states(&opening), [State::Undecryptable]);
        assert_eq!(
            (opening.gone, opening.apart.len()),
            (gone, usize::from(gone))
        );
        assert!(opening.copies.is_empty());
    }
}

/// DEC-15: nothing that is printed of it shows what was inside.
#[test]
fn dec_15_what_was_opened_is_not_shown() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::P256);
    let raw = mail(&encrypted(ENTITY.as_bytes(), &[&alice], GCM));
    let opening = world
        .open(&raw, &[person(0, "alice@example.jp", &[&alice])])
        .unwrap();
    let shown = format!("{opening:?}");
    assert!(
        !shown.contains("canary") && !shown.contains("99, 97, 110"),
        "{shown}"
    );
    assert!(opening.copies[0].message.starts_with(FROM.as_bytes()));
    assert!(!opening.copies[0].message.is_mapped());
}
