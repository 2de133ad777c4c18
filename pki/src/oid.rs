//! Object identifiers: a borrowed and an owned form over the DER content octets, and the constants that
//! the rest of the project compares with. Never allocates for a comparison.
//! <https://www.rfc-editor.org/rfc/rfc5280#appendix-A>

use std::fmt;

/// An object identifier, borrowed: the content octets of its DER encoding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid<'a>(&'a [u8]);

impl<'a> Oid<'a> {
    /// Wraps content octets that have the form X.690 §8.19 asks for; `None` otherwise.
    #[must_use]
    pub fn from_content(content: &'a [u8]) -> Option<Self> {
        let last = content.last()?;
        if content.len() > MAX_CONTENT || last & 0x80 != 0 {
            return None;
        }
        // No arc begins with a padding octet.
        let mut first = true;
        for byte in content {
            if first && *byte == 0x80 {
                return None;
            }
            first = byte & 0x80 == 0;
        }
        Some(Self(content))
    }

    /// The content octets.
    #[must_use]
    pub const fn content(self) -> &'a [u8] {
        self.0
    }

    /// An owned copy.
    #[must_use]
    pub fn to_buf(self) -> OidBuf {
        OidBuf(self.0.into())
    }
}

/// Dotted decimal; an arc that does not fit 64 bits is written as `?`.
impl fmt::Display for Oid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        let mut arc = Some(0_u64);
        for byte in self.0 {
            arc = arc
                .and_then(|a| a.checked_mul(128))
                .and_then(|a| a.checked_add(u64::from(byte & 0x7f)));
            if byte & 0x80 != 0 {
                continue;
            }
            match (first, arc) {
                (true, Some(value)) => {
                    let root = (value / 40).min(2);
                    write!(f, "{root}.{}", value - root * 40)?;
                }
                (true, None) => f.write_str("2.?")?,
                (false, Some(value)) => write!(f, ".{value}")?,
                (false, None) => f.write_str(".?")?,
            }
            first = false;
            arc = Some(0);
        }
        Ok(())
    }
}

impl fmt::Debug for Oid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An object identifier that owns its octets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OidBuf(Box<[u8]>);

impl OidBuf {
    /// Reads dotted decimal.
    #[must_use]
    pub fn from_dotted(text: &str) -> Option<Self> {
        let mut arcs = text.split('.').map(|arc| {
            let canonical = arc == "0" || !arc.starts_with('0');
            arc.bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| arc.parse::<u64>().ok())
                .flatten()
                .filter(|_| canonical)
        });
        let root = arcs.next()??;
        let second = arcs.next()??;
        if root > 2 || (root < 2 && second > 39) {
            return None;
        }
        let mut content = Vec::new();
        push_arc(&mut content, (root * 40).checked_add(second)?);
        for arc in arcs {
            push_arc(&mut content, arc?);
        }
        (content.len() <= MAX_CONTENT).then(|| Self(content.into()))
    }

    /// The borrowed form.
    #[must_use]
    pub const fn as_oid(&self) -> Oid<'_> {
        Oid(&self.0)
    }
}

impl From<Oid<'_>> for OidBuf {
    fn from(oid: Oid<'_>) -> Self {
        oid.to_buf()
    }
}

impl PartialEq<Oid<'_>> for OidBuf {
    fn eq(&self, other: &Oid<'_>) -> bool {
        *self.0 == *other.0
    }
}

impl fmt::Display for OidBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_oid().fmt(f)
    }
}

impl fmt::Debug for OidBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn push_arc(out: &mut Vec<u8>, arc: u64) {
    let mut shift = 63;
    while shift > 0 && arc >> shift == 0 {
        shift -= 7;
    }
    loop {
        let [low, ..] = (arc >> shift).to_le_bytes();
        let more = if shift == 0 { 0 } else { 0x80 };
        out.push((low & 0x7f) | more);
        if shift == 0 {
            break;
        }
        shift -= 7;
    }
}

/// Counts the content octets of a dotted identifier that stands in this file.
const fn encoded_len(text: &str) -> usize {
    encode::<128>(text).1
}

