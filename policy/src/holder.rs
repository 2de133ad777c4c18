//! What a card's signing certificate says of its holder: name, sex, birth date and address, each an otherName
//! of subjectAltName below one arc, as the authority's certificate profile has them. The arc is configuration,
//! never code. <https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.6>
//!
//! All or nothing: where anything about the four is wrong, none of them is asserted. They are personal data,
//! and never stand in an error, in `Debug`, in a verdict or in a log.

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use kenin_pki::certificate::Certificate;
use kenin_pki::der::{Reader, UTF8_STRING};
use kenin_pki::extension::{FieldError, GeneralName};
use kenin_pki::oid::Oid;
use kenin_pki::time::UnixTime;

/// The four attributes of a holder, as the authority's certificate profile has them. `Debug` of each
/// shows that it is there and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderAttributes {
    /// Name.
    pub name: Text,
    /// Sex.
    pub sex: Sex,
    /// Date of birth.
    pub birth: BirthDate,
    /// Address.
    pub address: Text,
}

impl HolderAttributes {
    /// Reads them below `arc`, in any order; `None` where the certificate has no member of the arc.
    /// What else stands below the arc is passed over.
    ///
    /// # Errors
    /// The first thing that is wrong: nothing of what the certificate says of its holder counts.
    pub fn read(certificate: &Certificate, arc: Oid<'_>) -> Result<Option<Self>, HolderError> {
        let names = certificate.subject_alt_names()?.unwrap_or_default();
        let mut found: Vec<(Member, &str)> = Vec::new();
        for name in names {
            let GeneralName::Other { oid, value } = name else {
                continue;
            };
            let Some(member) = Member::below(arc, oid.as_oid()) else {
                continue;
            };
            if found.iter().any(|(known, _)| *known == member) {
                return Err(HolderError::Duplicate(member));
            }
            found.push((member, utf8_string(member, value)?));
        }
        if found.is_empty() {
            return Ok(None);
        }
        let value = |member: Member| {
            let entry = found.iter().find(|(known, _)| *known == member);
            entry
                .map(|(_, text)| *text)
                .ok_or(HolderError::Missing(member))
        };
        let text = |text: Member, flags: Member| Text::read(value(text)?, value(flags)?, flags);
        Ok(Some(Self {
            name: text(Member::Name, Member::NameFlags)?,
            sex: Sex::read(value(Member::Sex)?)?,
            birth: BirthDate::read(value(Member::Birth)?)?,
            address: text(Member::Address, Member::AddressFlags)?,
        }))
    }
}

/// A text of the resident register, as far as the authority's characters can write it.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    /// As it stands in the certificate.
    pub value: String,
    /// It contains a substitute character: some flag is 1, and the register has another text.
    pub substituted: bool,
}

impl Text {
    /// `flags` has a digit for each character of `value`: 1 where another one stands in its place.
    fn read(value: &str, flags: &str, member: Member) -> Result<Self, HolderError> {
        if !flags.bytes().all(|flag| matches!(flag, b'0' | b'1')) {
            return Err(HolderError::Flag(member));
        }
        if flags.len() != value.chars().count() {
            return Err(HolderError::FlagCount(member));
        }
        Ok(Self {
            value: value.to_owned(),
            substituted: flags.contains('1'),
        })
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").finish_non_exhaustive()
    }
}

/// The codes of JIS X 0303 (those of ISO 5218) that the authority's certificate profile has: all but 0,
/// not known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sex {
    /// 1.
    Male,
    /// 2.
    Female,
    /// 9.
    NotApplicable,
}

impl Sex {
    fn read(code: &str) -> Result<Self, HolderError> {
        match code {
            "1" => Ok(Self::Male),
            "2" => Ok(Self::Female),
            "9" => Ok(Self::NotApplicable),
            _ => Err(HolderError::SexCode),
        }
    }
}

impl fmt::Debug for Sex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sex").finish_non_exhaustive()
    }
}

/// A date of birth: a day of the Gregorian calendar that lies in the era which the certificate names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BirthDate {
    year: u16,
    month: u8,
    day: u8,
}

impl BirthDate {
    /// Year, month and day.
    #[must_use]
    pub const fn civil(self) -> (u16, u8, u8) {
        (self.year, self.month, self.day)
    }

    /// Reads `EYYYYMMDD` of the authority's certificate profile: the era, and the Gregorian date.
    fn read(text: &str) -> Result<Self, HolderError> {
        if text.len() != 9 || !text.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(HolderError::BirthForm);
        }
        // What the register does not know, nobody asserts.
        if text.starts_with('0') || text.ends_with("00000000") {
            return Err(HolderError::BirthUnknown);
        }
        let era = text.bytes().next().and_then(days_of_era);
        let era = era.ok_or(HolderError::Era)?;
        let year: u16 = number(text, 1..5)?;
        let (month, day) = (number(text, 5..7)?, number(text, 7..9)?);
        if UnixTime::from_civil(i64::from(year), month, day, 0, 0, 0).is_none() {
            return Err(HolderError::NoSuchDay);
        }
        if !era.contains(&(year, month, day)) {
            return Err(HolderError::OutsideEra);
        }
        Ok(Self { year, month, day })
    }
}

