use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{STANDARD as PLAIN, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::memmem;
use proptest::prelude::*;

use super::*;

const NAME: &[u8] = b"\x30\x10\x31\x0e\x30\x0c\x06\x03\x55\x04\x0a\x0c\x05J-SIM";
const OTHER: &[u8] = b"\x30\x12\x31\x10\x30\x0e\x06\x03\x55\x04\x0a\x0c\x07another";

impl Level {
    /// Octets of memory that it takes, and all below it.
    fn memory(&self) -> usize {
        let quoted = self.quoted.iter();
        let quoted = quoted.map(|stage| stage.out.capacity() + stage.search.memory());
        quoted.sum::<usize>() + self.base64.memory() + self.hexadecimal.memory()
    }
}

impl<const WIDTH: usize> Encoded<WIDTH> {
    fn memory(&self) -> usize {
        let inside = self.inside.iter();
        let inside = inside.map(|one| one.octets.capacity() + one.level.memory());
        self.values.capacity() + self.search.memory() + inside.sum::<usize>()
    }
}

fn shows_in(text: &[u8], names: &[&[u8]]) -> bool {
    shows(&Wanted::new(names.iter().copied()), [text])
}

fn lines(text: &str, width: usize) -> String {
    let lines = text.as_bytes().chunks(width);
    let lines = lines.map(|line| format!("{}\r\n", String::from_utf8_lossy(line)));
    lines.collect()
}

fn quoted(text: &[u8], width: usize) -> String {
    let mut out = String::new();
    let mut line = 0;
    for octet in text {
        let one = match octet {
            b'!'..=b'<' | b'>'..=b'~' => char::from(*octet).to_string(),
            _ => format!("={octet:02X}"),
        };
        if line + one.len() > width {
            out.push_str("=\r\n");
            line = 0;
        }
        line += one.len();
        out.push_str(&one);
    }
    out
}

#[test]
fn a_name_is_found_in_every_shape() {
    for before in 0..5 {
        let object = [&vec![b'x'; 40 + before][..], NAME, &[b'y'; 30]].concat();
        let once = PLAIN.encode(&object);
        let mail = format!(
            "From: a\r\n\r\n--b\r\n\r\n{}\r\n--b--\r\n",
            lines(&once, 64)
        );
        let hex: String = object.iter().map(|byte| format!("{byte:02X}:")).collect();
        let every: String = object.iter().map(|byte| format!("={byte:02X}")).collect();
        for shape in [
            object.clone(),
            once.clone().into_bytes(),
            lines(&once, 76).into_bytes(),
            lines(&once, 61).into_bytes(),
            format!("X-Cert: {}", lines(&once, 60).replace("\r\n", "\r\n ")).into_bytes(),
            URL_SAFE_NO_PAD.encode(&object).into_bytes(),
            lines(&PLAIN.encode(lines(&once, 76)), 76).into_bytes(),
            lines(&PLAIN.encode(&mail), 76).into_bytes(),
            hex.into_bytes(),
            every.into_bytes(),
        ] {
            let mail = [
                &b"Subject: x\r\n\r\nHello.\r\n"[..],
                &shape,
                b"\r\nBye.\r\n",
            ]
            .concat();
            assert!(
                shows_in(&mail, &[b"other", NAME]),
                "{}",
                String::from_utf8_lossy(&mail)
            );
        }
    }
}

/// A forwarded mail with a certificate in base64 is itself sent in quoted-printable, and the other way round.
#[test]
fn base64_and_quoted_printable_within_each_other_were_missed() {
    let object = [&[b'x'; 40][..], NAME, &[b'y'; 30]].concat();
    let base64 = lines(&PLAIN.encode(&object), 76);
    for shape in [
        quoted(base64.as_bytes(), 70),
        lines(&PLAIN.encode(quoted(&object, 70)), 76),
        quoted(PLAIN.encode(quoted(&object, 70)).as_bytes(), 70),
        quoted(quoted(base64.as_bytes(), 70).as_bytes(), 76),
        // Blanks that a relay put at the ends of lines.
        quoted(base64.as_bytes(), 70).replace("=\r\n", "= \t\r\n"),
        base64.replace('h', "=68").replace('4', "=34"),
    ] {
        assert!(shows_in(shape.as_bytes(), &[NAME]), "{shape}");
    }
}

#[test]
fn other_mail_is_let_through() {
    let other = lines(&PLAIN.encode([7_u8; 3000]), 76);
    for mail in ["hello", "", "J-SIM", &other] {
        assert!(!shows_in(mail.as_bytes(), &[NAME]));
    }
    assert!(!shows_in(NAME, &[]));
    assert!(!shows_in(NAME, &[b"short"]));
    // The same words under a longer name.
    let longer = [b"\x30\x1e\x31\x0c\x30\x0a\x06\x03".as_slice(), &NAME[2..]].concat();
    for text in [longer.clone(), PLAIN.encode(&longer).into_bytes()] {
        assert!(!shows_in(&text, &[NAME]));
    }
}

#[test]
fn a_name_is_found_wherever_it_stands() {
    let once = PLAIN.encode(NAME);
    let twice = PLAIN.encode(format!("abc{once}"));
    for shape in [NAME, once.as_bytes(), twice.as_bytes()] {
        for before in 0..2 * PIECE + 40 {
            let text = [&vec![b'.'; before][..], shape].concat();
            assert!(shows_in(&text, &[OTHER, NAME]), "{before}");
        }
        // However it is cut.
        let text = [&b"Hello.\r\n"[..], shape, b"\r\n"].concat();
        for at in 0..text.len() {
            let (one, other) = text.split_at(at);
            let wanted = Wanted::new([NAME]);
            assert!(shows(&wanted, [one, b"", other]), "{at}");
        }
    }
}

/// What an equals sign takes away from the beginning is not needed to know it.
#[test]
fn an_equals_sign_before_it_hides_nothing() {
    let hex: String = NAME.iter().map(|byte| format!("{byte:02x}")).collect();
    let base64 = PLAIN.encode(NAME);
    let inside = PLAIN.encode(format!("\u{10}{base64}"));
    for shape in [NAME, hex.as_bytes(), base64.as_bytes(), inside.as_bytes()] {
        for sign in ["=", "==", "=3D", "=A", "=4", "=\r\n", "= ", "=3D3D", "=C"] {
            let text = [&b"a"[..], sign.as_bytes(), shape].concat();
            assert!(
                shows_in(&text, &[NAME]),
                "{}",
                String::from_utf8_lossy(&text)
            );
        }
    }
}

/// What the stages did for a text, octet by octet.
fn work(text: &[u8]) -> usize {
    let wanted = Wanted::new([NAME, OTHER]);
    let mut gate = Gate::new(&wanted);
    for part in text.chunks(PIECE) {
        gate.push(part, false);
    }
    gate.push(&[], true);
    assert!(!gate.tally.found);
    let memory = gate.plain.memory() + gate.level.memory();
    assert!(memory < 1 << 20, "{memory} octets");
    gate.tally.passed + gate.tally.compared
}

/// Octets that follow no rule.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

#[test]
fn work_and_memory_do_not_grow_with_the_nesting_or_faster_than_the_mail() {
    let texts = |size: usize| -> [(&'static str, usize, Vec<u8>); 8] {
        let part = size / 4 * 3;
        let once = lines(&PLAIN.encode(noise(part)), 76);
        let twice = lines(&PLAIN.encode(&once.as_bytes()[..part]), 76);
        let thrice = lines(&PLAIN.encode(&twice.as_bytes()[..part]), 76);
        let hex: String = noise(size / 2)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        [
            ("binary", 8, noise(size)),
            ("an attachment", 25, once.into_bytes()),
            ("base64 twice", 96, twice.into_bytes()),
            ("base64 three times", 96, thrice.into_bytes()),
            ("hexadecimal", 96, hex.into_bytes()),
            // Letters from whatever place they are read.
            ("letters of letters", 96, vec![b'V'; size]),
            ("escapes", 96, b"=41".repeat(size / 3)),
            ("equals signs", 96, vec![b'='; size]),
        ]
    };
    let (one, two) = (texts(1 << 20), texts(2 << 20));
    for ((name, most, one), (_, _, two)) in one.iter().zip(&two) {
        let (once, twice) = (work(one), work(two));
        println!(
            "{name}: {once} for {} octets, {twice} for {}",
            one.len(),
            two.len()
        );
        assert!(once <= most * one.len(), "{name}: {once}");
        assert!(twice <= most * two.len(), "{name}: {twice}");
        assert!(twice * 10 <= once * 21, "{name}: {once}, {twice}");
    }
}

#[test]
fn a_text_that_imitates_a_name_all_the_time_is_compared_no_longer_and_does_not_go() {
    let name = [&b"XY"[..], &[b'a'; 200]].concat();
    let text = vec![b'a'; 1 << 20];
    let wanted = Wanted::new([&name[..]]);
    let mut gate = Gate::new(&wanted);
    for part in text.chunks(PIECE) {
        gate.push(part, false);
        if gate.tally.found {
            break;
        }
    }
    assert!(gate.tally.found);
    assert!(gate.tally.compared < 3 << 20, "{}", gate.tally.compared);
    // A text that says it now and then is not taken for that.
    let words = b"aaaaaaaaaa and other words. ".repeat(1 << 15);
    assert!(!shows_in(&words, &[&name]));
}

#[test]
fn more_names_than_anybody_has_are_a_reason_to_doubt() {
    let names: Vec<Vec<u8>> = (0..=MOST)
        .map(|number| format!("a name that is number {number}").into_bytes())
        .collect();
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    assert!(shows_in(b"hello", &names));
    assert!(!shows_in(b"hello", &names[1..]));
    for name in [names[1], names[MOST]] {
        assert!(shows_in(PLAIN.encode(name).as_bytes(), &names[1..]));
    }
}

/// As it was before: the whole text, layer by layer.
fn naively(text: &[u8], name: &[u8]) -> bool {
    let found = |text: &[u8]| memmem::find(text, name).is_some();
    let mut layer = text.to_vec();
    for _ in 0..3 {
        if found(&layer) || found(&unhexed(&layer)) || found(&unquoted(&layer)) {
            return true;
        }
        layer = decoded(&layer);
    }
    found(&layer)
}

fn decoded(text: &[u8]) -> Vec<u8> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let mut out = Vec::new();
    let mut run: Vec<u8> = Vec::new();
    for byte in text.iter().chain(b".") {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => run.push(*byte),
            b'-' => run.push(b'+'),
            b'_' => run.push(b'/'),
            b'\r' | b'\n' | b' ' | b'\t' => {}
            _ => {
                for skip in 0..4_usize.min(run.len()) {
                    let text = &run[skip..];
                    let whole = &text[..text.len() / 4 * 4];
                    out.extend(LENIENT.decode(whole).unwrap());
                    out.push(0);
                }
                run.clear();
            }
        }
    }
    out
}

