//! The rows of the threat model about a worker that somebody else has taken over, and about ciphertexts of others.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use kenin_pki::crypto::{Aes, Kdf, KeyWrap, PublicKey, Secret, Wrapped, Wrapping};
use kenin_pki::der::write;

use super::*;
use crate::key::State;
use crate::testing::{Dice, address, facts, generated};

mod failures;

/// Everything that was written down, and whether nothing can be any more.
#[derive(Default)]
struct Kept(Vec<Event>, bool);

impl Log for Kept {
    fn record(&mut self, _: Moment, event: &Event) -> bool {
        self.0.push(event.clone());
        !self.1
    }
}

/// Counts how often the private key itself is asked for something.
struct Counting {
    key: SoftKey,
    calls: Arc<AtomicU64>,
}

impl Counting {
    fn count(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
    }
}

impl DecryptionKey for Counting {
    fn public(&self) -> &PublicKey {
        self.key.public()
    }

    fn rsa_raw(&self, ciphertext: &[u8]) -> Result<Secret, KeyError> {
        self.count();
        self.key.rsa_raw(ciphertext)
    }

    fn agree(&self, peer: &[u8]) -> Result<Secret, KeyError> {
        self.count();
        self.key.agree(peer)
    }

    fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret, KeyError> {
        self.count();
        self.key.decapsulate(ciphertext)
    }
}

impl SigningKey for Counting {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.count();
        self.key.sign(algorithm, message)
    }
}

/// A key process in the hands of a test.
struct World {
    keeper: Keeper<Kept>,
    keys: Vec<(KeyFacts, Arc<AtomicU64>)>,
    now: Moment,
    /// Of the connection over which a worker asks.
    reach: Reach,
}

impl World {
    /// With a key for each of these, of the tenant `default`.
    fn of(owners: &[&str]) -> Self {
        Self::with(owners, |_| {})
    }

    fn with(owners: &[&str], change: impl Fn(&mut KeyFacts)) -> Self {
        let mut keys = Vec::new();
        let mut held = Vec::new();
        for owner in owners {
            let (key, _) = generated();
            let mut facts = facts(&key);
            facts.addresses = vec![address(owner)];
            change(&mut facts);
            let calls = Arc::new(AtomicU64::new(0));
            let rejection = key.rejection_secret().unwrap();
            let counting = Counting {
                key,
                calls: Arc::clone(&calls),
            };
            held.push(HeldKey::new(facts.clone(), Box::new(counting), rejection));
            keys.push((facts, calls));
        }
        Self {
            keeper: Keeper::new(held, Kept::default()),
            keys,
            now: Duration::from_secs(1000),
            reach: Reach::All,
        }
    }

    fn id(&self, key: usize) -> KeyId {
        self.keys[key].0.id
    }

    /// How often the key itself has worked.
    fn calls(&self, key: usize) -> u64 {
        let calls = self.keys[key].1.load(Ordering::SeqCst);
        let counts = self.keeper.counts(self.id(key)).unwrap();
        assert_eq!(calls, counts.unwraps + counts.signatures, "exact");
        calls
    }

    fn edge(&mut self, request: EdgeRequest) -> Answer {
        self.keeper.edge(self.now, request)
    }

    fn grant(&mut self, recipients: &[&str]) -> Transaction {
        self.grant_from(recipients, None, "192.0.2.1")
    }

    fn grant_from(
        &mut self,
        recipients: &[&str],
        sender: Option<&str>,
        client: &str,
    ) -> Transaction {
        let transaction = Transaction::random().unwrap();
        let grant = Grant {
            transaction,
            tenant: "default".to_owned(),
            recipients: recipients.iter().map(|text| address(text)).collect(),
            sender: sender.map(address),
            client: Some(client.parse().unwrap()),
            seconds: 600,
        };
        assert_eq!(self.edge(EdgeRequest::Grant(grant)), Answer::Done);
        transaction
    }

