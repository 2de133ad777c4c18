//! TSTInfo: what a time stamping authority says of a digest that it was shown. Whether anybody signed it, and
//! whether that somebody is believed, is asked elsewhere.
//! <https://www.rfc-editor.org/rfc/rfc3161#section-2.4.2>

use crate::algorithm::AlgorithmIdentifier;
use crate::crypto::DigestAlgorithm;
use crate::der::{
    BOOLEAN, DerError, Element, GENERALIZED_TIME, INTEGER, Reader, SEQUENCE, context,
    context_constructed, is_der,
};
use crate::extension::ExtensionSet;
use crate::oid::{Oid, OidBuf};
use crate::time::UnixTime;

/// A TSTInfo of version 1. The name of the authority (tsa) is not kept: the signature on the token, and the
/// certificate that it names, say whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TstInfo {
    policy: OidBuf,
    /// `None`: an algorithm that is not known here; it fits nothing.
    digest: Option<DigestAlgorithm>,
    hashed: Box<[u8]>,
    serial: Box<[u8]>,
    gen_time: UnixTime,
    /// genTime has a fraction of a second, which `gen_time` leaves out.
    fraction: bool,
    accuracy: Option<Accuracy>,
    ordering: bool,
    nonce: Option<Box<[u8]>>,
}

/// Accuracy: how far genTime may be off, either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accuracy {
    /// Whole seconds.
    pub seconds: u32,
    /// Thousandths of a second, below 1000.
    pub millis: u16,
    /// Millionths of a second, below 1000.
    pub micros: u16,
}

/// Why bytes are no TSTInfo.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TstInfoError {
    /// Not a TSTInfo in DER.
    #[error("not a TSTInfo: {0}")]
    Malformed(&'static str),
    /// An extension that must be understood and is not.
    #[error("unknown critical extension {0} in a TSTInfo")]
    UnknownCritical(OidBuf),
}

impl From<DerError> for TstInfoError {
    fn from(error: DerError) -> Self {
        Self::Malformed(error.0)
    }
}

impl TstInfo {
    /// Reads exactly one TSTInfo in DER.
    ///
    /// # Errors
    /// What it is instead.
    pub fn from_der(bytes: &[u8]) -> Result<Self, TstInfoError> {
        if bytes.len() > MAX_SIZE {
            return Err(TstInfoError::Malformed("longer than 64 KiB"));
        }
        if !is_der(bytes) {
            return Err(TstInfoError::Malformed("not DER"));
        }
        let mut outer = Reader::new(bytes);
        let mut reader = outer.sequence()?;
        outer.finish()?;
        if reader.small()? != 1 {
            return Err(TstInfoError::Malformed("unknown version"));
        }
        let policy = reader.oid()?.to_buf();
        let mut imprint = reader.sequence()?;
        let digest = DigestAlgorithm::from_identifier(&AlgorithmIdentifier::read(&mut imprint)?);
        let hashed = imprint.octet_string()?;
        imprint.finish()?;
        if digest.is_some_and(|digest| digest.size() != hashed.len()) {
            return Err(TstInfoError::Malformed("hashedMessage has a wrong length"));
        }
        let serial = reader.integer()?;
        let (gen_time, fraction) = gen_time(reader.element(GENERALIZED_TIME)?.content)
            .ok_or(TstInfoError::Malformed("genTime has a bad form"))?;
        let accuracy = reader.optional(SEQUENCE)?.map(|field| accuracy(&field));
        // A FALSE that is written out is not DER, common, and harmless.
        let ordering = match reader.optional(BOOLEAN)? {
            Some(element) => element.boolean()?,
            None => false,
        };
        let nonce = reader.optional(INTEGER)?.map(|element| element.integer());
        // tsa: a claim of the authority about its own name.
        reader.optional(context_constructed(0))?;
        if let Some(field) = reader.optional(context_constructed(1))? {
            extensions(field.reader())?;
        }
        reader.finish()?;
        Ok(Self {
            policy,
            digest,
            hashed: hashed.into(),
            serial: serial.into(),
            gen_time,
            fraction,
            accuracy: accuracy.transpose()?,
            ordering,
            nonce: nonce.transpose()?.map(Into::into),
        })
    }

