//! What an LDAP URL asks for: <https://www.rfc-editor.org/rfc/rfc4516>.
//!
//! Only as much as URLs of revocation lists and issuers use: one entry or a subtree, some
//! attributes, a filter of one comparison. It never speaks LDAP, and extensions (one of them logs
//! in) are refused.

use super::place::{hex_digit, shown};

/// A search of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Search {
    dn: String,
    attributes: Vec<String>,
    scope: Scope,
    filter: Filter,
}

impl Search {
    /// Reads what stands behind the host, percent-encoded and checked for characters.
    pub(super) fn parse(target: &str) -> Result<Self, LdapUrlError> {
        let mut parts = target.strip_prefix('/').unwrap_or_default().split('?');
        let dn = decode(parts.next().unwrap_or_default())?;
        if dn.is_empty() {
            return Err(LdapUrlError::NoDn);
        }
        if dn.len() > MAX_DN {
            return Err(LdapUrlError::TooMuch("the name of the entry"));
        }
        let mut attributes = Vec::new();
        let listed = parts.next().unwrap_or_default();
        for text in listed.split(',').filter(|_| !listed.is_empty()) {
            if attributes.len() >= MAX_ATTRIBUTES {
                return Err(LdapUrlError::TooMuch("the list of attributes"));
            }
            attributes.push(attribute(&decode(text)?)?);
        }
        let scope = parts.next().unwrap_or_default();
        let scope = Scope::parse(scope).ok_or_else(|| LdapUrlError::Scope(shown(scope)))?;
        let filter = match parts.next().unwrap_or_default() {
            "" => Filter::Present("objectClass".to_owned()),
            text => Filter::parse(&decode(text)?)?,
        };
        if parts.any(|rest| !rest.is_empty()) {
            return Err(LdapUrlError::Extension);
        }
        Ok(Self {
            dn,
            attributes,
            scope,
            filter,
        })
    }

    /// The name of the entry where the search begins (RFC 4514), never empty.
    pub fn dn(&self) -> &str {
        &self.dn
    }

    /// The attributes to return, with their options (`;binary`); none means all of the user's.
    pub fn attributes(&self) -> &[String] {
        &self.attributes
    }

    /// How far below the entry.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Which entries.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }
}

/// How far a search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Scope {
    /// The entry itself.
    #[default]
    Base,
    /// Its children.
    One,
    /// It and all below it.
    Sub,
}

impl Scope {
    fn parse(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "" | "base" => Some(Self::Base),
            "one" => Some(Self::One),
            "sub" => Some(Self::Sub),
            _ => None,
        }
    }
}

/// Which entries are wanted (RFC 4515): one comparison, so that nobody can make a directory work.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// Those with a value of this attribute: `(objectClass=*)`.
    Present(String),
    /// Those with this value: `(cn=Example CA)`.
    Equality {
        /// The attribute.
        attribute: String,
        /// The value, its escapes undone.
        value: Vec<u8>,
    },
}

impl Filter {
    fn parse(text: &str) -> Result<Self, LdapUrlError> {
        let wrong = || LdapUrlError::Filter(shown(text));
        if text.len() > MAX_FILTER {
            return Err(LdapUrlError::TooMuch("the filter"));
        }
        let inner = text.strip_prefix('(').and_then(|t| t.strip_suffix(')'));
        let (name, value) = inner.and_then(|t| t.split_once('=')).ok_or_else(wrong)?;
        // Of `>=`, `<=`, `~=` and `:=` the first sign is left here, and no attribute has one.
        let name = attribute(name).map_err(|_| wrong())?;
        if value == "*" {
            return Ok(Self::Present(name));
        }
        let value = unescape(value).ok_or_else(wrong)?;
        if value.is_empty() {
            return Err(wrong());
        }
        Ok(Self::Equality {
            attribute: name,
            value,
        })
    }
}

/// Why an LDAP URL is not asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LdapUrlError {
    /// No entry is named.
    #[error("the LDAP URL names no entry; write its distinguished name after the host")]
    NoDn,
    /// Not UTF-8, or a control character.
    #[error("the LDAP URL is no plain text when decoded; encode it as UTF-8")]
    Text,
    /// Not the name of an attribute.
    #[error("`{0}` is no attribute; write a name as certificateRevocationList;binary")]
    Attribute(String),
    /// An unknown scope.
    #[error("`{0}` is no scope; write base, one or sub")]
    Scope(String),
    /// Another filter than one comparison.
    #[error("the filter `{0}` is not asked; write (attribute=*) or (attribute=value)")]
    Filter(String),
    /// Extensions.
    #[error("the LDAP URL has extensions, which Kenin does not follow; leave them out")]
    Extension,
    /// Longer than any authority writes.
    #[error("{0} in the LDAP URL is too long; ask its authority for a shorter URL")]
    TooMuch(&'static str),
}

/// Undoes percent-encoding, once.
fn decode(text: &str) -> Result<String, LdapUrlError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => pair(&mut bytes).ok_or(LdapUrlError::Text)?,
            _ => byte,
        });
    }
    let decoded = String::from_utf8(decoded).map_err(|_| LdapUrlError::Text)?;
    if decoded.chars().any(char::is_control) {
        return Err(LdapUrlError::Text);
    }
    Ok(decoded)
}

