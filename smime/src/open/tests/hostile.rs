//! Objects that somebody changed.

use kenin_pki::crypto::{KeyType, SoftKey};
use kenin_pki::der::write;
use proptest::prelude::*;

use super::*;
use crate::testing::rita;

/// DEC-04: of 480 kB with a wrong tag not one octet is given out.
#[test]
fn a_changed_tag_or_content_opens_to_nothing() {
    let shape = shape_for(bob(), GCM, &vec![b'x'; 480_000]);
    let tag = shape.rest[0].clone();
    for at in 2..tag.len() {
        let mut changed = shape.clone();
        changed.rest[0][at] ^= 1;
        assert_eq!(opened(&changed.write()), None, "tag {at}");
    }
    for at in [0, 1, 4095, 4096, 479_999] {
        let mut changed = shape.clone();
        changed.content[at] ^= 1;
        assert_eq!(opened(&changed.write()), None, "content {at}");
        assert_eq!(opened(&changed.streamed(1000)), None, "content {at}");
    }
    let mut shorter = shape.clone();
    shorter.content.pop();
    assert_eq!(opened(&shorter.write()), None);
    let mut longer = shape;
    longer.content.push(0);
    assert_eq!(opened(&longer.write()), None);
}

#[test]
fn an_object_that_is_cut_off_is_no_layer() {
    let object = shape(GCM).write();
    for length in (0..object.len()).step_by(7) {
        assert_eq!(opened(&object[..length]), None, "{length}");
    }
    let mut lines = mail(&object);
    lines.truncate(lines.len() - 20);
    assert!(layer_of(&lines).is_none_or(|layer| bob().open(&layer).is_err()));
}

/// DEC-03: what has a tag is opened as what has a tag, and the other way round.
#[test]
fn a_cipher_stands_in_its_own_type_of_object_only() {
    let (gcm, cbc) = (shape(GCM), shape(CBC));
    assert!(opened(&gcm.write()).is_some() && opened(&cbc.write()).is_some());
    let moved = [
        Shape {
            kind: cbc.kind.clone(),
            rest: Vec::new(),
            ..gcm.clone()
        },
        Shape {
            kind: cbc.kind.clone(),
            ..gcm.clone()
        },
        Shape {
            kind: gcm.kind.clone(),
            ..cbc.clone()
        },
        Shape {
            kind: gcm.kind.clone(),
            rest: gcm.rest.clone(),
            ..cbc.clone()
        },
        Shape {
            algorithm: cbc.algorithm.clone(),
            ..gcm.clone()
        },
        Shape {
            algorithm: gcm.algorithm.clone(),
            ..cbc.clone()
        },
    ];
    for (number, shape) in moved.iter().enumerate() {
        assert!(layer_of(&mail(&shape.write())).is_none(), "{number}");
    }
}

/// DEC-03: a tag of one octet is guessed.
#[test]
fn a_tag_has_the_length_that_the_cipher_says() {
    let gcm = shape(GCM);
    let tag = gcm.rest[0][2..].to_vec();
    let mut reader = kenin_pki::der::Reader::new(&gcm.algorithm);
    let mut algorithm = reader.sequence().unwrap();
    let named = algorithm.any().unwrap().raw.to_vec();
    let nonce = algorithm.sequence().unwrap().any().unwrap().raw.to_vec();
    for said in 0..=20_u8 {
        let parameters = write::seq(&[nonce.clone(), write::integer(said.into())]);
        for length in [0, 1, 4, 8, 11, 12, 15, 16] {
            let shape = Shape {
                algorithm: write::seq(&[named.clone(), parameters.clone()]),
                rest: vec![write::octet_string(&tag[..length])],
                ..gcm.clone()
            };
            let good = (12..=16).contains(&said) && length == usize::from(said);
            assert_eq!(opened(&shape.write()).is_some(), good, "{said} {length}");
        }
    }
    for missing in [Vec::new(), vec![write::octet_string(&[])]] {
        let shape = Shape {
            rest: missing,
            ..gcm.clone()
        };
        assert_eq!(opened(&shape.write()), None);
    }
}

