use kenin_pki::crypto::{KeyType, SoftKey};
use kenin_pki::der::{IA5_STRING, write};
use kenin_pki::issue::CertificateBuilder;
use kenin_pki::oid::{self, OidBuf};
use proptest::prelude::*;

use super::*;
use crate::testing::builder;

const ARC: &str = "1.2.392.200149.8.5.5";

type Wrong = HolderError;
type Outcome = Result<Option<HolderAttributes>, HolderError>;

/// What a certificate of this shape says, by an arc.
fn read_below(arc: &str, shape: impl FnOnce(CertificateBuilder) -> CertificateBuilder) -> Outcome {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let certificate = shape(builder("20260401123456789012", &key))
        .self_signed(&key)
        .unwrap();
    let arc = OidBuf::from_dotted(arc).unwrap();
    HolderAttributes::read(&certificate, arc.as_oid())
}

fn other(number: &str, value: &[u8]) -> GeneralName {
    GeneralName::Other {
        oid: OidBuf::from_dotted(number).unwrap(),
        value: value.into(),
    }
}

fn texts(values: &[(u8, String)]) -> Vec<GeneralName> {
    values
        .iter()
        .map(|(member, text)| other(&format!("{ARC}.{member}"), &write::utf8_string(text)))
        .collect()
}

fn read(values: &[(u8, String)]) -> Outcome {
    read_below(ARC, |builder| builder.subject_alt_names(&texts(values)))
}

/// Somebody made up, in the order that is seen in the wild.
fn hanako() -> Vec<(u8, String)> {
    [
        (1, "検印花子"),
        (4, "419990401"),
        (3, "2"),
        (5, "東京都架空区一丁目２番３号"),
        (2, "0000"),
        (6, "0000000000000"),
    ]
    .map(|(member, text)| (member, text.to_owned()))
    .to_vec()
}

/// Her, with one value changed.
fn with(member: u8, text: &str) -> Vec<(u8, String)> {
    let mut values = hanako();
    let mut all = values.iter_mut();
    let (_, value) = all.find(|(known, _)| *known == member).unwrap();
    text.clone_into(value);
    values
}

#[test]
fn the_four_attributes_are_read() {
    let holder = read(&hanako()).unwrap().unwrap();
    assert_eq!(holder.name.value, "検印花子");
    assert!(!holder.name.substituted);
    assert_eq!(holder.sex, Sex::Female);
    assert_eq!(holder.birth.civil(), (1999, 4, 1));
    assert_eq!(holder.address.value, "東京都架空区一丁目２番３号");
    assert!(!holder.address.substituted);
    for (code, sex) in [
        ("1", Sex::Male),
        ("2", Sex::Female),
        ("9", Sex::NotApplicable),
    ] {
        assert_eq!(read(&with(3, code)).unwrap().unwrap().sex, sex, "{code}");
    }
}

#[test]
fn a_flag_marks_the_text_it_belongs_to() {
    for (member, flags, marks) in [
        (2, "0100", (true, false)),
        (2, "1111", (true, false)),
        (6, "0000000000001", (false, true)),
    ] {
        let holder = read(&with(member, flags)).unwrap().unwrap();
        let found = (holder.name.substituted, holder.address.substituted);
        assert_eq!(found, marks, "{flags}");
    }
}

/// C2: one wrong value, and nothing at all is asserted.
#[test]
fn a_wrong_value_asserts_nothing() {
    for (member, text, error) in [
        (1, "", Wrong::Empty(Member::Name)),
        (2, "", Wrong::Empty(Member::NameFlags)),
        (3, "", Wrong::Empty(Member::Sex)),
        (4, "", Wrong::Empty(Member::Birth)),
        (5, "", Wrong::Empty(Member::Address)),
        (6, "", Wrong::Empty(Member::AddressFlags)),
        (1, "検印\0子", Wrong::ControlCharacter(Member::Name)),
        (1, "検印\n子", Wrong::ControlCharacter(Member::Name)),
        (1, "検印\u{85}子", Wrong::ControlCharacter(Member::Name)),
        (5, "東京都\t", Wrong::ControlCharacter(Member::Address)),
        (4, "41999040\u{7f}", Wrong::ControlCharacter(Member::Birth)),
        (1, "検印花", Wrong::FlagCount(Member::NameFlags)),
        (1, "検印花子々", Wrong::FlagCount(Member::NameFlags)),
        (2, "000", Wrong::FlagCount(Member::NameFlags)),
        (2, "000000000000", Wrong::FlagCount(Member::NameFlags)),
        (6, "0", Wrong::FlagCount(Member::AddressFlags)),
        (2, "0002", Wrong::Flag(Member::NameFlags)),
        (2, "000 ", Wrong::Flag(Member::NameFlags)),
        (2, "０００１", Wrong::Flag(Member::NameFlags)),
        (6, "000000000000x", Wrong::Flag(Member::AddressFlags)),
        (3, "0", Wrong::SexCode),
        (3, "3", Wrong::SexCode),
        (3, "02", Wrong::SexCode),
        (3, "２", Wrong::SexCode),
        (3, "女", Wrong::SexCode),
        (4, "000000000", Wrong::BirthUnknown),
        (4, "619990401", Wrong::Era),
        (4, "419990431", Wrong::NoSuchDay),
        (4, "319990401", Wrong::OutsideEra),
    ] {
        assert_eq!(read(&with(member, text)), Err(error), "{member} {text:?}");
    }
}