/// Encodes a dotted identifier of this file at compile time; a bad one does not compile.
#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "evaluated at compile time on constants of this file only"
)]
const fn encode<const N: usize>(text: &str) -> ([u8; N], usize) {
    let text = text.as_bytes();
    let mut out = [0; N];
    let (mut len, mut at, mut index, mut root) = (0, 0, 0, 0_u64);
    while at < text.len() {
        let mut arc = 0_u64;
        while at < text.len() && text[at] != b'.' {
            assert!(text[at].is_ascii_digit());
            arc = arc * 10 + (text[at] - b'0') as u64;
            at += 1;
        }
        at += 1;
        if index == 0 {
            root = arc;
        } else {
            let value = if index == 1 { root * 40 + arc } else { arc };
            let mut shift = 63;
            while shift > 0 && value >> shift == 0 {
                shift -= 7;
            }
            loop {
                let more = if shift == 0 { 0 } else { 0x80 };
                out[len] = ((value >> shift) & 0x7f) as u8 | more;
                len += 1;
                if shift == 0 {
                    break;
                }
                shift -= 7;
            }
        }
        index += 1;
    }
    (out, len)
}

macro_rules! oids {
    ($($(#[$meta:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$meta])* #[doc = concat!("`", $text, "`")]
        pub const $name: Oid<'static> = {
            const BYTES: [u8; encoded_len($text)] = encode($text).0;
            Oid(&BYTES)
        };)*
    };
}

/// Longer identifiers do not occur; a bound keeps their text form cheap.
const MAX_CONTENT: usize = 256;

