//! What everybody may know of a key: its id, whose it is, what it is for, and its public half.
//!
//! For whom a key works stands here and nowhere else (docs/decisions/0013).

use std::fmt;

use aws_lc_rs::rand;
use kenin_pki::crypto::{KeyError, PublicKey, Secret};
use kenin_pki::{Address, Certificate};

use crate::octets::{Malformed, Reader, Writer};

/// Which key. It is random and says nothing; it names the key's file, and the key between processes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; Self::LEN]);

impl KeyId {
    /// Octets of an id.
    pub const LEN: usize = 16;

    /// A new one.
    ///
    /// # Errors
    /// [`KeyError::Failed`] where the system has no randomness.
    pub fn random() -> Result<Self, KeyError> {
        random().map(Self)
    }

    /// One that was written down.
    #[must_use]
    pub const fn from_octets(octets: [u8; Self::LEN]) -> Self {
        Self(octets)
    }

    /// The octets.
    #[must_use]
    pub const fn octets(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Uses {
    /// Opens mail that was encrypted for it.
    pub decrypt: bool,
    /// Signs.
    pub sign: bool,
}

/// Where a key stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// In use.
    Active,
    /// Replaced by another: it opens old mail, and signs nothing.
    Retired,
}

/// What stands in clear beside a sealed private key. A changed bit of it is seen when the key is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// Which key.
    pub id: KeyId,
    /// Whose: the tenant's name.
    pub tenant: String,
    /// How often the file was written, from 1.
    pub version: u32,
    /// Where it stands in its life.
    pub state: State,
    /// What it is for.
    pub uses: Uses,
    /// For whom it works: mail to them is opened with it, and mail from them is signed with it. Local parts compare
    /// without ASCII case.
    pub addresses: Vec<Address>,
    /// The public half.
    pub public: PublicKey,
    /// Its certificates, each followed by what leads up from it, as they were imported.
    pub certificates: Vec<Certificate>,
}

impl KeyFacts {
    /// Whether it may sign now.
    #[must_use]
    pub const fn may_sign(&self) -> bool {
        self.uses.sign && matches!(self.state, State::Active)
    }

    /// As they stand in the file.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let mut writer = Writer::with_room(1024);
        writer
            .fixed(self.id.octets())
            .octets(self.tenant.as_bytes())
            .u32(self.version)
            .u8(match self.state {
                State::Active => ACTIVE,
                State::Retired => RETIRED,
            })
            .u8(u8::from(self.uses.decrypt) * DECRYPT + u8::from(self.uses.sign) * SIGN)
            .count(self.addresses.len());
        for address in &self.addresses {
            writer.octets(address.to_string().as_bytes());
        }
        writer
            .octets(self.public.spki())
            .count(self.certificates.len());
        for certificate in &self.certificates {
            writer.octets(certificate.der());
        }
        writer.finish()
    }

    /// Reads what the key process tells of a key.
    ///
    /// # Errors
    /// [`Malformed`] where it is something else, or more than a key has.
    pub fn from_octets(octets: &[u8]) -> Result<Self, Malformed> {
        if octets.len() > MAX_FACTS {
            return Err(Malformed("more facts than a key has"));
        }
        let mut reader = Reader::new(octets);
        let id = KeyId(reader.fixed()?);
        let tenant = tenant(&mut reader)?;
        let version = reader.u32()?;
        let state = match reader.u8()? {
            ACTIVE => State::Active,
            RETIRED => State::Retired,
            _ => return Err(Malformed("an unknown state")),
        };
        let uses = reader.u8()?;
        if uses & !(DECRYPT | SIGN) != 0 {
            return Err(Malformed("an unknown use"));
        }
        let count = reader.count(MAX_ADDRESSES)?;
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            addresses.push(address(&mut reader)?);
        }
        let public = PublicKey::from_spki(reader.octets(MAX_CERTIFICATE)?)
            .map_err(|_| Malformed("no public key"))?;
        let count = reader.count(MAX_CERTIFICATES)?;
        let mut certificates = Vec::with_capacity(count);
        for _ in 0..count {
            let certificate = Certificate::from_der(reader.octets(MAX_CERTIFICATE)?)
                .map_err(|_| Malformed("no certificate"))?;
            certificates.push(certificate);
        }
        reader.finish()?;
        Ok(Self {
            id,
            tenant,
            version,
            state,
            uses: Uses {
                decrypt: uses & DECRYPT != 0,
                sign: uses & SIGN != 0,
            },
            addresses,
            public,
            certificates,
        })
    }
}

/// How a mailbox is compared: as [`Address::matches`] does it without ASCII case.
#[must_use]
pub fn mailbox(address: &Address) -> String {
    let text = address.to_string();
    match address.is_ascii() {
        true => text.to_ascii_lowercase(),
        false => text,
    }
}

/// A tenant's name: something that can be seen, and not much of it.
pub(crate) fn tenant(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let name = reader.text(MAX_TENANT)?;
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Malformed("a tenant without a name"));
    }
    Ok(name.to_owned())
}

/// A mail address as it is written.
pub(crate) fn address(reader: &mut Reader<'_>) -> Result<Address, Malformed> {
    Address::parse(reader.text(MAX_ADDRESS)?).map_err(|_| Malformed("no mail address"))
}

/// Octets that nobody can guess, and that everybody may see.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut octets = [0; N];
    rand::fill(&mut octets).map_err(|_| KeyError::Failed)?;
    Ok(octets)
}

/// Octets that nobody may see.
pub(crate) fn random_secret(length: usize) -> Result<Secret, KeyError> {
    let mut octets = vec![0; length];
    rand::fill(&mut octets).map_err(|_| KeyError::Failed)?;
    Ok(Secret::new(octets))
}

/// Lower-case hexadecimal.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    for octet in octets {
        write!(f, "{octet:02x}")?;
    }
    Ok(())
}

/// Reads lower-case hexadecimal of exactly so many octets.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut octets = [0; N];
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *octet = (*octet << 4) | value;
        }
    }
    Some(octets)
}

/// Octets of all that stands beside a key, at most: one frame holds them.
pub const MAX_FACTS: usize = 60_000;
/// Octets of a tenant's name, at most.
const MAX_TENANT: usize = 255;
/// Octets of an address, at most: two parts of 255, quotes and escapes.
const MAX_ADDRESS: usize = 1024;
/// No key works for more.
const MAX_ADDRESSES: usize = 256;
/// More are not kept beside a key.
const MAX_CERTIFICATES: usize = 32;
/// Octets of a certificate or public key, at most.
const MAX_CERTIFICATE: usize = MAX_FACTS;
const ACTIVE: u8 = 1;
const RETIRED: u8 = 2;
const DECRYPT: u8 = 1;
const SIGN: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text() {
        let id = KeyId::random().unwrap();
        assert_ne!(id, KeyId::random().unwrap());
        assert_eq!(KeyId::parse(&id.to_string()), Some(id));
        for bad in ["", "00", &"0".repeat(31), &"0".repeat(33), &"G".repeat(32)] {
            assert_eq!(KeyId::parse(bad), None, "{bad}");
        }
        // One key has one name.
        assert_eq!(KeyId::parse(&"A".repeat(32)), None);
    }
}