impl fmt::Debug for BirthDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BirthDate").finish_non_exhaustive()
    }
}

/// A member of the arc, by its place in the authority's certificate profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// 1: name.
    Name,
    /// 2: which characters of the name are substitutes.
    NameFlags,
    /// 3: sex.
    Sex,
    /// 4: birth date.
    Birth,
    /// 5: address.
    Address,
    /// 6: which characters of the address are substitutes.
    AddressFlags,
}

impl Member {
    fn below(arc: Oid<'_>, oid: Oid<'_>) -> Option<Self> {
        // An identifier ends with a whole arc, so that what follows it begins with one.
        match oid.content().strip_prefix(arc.content())? {
            [1] => Some(Self::Name),
            [2] => Some(Self::NameFlags),
            [3] => Some(Self::Sex),
            [4] => Some(Self::Birth),
            [5] => Some(Self::Address),
            [6] => Some(Self::AddressFlags),
            _ => None,
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "the holder's name",
            Self::NameFlags => "the flags of the holder's name",
            Self::Sex => "the holder's sex",
            Self::Birth => "the holder's birth date",
            Self::Address => "the holder's address",
            Self::AddressFlags => "the flags of the holder's address",
        })
    }
}

/// Why a certificate asserts nothing of its holder. It says which attribute and what, never the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HolderError {
    /// subjectAltName does not read.
    #[error(transparent)]
    AltNames(#[from] FieldError),
    /// Two of one kind.
    #[error("{0}: given twice")]
    Duplicate(Member),
    /// Others are there.
    #[error("{0}: missing")]
    Missing(Member),
    /// Another type, more than one value, or octets that are not UTF-8.
    #[error("{0}: not exactly one UTF8String")]
    NotUtf8String(Member),
    /// No character.
    #[error("{0}: empty")]
    Empty(Member),
    /// More than 400 characters.
    #[error("{0}: too long")]
    TooLong(Member),
    /// A character that no register has.
    #[error("{0}: a control character in it")]
    ControlCharacter(Member),
    /// A flag that says nothing.
    #[error("{0}: another flag than 0 and 1")]
    Flag(Member),
    /// More or fewer flags than characters.
    #[error("{0}: not as many as there are characters")]
    FlagCount(Member),
    /// No code of the authority's certificate profile.
    #[error("the holder's sex: no code of the profile")]
    SexCode,
    /// Not nine digits.
    #[error("the holder's birth date: not an era and a date")]
    BirthForm,
    /// Era 0, or a date of zeros.
    #[error("the holder's birth date: unknown")]
    BirthUnknown,
    /// A digit that stands for no era.
    #[error("the holder's birth date: no such era")]
    Era,
    /// A day that no calendar has.
    #[error("the holder's birth date: no such day")]
    NoSuchDay,
    /// A day of another era.
    #[error("the holder's birth date: not in its era")]
    OutsideEra,
}

/// The one UTF8String that the value of an otherName must be. The bounds hold for all six.
fn utf8_string(member: Member, value: &[u8]) -> Result<&str, HolderError> {
    let mut reader = Reader::new(value);
    let element = reader.element(UTF8_STRING).ok();
    let text = element
        .filter(|_| reader.is_empty())
        .and_then(|element| std::str::from_utf8(element.content).ok())
        .ok_or(HolderError::NotUtf8String(member))?;
    if text.is_empty() {
        return Err(HolderError::Empty(member));
    }
    if text.chars().nth(MAX_CHARACTERS).is_some() {
        return Err(HolderError::TooLong(member));
    }
    if text.contains(char::is_control) {
        return Err(HolderError::ControlCharacter(member));
    }
    Ok(text)
}

/// Year, month, day.
type Day = (u16, u8, u8);

/// The days of an era, by its digit: 明治, 大正, 昭和, 平成, 令和. 大正 and 昭和 began on the day on which the era
/// before ended: that day is in both. Before 1873 the register counts by another calendar, so that 明治 begins
/// with its first year.
fn days_of_era(digit: u8) -> Option<RangeInclusive<Day>> {
    match digit {
        b'1' => Some((1868, 1, 1)..=(1912, 7, 30)),
        b'2' => Some((1912, 7, 30)..=(1926, 12, 25)),
        b'3' => Some((1926, 12, 25)..=(1989, 1, 7)),
        b'4' => Some((1989, 1, 8)..=(2019, 4, 30)),
        b'5' => Some((2019, 5, 1)..=(9999, 12, 31)),
        _ => None,
    }
}

fn number<N: FromStr>(digits: &str, place: Range<usize>) -> Result<N, HolderError> {
    let number = digits.get(place).and_then(|digits| digits.parse().ok());
    number.ok_or(HolderError::BirthForm)
}

/// Longer names and addresses do not occur.
const MAX_CHARACTERS: usize = 400;

#[cfg(test)]
mod tests;