    /// What a worker gets that asks for a content-encryption key that was wrapped for the key.
    fn unwrap(&mut self, transaction: Transaction, recipient: &str, key: usize) -> Answer {
        let (wrapped, secret) = wrapped_for(&self.keys[key].0.public);
        let request = Unwrap {
            transaction,
            recipient: address(recipient),
            key: self.id(key),
            length: 32,
            wrapped,
        };
        let answer = self.ask_unwrap(request);
        if let Answer::Key(opened) = &answer {
            assert_eq!(*opened, secret);
        }
        answer
    }

    fn ask_unwrap(&mut self, request: Unwrap) -> Answer {
        match self.keeper.unwrap(self.now, self.reach, request) {
            Decision::Answer(answer) => answer,
            Decision::Work(job, _) => job.run(),
        }
    }

    fn sign(&mut self, transaction: Transaction, key: usize) -> Answer {
        self.sign_what(transaction, key, attributes())
    }

    fn sign_what(&mut self, transaction: Transaction, key: usize, what: Vec<u8>) -> Answer {
        let request = Sign {
            transaction,
            key: self.id(key),
            algorithm: SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256),
            attributes: what,
        };
        match self.keeper.sign(self.now, self.reach, request) {
            Decision::Answer(answer) => answer,
            Decision::Work(job, _) => job.run(),
        }
    }

    fn opened(&mut self, transaction: Transaction, recipient: &str, key: usize) -> Answer {
        let request = EdgeRequest::Opened {
            transaction,
            recipient: address(recipient),
            key: self.id(key),
        };
        self.edge(request)
    }

    /// Why the last request was refused.
    fn why(&self) -> Option<Why> {
        let mut outcomes = self
            .keeper
            .log
            .0
            .iter()
            .rev()
            .filter_map(|event| match event {
                Event::Grant { outcome, .. }
                | Event::Unwrap { outcome, .. }
                | Event::Sign { outcome, .. }
                | Event::Opened { outcome, .. } => Some(*outcome),
                Event::Released { .. }
                | Event::Shown { .. }
                | Event::Away { .. }
                | Event::Unused { .. }
                | Event::Untold { .. }
                | Event::TurnedAway { .. }
                | Event::Alert(_) => None,
            });
        match outcomes.next() {
            Some(Outcome::Refused(why)) => Some(why),
            _ => None,
        }
    }

    fn alerts(&self) -> Vec<Alert> {
        let alert = |event: &Event| match event {
            Event::Alert(alert) => Some(*alert),
            _ => None,
        };
        self.keeper.log.0.iter().filter_map(alert).collect()
    }
}

#[test]
fn no_key_works_while_nothing_can_be_written_down() {
    let mut world = World::of(&["alice@example.jp"]);
    let mail = world.grant_from(&["alice@example.jp"], Some("alice@example.jp"), "192.0.2.1");
    world.keeper.log.1 = true;
    let refused = Answer::Refused(Refusal::Unavailable);
    for _ in 0..3 {
        assert_eq!(world.unwrap(mail, "alice@example.jp", 0), refused);
        assert_eq!(world.sign(mail, 0), refused);
    }
    assert_eq!(world.calls(0), 0);
    // That says nothing of whoever sent the mail, and passes.
    world.keeper.log.1 = false;
    assert!(matches!(
        world.unwrap(mail, "alice@example.jp", 0),
        Answer::Key(_)
    ));
    assert!(matches!(world.sign(mail, 0), Answer::Signature(_)));
    assert_eq!(world.calls(0), 2);
}

/// A content-encryption key, wrapped.
fn wrapped_for(public: &PublicKey) -> (Wrapped, Secret) {
    let wrapping = Wrapping::Agreement {
        kdf: Kdf::X963(DigestAlgorithm::Sha256),
        wrap: KeyWrap::Aes(Aes::Bits256),
        shared_info: b"shared".to_vec(),
    };
    let secret = Secret::new(vec![7; 32]);
    let wrapped = Wrapped::wrap(wrapping, public, &secret).unwrap();
    (wrapped, secret)
}