oids! {
    RSA_ENCRYPTION = "1.2.840.113549.1.1.1";
    MD2_WITH_RSA = "1.2.840.113549.1.1.2";
    MD5_WITH_RSA = "1.2.840.113549.1.1.4";
    SHA1_WITH_RSA = "1.2.840.113549.1.1.5";
    SHA1_WITH_RSA_OIW = "1.3.14.3.2.29";
    MGF1 = "1.2.840.113549.1.1.8";
    RSAES_OAEP = "1.2.840.113549.1.1.7";
    P_SPECIFIED = "1.2.840.113549.1.1.9";
    RSASSA_PSS = "1.2.840.113549.1.1.10";
    SHA256_WITH_RSA = "1.2.840.113549.1.1.11";
    SHA384_WITH_RSA = "1.2.840.113549.1.1.12";
    SHA512_WITH_RSA = "1.2.840.113549.1.1.13";
    SHA224_WITH_RSA = "1.2.840.113549.1.1.14";
    SHA3_256_WITH_RSA = "2.16.840.1.101.3.4.3.14";
    SHA3_384_WITH_RSA = "2.16.840.1.101.3.4.3.15";
    SHA3_512_WITH_RSA = "2.16.840.1.101.3.4.3.16";
    EC_PUBLIC_KEY = "1.2.840.10045.2.1";
    P256 = "1.2.840.10045.3.1.7";
    P384 = "1.3.132.0.34";
    P521 = "1.3.132.0.35";
    ECDSA_WITH_SHA1 = "1.2.840.10045.4.1";
    ECDSA_WITH_SHA224 = "1.2.840.10045.4.3.1";
    ECDSA_WITH_SHA256 = "1.2.840.10045.4.3.2";
    ECDSA_WITH_SHA384 = "1.2.840.10045.4.3.3";
    ECDSA_WITH_SHA512 = "1.2.840.10045.4.3.4";
    ECDSA_WITH_SHA3_256 = "2.16.840.1.101.3.4.3.10";
    ECDSA_WITH_SHA3_384 = "2.16.840.1.101.3.4.3.11";
    ECDSA_WITH_SHA3_512 = "2.16.840.1.101.3.4.3.12";
    DSA = "1.2.840.10040.4.1";
    DSA_WITH_SHA1 = "1.2.840.10040.4.3";
    DSA_WITH_SHA224 = "2.16.840.1.101.3.4.3.1";
    DSA_WITH_SHA256 = "2.16.840.1.101.3.4.3.2";
    X25519 = "1.3.101.110";
    ED25519 = "1.3.101.112";
    ED448 = "1.3.101.113";
    ML_DSA_44 = "2.16.840.1.101.3.4.3.17";
    ML_DSA_65 = "2.16.840.1.101.3.4.3.18";
    ML_DSA_87 = "2.16.840.1.101.3.4.3.19";
    ML_KEM_512 = "2.16.840.1.101.3.4.4.1";
    ML_KEM_768 = "2.16.840.1.101.3.4.4.2";
    ML_KEM_1024 = "2.16.840.1.101.3.4.4.3";
    MD5 = "1.2.840.113549.2.5";
    SHA1 = "1.3.14.3.2.26";
    SHA224 = "2.16.840.1.101.3.4.2.4";
    SHA256 = "2.16.840.1.101.3.4.2.1";
    SHA384 = "2.16.840.1.101.3.4.2.2";
    SHA512 = "2.16.840.1.101.3.4.2.3";
    SHA3_256 = "2.16.840.1.101.3.4.2.8";
    SHA3_384 = "2.16.840.1.101.3.4.2.9";
    SHA3_512 = "2.16.840.1.101.3.4.2.10";
    RC2_CBC = "1.2.840.113549.3.2";
    DES_EDE3_CBC = "1.2.840.113549.3.7";
    AES128_CBC = "2.16.840.1.101.3.4.1.2";
    AES128_WRAP = "2.16.840.1.101.3.4.1.5";
    AES128_GCM = "2.16.840.1.101.3.4.1.6";
    AES192_CBC = "2.16.840.1.101.3.4.1.22";
    AES192_WRAP = "2.16.840.1.101.3.4.1.25";
    AES192_GCM = "2.16.840.1.101.3.4.1.26";
    AES256_CBC = "2.16.840.1.101.3.4.1.42";
    AES256_WRAP = "2.16.840.1.101.3.4.1.45";
    AES256_GCM = "2.16.840.1.101.3.4.1.46";
    TRIPLE_DES_WRAP = "1.2.840.113549.1.9.16.3.6";
    CHACHA20_POLY1305 = "1.2.840.113549.1.9.16.3.18";
    HKDF_SHA256 = "1.2.840.113549.1.9.16.3.28";
    HKDF_SHA384 = "1.2.840.113549.1.9.16.3.29";
    HKDF_SHA512 = "1.2.840.113549.1.9.16.3.30";
    CEK_HKDF_SHA256 = "1.2.840.113549.1.9.16.3.31";
    STD_DH_SHA1_KDF = "1.3.133.16.840.63.0.2";
    STD_DH_SHA224_KDF = "1.3.132.1.11.0";
    STD_DH_SHA256_KDF = "1.3.132.1.11.1";
    STD_DH_SHA384_KDF = "1.3.132.1.11.2";
    STD_DH_SHA512_KDF = "1.3.132.1.11.3";
    COFACTOR_DH_SHA1_KDF = "1.3.133.16.840.63.0.3";
    COFACTOR_DH_SHA224_KDF = "1.3.132.1.14.0";
    COFACTOR_DH_SHA256_KDF = "1.3.132.1.14.1";
    COFACTOR_DH_SHA384_KDF = "1.3.132.1.14.2";
    COFACTOR_DH_SHA512_KDF = "1.3.132.1.14.3";
    STD_DH_HKDF_SHA256 = "1.2.840.113549.1.9.16.3.19";
    STD_DH_HKDF_SHA384 = "1.2.840.113549.1.9.16.3.20";
    STD_DH_HKDF_SHA512 = "1.2.840.113549.1.9.16.3.21";
    CMS_DATA = "1.2.840.113549.1.7.1";
    CMS_SIGNED_DATA = "1.2.840.113549.1.7.2";
    COMMON_NAME = "2.5.4.3";
    SURNAME = "2.5.4.4";
    SERIAL_NUMBER = "2.5.4.5";
    COUNTRY = "2.5.4.6";
    LOCALITY = "2.5.4.7";
    STATE = "2.5.4.8";
    STREET = "2.5.4.9";
    ORGANIZATION = "2.5.4.10";
    ORGANIZATIONAL_UNIT = "2.5.4.11";
    TITLE = "2.5.4.12";
    GIVEN_NAME = "2.5.4.42";
    DOMAIN_COMPONENT = "0.9.2342.19200300.100.1.25";
    USER_ID = "0.9.2342.19200300.100.1.1";
    EMAIL_ADDRESS = "1.2.840.113549.1.9.1";
    SUBJECT_KEY_IDENTIFIER = "2.5.29.14";
    KEY_USAGE = "2.5.29.15";
    PRIVATE_KEY_USAGE_PERIOD = "2.5.29.16";
    SUBJECT_ALT_NAME = "2.5.29.17";
    ISSUER_ALT_NAME = "2.5.29.18";
    BASIC_CONSTRAINTS = "2.5.29.19";
    CRL_NUMBER = "2.5.29.20";
    CRL_REASON = "2.5.29.21";
    INVALIDITY_DATE = "2.5.29.24";
    DELTA_CRL_INDICATOR = "2.5.29.27";
    ISSUING_DISTRIBUTION_POINT = "2.5.29.28";
    CERTIFICATE_ISSUER = "2.5.29.29";
    NAME_CONSTRAINTS = "2.5.29.30";
    CRL_DISTRIBUTION_POINTS = "2.5.29.31";
    CERTIFICATE_POLICIES = "2.5.29.32";
    ANY_POLICY = "2.5.29.32.0";
    POLICY_MAPPINGS = "2.5.29.33";
    AUTHORITY_KEY_IDENTIFIER = "2.5.29.35";
    POLICY_CONSTRAINTS = "2.5.29.36";
    EXT_KEY_USAGE = "2.5.29.37";
    ANY_EXT_KEY_USAGE = "2.5.29.37.0";
    FRESHEST_CRL = "2.5.29.46";
    INHIBIT_ANY_POLICY = "2.5.29.54";
    AUTHORITY_INFO_ACCESS = "1.3.6.1.5.5.7.1.1";
    SUBJECT_INFO_ACCESS = "1.3.6.1.5.5.7.1.11";
    EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4";
    SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
    CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
    CODE_SIGNING = "1.3.6.1.5.5.7.3.3";
    TIME_STAMPING = "1.3.6.1.5.5.7.3.8";
    OCSP_SIGNING = "1.3.6.1.5.5.7.3.9";
    AD_OCSP = "1.3.6.1.5.5.7.48.1";
    OCSP_BASIC = "1.3.6.1.5.5.7.48.1.1";
    OCSP_NONCE = "1.3.6.1.5.5.7.48.1.2";
    OCSP_NO_CHECK = "1.3.6.1.5.5.7.48.1.5";
    AD_CA_ISSUERS = "1.3.6.1.5.5.7.48.2";
    SMTP_UTF8_MAILBOX = "1.3.6.1.5.5.7.8.9";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn constants_have_the_octets_of_the_standards() {
        assert_eq!(
            RSA_ENCRYPTION.content(),
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]
        );
        assert_eq!(P256.content(), [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
        assert_eq!(ED25519.content(), [0x2b, 0x65, 0x70]);
        assert_eq!(SUBJECT_ALT_NAME.content(), [0x55, 0x1d, 0x11]);
        assert_eq!(USER_ID.to_string(), "0.9.2342.19200300.100.1.1");
    }

    #[test]
    fn odd_octets_are_refused() {
        for bad in [
            &[][..],
            &[0x2a, 0x80, 1],
            &[0x80, 1],
            &[0x2a, 0x86],
            &[0x2a; 300],
        ] {
            assert!(Oid::from_content(bad).is_none(), "{bad:?}");
        }
        for bad in [
            "",
            "1",
            "3.1",
            "1.40",
            "1.2.",
            "1..2",
            "1.2.x",
            "1.2.99999999999999999999",
            "1.02",
        ] {
            assert!(OidBuf::from_dotted(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_arc_of_many_octets_is_bounded_text() {
        let mut content = vec![0x2a];
        content.extend([0xff; 200]);
        content.push(0x7f);
        assert_eq!(Oid::from_content(&content).unwrap().to_string(), "1.2.?");
    }

    proptest! {
        #[test]
        fn dotted_text_survives(root in 0_u64..3, second in 0_u64..40, arcs in proptest::collection::vec(any::<u64>(), 0..12)) {
            let mut text = format!("{root}.{second}");
            for arc in arcs {
                text += &format!(".{arc}");
            }
            let oid = OidBuf::from_dotted(&text).unwrap();
            prop_assert_eq!(oid.to_string(), text);
            prop_assert!(Oid::from_content(oid.as_oid().content()).is_some());
        }
    }
}
