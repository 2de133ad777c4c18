use super::*;
use crate::RevocationIndex;
use crate::testpki::{ca, name};

#[test]
fn finds_by_name_and_prefers_the_key_id() {
    let (one, same_name, other) = (ca("A"), ca("A"), ca("B"));
    let view = CertStore::new(
        [&one, &same_name, &other, &one]
            .map(|ca| ca.certificate.clone())
            .to_vec(),
        Vec::new(),
        &[],
    );
    assert_eq!(
        view.intermediates().len(),
        3,
        "the same certificate is kept once"
    );
    assert_eq!(view.issuers(&name("A"), None).len(), 2);
    assert_eq!(
        view.issuers(&name("a"), None).len(),
        2,
        "names compare without case"
    );
    assert!(view.issuers(&name("C"), None).is_empty());
    let id = same_name
        .certificate
        .subject_key_id()
        .unwrap()
        .map(<[u8]>::to_vec);
    if let Some(id) = id {
        let found = view.issuers(&name("A"), Some(&id));
        assert_eq!(found[0].sha256(), same_name.certificate.sha256());
        assert_eq!(found.len(), 2, "a key id is only a hint");
    }
}

#[test]
fn an_older_list_never_replaces_a_newer_one() {
    let ca = ca("A");
    let (old, new) = (ca.crl(Some(2), 1000), ca.crl(Some(1), 2000));
    for order in [[&old, &new], [&new, &old]] {
        let view = CertStore::new(Vec::new(), order.map(Clone::clone).to_vec(), &[]);
        let held = view.crls(&name("A"), UnixTime(0));
        assert_eq!(held.len(), 1);
        assert_eq!(
            held[0].sha256(),
            new.sha256(),
            "the time counts before the number"
        );
    }
    let (old, new) = (ca.crl(None, 1000), ca.crl(None, 2000));
    let view = CertStore::new(Vec::new(), vec![new.clone(), old], &[]);
    assert_eq!(view.crls(&name("A"), UnixTime(0))[0].sha256(), new.sha256());
    assert_eq!(view.next_update().map(|time| time.0), Some(3000));
}

#[test]
fn lists_of_different_authorities_do_not_replace_each_other() {
    let (a, b, namesake) = (ca("A"), ca("B"), ca("A"));
    let lists = vec![
        a.crl(Some(1), 1000),
        b.crl(Some(9), 1000),
        namesake.crl(Some(9), 1000),
    ];
    let view = CertStore::new(Vec::new(), lists, &[]);
    assert_eq!(view.all_crls().len(), 3);
    assert_eq!(
        view.crls(&name("A"), UnixTime(0)).len(),
        2,
        "another key of the same name is another scope"
    );
}

#[test]
fn a_list_that_nobody_known_signed_replaces_no_signed_one() {
    let ca = ca("A");
    let (good, other) = (ca.crl(Some(1), 1000), ca.crl(Some(9), 9000));
    // One octet of the signature is another.
    let mut der = other.der().to_vec();
    *der.last_mut().unwrap() ^= 1;
    let forged = Crl::from_der(&der).unwrap();
    for signers in [vec![ca.certificate.clone()], Vec::new()] {
        for order in [[&good, &forged], [&forged, &good]] {
            let lists = order.map(Clone::clone).to_vec();
            let view = CertStore::new(Vec::new(), lists, &signers);
            let held = view.crls(&name("A"), UnixTime(0));
            assert_eq!(held.len(), 1 + signers.len());
            let wanted = if signers.is_empty() { &forged } else { &good };
            assert!(held.iter().any(|crl| crl.sha256() == wanted.sha256()));
            assert_eq!(view.signed_crls().count(), signers.len());
        }
    }
}

/// What a list says of its key is a claim: an authority that changed its key goes on with two lists, and
/// neither replaces the other.
#[test]
fn lists_of_two_keys_of_one_name_do_not_replace_each_other() {
    let (before, after) = (ca("A"), ca("A"));
    let lying = after.crl_naming(&before, 9, 9000);
    let signers = [before.certificate.clone(), after.certificate.clone()];
    let lists = vec![before.crl(Some(1), 1000), lying];
    let view = CertStore::new(Vec::new(), lists, &signers);
    assert_eq!(view.crls(&name("A"), UnixTime(0)).len(), 2);
}

/// The same list, of which nobody has the entries.
fn absent(list: &Crl) -> Crl {
    let index = RevocationIndex::passing();
    let mut builder = index.receive().unwrap();
    builder.push(list.der()).unwrap();
    let indexed = builder.finish().unwrap();
    Crl::absent(&indexed.abridged().unwrap()).unwrap()
}

#[test]
fn what_was_held_stands_in_for_a_newer_list_that_is_not_at_hand() {
    let (ca, other) = (ca("A"), ca("B"));
    let (old, new) = (ca.crl(Some(1), 1000), ca.crl(Some(2), 2000));
    let known = || vec![ca.certificate.clone(), other.certificate.clone()];
    let lost = absent(&new);
    // By itself nothing older comes back: not even from a file.
    let mut view = CertStore::new(known(), vec![lost.clone(), old.clone()], &[]);
    assert_eq!(
        view.crls(&name("A"), UnixTime(0)),
        std::slice::from_ref(&lost)
    );
    assert!(view.is_lacking(new.sha256()) && !view.is_lacking(old.sha256()));
    let newer = ca.crl(Some(3), 3000);
    let stranger = other.crl_naming(&ca, 1, 1000);
    for no in [&newer, &stranger, &other.crl(Some(1), 1000), &lost] {
        view.stand_in(no);
    }
    assert_eq!(view.all_crls().len(), 1);
    view.stand_in(&old);
    let end = old.next_update().unwrap();
    assert_eq!(
        view.crls(&name("A"), end.plus(-1)),
        std::slice::from_ref(&old)
    );
    // Then nobody has news of it.
    assert_eq!(view.crls(&name("A"), end), [lost.clone(), old.clone()]);
    assert!(view.is_lacking(new.sha256()) && view.is_lacking(old.sha256()));
    assert!(!view.is_lacking(newer.sha256()));
    // Once the newer one is there, none is lacking.
    let mut view = CertStore::new(known(), vec![new.clone()], &[]);
    view.stand_in(&old);
    assert_eq!(
        view.crls(&name("A"), UnixTime(0)),
        std::slice::from_ref(&new)
    );
    assert!(!view.is_lacking(new.sha256()));
    // And what is newer than what was lost replaces it.
    let view = CertStore::new(known(), vec![lost, newer.clone()], &[]);
    assert_eq!(view.crls(&name("A"), UnixTime(0)), [newer]);
}
