//! What came before, in another mail.

use super::*;

/// DEC-11: Alice's own mail, sent to her again by somebody to whom an answer would go.
#[test]
fn dec_11_what_comes_again_under_another_sender_stays_encrypted() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::P256);
    let people = [person(0, "alice@example.jp", &[&alice])];
    let captured = encrypted(ENTITY.as_bytes(), &[&alice], GCM);
    let sent = |header: &str, entity: &[u8]| [header.as_bytes(), entity].concat();
    let state = |raw: &[u8]| states(&world.open(raw, &people).unwrap())[0];
    assert_eq!(state(&sent(FROM, &captured)), State::Opened);
    assert_eq!(
        state(&sent(FROM, &captured)),
        State::Opened,
        "the same mail again"
    );
    let other_id = FROM.replace("<1@", "<2@");
    assert_eq!(state(&sent(&other_id, &captured)), State::Opened);
    let unwraps = world.unwraps();
    let mallory = "From: mallory@example.com\r\nTo: alice@example.jp\r\n";
    let reply_to = format!("{FROM}Reply-To: mallory@example.com\r\n");
    for header in [mallory, &reply_to] {
        assert_eq!(state(&sent(header, &captured)), State::Replayed);
    }
    assert_eq!(world.unwraps(), unwraps, "no key worked for it");
    // Nor in a new envelope, or behind a signature of Mallory's.
    let wrapped = encrypted(&captured, &[&alice], GCM);
    let opening = world.open(&sent(mallory, &wrapped), &people).unwrap();
    assert_eq!(states(&opening), [State::Replayed]);
    assert!(opening.copies.is_empty());
    let carol = Owned::new("mallory@example.com", KeyType::P256);
    let signer = Signer::new(&carol.key, &carol.certificate);
    let signed = signer.sign(&captured, Form::Clear).unwrap();
    assert_eq!(state(&sent(mallory, &signed)), State::Replayed);
    let resigned = encrypted(&signed, &[&alice], GCM);
    assert_eq!(state(&sent(mallory, &resigned)), State::Replayed);
}

/// Of what has no integrity anybody can change a part that nobody misses, and of the sender's key how it is written.
#[test]
fn dec_11_a_captured_mail_whose_octets_were_changed_stays_encrypted() {
    for kind in [KeyType::Rsa(2048), KeyType::P256, KeyType::X25519] {
        let mut world = World::default();
        let alice = world.person("alice@example.jp", kind);
        let people = [
            person(0, "alice@example.jp", &[&alice]),
            person(1, "info@example.jp", &[&alice]),
        ];
        let text = "The canary sings. ".repeat(20);
        let entity = format!("Content-Type: text/plain\r\n\r\n{text}\r\n");
        let captured = encrypted(entity.as_bytes(), &[&alice], CBC);
        let open = |header: &str, entity: &[u8]| {
            let raw = [header.as_bytes(), entity].concat();
            states(&world.open(&raw, &people).unwrap())
        };
        assert_eq!(open(FROM, &captured), [State::Opened; 2]);
        let layer = kenin_smime::open::EncryptedLayer::of(&captured, &Limits::default()).unwrap();
        let peer = layer.recipients()[0].wrapped.as_ref().unwrap().peer.clone();
        let changed = with_object(&captured, |object| {
            let at = object.len() - 100;
            object[at] ^= 1;
            if kind == KeyType::X25519 {
                // A bit that does not count (RFC 7748 §5).
                let at = memchr::memmem::find(object, &peer).unwrap();
                object[at + 31] ^= 0x80;
            }
        });
        let unwraps = world.unwraps();
        let mallory = "From: mallory@example.com\r\nTo: alice@example.jp\r\n";
        assert_eq!(open(mallory, &changed), [State::Replayed; 2], "{kind:?}");
        assert_eq!(world.unwraps(), unwraps, "no key worked for it");
    }
}

/// DEC-11: what Alice wrote to Bob is wrapped for herself too, and without integrity its content can be made another.
#[test]
fn dec_11_the_senders_own_copy_in_a_mail_to_others_is_remembered() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::P256);
    let bob = world.person("bob@example.jp", KeyType::P256);
    let text = "The canary sings. ".repeat(20);
    let entity = format!("Content-Type: text/plain\r\n\r\n{text}\r\n");
    let captured = encrypted(entity.as_bytes(), &[&alice, &bob], CBC);
    let to_bob = [person(0, "bob@example.jp", &[&bob])];
    let opening = world.open(&mail(&captured), &to_bob).unwrap();
    assert_eq!(states(&opening), [State::Opened]);
    // The content, and what is wrapped for each.
    assert_eq!(world.remembered.get(), 3);
    let changed = with_object(&captured, |object| {
        let at = object.len() - 100;
        object[at] ^= 1;
    });
    let unwraps = world.unwraps();
    let mallory = "From: mallory@example.com\r\nTo: alice@example.jp\r\n";
    let raw = [mallory.as_bytes(), &changed].concat();
    let to_alice = [person(0, "alice@example.jp", &[&alice])];
    let opening = world.open(&raw, &to_alice).unwrap();
    assert_eq!(states(&opening), [State::Replayed]);
    assert_eq!(world.unwraps(), unwraps, "no key worked for it");
}

/// What is wrapped for one of them was taken from another mail, and the rest was not.
#[test]
fn dec_11_only_who_may_read_what_came_before_does_not_get_it_opened() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::P256);
    let bob = world.person("bob@example.jp", KeyType::P256);
    let entity = encrypted(ENTITY.as_bytes(), &[&alice, &bob], GCM);
    let people = [
        person(0, "alice@example.jp", &[&alice]),
        person(1, "bob@example.jp", &[&bob]),
    ];
    let layer = kenin_smime::open::EncryptedLayer::of(&entity, &Limits::default()).unwrap();
    // Recipients stand in the order of their octets, which are as the dice say.
    let (_, hers) = named::chosen(&layer, &people[0]).unwrap();
    let hers = digests::digest_of_key(&layer, hers);
    world.seen.borrow_mut().insert(hers, vec![7; 32]);
    let opening = world.open(&mail(&entity), &people).unwrap();
    assert_eq!(states(&opening), [State::Replayed, State::Opened]);
    assert_eq!(opening.copies[0].recipients, [1]);
    assert_eq!(world.unwraps(), 1, "her key was not asked");
    // The content, and what is wrapped for each.
    assert_eq!(world.remembered.get(), 3);
}

/// A store that fails between two layers, as on a disk that fills up, must not make a sender look like one who guesses.
#[test]
fn what_opens_is_no_failure_where_nothing_can_be_remembered() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::P256);
    let inner = encrypted(ENTITY.as_bytes(), &[&alice], GCM);
    let raw = mail(&encrypted(&inner, &[&alice], GCM));
    let people = [person(0, "alice@example.jp", &[&alice])];
    for uses in [0, 1] {
        world.seen.borrow_mut().clear();
        world.left.set(uses);
        let before = world.unwraps();
        assert_eq!(world.open(&raw, &people).unwrap_err(), Closed::Record);
        assert_eq!(
            world.unwraps() - before,
            uses,
            "nothing is asked for what is not remembered"
        );
        assert_eq!(world.said.take().len(), uses);
    }
    // A guess is one, whatever the store does.
    *world.refusal.lock().unwrap() = Some(NoKey::Refused(Refusal::Failed));
    for left in [0, 1] {
        world.left.set(left);
        assert_eq!(world.open(&raw, &people).is_err(), left == 0);
        assert!(world.said.take().is_empty());
    }
}
