//! The memory that opened mail takes.

use super::*;

#[test]
fn memory_is_waited_for_and_never_exceeded() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::P256);
    let raw = mail(&encrypted(ENTITY.as_bytes(), &[&alice], GCM));
    let people = [person(0, "alice@example.jp", &[&alice])];
    // All but what is lost by rounding.
    let all = 65_535 * 1024 / 6;
    let opening = world.open(&raw, &people).unwrap();
    assert_eq!(world.memory.try_take(all).unwrap_err(), NoRoom::Now);
    drop(opening);
    let taken = world.memory.try_take(all).unwrap();
    assert_eq!((world.names.take(), world.remembered.take()), (1, 2));
    assert_eq!(world.open(&raw, &people).unwrap_err(), Closed::Memory);
    assert_eq!((world.names.get(), world.remembered.get()), (0, 0));
    drop(taken);
    // One that never fits stays encrypted.
    world.memory = Memory::new(0);
    let opening = world.open(&raw, &people).unwrap();
    assert_eq!(states(&opening), [State::Undecryptable]);
    assert_eq!((opening.named, world.unwraps()), (vec![0], 1));
    // By its name an answer to it is known.
    assert_eq!((world.names.get(), world.remembered.get()), (1, 0));
}

#[test]
fn several_contents_of_one_mail_take_memory_each() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::P256);
    let bob = world.person("bob@example.jp", KeyType::P256);
    let entity = [
        "Content-Type: text/plain\r\n\r\n",
        &"canary\r\n".repeat(1250),
    ]
    .concat();
    let inner = encrypted(entity.as_bytes(), &[&alice], GCM);
    let raw = mail(&encrypted(&inner, &[&alice, &bob], GCM));
    let people = [
        person(0, "alice@example.jp", &[&alice]),
        person(1, "bob@example.jp", &[&bob]),
    ];
    world.memory = Memory::new(160 << 10);
    let opening = world.open(&raw, &people).unwrap();
    assert_eq!(states(&opening), [State::Opened; 2]);
    assert_eq!(opening.copies.len(), 2);
    assert_eq!(world.memory.try_take(4096).unwrap_err(), NoRoom::Now);
    drop(opening);
    // There is room for what Bob gets, and not for what is in it for Alice beside that. Nobody hears of it, and it is no guess.
    world.memory = Memory::new(120 << 10);
    let opening = world.open(&raw, &people).unwrap();
    assert_eq!(states(&opening), [State::Undecryptable, State::Opened]);
    assert_eq!(opening.copies.len(), 1);
    assert_eq!((&opening.named[..], opening.used.len()), (&[0, 1][..], 3));
    drop(opening);
    // For her alone it takes the place of what was around.
    let raw = mail(&encrypted(&inner, &[&alice], GCM));
    let opening = world.open(&raw, &people[..1]).unwrap();
    assert_eq!(states(&opening), [State::Opened]);
}

/// CompressedData (RFC 3274) with this zlib stream.
pub(crate) fn compressed_data(zlib: &[u8]) -> Vec<u8> {
    let data = write::seq(&[
        write::integer(0),
        write::seq(&[write::oid("1.2.840.113549.1.9.16.3.8")]),
        write::seq(&[
            write::oid("1.2.840.113549.1.7.1"),
            write::explicit(0, &write::octet_string(zlib)),
        ]),
    ]);
    write::seq(&[
        write::oid("1.2.840.113549.1.9.16.1.9"),
        write::explicit(0, &data),
    ])
}

/// BOMB-03: an entity of 57,028 octets in few.
fn compressed() -> Vec<u8> {
    let zlib = [
        &b"\x78\xda\xed\xc8\xb1\x09\x84\x30\x14\x00\xd0\x5e\x70\x87\x2c\x70\xda\xdb\xba\x42\x16\x08\x12\x54\
           \x90\x7f\x72\xa6\x38\xb7\x77\x0f\x79\xaf\x7c\xf3\x37\x5a\x8d\xf6\xc9\xf7\x59\xa7\xd4\xea\xbf\x8d\
           \xe7\x51\xf6\xe8\xbb\xbe\xcb\x5b\x4d\x4b\x89\xf2\xbb\xd3\xb5\xc7\x7a\x0d"[..],
        &b"\x4a\x29\xa5\x94\x52".repeat(27),
        b"\x4a\x29\xf5\xf2\x7a\x00\xdc\x0e\xa9\x42",
    ]
    .concat();
    let object = compressed_data(&zlib);
    let header = "Content-Type: application/pkcs7-mime; smime-type=compressed-data\r\n\
        Content-Transfer-Encoding: base64\r\n\r\n";
    [header, &base64(&object)].concat().into_bytes()
}

#[test]
fn what_is_compressed_takes_the_memory_that_it_expands_to() {
    let mut world = World::default();
    let alice = world.person("alice@example.jp", KeyType::P256);
    let raw = mail(&encrypted(&compressed(), &[&alice], GCM));
    let people = [person(0, "alice@example.jp", &[&alice])];
    let opening = world.open(&raw, &people).unwrap();
    assert!(text(&opening.copies[0]).ends_with("The canary sings.\r\n"));
    // All but 236 KiB, of which it has more.
    let rest = 65_300 * 1024 / 6;
    assert_eq!(world.memory.try_take(rest).unwrap_err(), NoRoom::Now);
    drop(opening);
    assert!(world.memory.try_take(rest).is_ok());
    // Where there is not as much it stays compressed.
    world.memory = Memory::new(100 << 10);
    let opening = world.open(&raw, &people).unwrap();
    assert_eq!(states(&opening), [State::Opened]);
    let out = text(&opening.copies[0]);
    assert!(out.contains("smime-type=compressed-data") && !out.contains("canary"));
}
