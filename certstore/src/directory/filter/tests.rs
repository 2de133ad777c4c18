use kenin_pki::address::Address;
use kenin_pki::ber::{Cursor, Limits, Tag, Tape};

use super::*;

/// STO-01: what somebody may put where an address is expected.
const PAYLOADS: [&str; 50] = [
    "*",
    "**",
    "*)(uid=*",
    "*)(uid=*))(|(uid=*",
    "*)(|(mail=*)",
    "*))%00",
    "a@b)(objectClass=*",
    "a@b)(!(mail=x))",
    "a@b)(&)",
    "a@b)(|)",
    "a@b))(mail=c@d",
    "a@b))((mail=c@d",
    "(mail=*)",
    ")",
    "(",
    "()",
    "((((((((",
    "))))))))",
    "\\",
    "\\\\",
    "\\2a",
    "\\2A)(uid=\\2a",
    "\\00",
    "\\0",
    "\\zz",
    "\\28\\29",
    "a\\",
    "a@b\\",
    "&(a=b)",
    "|(a=b)",
    "!(a=b)",
    ":dn:=x",
    "mail:=x",
    "~=x",
    ">=x",
    "<=x",
    "=",
    "a=b",
    "a@b;binary",
    "a@b,dc=evil",
    "cn=admin,dc=example,dc=jp",
    "a@b#comment",
    "a@b\"quote",
    "<a@b>",
    "a@b + c@d",
    " a@b ",
    "%2a%29%28uid=%2a",
    "\u{ff0a}\u{ff09}\u{ff08}uid=\u{ff0a}",
    "\u{202e}b@a",
    "日本@例え.jp)(uid=*",
];

fn attributes() -> Vec<String> {
    ["mail", "proxyAddresses"].map(str::to_owned).to_vec()
}

/// What a filter has to be for this address: its shape never depends on the address.
fn expected(address: &str) -> Filter {
    let equality = |attribute: &str, value: String| Filter::Equality {
        attribute: attribute.to_owned(),
        value: value.into_bytes(),
    };
    Filter::Any(vec![
        equality("mail", address.to_owned()),
        equality("proxyAddresses", format!("SMTP:{address}")),
        equality("proxyAddresses", format!("smtp:{address}")),
    ])
}

/// A reader of RFC 4515, as much as is written here: `(|…)`, `(attribute=*)`, `(attribute=value)`.
struct Text<'a>(&'a [u8]);

fn from_text(text: &str) -> Option<Filter> {
    let mut reader = Text(text.as_bytes());
    let filter = reader.filter()?;
    reader.0.is_empty().then_some(filter)
}

impl Text<'_> {
    fn filter(&mut self) -> Option<Filter> {
        self.expect(b'(')?;
        let filter = if self.0.first() == Some(&b'|') {
            self.expect(b'|')?;
            let mut choices = Vec::new();
            while self.0.first() == Some(&b'(') {
                choices.push(self.filter()?);
            }
            Filter::Any(choices)
        } else {
            self.item()?
        };
        self.expect(b')')?;
        Some(filter)
    }

    fn item(&mut self) -> Option<Filter> {
        let end = self.0.iter().position(|b| *b == b'=')?;
        let attribute = String::from_utf8(self.0[..end].to_vec()).ok()?;
        self.0 = &self.0[end + 1..];
        if self.0.first() == Some(&b'*') {
            self.expect(b'*')?;
            return Some(Filter::Present(attribute));
        }
        let mut value = Vec::new();
        while let Some((&first, rest)) = self.0.split_first() {
            match first {
                b')' => break,
                b'(' | b'*' | 0 => return None,
                b'\\' => {
                    let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                    value.push(u8::from_str_radix(digits, 16).ok()?);
                    self.0 = &rest[2..];
                }
                _ => {
                    value.push(first);
                    self.0 = rest;
                }
            }
        }
        Some(Filter::Equality { attribute, value })
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        (*first == wanted).then_some(())
    }
}

/// A reader of what goes over the wire.
fn from_wire(node: Cursor<'_, '_>) -> Option<Filter> {
    if node.is_context(1) {
        let choices = node.children().map(from_wire).collect::<Option<_>>()?;
        return Some(Filter::Any(choices));
    }
    if node.is_context(7) {
        return Some(Filter::Present(
            String::from_utf8(node.content().to_vec()).ok()?,
        ));
    }
    let parts: Vec<_> = node.children().collect();
    let [attribute, value] = parts[..] else {
        return None;
    };
    let good = node.is_context(3) && attribute.is(Tag::OCTET_STRING) && value.is(Tag::OCTET_STRING);
    good.then(|| Filter::Equality {
        attribute: String::from_utf8_lossy(attribute.content()).into_owned(),
        value: value.content().to_vec(),
    })
}

#[test]
fn no_address_changes_the_shape_of_a_filter() {
    for payload in PAYLOADS {
        let filter = Filter::of_address(payload, &attributes()).unwrap();
        assert_eq!(filter, expected(payload), "{payload}");
        let text = filter.to_string();
        let read = from_text(&text);
        assert_eq!(
            read.as_ref(),
            Some(&expected(payload)),
            "{payload} in {text}"
        );
        let ber = filter.to_ber();
        let tape = Tape::parse(&ber, &Limits::default()).unwrap();
        assert_eq!(
            from_wire(tape.root()).as_ref(),
            Some(&expected(payload)),
            "{payload}"
        );
    }
}

/// STO-01: the same as mailboxes, which is how a recipient's address gets here.
#[test]
fn no_quoted_local_part_changes_the_shape_of_a_filter() {
    let mut read = 0;
    for payload in PAYLOADS {
        let quoted = payload.replace('\\', "\\\\").replace('"', "\\\"");
        let Ok(address) = Address::parse(&format!("\"{quoted}\"@example.jp")) else {
            continue;
        };
        read += 1;
        let text = address.to_string();
        let filter = Filter::of_address(&text, &attributes()).unwrap();
        assert_eq!(filter, expected(&text), "{payload}");
        assert_eq!(from_text(&filter.to_string()), Some(expected(&text)));
    }
    assert!(read > 40, "{read}");
}

#[test]
fn addresses_with_control_characters_are_refused() {
    for address in [
        "",
        "a\0@b",
        "\0",
        "a@b\r\nc",
        "a@b\n",
        "\u{7f}@b",
        "a\u{85}@b",
    ] {
        let error = Filter::of_address(address, &attributes()).unwrap_err();
        assert!(matches!(error, DirectoryError::Address), "{address:?}");
    }
}

#[test]
fn plain_addresses_stay_readable() {
    let filter = Filter::of_address("Alice.B-c_1@example.jp", &attributes()).unwrap();
    let text = "(|(mail=Alice.B-c_1@example.jp)(proxyAddresses=SMTP\\3aAlice.B-c_1@example.jp)\
                (proxyAddresses=smtp\\3aAlice.B-c_1@example.jp))";
    assert_eq!(filter.to_string(), text);
    let present = Filter::from(&fetch::Filter::Present("objectClass".to_owned()));
    assert_eq!(present.to_string(), "(objectClass=*)");
    assert_eq!(
        present.to_ber(),
        [b"\x87\x0b".as_slice(), b"objectClass"].concat()
    );
}

/// Whatever the octets, the text is read back as the same filter.
#[test]
fn every_octet_comes_back() {
    let value: Vec<u8> = (0..=255).collect();
    let filter = Filter::Equality {
        attribute: "cn".to_owned(),
        value,
    };
    assert_eq!(from_text(&filter.to_string()), Some(filter));
}