/// Undoes the escapes of a filter's value (RFC 4515 §3); none where it is not one plain value.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        value.push(match byte {
            b'\\' => pair(&mut bytes)?,
            b'*' | b'(' | b')' => return None,
            _ => byte,
        });
    }
    Some(value)
}

/// The byte of two hexadecimal digits.
fn pair(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let high = hex_digit(bytes.next()?)?;
    let low = hex_digit(bytes.next()?)?;
    Some((high << 4) | low)
}

/// An attribute description (RFC 4512 §2.5): a name or a dotted number, and options.
fn attribute(text: &str) -> Result<String, LdapUrlError> {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b';');
    if text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.len() <= MAX_ATTRIBUTE
        && text.bytes().all(inside)
    {
        Ok(text.to_owned())
    } else {
        Err(LdapUrlError::Attribute(shown(text)))
    }
}

const MAX_DN: usize = 1024;
const MAX_ATTRIBUTES: usize = 8;
const MAX_ATTRIBUTE: usize = 128;
const MAX_FILTER: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn equality(attribute: &str, value: &[u8]) -> Filter {
        Filter::Equality {
            attribute: attribute.to_owned(),
            value: value.to_vec(),
        }
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let search = Search::parse("/cn=Example%20CA,c=JP").unwrap();
        assert_eq!(search.dn(), "cn=Example CA,c=JP");
        assert!(search.attributes().is_empty());
        assert_eq!(search.scope(), Scope::Base);
        assert_eq!(search.filter(), &Filter::Present("objectClass".to_owned()));
        assert_eq!(Search::parse("/cn=Example%20CA,c=JP????").unwrap(), search);
        assert_eq!(
            Search::parse("/cn=Example%20CA,c=JP??BASE").unwrap(),
            search
        );
    }

    #[test]
    fn all_parts_are_read() {
        let text = "/ou=%E8%AA%8D%E8%A8%BC%3F,c=JP?certificateRevocationList;binary,2.5.4.37?sub?\
                    (cn=a%5C2a%5c28b)";
        let search = Search::parse(text).unwrap();
        assert_eq!(search.dn(), "ou=\u{8a8d}\u{8a3c}?,c=JP");
        let attributes = ["certificateRevocationList;binary", "2.5.4.37"];
        assert_eq!(search.attributes(), attributes);
        assert_eq!(search.scope(), Scope::Sub);
        assert_eq!(search.filter(), &equality("cn", b"a*(b"));
        let one = Search::parse("/o=x??one?(2.5.4.3=*)").unwrap();
        assert_eq!(one.scope(), Scope::One);
        assert_eq!(one.filter(), &Filter::Present("2.5.4.3".to_owned()));
    }

    #[test]
    fn other_searches_are_refused() {
        use LdapUrlError as E;
        let filter = |text: &str| E::Filter(text.to_owned());
        let attribute = |text: &str| E::Attribute(text.to_owned());
        for (target, expected) in [
            ("", E::NoDn),
            ("/", E::NoDn),
            ("/?cn", E::NoDn),
            ("?cn", E::NoDn),
            ("/cn=%FF", E::Text),
            ("/cn=%C2%85", E::Text),
            ("/o=x?*", attribute("*")),
            ("/o=x?+", attribute("+")),
            ("/o=x?cn,", attribute("")),
            ("/o=x?,cn", attribute("")),
            ("/o=x?-a", attribute("-a")),
            ("/o=x?a=b", attribute("a=b")),
            ("/o=x??subordinates", E::Scope("subordinates".to_owned())),
            ("/o=x???cn=*", filter("cn=*")),
            ("/o=x???(cn)", filter("(cn)")),
            ("/o=x???(cn=)", filter("(cn=)")),
            ("/o=x???(cn=a*)", filter("(cn=a*)")),
            ("/o=x???(cn=**)", filter("(cn=**)")),
            ("/o=x???(cn%3E=a)", filter("(cn>=a)")),
            ("/o=x???(cn~=a)", filter("(cn~=a)")),
            ("/o=x???(cn:dn:=a)", filter("(cn:dn:=a)")),
            ("/o=x???(!(cn=a))", filter("(!(cn=a))")),
            ("/o=x???(%26(cn=a)(sn=b))", filter("(&(cn=a)(sn=b))")),
            ("/o=x???(cn=a)(sn=b)", filter("(cn=a)(sn=b)")),
            ("/o=x???(cn=%5C2)", filter("(cn=\\\\2)")),
            ("/o=x???(cn=%5Czz)", filter("(cn=\\\\zz)")),
            ("/o=x????bindname=cn=me", E::Extension),
            ("/o=x????!x", E::Extension),
        ] {
            assert_eq!(Search::parse(target).unwrap_err(), expected, "{target}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let dn = format!("/o={}", "x".repeat(MAX_DN - 2));
        assert!(Search::parse(&dn).is_ok());
        for target in [
            format!("{dn}y"),
            format!("/o=x?{}cn", "cn,".repeat(MAX_ATTRIBUTES)),
            format!("/o=x???(cn={})", "x".repeat(MAX_FILTER)),
        ] {
            let error = Search::parse(&target).unwrap_err();
            assert!(matches!(error, LdapUrlError::TooMuch(_)), "{error}");
        }
        let long = format!("/o=x?{}", "a".repeat(MAX_ATTRIBUTE + 1));
        let error = Search::parse(&long).unwrap_err();
        assert!(matches!(error, LdapUrlError::Attribute(_)), "{error}");
    }
}
