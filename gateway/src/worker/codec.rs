//! What edge and worker tell each other, as octets: one way of writing for each type, so that a type that grows is
//! written and read in one place.
//!
//! Whoever reads takes nothing for granted: lengths are bounded and cost nothing before what they promise has come, and a
//! word that is not known is an error. Never decides anything.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kenin_keys::octets::{Malformed, Reader, Writer};
use kenin_keys::{KeyFacts, MAX_FACTS};
use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::Secret;
use kenin_pki::name::Name;
use kenin_pki::ocsp::OcspResponse;
use kenin_pki::time::UnixTime;
use kenin_smtp_filter::MailBytes;

use crate::opening::Plain;

pub(super) mod decided;
mod mail;
mod protection;
pub(super) mod question;
mod verdict;

pub(super) use question::{Ask, Told};

/// Something that goes from one process to another.
pub(super) trait Coded: Sized {
    /// Writes it.
    fn write(&self, out: &mut Writer);

    /// Reads what [`Coded::write`] wrote.
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed>;
}

/// The whole of it.
pub(super) fn written(what: &impl Coded) -> Vec<u8> {
    written_into(Writer::default(), what)
}

/// The same, with room for so many octets from the beginning.
pub(super) fn written_in_room(what: &impl Coded, octets: usize) -> Vec<u8> {
    written_into(Writer::with_room(octets), what)
}

fn written_into(mut out: Writer, what: &impl Coded) -> Vec<u8> {
    what.write(&mut out);
    out.finish()
}

/// The whole of it, and nothing else.
pub(super) fn read<T: Coded>(octets: &[u8]) -> Result<T, Malformed> {
    let mut from = Reader::new(octets);
    let what = T::read(&mut from)?;
    from.finish()?;
    Ok(what)
}

/// A type that is its fields, one after the other.
macro_rules! coded {
    ($type:ty { $($field:ident),+ $(,)? }) => {
        impl $crate::worker::codec::Coded for $type {
            fn write(&self, out: &mut kenin_keys::octets::Writer) {
                $($crate::worker::codec::Coded::write(&self.$field, out);)+
            }

            fn read(
                from: &mut kenin_keys::octets::Reader<'_>,
            ) -> Result<Self, kenin_keys::octets::Malformed> {
                Ok(Self {
                    $($field: $crate::worker::codec::Coded::read(from)?,)+
                })
            }
        }
    };
}

/// A type that is one of so many, which it has a list of.
macro_rules! coded_by_number {
    ($type:ty: $($variant:ident = $number:literal),+ $(,)?) => {
        impl $crate::worker::codec::Coded for $type {
            fn write(&self, out: &mut kenin_keys::octets::Writer) {
                out.u8(match self {
                    $(Self::$variant => $number,)+
                });
            }

            fn read(
                from: &mut kenin_keys::octets::Reader<'_>,
            ) -> Result<Self, kenin_keys::octets::Malformed> {
                match from.u8()? {
                    $($number => Ok(Self::$variant),)+
                    _ => Err(kenin_keys::octets::Malformed("an unknown number")),
                }
            }
        }
    };
}

pub(super) use {coded, coded_by_number};

impl Coded for bool {
    fn write(&self, out: &mut Writer) {
        out.u8(u8::from(*self));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("neither yes nor no")),
        }
    }
}