    /// The policy under which the authority worked.
    #[must_use]
    pub const fn policy(&self) -> Oid<'_> {
        self.policy.as_oid()
    }

    /// The hash algorithm of the messageImprint, where it is known here.
    #[must_use]
    pub const fn digest(&self) -> Option<DigestAlgorithm> {
        self.digest
    }

    /// Whether the messageImprint is the digest of these octets. Never by MD5; whether another algorithm is
    /// strong enough is not asked here.
    #[must_use]
    pub fn is_of(&self, octets: &[u8]) -> bool {
        self.digest.is_some_and(|digest| {
            digest != DigestAlgorithm::Md5 && digest.digest(octets).as_ref() == &*self.hashed
        })
    }

    /// The content octets of the serial number's INTEGER.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// genTime, without its fraction of a second.
    #[must_use]
    pub const fn gen_time(&self) -> UnixTime {
        self.gen_time
    }

    /// How far genTime may be off; `None` where the authority does not say so here.
    #[must_use]
    pub const fn accuracy(&self) -> Option<Accuracy> {
        self.accuracy
    }

    /// The latest moment that may have been meant, in whole seconds: genTime and accuracy, each rounded up.
    /// What was stamped was there by then. An accuracy that is not given adds nothing.
    #[must_use]
    pub fn latest(&self) -> UnixTime {
        let seconds = self.accuracy.map_or(0, Accuracy::rounded_up);
        self.gen_time.plus(i64::from(self.fraction)).plus(seconds)
    }

    /// Whether tokens of this authority can be ordered by genTime alone.
    #[must_use]
    pub const fn ordering(&self) -> bool {
        self.ordering
    }

    /// The content octets of the nonce's INTEGER, as it was asked with.
    #[must_use]
    pub fn nonce(&self) -> Option<&[u8]> {
        self.nonce.as_deref()
    }
}

impl Accuracy {
    /// In whole seconds, never less than it is.
    fn rounded_up(self) -> i64 {
        i64::from(self.seconds) + i64::from(self.millis > 0 || self.micros > 0)
    }
}

/// genTime down to the second, and whether a fraction was left out. X.690 §11.7: in UTC, with seconds, and
/// no zero at the end of a fraction, so that there is none of nothing.
fn gen_time(content: &[u8]) -> Option<(UnixTime, bool)> {
    let (_, text) = content.split_last().filter(|(zulu, _)| **zulu == b'Z')?;
    let mut parts = text.splitn(2, |octet| *octet == b'.');
    let seconds = [parts.next()?, b"Z"].concat();
    let fraction = match parts.next() {
        Some(digits) => {
            let zero_last = *digits.last()? == b'0';
            if zero_last || !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            true
        }
        None => false,
    };
    Some((UnixTime::from_generalized_time(&seconds)?, fraction))
}

fn accuracy(field: &Element<'_>) -> Result<Accuracy, DerError> {
    let mut reader = field.reader();
    let seconds = match reader.optional(INTEGER)? {
        Some(element) => element.small()?,
        None => 0,
    };
    let millis = thousandths(reader.optional(context(0))?)?;
    let micros = thousandths(reader.optional(context(1))?)?;
    reader.finish()?;
    Ok(Accuracy {
        seconds,
        millis,
        micros,
    })
}

/// From 1 to 999 where it is there.
fn thousandths(field: Option<Element<'_>>) -> Result<u16, DerError> {
    let Some(field) = field else {
        return Ok(0);
    };
    match u16::try_from(field.small()?) {
        Ok(number @ 1..=999) => Ok(number),
        _ => Err(DerError("accuracy is out of bounds")),
    }
}

/// None is known here, so that a critical one ends it.
fn extensions(mut list: Reader<'_>) -> Result<(), TstInfoError> {
    while !list.is_empty() {
        let (oid, critical, _) = ExtensionSet::read_one(&mut list)?;
        if critical {
            return Err(TstInfoError::UnknownCritical(oid.to_buf()));
        }
    }
    Ok(())
}

