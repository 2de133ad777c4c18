use super::*;
use proptest::prelude::*;

fn cn(tag: u8, content: &[u8]) -> Name {
    NameBuilder::default()
        .with_value(oid::COMMON_NAME, tag, content)
        .build()
        .unwrap()
}

#[test]
fn encoding_case_and_white_space_do_not_matter() {
    assert_eq!(
        cn(PRINTABLE_STRING, b"Good  CA"),
        cn(UTF8_STRING, b" good ca ")
    );
    assert_eq!(
        cn(TELETEX_STRING, b"\xc9t\xe9"),
        cn(UTF8_STRING, "éTÉ".as_bytes())
    );
    assert_eq!(
        cn(BMP_STRING, &[0x65, 0xe5, 0x67, 0x2c]),
        cn(UTF8_STRING, "日本".as_bytes())
    );
    assert_eq!(
        cn(UTF8_STRING, "ＡＢＣ".as_bytes()),
        cn(PRINTABLE_STRING, b"abc")
    );
    assert_eq!(
        cn(UNIVERSAL_STRING, &[0, 0, 0, 0x41]),
        cn(PRINTABLE_STRING, b"a")
    );
}

#[test]
fn what_differs_differs() {
    let good = cn(UTF8_STRING, b"Good CA");
    for other in [
        cn(UTF8_STRING, b"GoodCA"),
        cn(UTF8_STRING, b"Good CA\0"),
        cn(UTF8_STRING, b"\xff"),
        cn(BMP_STRING, b"odd"),
        NameBuilder::default()
            .with(oid::ORGANIZATION, "Good CA")
            .build()
            .unwrap(),
        NameBuilder::default().build().unwrap(),
        NameBuilder::default()
            .with(oid::COMMON_NAME, "Good CA")
            .with(oid::COMMON_NAME, "x")
            .build()
            .unwrap(),
    ] {
        assert_ne!(good, other);
    }
}

#[test]
fn subtrees_end_where_an_rdn_ends() {
    let base = NameBuilder::default()
        .with(oid::COUNTRY, "JP")
        .with(oid::ORGANIZATION, "Ex");
    let (below, base) = (
        base.clone().with(oid::COMMON_NAME, "a").build().unwrap(),
        base.build().unwrap(),
    );
    let beside = NameBuilder::default()
        .with(oid::COUNTRY, "jp")
        .with(oid::ORGANIZATION, "Example")
        .build()
        .unwrap();
    assert!(below.is_within(&base) && base.is_within(&base));
    assert!(!base.is_within(&below) && !beside.is_within(&base));
    let rdn = write::seq(&[write::oid(oid::COMMON_NAME), write::utf8_string("A")]);
    assert_eq!(base.with_relative(&rdn).unwrap(), below);
}

#[test]
fn text_is_that_of_rfc_4514_and_harmless() {
    let name = NameBuilder::default()
        .with(oid::COUNTRY, "JP")
        .with(oid::ORGANIZATION, " A,B\r\nX-Kenin-Verdict: pass")
        .with(oid::COMMON_NAME, "#a\u{202e}b ")
        .build()
        .unwrap();
    assert_eq!(
        name.to_string(),
        "CN=\\#a\\E2\\80\\AEb\\ ,O=\\ A\\,B\\0D\\0AX-Kenin-Verdict: pass,C=JP"
    );
    // What no reader would see, or would see as something else.
    for hidden in
        "\u{ad}\u{34f}\u{180e}\u{200b}\u{2066}\u{2800}\u{3164}\u{fe0f}\u{ffa0}\u{e0041}\u{9b}"
            .chars()
    {
        let text = cn(UTF8_STRING, hidden.to_string().as_bytes()).to_string();
        assert!(text.starts_with("CN=\\") && text.is_ascii(), "{text:?}");
    }
    assert_eq!(cn(0x02, &[5]).to_string(), "CN=#020105");
    assert!(cn(UTF8_STRING, &[b'a'; 100_000]).to_string().len() < 1100);
}

#[test]
fn multi_valued_rdns_compare_as_sets() {
    let pair = |text: &str| write::seq(&[write::oid(oid::COMMON_NAME), write::utf8_string(text)]);
    let one = write::seq(&[write::element(SET, &[pair("a"), pair("b")].concat())]);
    let two = write::seq(&[write::element(SET, &[pair("B"), pair("A")].concat())]);
    assert_eq!(Name::from_der(&one).unwrap(), Name::from_der(&two).unwrap());
    assert_eq!(Name::from_der(&one).unwrap().to_string(), "CN=a+CN=b");
}

#[test]
fn too_many_attributes_and_empty_rdns_are_refused() {
    let mut builder = NameBuilder::default();
    for _ in 0..=MAX_ATTRIBUTES {
        builder = builder.with(oid::COMMON_NAME, "a");
    }
    assert!(builder.build().is_err());
    assert!(Name::from_der(&write::seq(&[write::element(SET, &[])])).is_err());
    assert!(Name::from_der(&[0x30, 0, 0]).is_err());
}

proptest! {
    #[test]
    fn folding_is_stable_and_ignores_case(text in "\\PC{0,40}") {
        let folded = fold(&text);
        prop_assert_eq!(fold(&folded), folded.clone());
        let padded = format!("  {}  ", text.to_ascii_uppercase());
        prop_assert_eq!(fold(&padded), folded);
    }

    #[test]
    fn any_value_displays_on_one_line(tag in 1_u8..31, value in proptest::collection::vec(any::<u8>(), 0..60)) {
        prop_assume!(tag & 0x1f != 0x1f);
        let text = cn(tag, &value).to_string();
        prop_assert!(!text.chars().any(char::is_control));
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Name::from_der(&bytes);
    }
}
