use super::*;
use crate::fuzzing::tests::hold;

#[test]
fn held_mail_holds_whatever_octet_changes() {
    let facts = plain();
    let refused = Facts {
        why: Why::Refused {
            reason: "odd".to_owned(),
            reply: "550 5.7.1 \"No\"\t\u{3042}".to_owned(),
        },
        until: Some(-1),
        size: u64::MAX,
        ..plain()
    };
    let mail = b"From: a@example.net\r\n\r\nbody\r\n".to_vec();
    // One under another key, which opens under no other.
    let keys = Keys::of(&[8]);
    let (id, size) = (Id::parse(ID).unwrap(), length(&mail));
    let mut sealed = Vec::new();
    let own = Facts { size, ..plain() };
    write(&mut sealed, &keys, &id, &own, mail.chunks(7)).unwrap();
    let inputs = [
        ("facts", facts.to_octets().unwrap()),
        ("refused", refused.to_octets().unwrap()),
        ("mail", mail),
        ("sealed", sealed),
    ];
    for (name, octets) in inputs.iter().take(2) {
        assert!(Facts::from_octets(octets).is_some(), "{name}");
    }
    hold("held_mail", held_mail, &inputs);
    // More than one chunk.
    held_mail(&[b'x'; 70_000]);
}