/// One without extensions has about a hundred octets.
const MAX_SIZE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::der::write;
    use crate::oid;

    const POLICY: &str = "1.3.6.1.4.1.99999.1";
    const STAMPED: &[u8] = b"a signature value";

    fn imprint(digest: DigestAlgorithm) -> Vec<u8> {
        write::seq(&[
            write::seq(&[write::oid(digest.oid()), write::null()]),
            write::octet_string(digest.digest(STAMPED).as_ref()),
        ])
    }

    fn time(text: &str) -> Vec<u8> {
        write::element(GENERALIZED_TIME, text.as_bytes())
    }

    /// The mandatory fields, then these.
    fn info(gen_time: &str, more: &[Vec<u8>]) -> Vec<u8> {
        let mut fields = vec![
            write::integer(1),
            write::oid(POLICY),
            imprint(DigestAlgorithm::Sha256),
            write::integer(77),
            time(gen_time),
        ];
        fields.extend_from_slice(more);
        write::seq(&fields)
    }

    fn read(gen_time: &str, more: &[Vec<u8>]) -> Result<TstInfo, TstInfoError> {
        TstInfo::from_der(&info(gen_time, more))
    }

    fn extension(critical: bool) -> Vec<u8> {
        let mut fields = vec![write::oid("1.2.3.4")];
        if critical {
            fields.push(write::boolean(true));
        }
        fields.push(write::octet_string(b"x"));
        write::element(context_constructed(1), &write::seq(&fields))
    }

    fn accuracy_of(parts: &[Vec<u8>]) -> Vec<u8> {
        write::seq(parts)
    }

    const PLAIN: &str = "20261122120000Z";

    fn plain() -> UnixTime {
        UnixTime::parse_rfc3339("2026-11-22T12:00:00Z").unwrap()
    }

    #[test]
    fn the_least_and_the_most_of_it() {
        let least = read(PLAIN, &[]).unwrap();
        assert_eq!(least.policy().to_string(), POLICY);
        assert_eq!(least.digest(), Some(DigestAlgorithm::Sha256));
        assert_eq!(least.serial(), [77]);
        assert_eq!((least.gen_time(), least.latest()), (plain(), plain()));
        assert_eq!((least.accuracy(), least.nonce()), (None, None));
        assert!(!least.ordering());
        assert!(least.is_of(STAMPED) && !least.is_of(b"another one"));

        let name = write::element(context_constructed(4), &write::seq::<Vec<u8>>(&[]));
        let most = read(
            "20261122120000.25Z",
            &[
                accuracy_of(&[
                    write::integer(2),
                    write::implicit(0, &[1]),
                    write::implicit(1, &[0x03, 0xe7]),
                ]),
                write::boolean(true),
                write::integer(-5),
                write::explicit(0, &name),
                extension(false),
            ],
        )
        .unwrap();
        let accuracy = Accuracy {
            seconds: 2,
            millis: 1,
            micros: 999,
        };
        assert_eq!(most.accuracy(), Some(accuracy));
        assert_eq!(most.nonce(), Some(&[0xfb][..]));
        assert!(most.ordering());
        assert_eq!(most.gen_time(), plain());
        assert_eq!(most.latest(), plain().plus(1 + 3));
        // A FALSE that is written out is passed over.
        assert!(!read(PLAIN, &[write::boolean(false)]).unwrap().ordering());
    }

    #[test]
    fn the_latest_moment_is_never_rounded_down() {
        let seconds = |n: i64| write::integer(n);
        let (millis, micros) = (write::implicit(0, &[1]), write::implicit(1, &[1]));
        for (gen_time, parts, later) in [
            (PLAIN, Some(vec![]), 0),
            (PLAIN, Some(vec![seconds(0)]), 0),
            (PLAIN, Some(vec![seconds(60)]), 60),
            (PLAIN, Some(vec![millis.clone()]), 1),
            (PLAIN, Some(vec![micros.clone()]), 1),
            (PLAIN, Some(vec![seconds(1), millis, micros]), 2),
            ("20261122120000.000001Z", None, 1),
            ("20261122115959.9Z", Some(vec![seconds(1)]), 1),
            (
                "20261122120000Z",
                Some(vec![seconds(4_294_967_295)]),
                4_294_967_295,
            ),
        ] {
            let more: Vec<Vec<u8>> = parts.iter().map(|parts| accuracy_of(parts)).collect();
            let read = read(gen_time, &more).unwrap();
            assert_eq!(read.latest(), plain().plus(later), "{gen_time} {parts:?}");
        }
    }

    #[test]
    fn times_have_one_form() {
        for bad in [
            "",
            "Z",
            "20261122120000",
            "202611221200Z",
            "20261122120000+0000",
            "20261122120000.Z",
            "20261122120000.0Z",
            "20261122120000.50Z",
            "20261122120000.5",
            "20261122120000,5Z",
            "20261122120000.5.5Z",
            "20261122120000.-5Z",
            "2026112212.5Z",
            "20261322120000Z",
        ] {
            let error = read(bad, &[]).unwrap_err();
            let wanted = TstInfoError::Malformed("genTime has a bad form");
            assert_eq!(error, wanted, "{bad}");
        }
        let mut utc = vec![
            write::integer(1),
            write::oid(POLICY),
            imprint(DigestAlgorithm::Sha256),
            write::integer(77),
        ];
        utc.push(write::element(crate::der::UTC_TIME, b"261122120000Z"));
        assert!(TstInfo::from_der(&write::seq(&utc)).is_err());
    }

    #[test]
    fn what_is_out_of_bounds_or_out_of_place_is_refused() {
        for (what, more) in [
            (
                "millis of 0",
                vec![accuracy_of(&[write::implicit(0, &[0])])],
            ),
            (
                "millis of 1000",
                vec![accuracy_of(&[write::implicit(0, &[0x03, 0xe8])])],
            ),
            (
                "micros first",
                vec![accuracy_of(&[
                    write::implicit(1, &[1]),
                    write::implicit(0, &[1]),
                ])],
            ),
            (
                "negative accuracy",
                vec![accuracy_of(&[write::integer(-1)])],
            ),
            (
                "a century of accuracy",
                vec![accuracy_of(&[write::integer(1 << 33)])],
            ),
            (
                "ordering after nonce",
                vec![write::integer(5), write::boolean(true)],
            ),
            ("a field too many", vec![write::null()]),
            (
                "extensions that are none",
                vec![write::element(context_constructed(1), &write::null())],
            ),
        ] {
            assert!(read(PLAIN, &more).is_err(), "{what}");
        }
        let unknown = TstInfoError::UnknownCritical(OidBuf::from_dotted("1.2.3.4").unwrap());
        assert_eq!(read(PLAIN, &[extension(true)]), Err(unknown));

        let whole = info(PLAIN, &[]);
        assert!(TstInfo::from_der(&[&whole[..], &[0]].concat()).is_err());
        assert!(TstInfo::from_der(&whole[..whole.len() - 1]).is_err());
        assert!(TstInfo::from_der(&[]).is_err());
        let huge = write::octet_string(&vec![0; MAX_SIZE]);
        let wanted = TstInfoError::Malformed("longer than 64 KiB");
        assert_eq!(TstInfo::from_der(&huge), Err(wanted));
    }

    #[test]
    fn versions_and_imprints() {
        let with = |version: i64, imprint: Vec<u8>| {
            TstInfo::from_der(&write::seq(&[
                write::integer(version),
                write::oid(POLICY),
                imprint,
                write::integer(1),
                time(PLAIN),
            ]))
        };
        for version in [0, 2, -1] {
            assert!(with(version, imprint(DigestAlgorithm::Sha256)).is_err());
        }
        for digest in DigestAlgorithm::ALL {
            let read = with(1, imprint(digest)).unwrap();
            assert_eq!(read.digest(), Some(digest));
            assert_eq!(read.is_of(STAMPED), digest != DigestAlgorithm::Md5);
        }
        let short = write::seq(&[
            write::seq(&[write::oid(oid::SHA256)]),
            write::octet_string(&[0; 20]),
        ]);
        assert!(with(1, short).is_err());
        // An algorithm that is not known fits nothing, and is no mistake of who wrote it.
        let unknown = write::seq(&[
            write::seq(&[write::oid("1.2.3.4")]),
            write::octet_string(&[0; 20]),
        ]);
        let read = with(1, unknown).unwrap();
        assert_eq!(read.digest(), None);
        assert!(!read.is_of(STAMPED));
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = TstInfo::from_der(&octets);
        }

        #[test]
        fn no_change_panics(at in 0_usize..100, octet in any::<u8>()) {
            let mut bytes = info("20261122120000.25Z", &[
                accuracy_of(&[write::integer(2), write::implicit(0, &[1])]),
                extension(false),
            ]);
            if let Some(place) = bytes.get_mut(at) {
                *place = octet;
            }
            if let Ok(read) = TstInfo::from_der(&bytes) {
                prop_assert!(read.gen_time() <= read.latest());
            }
        }
    }
}