/// The last block of what is opened is one that the test chose: the padding that was added is cut off.
#[test]
fn padding_of_every_wrong_length_is_the_same_error() {
    for said in 0..=255_u8 {
        for wrong_at in [None, Some(0), Some(14)] {
            let mut block = [said; 16];
            if let Some(at) = wrong_at {
                block[at] ^= 0x40;
            }
            let mut shape = shape_for(bob(), CBC, &[[b'a'; 16], block].concat());
            shape.content.truncate(32);
            let within = |at: usize| 16 - at <= usize::from(said);
            let good = (1..=16).contains(&said) && wrong_at.is_none_or(|at| !within(at));
            let got = opened(&shape.write());
            assert_eq!(got.is_some(), good, "{said} {wrong_at:?}");
            if let Some(got) = got {
                assert_eq!(got.len(), 32 - usize::from(said));
            }
        }
    }
    let mut shape = shape(CBC);
    for length in (0..shape.content.len())
        .rev()
        .filter(|length| length % 16 != 0)
    {
        shape.content.truncate(length);
        assert_eq!(opened(&shape.write()), None, "{length}");
    }
    shape.content.clear();
    assert_eq!(opened(&shape.write()), None);
}

/// EFAIL: what is opened by CBC may be of somebody's making, and says so.
#[test]
fn a_changed_cbc_content_has_no_integrity() {
    let mut shape = shape(CBC);
    let iv = shape.algorithm.len() - 16;
    shape.algorithm[iv] ^= b'C' ^ b'X';
    let opened = bob()
        .open(&layer_of(&mail(&shape.write())).unwrap())
        .unwrap();
    assert!(opened.entity.starts_with(b"Xontent-Type"));
    assert_eq!(opened.integrity, Integrity::None);
}

/// BOMB-10, DEC-05: one key has one try, and who names it often gets none.
#[test]
fn a_key_that_is_named_more_than_once_is_not_used() {
    let once = shape(GCM);
    let with = |recipients: Vec<Vec<u8>>| {
        let shape = Shape {
            recipients,
            ..once.clone()
        };
        layer_of(&mail(&shape.write()))
    };
    let own = std::slice::from_ref(&bob().certificate);
    let [info] = once.recipients.as_slice() else {
        panic!("one recipient");
    };
    assert_eq!(
        with(vec![info.clone()])
            .unwrap()
            .match_certificates(own)
            .len(),
        1
    );
    let twice = with(vec![info.clone(); 2]).unwrap();
    assert!(twice.match_certificates(own).is_empty());
    let most = with(vec![info.clone(); 5000]).unwrap();
    assert_eq!(most.recipients().len(), 5000);
    assert!(most.match_certificates(own).is_empty());
    assert!(with(vec![info.clone(); 5001]).is_none());
    // Two ways to name one certificate.
    let id = bob().certificate.subject_key_id().unwrap().unwrap();
    let by_key = crate::encrypt::Addressee {
        id: RecipientId::KeyId(id.to_vec()),
        ..bob().addressee()
    };
    let other = Shape::honest(
        &Protect {
            recipients: &[by_key],
            cipher: GCM,
        },
        ENTITY,
    );
    let both = with([once.recipients.clone(), other.recipients].concat()).unwrap();
    assert_eq!(both.recipients().len(), 2);
    assert!(both.match_certificates(own).is_empty());
}

#[test]
fn two_certificates_of_one_key_give_no_second_try() {
    let key = SoftKey::from_pkcs8(&rita().key.to_pkcs8().unwrap()).unwrap();
    let renewed = Person::with_key("Rita renewed", key);
    let both = [rita().certificate.clone(), renewed.certificate.clone()];
    let shape = shape_for(&renewed, GCM, ENTITY);
    let layer = layer_of(&mail(&shape.write())).unwrap();
    let only = Match {
        certificate: 1,
        recipient: 0,
    };
    assert_eq!(layer.match_certificates(&both), [only]);
    let recipients = [
        shape.recipients.clone(),
        shape_for(rita(), GCM, ENTITY).recipients,
    ];
    let shape = Shape {
        recipients: recipients.concat(),
        ..shape
    };
    let layer = layer_of(&mail(&shape.write())).unwrap();
    assert!(layer.match_certificates(&both).is_empty());
}

/// DEC-05: what is no ciphertext of the key gives a key all the same, and nothing tells which.
#[test]
fn a_broken_key_transport_is_seen_only_where_nothing_opens() {
    let shape = shape_for(rita(), GCM, ENTITY);
    for at in [0, 100, 255] {
        let mut changed = shape.clone();
        let end = changed.recipients[0].len();
        changed.recipients[0][end - 256 + at] ^= 1;
        let layer = layer_of(&mail(&changed.write())).unwrap();
        let key = rita().content_key(&layer).unwrap();
        assert_eq!(key.len(), layer.key_len());
        assert_eq!(layer.open_with(&key).err(), Some(OpenError));
        // The same each time: asking again says nothing.
        assert_eq!(rita().content_key(&layer).unwrap(), key);
    }
}