/// The attributes of a mail.
fn attributes() -> Vec<u8> {
    let attribute =
        |named: &str, value: Vec<u8>| write::seq(&[write::oid(named), write::set_of(&[value])]);
    write::set_of(&[
        attribute("1.2.840.113549.1.9.3", write::oid(kenin_pki::oid::CMS_DATA)),
        attribute("1.2.840.113549.1.9.4", write::octet_string(&[7; 32])),
    ])
}

const NOT_GRANTED: Answer = Answer::Refused(Refusal::NotGranted);

const TOO_MANY: Answer = Answer::Refused(Refusal::TooManyFailures);

const BUSY: Answer = Answer::Refused(Refusal::Busy);

const ALICE: &str = "alice@example.com";

const MALLORY: &str = "mallory@example.com";

#[test]
fn mail_to_alice_is_opened_with_her_key() {
    let mut world = World::of(&[ALICE, MALLORY]);
    let transaction = world.grant(&["Alice@EXAMPLE.com"]);
    let answer = world.unwrap(transaction, "ALICE@example.com", 0);
    assert!(matches!(answer, Answer::Key(_)), "{answer:?}");
    assert_eq!(world.opened(transaction, ALICE, 0), Answer::Done);
    assert_eq!((world.calls(0), world.calls(1)), (1, 0));
    assert_eq!(world.keeper.refusals(), 0);
    assert!(world.alerts().is_empty());
}

/// DEC-08: Mallory sends himself what was encrypted for Alice.
#[test]
fn mail_to_mallory_is_not_opened_with_the_key_of_alice() {
    let mut world = World::of(&[ALICE, MALLORY]);
    let transaction = world.grant(&[MALLORY]);
    for (recipient, why) in [(MALLORY, Why::NotTheirs), (ALICE, Why::NotRecipient)] {
        assert_eq!(world.unwrap(transaction, recipient, 0), NOT_GRANTED);
        assert_eq!(world.why(), Some(why));
    }
    assert_eq!((world.calls(0), world.calls(1)), (0, 0));
}

/// DEC-09: the same to both; what is Alice's is opened for her and for nobody else.
#[test]
fn mail_to_both_is_opened_for_the_one_whose_key_it_is() {
    let mut world = World::of(&[ALICE, MALLORY]);
    let transaction = world.grant(&[ALICE, MALLORY]);
    assert_eq!(world.unwrap(transaction, MALLORY, 0), NOT_GRANTED);
    assert_eq!(world.calls(0), 0);
    assert!(matches!(
        world.unwrap(transaction, ALICE, 0),
        Answer::Key(_)
    ));
}

/// DEC-10: an alias, a tag and a list have no key unless somebody gave them one.
#[test]
fn what_only_looks_like_the_owner_has_no_key() {
    let mut world = World::of(&[ALICE]);
    for near in [
        "alice+x@example.com",
        "a.lice@example.com",
        "alice@sub.example.com",
    ] {
        let transaction = world.grant(&[near]);
        assert_eq!(world.unwrap(transaction, near, 0), NOT_GRANTED, "{near}");
    }
    assert_eq!(world.calls(0), 0);
}

