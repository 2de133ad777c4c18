//! Name constraints along a path.

use super::*;
use crate::der::write;

fn permit(names: &[GeneralName]) -> NameConstraints {
    NameConstraints {
        permitted: names.to_vec(),
        excluded: Vec::new(),
    }
}

pub(super) fn exclude(names: &[GeneralName]) -> NameConstraints {
    NameConstraints {
        permitted: Vec::new(),
        excluded: names.to_vec(),
    }
}

fn under(
    constraints: &NameConstraints,
    leaf: impl Fn(CertificateBuilder) -> CertificateBuilder,
) -> Result<ValidPath, PathError> {
    let root = Party::root("Root");
    let ca = root.ca("CA", |b| b.name_constraints(constraints));
    let leaf = ca.leaf("Alice", leaf);
    find(&leaf, &[&ca], &root, &off())
}

#[test]
fn name_constraints_on_mail_addresses() {
    let mail = |text: &str| GeneralName::Rfc822(text.into());
    under(&permit(&[mail("example.jp")]), person).unwrap();
    under(&permit(&[mail("alice@example.jp")]), person).unwrap();
    under(&permit(&[mail("other.test"), mail("example.jp")]), person).unwrap();
    under(&exclude(&[mail("other.test")]), person).unwrap();
    let invalid = PathErrorKind::Invalid;
    fails(
        under(&permit(&[mail("other.test")]), person),
        invalid,
        "do not permit its mail",
    );
    fails(
        under(&permit(&[mail(".example.jp")]), person),
        invalid,
        "do not permit its mail",
    );
    fails(
        under(&exclude(&[mail("example.jp")]), person),
        invalid,
        "exclude its mail",
    );
    fails(
        under(&exclude(&[mail("ALICE@example.jp")]), person),
        invalid,
        "exclude its mail",
    );
    let second: Change = |b| b.mail(&["alice@example.jp", "alice@evil.test"]);
    fails(
        under(&permit(&[mail("example.jp")]), second),
        invalid,
        "do not permit its mail",
    );
}

#[test]
fn name_constraints_on_smtp_utf8_mailboxes_and_subject_addresses() {
    let only = permit(&[GeneralName::Rfc822("example.jp".into())]);
    let utf8 = |address: &str| {
        let mut value = vec![0x0c, u8::try_from(address.len()).unwrap()];
        value.extend(address.as_bytes());
        let value = value.into_boxed_slice();
        [GeneralName::Other {
            oid: oid::SMTP_UTF8_MAILBOX.to_buf(),
            value,
        }]
    };
    let root = Party::root("Root");
    let ca = root.ca("CA", |b| b.name_constraints(&only));
    let good = ca.leaf("Alice", |b| b.subject_alt_names(&utf8("佐藤@example.jp")));
    find(&good, &[&ca], &root, &off()).unwrap();
    let bad = ca.leaf("Alice", |b| b.subject_alt_names(&utf8("佐藤@evil.test")));
    fails(
        find(&bad, &[&ca], &root, &off()),
        PathErrorKind::Invalid,
        "do not permit",
    );
    // The old place of the address: the subject.
    for (address, good) in [("a@example.jp", true), ("a@evil.test", false)] {
        let key = key();
        let subject = NameBuilder::default()
            .with(oid::EMAIL_ADDRESS, address)
            .build()
            .unwrap();
        let certificate = CertificateBuilder::new(subject, key.public_key())
            .issued_by(&ca.certificate, &ca.key)
            .unwrap();
        let leaf = Party { certificate, key };
        assert_eq!(
            find(&leaf, &[&ca], &root, &off()).is_ok(),
            good,
            "{address}"
        );
    }
}

/// What a reader passes over in the subjectAltName must not take the subject out of the constraints.
#[test]
fn no_alternative_name_hides_the_address_of_the_subject_from_constraints() {
    let root = Party::root("Root");
    let only = permit(&[GeneralName::Rfc822("example.jp".into())]);
    let ca = root.ca("CA", |b| b.name_constraints(&only));
    let ascii = write::utf8_string("a@example.jp").into_boxed_slice();
    for decoy in [
        GeneralName::Rfc822("a..b@example.jp".into()),
        GeneralName::Other {
            oid: oid::SMTP_UTF8_MAILBOX.to_buf(),
            value: ascii,
        },
    ] {
        let key = key();
        let subject = NameBuilder::default()
            .with(oid::EMAIL_ADDRESS, "ceo@evil.test")
            .build()
            .unwrap();
        let certificate = CertificateBuilder::new(subject, key.public_key())
            .subject_alt_names(&[decoy])
            .issued_by(&ca.certificate, &ca.key)
            .unwrap();
        assert_eq!(certificate.addresses(), Ok(Vec::new()));
        let leaf = Party { certificate, key };
        let end = find(&leaf, &[&ca], &root, &off());
        fails(end, PathErrorKind::Invalid, "do not permit its mail");
    }
}

#[test]
fn quotes_do_not_take_a_mailbox_out_of_an_excluded_one() {
    let excluded = exclude(&[GeneralName::Rfc822("ceo@example.jp".into())]);
    for address in ["\"ceo\"@example.jp", "\"C\\eo\"@example.jp"] {
        let end = under(&excluded, |b| {
            b.subject_alt_names(&[GeneralName::Rfc822(address.into())])
        });
        fails(end, PathErrorKind::Invalid, "exclude its mail");
    }
}

#[test]
fn a_constraint_in_the_form_of_an_smtp_utf8_mailbox_is_not_passed_over() {
    let mailbox = |text: &str| GeneralName::Other {
        oid: oid::SMTP_UTF8_MAILBOX.to_buf(),
        value: write::utf8_string(text).into_boxed_slice(),
    };
    for constraints in [
        permit(&[mailbox("example.jp")]),
        exclude(&[mailbox("佐藤@example.jp")]),
    ] {
        let end = under(&constraints, |b| {
            b.subject_alt_names(&[mailbox("佐藤@example.jp")])
        });
        fails(end, PathErrorKind::Invalid, "cannot be applied");
        under(&constraints, person).unwrap();
    }
}

#[test]
fn name_constraints_on_directory_names_and_unknown_forms() {
    let base = NameBuilder::default()
        .with(oid::ORGANIZATION, "Example")
        .build()
        .unwrap();
    let end = under(&permit(&[GeneralName::Directory(base.clone())]), person);
    fails(end, PathErrorKind::Invalid, "directoryName");
    under(&exclude(&[GeneralName::Directory(base.clone())]), person).unwrap();
    under(&permit(&[GeneralName::Directory(name("ALICE"))]), person).unwrap();
    let odd = exclude(&[GeneralName::RegisteredId(oid::CMS_DATA.to_buf())]);
    under(&odd, person).unwrap();
    let end = under(&odd, |b| {
        b.subject_alt_names(&[GeneralName::RegisteredId(oid::CMS_SIGNED_DATA.to_buf())])
    });
    fails(end, PathErrorKind::Invalid, "cannot be applied");
}

#[test]
fn the_constraints_of_an_anchor_bind_only_on_request() {
    let root_key = key();
    let builder = authority(CertificateBuilder::new(name("Root"), root_key.public_key()))
        .name_constraints(&permit(&[GeneralName::Rfc822("other.test".into())]));
    let root = Party {
        certificate: builder.self_signed(&root_key).unwrap(),
        key: root_key,
    };
    let leaf = root.leaf("Alice", person);
    find(&leaf, &[], &root, &off()).unwrap();
    let end = find_with(&leaf, &[], &[root.anchor().constrained()], &[], &off());
    fails(end, PathErrorKind::Invalid, "do not permit");
}