#[test]
fn a_text_has_up_to_400_characters() {
    let long = |count: usize| {
        let mut values = with(1, &"検".repeat(count));
        values.retain(|(member, _)| *member != 2);
        values.push((2, "0".repeat(count)));
        read(&values)
    };
    assert!(long(400).unwrap().is_some());
    assert_eq!(long(401), Err(Wrong::TooLong(Member::Name)));
}

#[test]
fn dates_lie_in_their_era() {
    for (text, expected) in [
        ("118680101", Ok((1868, 1, 1))),
        ("118671231", Err(Wrong::OutsideEra)),
        ("119120729", Ok((1912, 7, 29))),
        ("119120730", Ok((1912, 7, 30))),
        ("119120731", Err(Wrong::OutsideEra)),
        ("219120729", Err(Wrong::OutsideEra)),
        ("219120730", Ok((1912, 7, 30))),
        ("219261224", Ok((1926, 12, 24))),
        ("219261225", Ok((1926, 12, 25))),
        ("219261226", Err(Wrong::OutsideEra)),
        ("319261224", Err(Wrong::OutsideEra)),
        ("319261225", Ok((1926, 12, 25))),
        ("319890107", Ok((1989, 1, 7))),
        ("319890108", Err(Wrong::OutsideEra)),
        ("419890107", Err(Wrong::OutsideEra)),
        ("419890108", Ok((1989, 1, 8))),
        ("420190430", Ok((2019, 4, 30))),
        ("420190501", Err(Wrong::OutsideEra)),
        ("520190430", Err(Wrong::OutsideEra)),
        ("520190501", Ok((2019, 5, 1))),
        ("420000229", Ok((2000, 2, 29))),
        ("319000229", Err(Wrong::NoSuchDay)),
        ("420010229", Err(Wrong::NoSuchDay)),
        ("419991301", Err(Wrong::NoSuchDay)),
        ("419990001", Err(Wrong::NoSuchDay)),
        ("419990400", Err(Wrong::NoSuchDay)),
        ("400000401", Err(Wrong::OutsideEra)),
        ("019990401", Err(Wrong::BirthUnknown)),
        ("000000000", Err(Wrong::BirthUnknown)),
        ("400000000", Err(Wrong::BirthUnknown)),
        ("600000000", Err(Wrong::BirthUnknown)),
        ("619990401", Err(Wrong::Era)),
        ("919990401", Err(Wrong::Era)),
        ("19990401", Err(Wrong::BirthForm)),
        ("4199904010", Err(Wrong::BirthForm)),
        ("4+9990401", Err(Wrong::BirthForm)),
        ("41999-401", Err(Wrong::BirthForm)),
        ("H19990401", Err(Wrong::BirthForm)),
        ("平199904", Err(Wrong::BirthForm)),
        ("４199904", Err(Wrong::BirthForm)),
    ] {
        let found = BirthDate::read(text).map(BirthDate::civil);
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn each_member_stands_once() {
    let members = [
        Member::Name,
        Member::NameFlags,
        Member::Sex,
        Member::Birth,
        Member::Address,
        Member::AddressFlags,
    ];
    for (number, member) in (1_u8..).zip(members) {
        let mut twice = hanako();
        twice.extend(hanako().into_iter().filter(|(known, _)| *known == number));
        assert_eq!(read(&twice), Err(Wrong::Duplicate(member)));

        let mut without = hanako();
        without.retain(|(known, _)| *known != number);
        assert_eq!(read(&without), Err(Wrong::Missing(member)));
    }
}

#[test]
fn a_value_is_exactly_one_utf8_string() {
    let name = write::utf8_string("検印花子");
    let values: [&[u8]; 5] = [
        &write::printable_string("Kenin"),
        &write::element(IA5_STRING, b"Kenin"),
        &write::element(UTF8_STRING, b"\xff\xfe"),
        &write::element(0x2c, &name),
        &write::seq(&[&name, &name]),
    ];
    let expected = Err(Wrong::NotUtf8String(Member::Name));
    for value in values {
        let mut names = texts(&hanako());
        names[0] = other(&format!("{ARC}.1"), value);
        let outcome = read_below(ARC, |builder| builder.subject_alt_names(&names));
        assert_eq!(outcome, expected, "{value:02x?}");
    }
    // Two in a row, or none, and the whole extension does not read.
    for value in [[name.clone(), name].concat(), Vec::new()] {
        let mut names = texts(&hanako());
        names[0] = other(&format!("{ARC}.1"), &value);
        let outcome = read_below(ARC, |builder| builder.subject_alt_names(&names));
        assert!(matches!(outcome, Err(Wrong::AltNames(_))), "{outcome:?}");
    }
}

#[test]
fn a_certificate_without_members_has_no_holder() {
    assert_eq!(read_below(ARC, |builder| builder), Ok(None));
    let mail = ["alice@example.jp", "検印@example.jp"];
    assert_eq!(read_below(ARC, |builder| builder.mail(&mail)), Ok(None));
    let names = texts(&hanako());
    for arc in [
        "1.2.392.200149.8.5",
        "1.2.392.200149.8.5.4",
        "1.2.392.200149.8.5.5.1",
    ] {
        let shape = |builder: CertificateBuilder| builder.subject_alt_names(&names);
        assert_eq!(read_below(arc, shape), Ok(None), "{arc}");
    }
}

/// What stands beside them is not theirs, whatever it is.
#[test]
fn others_are_passed_over() {
    let mut names = texts(&hanako());
    for number in ["", ".0", ".7", ".129", ".1.1"] {
        names.insert(0, other(&format!("{ARC}{number}"), &write::null()));
    }
    names.push(GeneralName::Rfc822("hanako@example.jp".into()));
    names.push(GeneralName::RegisteredId(
        OidBuf::from_dotted(&format!("{ARC}.1")).unwrap(),
    ));
    let outcome = read_below(ARC, |builder| builder.subject_alt_names(&names));
    assert_eq!(outcome, read(&hanako()));
}

#[test]
fn debug_shows_nothing_of_the_holder() {
    let holder = read(&hanako()).unwrap().unwrap();
    assert_eq!(
        format!("{holder:?}"),
        "HolderAttributes { name: Text { .. }, sex: Sex { .. }, birth: BirthDate { .. }, \
         address: Text { .. } }"
    );
}

proptest! {
    #[test]
    fn any_order_is_read(values in Just(hanako()).prop_shuffle()) {
        prop_assert_eq!(read(&values), read(&hanako()));
    }

    #[test]
    fn random_names_do_not_panic(value in proptest::collection::vec(any::<u8>(), 0..200)) {
        let outcome = read_below(ARC, |builder| {
            builder.extension(oid::SUBJECT_ALT_NAME, false, &value)
        });
        prop_assert!(!matches!(outcome, Ok(Some(_))));
    }

    #[test]
    fn random_values_do_not_panic(
        values in proptest::collection::vec((0_u8..8, proptest::collection::vec(any::<u8>(), 0..12)), 1..9)
    ) {
        let names: Vec<_> = values
            .iter()
            .map(|(member, content)| {
                other(&format!("{ARC}.{member}"), &write::element(UTF8_STRING, content))
            })
            .collect();
        let _ = read_below(ARC, |builder| builder.subject_alt_names(&names));
    }

    /// Nothing is made of a part of them.
    #[test]
    fn random_texts_are_all_or_nothing(
        name in "\\PC{1,8}", sex in "[0-9]", birth in "[0-6](19|20)[0-9]{6}", flags in "[01]{1,8}"
    ) {
        let mut values = hanako();
        for (member, text) in &mut values {
            match member {
                1 => text.clone_from(&name),
                2 => text.clone_from(&flags),
                3 => text.clone_from(&sex),
                4 => text.clone_from(&birth),
                _ => {}
            }
        }
        if let Ok(holder) = read(&values) {
            let holder = holder.unwrap();
            prop_assert_eq!(holder.name.value.chars().count(), flags.len());
            prop_assert_eq!(holder.name.substituted, flags.contains('1'));
            let (year, month, day) = holder.birth.civil();
            prop_assert_eq!(&birth[1..], format!("{year:04}{month:02}{day:02}"));
        }
    }
}
