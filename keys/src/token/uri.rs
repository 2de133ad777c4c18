//! `pkcs11:` URIs (<https://www.rfc-editor.org/rfc/rfc7512>): which token, and which key in it. They say what to look
//! for and nothing else: never a module to be loaded, and never a PIN.

use std::fmt;

/// What a token or a key in it must be like. What is not said fits all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TokenUri {
    token: Option<String>,
    manufacturer: Option<String>,
    serial: Option<String>,
    model: Option<String>,
    slot: Option<u64>,
    object: Option<String>,
    id: Option<Vec<u8>>,
}

impl TokenUri {
    /// Reads a URI. An attribute that is not known here would narrow what is meant, and is refused; so are those that
    /// say where the module or the PIN is, which stand in the configuration.
    ///
    /// # Errors
    /// [`UriError`].
    pub fn parse(text: &str) -> Result<Self, UriError> {
        if text.len() > MAX_URI {
            return Err(UriError("it is longer than any"));
        }
        let scheme = text.get(..SCHEME.len());
        let path = match scheme {
            Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => {
                text.get(SCHEME.len()..).unwrap_or_default()
            }
            _ => return Err(UriError("it does not begin with pkcs11:")),
        };
        if path.contains('?') {
            return Err(UriError(
                "what follows a question mark says where module and PIN are; that stands in the configuration",
            ));
        }
        let (mut uri, mut names) = (Self::default(), Vec::new());
        for attribute in path.split(';').filter(|one| !one.is_empty()) {
            let (name, value) = attribute
                .split_once('=')
                .ok_or(UriError("an attribute has no value"))?;
            if names.contains(&name) {
                return Err(UriError("an attribute stands there twice"));
            }
            names.push(name);
            uri.set(name, value)?;
        }
        // As it is written here it must read again.
        if uri.to_string().len() > MAX_URI {
            return Err(UriError("it is longer than any"));
        }
        Ok(uri)
    }

    /// Whether it names a key in a token: by its id, its label, or both.
    #[must_use]
    pub const fn names_object(&self) -> bool {
        self.object.is_some() || self.id.is_some()
    }

    /// Whether it says anything of the token.
    #[must_use]
    pub const fn names_token(&self) -> bool {
        self.token.is_some()
            || self.manufacturer.is_some()
            || self.serial.is_some()
            || self.model.is_some()
            || self.slot.is_some()
    }

    /// The key's label (CKA_LABEL).
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// The key's id (CKA_ID).
    #[must_use]
    pub fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// Whether a token is such a one.
    pub(crate) fn fits(&self, token: &Described<'_>) -> bool {
        let same = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        same(&self.token, token.label)
            && same(&self.manufacturer, token.manufacturer)
            && same(&self.serial, token.serial)
            && same(&self.model, token.model)
            && self.slot.is_none_or(|slot| slot == token.slot)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), UriError> {
        let octets = decoded(value)?;
        if name == "id" {
            self.id = Some(octets);
            return Ok(());
        }
        let text = String::from_utf8(octets).map_err(|_| UriError("a value is not UTF-8"))?;
        if text.chars().any(char::is_control) {
            return Err(UriError("a value has a control character"));
        }
        match name {
            "token" => self.token = Some(text),
            "manufacturer" => self.manufacturer = Some(text),
            "serial" => self.serial = Some(text),
            "model" => self.model = Some(text),
            "object" => self.object = Some(text),
            "slot-id" => self.slot = Some(number(&text).ok_or(UriError("slot-id is no number"))?),
            "type" if text == "private" => {}
            "type" => return Err(UriError("its type is not private")),
            _ => return Err(UriError("it has an attribute that is not known here")),
        }
        Ok(())
    }
}

/// A token as its module describes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Described<'a> {
    pub(crate) slot: u64,
    pub(crate) label: &'a str,
    pub(crate) manufacturer: &'a str,
    pub(crate) serial: &'a str,
    pub(crate) model: &'a str,
}

/// Why text is no URI of a token or key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no pkcs11: URI that can be used: {0}")]
pub struct UriError(pub &'static str);

/// In one way for each meaning: every octet of an id is escaped, as RFC 7512 §2.3 asks for.
impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        let mut between = "";
        let texts = [
            ("token", &self.token),
            ("manufacturer", &self.manufacturer),
            ("serial", &self.serial),
            ("model", &self.model),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                write!(f, "{between}{name}=")?;
                escape(f, value.as_bytes(), is_plain)?;
                between = ";";
            }
        }
        if let Some(slot) = self.slot {
            write!(f, "{between}slot-id={slot}")?;
            between = ";";
        }
        if let Some(id) = &self.id {
            write!(f, "{between}id=")?;
            escape(f, id, |_| false)?;
            between = ";";
        }
        if let Some(object) = &self.object {
            write!(f, "{between}object=")?;
            escape(f, object.as_bytes(), is_plain)?;
        }
        Ok(())
    }
}