fn unhexed(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut high = None;
    for byte in text {
        let digit = char::from(*byte).to_digit(16);
        match (digit, high) {
            (Some(digit), None) => high = Some(digit),
            (Some(digit), Some(first)) => {
                out.push(u8::try_from(first << 4 | digit).unwrap());
                high = None;
            }
            (None, _) if b": \t\r\n".contains(byte) => {}
            (None, _) => {
                high = None;
                out.push(0);
            }
        }
    }
    out
}

fn unquoted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        rest = match rest {
            [b'=', b'\r', b'\n', after @ ..] | [b'=', b'\n', after @ ..] => after,
            [b'=', high, low, after @ ..] if digit(high).is_some() && digit(low).is_some() => {
                let octet = digit(high).unwrap() << 4 | digit(low).unwrap();
                out.push(u8::try_from(octet).unwrap());
                after
            }
            _ => {
                out.push(*first);
                after
            }
        };
    }
    out
}

#[derive(Clone, Debug)]
enum Coding {
    Base64(usize, bool),
    Hexadecimal(&'static str, bool),
    Quoted(usize),
}

impl Coding {
    fn encode(&self, text: &[u8]) -> Vec<u8> {
        let out = match self {
            Self::Base64(width, false) => lines(&PLAIN.encode(text), *width),
            Self::Base64(width, true) => {
                lines(&URL_SAFE_NO_PAD.encode(text), *width).replace("\r\n", "\r\n ")
            }
            Self::Hexadecimal(between, false) => {
                let digits = text.iter().map(|byte| format!("{byte:02x}{between}"));
                digits.collect()
            }
            Self::Hexadecimal(between, true) => {
                let digits = text.iter().map(|byte| format!("{between}{byte:02X}"));
                digits.collect()
            }
            Self::Quoted(width) => quoted(text, *width),
        };
        out.into_bytes()
    }
}

fn coding() -> impl Strategy<Value = Coding> {
    let between = prop_oneof![Just(""), Just(":"), Just(" "), Just("\r\n")];
    prop_oneof![
        (1_usize..90, any::<bool>()).prop_map(|(width, other)| Coding::Base64(width, other)),
        (between, any::<bool>()).prop_map(|(between, upper)| Coding::Hexadecimal(between, upper)),
        (4_usize..80).prop_map(Coding::Quoted),
    ]
}

/// Anything, or what looks like an encoding.
fn surroundings(least: usize, most: usize) -> impl Strategy<Value = Vec<u8>> {
    let letters = prop_oneof![
        Just(b'='),
        Just(b'\n'),
        Just(b' '),
        Just(b'.'),
        b'0'..=b'9',
        b'a'..=b'z',
        b'A'..=b'Z'
    ];
    prop_oneof![
        proptest::collection::vec(any::<u8>(), least..most),
        proptest::collection::vec(letters, least..most),
    ]
}

proptest! {
    #[test]
    fn a_planted_name_is_found(
        layers in proptest::collection::vec((coding(), surroundings(6, 50), surroundings(0, 50)), 0..4),
        before in surroundings(0, 3000),
        behind in surroundings(0, 100),
        cut in any::<usize>(),
    ) {
        let mut text = NAME.to_vec();
        for (coding, before, behind) in &layers {
            text = coding.encode(&[&before[..], &text, behind].concat());
        }
        let text = [before, text, behind].concat();
        let (one, other) = text.split_at(cut % text.len());
        let wanted = Wanted::new([OTHER, NAME]);
        prop_assert!(shows(&wanted, [one, other]));
    }

    #[test]
    fn what_was_found_before_is_found(
        layers in proptest::collection::vec((coding(), surroundings(0, 4), surroundings(0, 4)), 0..4),
        before in surroundings(0, 20),
        behind in surroundings(0, 20),
    ) {
        let mut text = NAME.to_vec();
        for (coding, before, behind) in &layers {
            text = coding.encode(&[&before[..], &text, behind].concat());
        }
        let text = [before, text, behind].concat();
        prop_assert!(!naively(&text, NAME) || shows_in(&text, &[NAME]));
    }

    #[test]
    fn nothing_is_found_where_nothing_is(text in proptest::collection::vec(any::<u8>(), 0..3000)) {
        prop_assert!(!shows_in(&text, &[NAME, OTHER]));
    }
}