impl Coded for u32 {
    fn write(&self, out: &mut Writer) {
        out.u32(*self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.u32()
    }
}

impl Coded for u64 {
    fn write(&self, out: &mut Writer) {
        out.u64(*self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.u64()
    }
}

impl Coded for usize {
    fn write(&self, out: &mut Writer) {
        out.u64(u64::try_from(*self).unwrap_or(u64::MAX));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::try_from(from.u64()?).map_err(|_| Malformed("a number is too large"))
    }
}

impl Coded for i64 {
    fn write(&self, out: &mut Writer) {
        out.fixed(&self.to_be_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.fixed().map(Self::from_be_bytes)
    }
}

impl<const N: usize> Coded for [u8; N] {
    fn write(&self, out: &mut Writer) {
        out.fixed(self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.fixed()
    }
}

impl Coded for String {
    fn write(&self, out: &mut Writer) {
        out.octets(self.as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.text(ANY).map(str::to_owned)
    }
}

impl Coded for Vec<u8> {
    fn write(&self, out: &mut Writer) {
        out.octets(self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.octets(ANY).map(<[u8]>::to_vec)
    }
}

/// What was opened stays what it is, and lies in no file.
impl Coded for MailBytes {
    fn write(&self, out: &mut Writer) {
        self.is_lent().write(out);
        out.octets(self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match (bool::read(from)?, Vec::<u8>::read(from)?) {
            (true, octets) => Ok(Plain::new(Secret::new(octets), None).into()),
            (false, octets) => Ok(octets.into()),
        }
    }
}

impl<T: Coded> Coded for Vec<T> {
    fn write(&self, out: &mut Writer) {
        out.count(self.len());
        for one in self {
            one.write(out);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        // Each is an octet at least, so no more are made than came.
        let count = from.count(ANY)?;
        let mut all = Self::new();
        for _ in 0..count {
            all.push(T::read(from)?);
        }
        Ok(all)
    }
}

impl<T: Coded> Coded for Option<T> {
    fn write(&self, out: &mut Writer) {
        self.is_some().write(out);
        if let Some(one) = self {
            one.write(out);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match bool::read(from)? {
            true => T::read(from).map(Some),
            false => Ok(None),
        }
    }
}

impl<A: Coded, B: Coded> Coded for (A, B) {
    fn write(&self, out: &mut Writer) {
        self.0.write(out);
        self.1.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok((A::read(from)?, B::read(from)?))
    }
}

impl Coded for Range<usize> {
    fn write(&self, out: &mut Writer) {
        self.start.write(out);
        self.end.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (start, end) = (usize::read(from)?, usize::read(from)?);
        match start <= end {
            true => Ok(start..end),
            false => Err(Malformed("a range that ends before it begins")),
        }
    }
}

impl<T: Coded> Coded for Arc<T> {
    fn write(&self, out: &mut Writer) {
        (**self).write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        T::read(from).map(Self::new)
    }
}

/// A word of ours: one that is known here.
impl Coded for &'static str {
    fn write(&self, out: &mut Writer) {
        out.octets(self.as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let word = from.text(ANY)?;
        let known = WORDS.iter().find(|known| **known == word);
        known.copied().ok_or(Malformed("an unknown word"))
    }
}

impl Coded for UnixTime {
    fn write(&self, out: &mut Writer) {
        self.0.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        i64::read(from).map(Self)
    }
}

/// Since 1970; before that it is 1970.
impl Coded for SystemTime {
    fn write(&self, out: &mut Writer) {
        let since = self.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        out.u64(since.as_secs()).u32(since.subsec_nanos());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (seconds, nanoseconds) = (from.u64()?, from.u32()?);
        let since = Duration::new(seconds, nanoseconds.min(999_999_999));
        UNIX_EPOCH
            .checked_add(since)
            .ok_or(Malformed("no such time"))
    }
}

impl Coded for SocketAddr {
    fn write(&self, out: &mut Writer) {
        match self.ip() {
            IpAddr::V4(ip) => out.u8(4).fixed(&ip.octets()),
            IpAddr::V6(ip) => out.u8(6).fixed(&ip.octets()),
        };
        out.u32(self.port().into());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let ip = match from.u8()? {
            4 => IpAddr::from(from.fixed::<4>()?),
            6 => IpAddr::from(from.fixed::<16>()?),
            _ => return Err(Malformed("an unknown kind of address")),
        };
        let port = u16::try_from(from.u32()?).map_err(|_| Malformed("no port"))?;
        Ok(Self::new(ip, port))
    }
}

impl Coded for Certificate {
    fn write(&self, out: &mut Writer) {
        out.octets(self.der());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::from_der(from.octets(ANY)?).map_err(|_| Malformed("no certificate"))
    }
}

impl Coded for OcspResponse {
    fn write(&self, out: &mut Writer) {
        out.octets(self.der());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::from_der(from.octets(ANY)?).map_err(|_| Malformed("no OCSP response"))
    }
}

impl Coded for Name {
    fn write(&self, out: &mut Writer) {
        out.octets(self.der());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::from_der(from.octets(ANY)?).map_err(|_| Malformed("no name"))
    }
}

impl Coded for Address {
    fn write(&self, out: &mut Writer) {
        self.to_string().write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::parse(from.text(ANY)?).map_err(|_| Malformed("no mail address"))
    }
}

impl Coded for KeyFacts {
    fn write(&self, out: &mut Writer) {
        out.octets(&self.to_octets());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::from_octets(from.octets(MAX_FACTS)?)
    }
}

/// How long a frame may be is the bound of what is in it.
const ANY: usize = u32::MAX as usize;

/// Words that stand in a verdict or in what was decided.
const WORDS: [&str; 27] = [
    "",
    // Layers.
    "clear-signed",
    "opaque-signed",
    "certs-only",
    "enveloped",
    "auth-enveloped",
    "compressed",
    "encrypted",
    "digested",
    "authenticated",
    "other",
    // What became of an encrypted one.
    "ok",
    "opened",
    "not-root",
    "not-recipient",
    "undecryptable",
    "replayed-ciphertext",
    "throttled",
    // What is done.
    "divide",
    "open",
    "confide",
    "quarantine",
    "stamp",
    "protect",
    "refuse",
    // How a copy is protected; one is "encrypted".
    "signed",
    "signed-encrypted",
];

#[cfg(test)]
pub(super) mod tests;
