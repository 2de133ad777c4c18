use super::*;
use crate::clock::Trust;
use crate::quarantine::facts::tests::{copy, moment};

fn id() -> Id {
    Id::parse("01J0000000000000000000000A").unwrap()
}

/// A mail of this size, sealed.
fn sealed(keys: &Keys, id: &Id, size: usize) -> (Vec<u8>, Vec<u8>) {
    let text: Vec<u8> = (0..size)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    let now = moment(1_800_000_000, Trust::Yes);
    let keep = std::time::Duration::from_secs(1);
    let facts = Facts {
        size: u64::try_from(size).unwrap(),
        ..Facts::of(&copy("", None), "default", now, keep)
    };
    let mut out = Vec::new();
    write(&mut out, keys, id, &facts, text.chunks(1009)).unwrap();
    (out, text)
}

fn opened(octets: &[u8], keys: &Keys, id: &Id) -> Result<Secret, OpenError> {
    let length = u64::try_from(octets.len()).unwrap();
    let read = Sealed::open(octets, length, keys, id)?;
    Ok(read.content()?.1)
}

#[test]
fn what_was_sealed_opens_under_its_key_and_name_only() {
    let keys = Keys::of(&[1]);
    for size in [
        0,
        1,
        23,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        3 * CHUNK,
        3 * CHUNK + 5,
    ] {
        let (octets, text) = sealed(&keys, &id(), size);
        assert_eq!(opened(&octets, &keys, &id()).unwrap().expose(), text);
        let most = overhead(u64::try_from(size).unwrap()) + 1000;
        assert!(
            u64::try_from(octets.len() - size).unwrap() <= most,
            "{size}"
        );
        let other = Id::of(id().as_str(), 2).unwrap();
        let error = opened(&octets, &keys, &other).unwrap_err();
        assert!(matches!(error, OpenError::Changed), "{error}");
    }
    let (octets, _) = sealed(&keys, &id(), 5);
    let later = Keys::of(&[2, 1]);
    assert!(opened(&octets, &later, &id()).is_ok());
    let error = opened(&octets, &Keys::of(&[2]), &id()).unwrap_err();
    assert!(matches!(error, OpenError::UnknownKey(_)), "{error}");
    // The same twice looks different.
    assert_ne!(sealed(&keys, &id(), 5).0, sealed(&keys, &id(), 5).0);
}

/// Whatever bit of a file is changed, and wherever it is cut, the mail does not open and nothing panics.
#[test]
fn every_changed_octet_and_every_cut_is_seen() {
    let keys = Keys::of(&[1]);
    let (octets, _) = sealed(&keys, &id(), 300);
    for at in 0..octets.len() {
        for bit in [0, 3, 7] {
            let mut changed = octets.clone();
            changed[at] ^= 1 << bit;
            assert!(opened(&changed, &keys, &id()).is_err(), "{at} {bit}");
        }
        assert!(opened(&octets[..at], &keys, &id()).is_err(), "cut at {at}");
    }
    let longer = [&octets[..], b"x"].concat();
    assert!(opened(&longer, &keys, &id()).is_err());
}

#[test]
fn chunks_can_be_neither_moved_nor_left_out() {
    let keys = Keys::of(&[1]);
    let (octets, text) = sealed(&keys, &id(), 4 * CHUNK);
    let one = CHUNK + OVERHEAD;
    let start = octets.len() - 4 * one;
    let (head, chunks) = octets.split_at(start);
    let chunks: Vec<&[u8]> = chunks.chunks(one).collect();
    let read = |order: &[usize]| {
        let chosen = order.iter().flat_map(|at| chunks[*at]).copied();
        let octets: Vec<u8> = head.iter().copied().chain(chosen).collect();
        opened(&octets, &keys, &id())
    };
    assert_eq!(read(&[0, 1, 2, 3]).unwrap().expose(), text);
    for order in [
        &[1, 0, 2, 3][..],
        &[0, 1, 2],
        &[0, 1, 3],
        &[0, 1, 1, 2, 3],
        &[0, 0, 2, 3],
        &[0, 1, 2, 2],
        &[],
    ] {
        assert!(read(order).is_err(), "{order:?}");
    }
    // Those of another mail under the same key do not fit in.
    let (other, _) = sealed(&keys, &id(), 4 * CHUNK);
    let mixed = [&octets[..octets.len() - one], &other[other.len() - one..]].concat();
    assert!(opened(&mixed, &keys, &id()).is_err());
}

#[test]
fn nothing_of_the_mail_or_of_who_wrote_it_can_be_read() {
    let keys = Keys::of(&[1]);
    let held = copy(
        "Subject: canary-in-the-header\r\n\r\ncanary-in-the-body\r\n",
        None,
    );
    let now = moment(1_800_000_000, Trust::Yes);
    let keep = std::time::Duration::from_secs(1);
    let facts = Facts::of(&held, "default", now, keep);
    let mut octets = Vec::new();
    write(&mut octets, &keys, &id(), &facts, held.content.pieces()).unwrap();
    for canary in ["canary", "alice", "x.example", "odd", "default"] {
        let seen = octets
            .windows(canary.len())
            .any(|own| own == canary.as_bytes());
        assert!(!seen, "{canary}");
    }
}

#[test]
fn files_of_others_and_of_later_versions_are_told_apart() {
    let keys = Keys::of(&[1]);
    let (octets, _) = sealed(&keys, &id(), 5);
    let mut later = octets.clone();
    later[MAGIC.len()] = 2;
    let error = opened(&later, &keys, &id()).unwrap_err();
    assert!(matches!(error, OpenError::Format(2)), "{error}");
    let error = opened(&[b'x'; 200], &keys, &id()).unwrap_err();
    assert!(matches!(error, OpenError::Foreign), "{error}");
}

#[test]
fn pieces_of_another_size_than_was_said_are_not_sealed() {
    let keys = Keys::of(&[1]);
    let now = moment(1_800_000_000, Trust::Yes);
    let keep = std::time::Duration::from_secs(1);
    for (said, size) in [
        (10, 0),
        (10, 9),
        (10, 11),
        (0, 1),
        (CHUNK, CHUNK + 1),
        (CHUNK, CHUNK - 1),
    ] {
        let facts = Facts {
            size: u64::try_from(said).unwrap(),
            ..Facts::of(&copy("", None), "default", now, keep)
        };
        let text = vec![b'x'; size];
        for pieces in [3, CHUNK] {
            let sealed = write(&mut Vec::new(), &keys, &id(), &facts, text.chunks(pieces));
            assert!(matches!(sealed, Err(SealError::Size)), "{said} {size}");
        }
    }
}
