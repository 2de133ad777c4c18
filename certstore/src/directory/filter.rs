//! Filters of searches, made of values and never of text: as octets on the wire
//! ([RFC 4511 §4.5.1](https://www.rfc-editor.org/rfc/rfc4511#section-4.5.1)), and as text for people
//! ([RFC 4515](https://www.rfc-editor.org/rfc/rfc4515)).
//!
//! On the wire every value has its length in front, so that nothing in it can become a part of the filter. The text
//! escapes all but plain letters, so that somebody may copy it into another tool and asks the same.

use std::fmt;

use kenin_pki::der::{context, context_constructed, write};

use super::DirectoryError;
use crate::fetch;

/// Which entries are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Those of any of these.
    Any(Vec<Self>),
    /// Those with a value of this attribute.
    Present(String),
    /// Those with this value.
    Equality {
        /// The attribute.
        attribute: String,
        /// The value.
        value: Vec<u8>,
    },
}

impl Filter {
    /// Entries of a mail address. Values of `proxyAddresses` name their kind first: `SMTP:` for the first
    /// address, `smtp:` for others.
    ///
    /// # Errors
    ///
    /// When a control character stands in the address: no mailbox has one, and a directory may end a text there.
    pub fn of_address(address: &str, attributes: &[String]) -> Result<Self, DirectoryError> {
        if address.is_empty() || address.chars().any(char::is_control) {
            return Err(DirectoryError::Address);
        }
        let mut choices = Vec::with_capacity(attributes.len().saturating_add(1));
        for attribute in attributes {
            let prefixes: &[&str] = match attribute.eq_ignore_ascii_case(PROXY_ADDRESSES) {
                true => &["SMTP:", "smtp:"],
                false => &[""],
            };
            choices.extend(prefixes.iter().map(|prefix| Self::Equality {
                attribute: attribute.clone(),
                value: format!("{prefix}{address}").into_bytes(),
            }));
        }
        Ok(Self::Any(choices))
    }

    /// As the wire has it.
    pub(super) fn to_ber(&self) -> Vec<u8> {
        match self {
            Self::Any(choices) => {
                let choices: Vec<Vec<u8>> = choices.iter().map(Self::to_ber).collect();
                write::element(context_constructed(OR), &write::concat(&choices))
            }
            Self::Present(attribute) => write::element(context(PRESENT), attribute.as_bytes()),
            Self::Equality { attribute, value } => {
                let parts = [
                    write::octet_string(attribute.as_bytes()),
                    write::octet_string(value),
                ];
                write::element(context_constructed(EQUALITY), &write::concat(&parts))
            }
        }
    }
}

impl From<&fetch::Filter> for Filter {
    fn from(filter: &fetch::Filter) -> Self {
        match filter {
            fetch::Filter::Present(attribute) => Self::Present(attribute.clone()),
            fetch::Filter::Equality { attribute, value } => Self::Equality {
                attribute: attribute.clone(),
                value: value.clone(),
            },
        }
    }
}

/// As RFC 4515 writes it. Of a value all octets but letters, digits and `.@_-` are escaped, those too that need not be.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(choices) => {
                f.write_str("(|")?;
                for choice in choices {
                    write!(f, "{choice}")?;
                }
                f.write_str(")")
            }
            Self::Present(attribute) => write!(f, "({attribute}=*)"),
            Self::Equality { attribute, value } => {
                write!(f, "({attribute}=")?;
                for octet in value {
                    match octet {
                        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'@' | b'_' | b'-' => {
                            write!(f, "{}", char::from(*octet))?;
                        }
                        _ => write!(f, "\\{octet:02x}")?,
                    }
                }
                f.write_str(")")
            }
        }
    }
}

/// Numbers of the choices of Filter.
const OR: u8 = 1;
const EQUALITY: u8 = 3;
const PRESENT: u8 = 7;
/// Of Active Directory and Exchange.
const PROXY_ADDRESSES: &str = "proxyAddresses";

#[cfg(test)]
mod tests;