/// KEY-03: all that a worker can try that is not in its grant.
#[test]
fn a_hostile_worker_gets_nothing_beyond_its_grant() {
    let mut world = World::of(&[ALICE, MALLORY]);
    let transaction = world.grant(&[MALLORY]);
    // Another mail's grant is not at hand, nor is one that was never given.
    assert_eq!(
        world.unwrap(Transaction::random().unwrap(), ALICE, 0),
        NOT_GRANTED
    );
    assert_eq!(world.why(), Some(Why::NoGrant));
    // It cannot find out which keys there are: one that is not there is refused as one that is.
    let (wrapped, _) = wrapped_for(&world.keys[0].0.public);
    for id in (0..=255).map(|octet| KeyId::from_octets([octet; 16])) {
        let request = Unwrap {
            transaction,
            recipient: address(MALLORY),
            key: id,
            length: 32,
            wrapped: wrapped.clone(),
        };
        assert_eq!(world.ask_unwrap(request), NOT_GRANTED);
        assert_eq!(world.why(), Some(Why::NotTheirs));
    }
    // Nor sign as anybody, of a mail that nobody is proven to have sent.
    assert_eq!(world.sign(transaction, 0), NOT_GRANTED);
    assert_eq!(world.why(), Some(Why::NotSender));
    assert_eq!(world.keeper.refusals(), 258);
    assert_eq!(world.alerts(), [Alert::Hostile]);
    assert_eq!((world.calls(0), world.calls(1)), (0, 0));
}

/// KEY-03: whoever has a connection and knows the transaction of another mail that is live has nothing of it.
#[test]
fn a_connection_reaches_no_mail_but_its_own() {
    let mut world = World::of(&[ALICE]);
    let [own, other, ended] =
        [(); 3].map(|()| world.grant_from(&[ALICE], Some(ALICE), "192.0.2.1"));
    assert_eq!(world.edge(EdgeRequest::Release(ended)), Answer::Done);
    world.reach = Reach::One(own);
    // One that is live is refused as one that is not.
    for transaction in [other, ended, Transaction::random().unwrap()] {
        assert_eq!(world.unwrap(transaction, ALICE, 0), NOT_GRANTED);
        assert_eq!(world.why(), Some(Why::AnotherMail));
        assert_eq!(world.sign(transaction, 0), NOT_GRANTED);
        assert_eq!(world.why(), Some(Why::AnotherMail));
    }
    assert_eq!(world.calls(0), 0);
    assert_eq!(world.keeper.refusals(), 6);
    assert_eq!(world.alerts(), [Alert::Hostile]);
    // It has cost the other mail nothing, and each has what is its own.
    assert_eq!(world.opened(other, ALICE, 0), NOT_GRANTED);
    assert_eq!(world.why(), Some(Why::NotUsed));
    for (transaction, calls) in [(own, 2), (other, 4)] {
        world.reach = Reach::One(transaction);
        let key = world.unwrap(transaction, ALICE, 0);
        assert!(matches!(key, Answer::Key(_)), "{key:?}");
        let signed = world.sign(transaction, 0);
        assert!(matches!(signed, Answer::Signature(_)), "{signed:?}");
        assert_eq!(world.calls(0), calls);
    }
    // A connection that came before its mail was announced is that mail's all the same, and no other's.
    let later = Transaction::random().unwrap();
    world.reach = Reach::One(later);
    assert_eq!(world.unwrap(later, ALICE, 0), NOT_GRANTED);
    assert_eq!(world.why(), Some(Why::NoGrant));
}

/// A worker that has a grant may use it for what a mail needs, and not ten thousand times.
#[test]
fn a_grant_is_spent_after_as_many_layers_as_a_mail_has() {
    let mut world = World::of(&[ALICE]);
    let transaction = world.grant(&[ALICE]);
    for _ in 0..MAX_USES_OF_KEY {
        assert!(matches!(
            world.unwrap(transaction, ALICE, 0),
            Answer::Key(_)
        ));
    }
    for _ in 0..10_000 {
        assert_eq!(world.unwrap(transaction, ALICE, 0), NOT_GRANTED);
    }
    assert_eq!(world.why(), Some(Why::Spent));
    assert_eq!(world.calls(0), 8);
    // That the edge has seen them open gives the mail no more of them.
    assert_eq!(world.opened(transaction, ALICE, 0), Answer::Done);
    assert_eq!(world.unwrap(transaction, ALICE, 0), NOT_GRANTED);
}

