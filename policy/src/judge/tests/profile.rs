//! An anchor with a profile, as a national authority's (C1): a certificate issued for something else, or in
//! another shape, is never the signer's of an accepted mail. Nor is one whose holder it does not name (C2).

use kenin_pki::der::write;
use kenin_pki::extension::{GeneralName, KeyUsage};
use kenin_pki::issue::CertificateBuilder;
use kenin_pki::oid::{self, OidBuf};

use super::*;
use crate::profile::Profile;
use crate::trust::{Anchor, Disclosure};

/// Numbers of the signing certificates, of those of the test environment, of those for logging in.
const SIGNING: &str = "1.2.392.200149.8.5.1.1.20";
const TEST: &str = "1.2.392.200149.8.5.1.0.20";
const LOGIN: &str = "1.2.392.200149.8.5.1.3.30";

/// The arc of the holder's attributes.
const ATTRIBUTES: &str = "1.2.392.200149.8.5.5";

const BOTH: u16 = KeyUsage::DIGITAL_SIGNATURE | KeyUsage::NON_REPUDIATION;

fn number(text: &str) -> OidBuf {
    OidBuf::from_dotted(text).unwrap()
}

fn policies(builder: CertificateBuilder, critical: bool, all: &[&str]) -> CertificateBuilder {
    let all: Vec<_> = all
        .iter()
        .map(|one| write::seq(&[write::oid(number(one).as_oid())]))
        .collect();
    builder.extension(oid::CERTIFICATE_POLICIES, critical, &write::seq(&all))
}

fn usage(builder: CertificateBuilder, critical: bool, bits: u16) -> CertificateBuilder {
    builder.extension(oid::KEY_USAGE, critical, &write::named_bits(bits))
}

fn world() -> World {
    let mut world = World::new();
    world.settings.profile = Some(Profile {
        policies: vec![number(SIGNING)],
        key_usage: Some(KeyUsage(BOTH)),
        holder_attributes: None,
    });
    world
}

fn verdict(world: &World, shape: impl FnOnce(CertificateBuilder) -> CertificateBuilder) -> Verdict {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let alice = world.issue(key, |builder| shape(builder.mail(&[ALICE])));
    world.verdict(&alice.sign(ALICE, Form::Clear))
}

#[test]
fn a_certificate_of_the_profile_is_accepted() {
    let good = |builder| usage(policies(builder, true, &[SIGNING]), true, BOTH);
    assert_eq!(reason(&verdict(&world(), good)), Reason::Ok);
    // Nobody asks where no profile is.
    let plain = |builder| usage(builder, true, KeyUsage::DIGITAL_SIGNATURE);
    assert_eq!(reason(&verdict(&World::new(), plain)), Reason::Ok);
}

#[test]
fn any_other_shape_is_a_failure_of_the_profile() {
    type Shape = fn(CertificateBuilder) -> CertificateBuilder;
    let table: [(&str, Shape); 10] = [
        ("no policy", |b| usage(b, true, BOTH)),
        ("for logging in", |b| {
            usage(policies(b, true, &[LOGIN]), true, BOTH)
        }),
        ("of the test environment", |b| {
            usage(policies(b, true, &[TEST]), true, BOTH)
        }),
        ("a second policy", |b| {
            usage(policies(b, true, &[SIGNING, LOGIN]), true, BOTH)
        }),
        ("any policy", |b| {
            usage(policies(b, true, &["2.5.29.32.0"]), true, BOTH)
        }),
        ("policies are not critical", |b| {
            usage(policies(b, false, &[SIGNING]), true, BOTH)
        }),
        ("no key usage", |b| policies(b, true, &[SIGNING])),
        ("key usage is not critical", |b| {
            usage(policies(b, true, &[SIGNING]), false, BOTH)
        }),
        ("no nonRepudiation", |b| {
            usage(
                policies(b, true, &[SIGNING]),
                true,
                KeyUsage::DIGITAL_SIGNATURE,
            )
        }),
        ("for encryption too", |b| {
            let more = BOTH | KeyUsage::KEY_ENCIPHERMENT;
            usage(policies(b, true, &[SIGNING]), true, more)
        }),
    ];
    let mut closed = world();
    closed.settings.disclosure = Disclosure::VerdictOnly;
    for (what, shape) in table {
        let open = verdict(&world(), shape);
        assert_eq!(reason(&open), Reason::Profile, "{what}: {open:?}");
        assert_eq!(open.result, Some(ResultWord::Policy), "{what}");
        let outward = verdict(&closed, shape).signatures[0].outward();
        assert_eq!(outward.1, Reason::NotAccepted, "{what}");
    }
}