/// DEC-16: a point of another curve, whose algorithm says so, never meets the private key.
#[test]
fn a_senders_key_of_another_curve_is_for_nobody() {
    let dora = Person::new("Dora", KeyType::P384);
    let mut shape = shape_for(&dora, GCM, ENTITY);
    let foreign = bob().addressee();
    let serial = |person: &Person| write::element(2, person.certificate.serial());
    let info = shape.recipients[0].clone();
    // The recipient of another curve is put into the place of the one that it was made for.
    let (from, to) = (serial(&dora), serial(bob()));
    let at = memchr::memmem::find(&info, &from).unwrap();
    let name = |person: &Person| person.certificate.issuer().der().len();
    assert_eq!((from.len(), name(&dora)), (to.len(), name(bob())));
    shape.recipients[0] = [&info[..at], &to, &info[at + from.len()..]].concat();
    let layer = layer_of(&mail(&shape.write())).unwrap();
    assert_eq!(layer.recipients()[0].id, foreign.id);
    assert!(layer.recipients()[0].wrapped.is_some());
    assert!(!layer.recipients()[0].suits(foreign.key));
    let own = std::slice::from_ref(&bob().certificate);
    assert!(layer.match_certificates(own).is_empty());
}

/// BOMB-10: ten thousand keys under one sender's key are as many recipients.
#[test]
fn the_keys_of_an_agreement_are_counted_and_its_octets_are_bounded() {
    let shape = shape(GCM);
    let mut info = kenin_pki::der::Reader::new(&shape.recipients[0]);
    let mut fields = info.nested(0xa1).unwrap();
    let parts: Vec<_> = (0..4).map(|_| fields.any().unwrap().raw.to_vec()).collect();
    let key = kenin_pki::der::Reader::new(&parts[3]).sequence().unwrap();
    let with = |ukm: Option<usize>, keys: usize| {
        let mut fields = parts[..2].to_vec();
        fields.extend(ukm.map(|n| write::explicit(1, &write::octet_string(&vec![0; n]))));
        fields.push(parts[2].clone());
        fields.push(write::element(0x30, &key.rest().repeat(keys)));
        let shape = Shape {
            recipients: vec![write::element(0xa1, &fields.concat())],
            ..shape.clone()
        };
        layer_of(&mail(&shape.write()))
    };
    assert!(with(None, 1).is_some_and(|layer| bob().open(&layer).is_ok()));
    assert_eq!(with(None, 5000).unwrap().recipients().len(), 5000);
    assert!(with(None, 5001).is_none());
    assert!(with(Some(64), 1).unwrap().recipients()[0].wrapped.is_some());
    let large = with(Some(100_000), 5000).unwrap();
    assert!(large.recipients().iter().all(|one| one.wrapped.is_none()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// What opens is what was encrypted, whatever octet is changed.
    #[test]
    fn a_changed_octet_never_changes_what_is_opened(
        at in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let mut object = shape(GCM).write();
        let at = at.index(object.len());
        object[at] ^= flip;
        if let Some(entity) = opened(&object) {
            prop_assert_eq!(entity.as_slice(), ENTITY);
        }
    }

    #[test]
    fn a_changed_octet_of_the_content_its_tag_or_its_key_opens_to_nothing(
        at in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
        which in 0..3,
    ) {
        let mut shape = shape(GCM);
        let (octets, header) = match which {
            0 => (&mut shape.content, 0),
            1 => (&mut shape.rest[0], 2),
            _ => (&mut shape.recipients[0], 0),
        };
        // The wrapped key stands last in its RecipientInfo.
        let start = if which == 2 { octets.len() - 40 } else { header };
        let at = start + at.index(octets.len() - start);
        octets[at] ^= flip;
        prop_assert_eq!(opened(&shape.write()), None);
    }

    #[test]
    fn any_octets_are_read_without_harm(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = opened(&octets);
        let mut object = shape(CBC).write();
        let middle = object.len() / 2;
        object.splice(middle..middle, octets);
        let _ = opened(&object);
    }
}