#[test]
fn what_has_ended_or_expired_allows_nothing() {
    let mut world = World::of(&[ALICE]);
    let released = world.grant(&[ALICE]);
    assert_eq!(world.edge(EdgeRequest::Release(released)), Answer::Done);
    assert_eq!(world.unwrap(released, ALICE, 0), NOT_GRANTED);
    assert_eq!(world.why(), Some(Why::NoGrant));
    let mut grant = Grant {
        transaction: Transaction::random().unwrap(),
        tenant: "default".to_owned(),
        recipients: vec![address(ALICE)],
        sender: Some(address(ALICE)),
        client: None,
        seconds: u32::MAX,
    };
    assert_eq!(world.edge(EdgeRequest::Grant(grant.clone())), Answer::Done);
    // Whatever the edge says, fifteen minutes are the most.
    world.now += MAX_LIFETIME - Duration::from_millis(1);
    assert!(matches!(
        world.unwrap(grant.transaction, ALICE, 0),
        Answer::Key(_)
    ));
    world.now += Duration::from_millis(1);
    assert_eq!(world.unwrap(grant.transaction, ALICE, 0), NOT_GRANTED);
    assert_eq!(world.why(), Some(Why::Expired));
    assert_eq!(world.sign(grant.transaction, 0), NOT_GRANTED);
    assert_eq!(world.why(), Some(Why::Expired));
    grant.transaction = Transaction::random().unwrap();
    grant.seconds = 0;
    assert_eq!(world.edge(EdgeRequest::Grant(grant.clone())), Answer::Done);
    assert_eq!(world.unwrap(grant.transaction, ALICE, 0), NOT_GRANTED);
    assert_eq!(world.calls(0), 1);
}

/// Who has announced a mail cannot announce it again with more recipients.
#[test]
fn a_grant_is_given_once() {
    let mut world = World::of(&[ALICE]);
    let transaction = world.grant(&[MALLORY]);
    let wider = Grant {
        transaction,
        tenant: "default".to_owned(),
        recipients: vec![address(ALICE)],
        sender: None,
        client: None,
        seconds: 600,
    };
    assert_eq!(world.edge(EdgeRequest::Grant(wider)), NOT_GRANTED);
    assert_eq!(world.why(), Some(Why::GrantedBefore));
    assert_eq!(world.unwrap(transaction, ALICE, 0), NOT_GRANTED);
}

#[test]
fn the_keys_of_one_tenant_are_not_those_of_another() {
    let mut world = World::with(&[ALICE], |facts| facts.tenant = "other".to_owned());
    let transaction = world.grant(&[ALICE]);
    assert_eq!(world.unwrap(transaction, ALICE, 0), NOT_GRANTED);
    assert_eq!(world.why(), Some(Why::NotTheirs));
    assert_eq!(world.calls(0), 0);
}

#[test]
fn the_sender_signs_a_mail_with_their_own_key_only() {
    let mut world = World::of(&[ALICE, MALLORY]);
    let transaction = world.grant_from(&[MALLORY], Some(ALICE), "192.0.2.1");
    let Answer::Signature(signature) = world.sign(transaction, 0) else {
        panic!("no signature");
    };
    let algorithm = SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256);
    let public = world.keys[0].0.public.clone();
    let verified = public.verify(algorithm, &attributes(), &signature);
    assert_eq!(verified, Ok(()));
    assert_eq!(world.sign(transaction, 1), NOT_GRANTED);
    assert_eq!(world.why(), Some(Why::NotTheirs));
    // What is no mail is not signed with a person's key.
    let text = b"I owe Mallory a million".to_vec();
    assert_eq!(world.sign_what(transaction, 0, text), NOT_GRANTED);
    assert_eq!(world.why(), Some(Why::NotOfMail));
    for _ in 1..MAX_SIGNATURES {
        assert!(matches!(world.sign(transaction, 0), Answer::Signature(_)));
    }
    assert_eq!(world.sign(transaction, 0), NOT_GRANTED);
    assert_eq!(world.why(), Some(Why::Spent));
    assert_eq!((world.calls(0), world.calls(1)), (16, 0));
}