#[test]
fn what_is_worse_than_the_profile_is_said_first() {
    let mut world = world();
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let alice = world.issue(key, |builder| {
        usage(policies(builder.mail(&[ALICE]), true, &[LOGIN]), true, BOTH)
    });
    world.publish(&[&alice.certificate]);
    let verdict = world.verdict(&alice.sign(ALICE, Form::Clear));
    assert_eq!(reason(&verdict), Reason::Revoked);
}

/// A verdict on a card's signature where the profile asks for the holder's attributes.
fn holder_verdict(disclosure: Disclosure, values: &[(u8, &str)]) -> Verdict {
    let mut world = world();
    world.settings.disclosure = disclosure;
    let profile = world.settings.profile.as_mut().unwrap();
    profile.holder_attributes = Some(number(ATTRIBUTES));
    let mut names = vec![GeneralName::Rfc822(ALICE.into())];
    names.extend(values.iter().map(|(member, text)| GeneralName::Other {
        oid: number(&format!("{ATTRIBUTES}.{member}")),
        value: write::utf8_string(text).into(),
    }));
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let alice = world.issue(key, |builder| {
        let builder = builder.subject_alt_names(&names);
        usage(policies(builder, true, &[SIGNING]), true, BOTH)
    });
    world.verdict(&alice.sign(ALICE, Form::Clear))
}

#[test]
fn a_holder_who_cannot_be_named_is_a_failure_of_the_profile() {
    let good: [(u8, &str); 6] = [
        (1, "検印花子"),
        (4, "419990401"),
        (3, "2"),
        (5, "東京都架空区一丁目２番３号"),
        (2, "0000"),
        (6, "0000000000000"),
    ];
    let with = |member: u8, text: &'static str| {
        good.map(|(known, old)| (known, if known == member { text } else { old }))
    };
    for values in [good, with(2, "0010")] {
        let verdict = holder_verdict(Disclosure::Full, &values);
        assert_eq!(reason(&verdict), Reason::Ok, "{verdict:?}");
    }
    let nobody = "the certificate does not carry the holder's attributes";
    let cases: [(&[(u8, &str)], &str); 6] = [
        (&[], nobody),
        (&[(7, "検印花子")], nobody),
        (&good[..5], "the flags of the holder's address: missing"),
        (&with(4, "019990401"), "the holder's birth date: unknown"),
        (
            &with(2, "000"),
            "the flags of the holder's name: not as many as there are characters",
        ),
        (&with(3, "女"), "the holder's sex: no code of the profile"),
    ];
    for (values, detail) in cases {
        let verdict = holder_verdict(Disclosure::Full, values);
        assert_eq!(reason(&verdict), Reason::Profile, "{detail}: {verdict:?}");
        let signature = &verdict.signatures[0];
        assert_eq!(signature.detail.as_deref(), Some(detail));
        let closed = holder_verdict(Disclosure::VerdictOnly, values);
        assert_eq!(closed.signatures[0].outward().1, Reason::NotAccepted);
    }
}

/// C4: whatever a verdict says of a card's signature, the holder's attributes are not in it.
#[test]
fn a_verdict_holds_nothing_of_the_holder() {
    let (name, birth) = ("検印花子", "419990401");
    let address = "東京都架空区一丁目２番３号";
    for (flags, result) in [("0000", Reason::Ok), ("000", Reason::Profile)] {
        let verdict = holder_verdict(
            Disclosure::Full,
            &[
                (1, name),
                (2, flags),
                (3, "2"),
                (4, birth),
                (5, address),
                (6, "0000000000000"),
            ],
        );
        assert_eq!(reason(&verdict), result);
        let shown = format!("{} {verdict:?}", verdict.to_json("a.eml"));
        for secret in [name, birth, address] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
}

/// Of several generations of an authority with one name the one whose key signed counts, with its profile.
#[test]
fn generations_of_one_name_are_told_by_key() {
    let old = World::new();
    let new = world();
    assert_eq!(
        old.root.certificate.subject(),
        new.root.certificate.subject()
    );
    let anchor = |world: &World, name: &str| Anchor {
        name: name.to_owned(),
        certificate: world.root.certificate.clone(),
        settings: world.settings.clone(),
    };
    let anchors = vec![anchor(&old, "2019"), anchor(&new, "2023")];
    let trust = TrustPolicy::from_parts(anchors, PathOptions::default());
    for (world, expected) in [(&old, Reason::Ok), (&new, Reason::Profile)] {
        let alice = world.person(ALICE);
        let mail = alice.sign(ALICE, Form::Clear);
        let case = Case::new(&mail, &trust, &[], NOW, &Limits::default());
        let verdict = step::run(&case, |question| world.answer(question)).verdict;
        assert_eq!(reason(&verdict), expected, "{verdict:?}");
    }
}