/// The octets of a value of the path (RFC 7512 §2.3, pk11-pchar).
fn decoded(value: &str) -> Result<Vec<u8>, UriError> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            if !is_plain(*first) && !RESERVED.contains(first) {
                return Err(UriError(
                    "a value has a character that must be written as %XX",
                ));
            }
            octets.push(*first);
            continue;
        }
        let broken = UriError("a % is not followed by two hexadecimal digits");
        let (pair, after) = rest.split_first_chunk::<2>().ok_or(broken)?;
        let [high, low] = *pair;
        let octet = hex(high).zip(hex(low)).map(|(high, low)| (high << 4) | low);
        octets.push(octet.ok_or(broken)?);
        rest = after;
    }
    Ok(octets)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn escape(f: &mut fmt::Formatter<'_>, octets: &[u8], plain: impl Fn(u8) -> bool) -> fmt::Result {
    for octet in octets {
        if plain(*octet) {
            write!(f, "{}", char::from(*octet))?;
        } else {
            write!(f, "%{octet:02X}")?;
        }
    }
    Ok(())
}

/// Unreserved characters (RFC 3986 §2.3).
const fn is_plain(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~')
}

const SCHEME: &str = "pkcs11:";
/// What may stand in a value of the path unescaped beside the unreserved ones.
const RESERVED: &[u8] = b":[]@!$'()*+,=&";
/// Octets of a URI, at most.
pub(crate) const MAX_URI: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> TokenUri {
        TokenUri::parse(text).unwrap()
    }

    #[test]
    fn what_a_uri_says_is_read() {
        let uri = parse(
            "PKCS11:token=The%20Software%20Token;serial=5%3A1;object=my-key;id=%69%95%3e;type=private",
        );
        assert_eq!(uri.token.as_deref(), Some("The Software Token"));
        assert_eq!(uri.serial.as_deref(), Some("5:1"));
        assert_eq!(uri.object(), Some("my-key"));
        assert_eq!(uri.id(), Some(&[0x69, 0x95, 0x3e][..]));
        assert!(uri.names_token() && uri.names_object());
        assert_eq!(parse("pkcs11:"), TokenUri::default());
        assert!(!parse("pkcs11:").names_token() && !parse("pkcs11:").names_object());
        assert_eq!(parse("pkcs11:slot-id=327;").slot, Some(327));
        assert_eq!(parse("pkcs11:object=").object(), Some(""));
        assert_eq!(parse("pkcs11:object=a=b&c").object(), Some("a=b&c"));
    }

    #[test]
    fn what_would_narrow_load_or_unlock_is_refused() {
        for (text, why) in [
            ("", "begin"),
            ("http:token=a", "begin"),
            ("pkcs1", "begin"),
            ("pkcs11:token", "no value"),
            ("pkcs11:token=a;token=b", "twice"),
            ("pkcs11:id=%01;id=%01", "twice"),
            ("pkcs11:type=private;type=private", "twice"),
            ("pkcs11:x-vendor=a", "not known"),
            ("pkcs11:library-version=3", "not known"),
            ("pkcs11:Token=a", "not known"),
            ("pkcs11:type=cert", "not private"),
            ("pkcs11:slot-id=+1", "no number"),
            ("pkcs11:slot-id=18446744073709551616", "no number"),
            ("pkcs11:token=a?pin-value=1234", "question mark"),
            ("pkcs11:token=a?module-path=/tmp/x.so", "question mark"),
            ("pkcs11:object=a/b", "%XX"),
            ("pkcs11:object=a b", "%XX"),
            ("pkcs11:object=ä", "%XX"),
            ("pkcs11:object=%", "digits"),
            ("pkcs11:object=%4", "digits"),
            ("pkcs11:object=%4g", "digits"),
            ("pkcs11:object=%ff", "UTF-8"),
            ("pkcs11:object=a%00", "control"),
            ("pkcs11:object=%0a", "control"),
        ] {
            let error = TokenUri::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        for long in [
            format!("pkcs11:object={}", "a".repeat(MAX_URI)),
            format!("pkcs11:id={}", "a".repeat(MAX_URI / 2)),
        ] {
            let error = TokenUri::parse(&long).unwrap_err().to_string();
            assert!(error.contains("longer"), "{error}");
        }
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        for text in [
            "pkcs11:",
            "pkcs11:id=%00%FF",
            "pkcs11:token=a%20b;slot-id=0;object=%C3%A4%3B",
            "pkcs11:manufacturer=m;serial=s;model=o;id=",
        ] {
            let uri = parse(text);
            assert_eq!(parse(&uri.to_string()), uri, "{text}");
        }
        assert_eq!(
            parse("pkcs11:object=k;id=a;token=t").to_string(),
            "pkcs11:token=t;id=%61;object=k"
        );
    }

    #[test]
    fn a_token_fits_in_all_that_is_said() {
        let token = Described {
            slot: 7,
            label: "kenin",
            manufacturer: "SoftHSM project",
            serial: "a1",
            model: "SoftHSM v2",
        };
        for fitting in [
            "pkcs11:",
            "pkcs11:token=kenin",
            "pkcs11:slot-id=7;model=SoftHSM%20v2",
            "pkcs11:manufacturer=SoftHSM%20project;serial=a1;object=other",
        ] {
            assert!(parse(fitting).fits(&token), "{fitting}");
        }
        for other in [
            "pkcs11:token=Kenin",
            "pkcs11:token=kenin;serial=a2",
            "pkcs11:token=",
            "pkcs11:slot-id=8",
            "pkcs11:model=SoftHSM",
        ] {
            assert!(!parse(other).fits(&token), "{other}");
        }
    }
}