#[test]
fn nothing_is_signed_by_a_weak_digest() {
    let mut world = World::of(&[ALICE]);
    let transaction = world.grant_from(&[MALLORY], Some(ALICE), "192.0.2.1");
    for digest in [
        DigestAlgorithm::Md5,
        DigestAlgorithm::Sha1,
        DigestAlgorithm::Sha224,
    ] {
        let request = Sign {
            transaction,
            key: world.id(0),
            algorithm: SignatureAlgorithm::Ecdsa(digest),
            attributes: attributes(),
        };
        let decision = world.keeper.sign(world.now, world.reach, request);
        assert!(
            matches!(
                decision,
                Decision::Answer(Answer::Refused(Refusal::NotGranted))
            ),
            "{digest:?}"
        );
        assert_eq!(world.why(), Some(Why::NotForThat));
    }
}

#[test]
fn a_retired_key_opens_old_mail_and_signs_nothing() {
    let mut world = World::with(&[ALICE], |facts| facts.state = State::Retired);
    let transaction = world.grant_from(&[ALICE], Some(ALICE), "192.0.2.1");
    assert!(matches!(
        world.unwrap(transaction, ALICE, 0),
        Answer::Key(_)
    ));
    assert_eq!(world.sign(transaction, 0), NOT_GRANTED);
    assert_eq!(world.why(), Some(Why::NotForThat));
    let mut world = World::with(&[ALICE], |facts| facts.uses.decrypt = false);
    let transaction = world.grant_from(&[ALICE], Some(ALICE), "192.0.2.1");
    assert_eq!(world.unwrap(transaction, ALICE, 0), NOT_GRANTED);
    assert_eq!(world.why(), Some(Why::NotForThat));
    assert!(matches!(world.sign(transaction, 0), Answer::Signature(_)));
}

#[test]
fn grants_are_bounded_and_those_that_have_expired_make_room() {
    let mut world = World::of(&[ALICE]);
    for _ in 0..MAX_GRANTS {
        world.grant(&[ALICE]);
    }
    let grant = Grant {
        transaction: Transaction::random().unwrap(),
        tenant: "default".to_owned(),
        recipients: vec![address(ALICE)],
        sender: None,
        client: None,
        seconds: 60,
    };
    let answer = world.edge(EdgeRequest::Grant(grant));
    assert_eq!(answer, Answer::Refused(Refusal::Busy));
    world.now += Duration::from_secs(600);
    world.grant(&[ALICE]);
    assert_eq!(world.keeper.grants.len(), 1);
}

/// A worker that asked without end pushed out of the log what it was given, and what others were.
#[test]
fn refusals_without_end_push_nothing_out_of_the_log() {
    let mut world = World::of(&[ALICE]);
    let told = u64::try_from(limits::MAX_TOLD).unwrap();
    let (wrapped, _) = wrapped_for(&world.keys[0].0.public);
    let request = Unwrap {
        transaction: Transaction::random().unwrap(),
        recipient: address(ALICE),
        key: world.id(0),
        length: 32,
        wrapped,
    };
    for _ in 0..told + 500 {
        assert_eq!(world.ask_unwrap(request.clone()), NOT_GRANTED);
    }
    let is_unwrap = |event: &&Event| matches!(event, Event::Unwrap { .. });
    let written = world.keeper.log.0.iter().filter(is_unwrap).count();
    assert_eq!(written, limits::MAX_TOLD);
    assert_eq!(world.keeper.refusals(), told + 500);
    assert_eq!(world.alerts(), [Alert::Hostile]);
    // How many there were is said, once, and every use of a key.
    let transaction = world.grant(&[ALICE]);
    let answer = world.unwrap(transaction, ALICE, 0);
    assert!(matches!(answer, Answer::Key(_)), "{answer:?}");
    let last = world.keeper.log.0.last();
    let used = Outcome::Admitted;
    assert!(matches!(last, Some(Event::Unwrap { outcome, .. }) if *outcome == used));
    world.edge(EdgeRequest::Release(transaction));
    let untold = Event::Untold { refusals: 500 };
    let said = world.keeper.log.0.iter().filter(|event| **event == untold);
    assert_eq!(said.count(), 1);
    // A minute later they are told again.
    world.now += Duration::from_secs(60);
    assert_eq!(world.ask_unwrap(request), NOT_GRANTED);
    assert_eq!(world.why(), Some(Why::NoGrant));
}

