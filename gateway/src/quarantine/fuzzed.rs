//! What `fuzz/` feeds of held mail: a file as it lies there, the facts in it, and mails to be held.

use kenin_pki::crypto::Secret;

use super::facts::{Facts, To, Why};
use super::id::Id;
use super::key::Keys;
use super::sealed::{OpenError, Sealed, overhead, write};

/// Facts that read say the same when they are written. Nothing opens that was not sealed; what was sealed opens as it
/// was, and no longer once an octet of it was changed or left out.
pub(crate) fn held_mail(octets: &[u8]) {
    let facts = Facts::from_octets(octets);
    if let Some(facts) = &facts {
        let written = facts.to_octets();
        let again = written.and_then(|octets| Facts::from_octets(&octets));
        assert_eq!(again.as_ref(), Some(facts));
    }
    let (Some(keys), Some(id)) = (Keys::alone(&[7; 32]), Id::parse(ID)) else {
        unreachable!("a key and a name are there");
    };
    let opened = |file: &[u8]| -> Result<(Facts, Secret), OpenError> {
        Sealed::open(file, length(file), &keys, &id)?.content()
    };
    assert!(opened(octets).is_err(), "nobody sealed it");

    let facts = Facts {
        size: length(octets),
        ..facts.unwrap_or_else(plain)
    };
    let mut file = Vec::new();
    let sealed = write(&mut file, &keys, &id, &facts, octets.chunks(1009));
    assert!(sealed.is_ok(), "{sealed:?}");
    let beside = facts.to_octets().map_or(0, |facts| length(&facts));
    assert!(length(&file) <= facts.size + beside + overhead(facts.size));
    let same = |(read, mail): (Facts, Secret)| read == facts && mail.expose() == octets;
    assert!(opened(&file).is_ok_and(same), "it opens as it was");

    let place = octets.iter().fold(octets.len(), |place, octet| {
        place.wrapping_mul(31).wrapping_add((*octet).into())
    });
    let (at, bit) = (place % file.len(), place / file.len() % 8);
    let (cut, _) = file.split_at(at);
    assert!(opened(cut).is_err(), "it was cut at {at}");
    if let Some(octet) = file.get_mut(at) {
        *octet ^= 1 << bit;
    }
    assert!(opened(&file).is_err(), "it was changed at {at}");
}

fn length(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}

/// Facts of a mail like any other.
fn plain() -> Facts {
    Facts {
        tenant: "default".to_owned(),
        transaction: ID.to_owned(),
        from: "a@example.net".to_owned(),
        return_path: String::new(),
        recipients: vec![To {
            address: "b@example.jp".to_owned(),
            notify: Some("NEVER".to_owned()),
            orcpt: None,
        }],
        smtputf8: false,
        eight_bit: true,
        client: "192.0.2.1".to_owned(),
        why: Why::Rule {
            reason: "odd".to_owned(),
        },
        held: 1_800_000_000,
        until: None,
        size: 0,
    }
}

const ID: &str = "01J0000000000000000000000A";

#[cfg(test)]
mod tests;