#[test]
fn the_edge_learns_of_all_keys_what_everybody_may_know() {
    let mut world = World::of(&[ALICE, MALLORY, "carol@example.com"]);
    let mut seen = Vec::new();
    let mut after = None;
    while let Answer::Facts(facts) = world.edge(EdgeRequest::Next(after)) {
        after = Some(facts.id);
        seen.push(*facts);
    }
    let mut expected: Vec<_> = world.keys.iter().map(|(facts, _)| facts.clone()).collect();
    expected.sort_by_key(|facts| facts.id);
    assert_eq!(seen, expected);
}

/// DEC-08, KEY-03: whatever pairs of recipient and key are asked for, in mails to whomever, a key works for its owner in
/// mail to them and never else, and what was counted is what it did.
#[test]
fn of_ten_thousand_random_questions_none_is_answered_for_another() {
    const OWNERS: [&str; 5] = [
        ALICE,
        MALLORY,
        "carol@example.com",
        "dave@example.org",
        "検@example.jp",
    ];
    let mut world = World::of(&OWNERS);
    let wrapped: Vec<_> = world
        .keys
        .iter()
        .map(|(facts, _)| wrapped_for(&facts.public))
        .collect();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut mails: Vec<(Transaction, Vec<usize>)> = Vec::new();
    let mut expected = [0_u64; OWNERS.len()];
    for number in 0..10_000_u32 {
        if number % 4 == 0 {
            let recipients: Vec<usize> = (0..OWNERS.len()).filter(|_| dice.roll(3) == 0).collect();
            let names: Vec<&str> = recipients.iter().map(|one| OWNERS[*one]).collect();
            let [.., a, b] = (number / 4).to_be_bytes();
            let transaction = world.grant_from(&names, None, &format!("10.{a}.{b}.1"));
            mails.push((transaction, recipients));
        }
        // One of the last mails, whoever, whatever key, and a ciphertext for whatever key.
        let mail = mails.len() - 1 - dice.roll(mails.len().min(4));
        let (transaction, recipients) = mails[mail].clone();
        let (recipient, key) = (dice.roll(OWNERS.len()), dice.roll(OWNERS.len()));
        let (ciphertext, secret) = &wrapped[dice.roll(OWNERS.len())];
        let request = Unwrap {
            transaction,
            recipient: address(OWNERS[recipient]),
            key: world.id(key),
            length: 32,
            wrapped: ciphertext.clone(),
        };
        let answer = world.ask_unwrap(request);
        let theirs = recipient == key && recipients.contains(&recipient);
        match answer {
            Answer::Key(opened) => {
                assert!(theirs);
                assert_eq!(opened, *secret);
            }
            // A ciphertext for somebody else does not open.
            Answer::Refused(Refusal::Failed) => assert!(theirs),
            Answer::Refused(Refusal::NotGranted) => assert!(!theirs),
            other => panic!("{other:?}"),
        }
        if theirs {
            expected[key] += 1;
            assert_eq!(
                world.opened(transaction, OWNERS[recipient], key),
                Answer::Done
            );
        }
    }
    for (key, expected) in expected.into_iter().enumerate() {
        assert_eq!(world.calls(key), expected);
        assert!(expected > 50, "{expected}");
    }
}
