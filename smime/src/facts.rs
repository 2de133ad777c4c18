//! What was found in a message: owned facts, ready to be judged. Never a judgement.

use std::ops::Range;

use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::crypto::{ContentKind, DigestAlgorithm, SignatureAlgorithm};
use kenin_pki::ocsp::OcspResponse;
use kenin_pki::time::UnixTime;
use kenin_pki::tst_info::TstInfo;

use crate::defect::{Check, Defect};

/// Everything [`examine`](crate::examine) found.
#[derive(Clone, Debug, Default)]
pub struct Examined {
    /// The header fields of the message, in order, as byte ranges of the input. At most
    /// `Limits::header_fields` of them; [`crate::mime::fields`] lists any number.
    pub fields: Vec<FieldSpan>,
    /// Header fields at which some reader ends the header, or which relays break or cut behind us: names
    /// that are not RFC 5322's, white space before the colon, lines over 998 octets, very long fields.
    /// While one of them stays in the message, two readers may split it differently.
    pub doubtful_fields: Vec<FieldSpan>,
    /// The body: what follows the empty line after the header.
    pub body: Range<usize>,
    /// The protection layers, outermost first.
    pub layers: Vec<LayerFacts>,
    /// The signed layers, root signature first.
    pub signatures: Vec<SignatureFacts>,
    /// The encrypted layers.
    pub encryption: Vec<EncryptionFacts>,
    /// Remarks on the message as a whole.
    pub notes: Vec<Note>,
    /// Why the message as a whole could not be examined (a limit, mostly).
    pub defect: Option<Defect>,
    /// More about `defect`.
    pub detail: Option<&'static str>,
}

impl Examined {
    /// The signature on the message itself, if there is one.
    #[must_use]
    pub fn root_signature(&self) -> Option<&SignatureFacts> {
        self.signatures.iter().find(|signature| signature.root)
    }

    /// Whether the outermost layer is encrypted.
    #[must_use]
    pub fn root_encrypted(&self) -> bool {
        self.encryption.iter().any(|layer| layer.root)
    }
}

/// One header field, as byte ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldSpan {
    /// The name as written, without the colon and without white space before it.
    pub name: Range<usize>,
    /// The whole field: name, colon, value, folded lines and the last line end.
    pub whole: Range<usize>,
}

impl FieldSpan {
    /// The bytes after the colon, folds and the last line end included.
    #[must_use]
    pub fn value<'a>(&self, raw: &'a [u8]) -> &'a [u8] {
        let after_name = raw.get(self.name.end..self.whole.end).unwrap_or_default();
        match memchr::memchr(b':', after_name) {
            Some(colon) => after_name.get(colon + 1..).unwrap_or_default(),
            None => &[],
        }
    }

    /// Whether the name is `name`, in any case.
    #[must_use]
    pub fn is(&self, raw: &[u8], name: &str) -> bool {
        raw.get(self.name.clone())
            .is_some_and(|own| own.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// The kinds of protection layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerKind {
    /// multipart/signed.
    ClearSigned,
    /// SignedData around its content.
    Opaque,
    /// SignedData without content and signers.
    CertsOnly,
    /// EnvelopedData.
    Enveloped,
    /// AuthEnvelopedData.
    AuthEnveloped,
    /// CompressedData.
    Compressed,
    /// EncryptedData.
    Encrypted,
    /// DigestedData.
    Digested,
    /// AuthenticatedData.
    Authenticated,
    /// A CMS content type without a meaning here.
    Other,
}

impl LayerKind {
    /// The word in machine-readable output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClearSigned => "clear-signed",
            Self::Opaque => "opaque-signed",
            Self::CertsOnly => "certs-only",
            Self::Enveloped => "enveloped",
            Self::AuthEnveloped => "auth-enveloped",
            Self::Compressed => "compressed",
            Self::Encrypted => "encrypted",
            Self::Digested => "digested",
            Self::Authenticated => "authenticated",
            Self::Other => "other",
        }
    }
}

/// One protection layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFacts {
    /// IMAP section of the protected entity (`1` for the root), with `/` between CMS layers.
    pub section: String,
    /// What it is.
    pub kind: LayerKind,
    /// Whether it is the outermost thing in the message.
    pub root: bool,
    /// Why it was not opened, if it was not.
    pub defect: Option<Defect>,
}

/// One encrypted layer; it is recognised and not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptionFacts {
    /// IMAP section, as in [`LayerFacts::section`].
    pub section: String,
    /// What it is.
    pub kind: LayerKind,
    /// Whether it is the outermost thing in the message.
    pub root: bool,
    /// Object identifier of the content encryption algorithm, dotted, if it could be read.
    pub algorithm_oid: Option<String>,
    /// How many RecipientInfos there are.
    pub recipients: usize,
    /// What is wrong with it.
    pub defect: Option<Defect>,
}

/// One signed layer.
#[derive(Clone, Debug)]
pub struct SignatureFacts {
    /// IMAP section of the *signature* part (RFC 7281): `2` for a plain multipart/signed.
    pub section: String,
    /// Clear-signed or opaque.
    pub kind: LayerKind,
    /// Whether it signs the message as a whole.
    pub root: bool,
    /// Sections of the signatures whose content it stands in, outermost first.
    pub within: Vec<String>,
    /// What is wrong with the layer, whoever signed it.
    pub defect: Option<Defect>,
    /// More about `defect`.
    pub detail: Option<&'static str>,
    /// The readable certificates it carries.
    pub certificates: Vec<Certificate>,
    /// The readable CRLs it carries.
    pub crls: Vec<Crl>,
    /// The readable OCSP responses it carries (RFC 5940).
    pub ocsp: Vec<OcspResponse>,
    /// One entry per SignerInfo, in order.
    pub signers: Vec<SignerFacts>,
    /// The signed bytes: for a clear-signed root the range of `raw` that was hashed.
    pub content: Option<Range<usize>>,
    /// Some part of the content is ISO-2022-JP sent as 7bit, so that a relay may have lost its ESC bytes.
    pub content_type_iso2022jp_7bit: bool,
    /// What its content says in the message's stead (RFC 9788), where the signature is the root's. More
    /// than one where layers that follow each other say it.
    pub protected: Vec<ProtectedHeader>,
    /// Remarks.
    pub notes: Vec<Note>,
}

/// Header fields of a signed content that says it protects the message's header: by `hp=` in its
/// Content-Type, or as `message/rfc822; forwarded=no` (RFC 8551 §3.1).
/// <https://www.rfc-editor.org/rfc/rfc9788#section-2.1>.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtectedHeader {
    /// Names in lower case and values as they came, of the fields that people read
    /// ([`ProtectedHeader::NAMES`]), in their order.
    pub fields: Vec<(&'static str, Vec<u8>)>,
}

impl ProtectedHeader {
    /// The fields that are kept: who writes to whom, when, and of what.
    pub const NAMES: [&'static str; 6] = ["from", "to", "cc", "date", "subject", "reply-to"];
}

/// How a signer names its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignerId {
    /// Issuer name (DER) and serial number (content octets).
    IssuerAndSerial {
        /// DER of the issuer's name.
        issuer: Vec<u8>,
        /// Content octets of the serial number.
        serial: Vec<u8>,
    },
    /// subjectKeyIdentifier.
    KeyId(Vec<u8>),
    /// Unreadable.
    Unknown,
}

/// What the ESS signing-certificate attribute says (RFC 5035, RFC 2634).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ess {
    /// There is none.
    Absent,
    /// It names one of the candidates; the others carry [`Defect::EssMismatch`].
    Matched,
    /// It names none of them.
    Mismatched,
    /// It cannot be read, or its digest is not supported.
    Unreadable,
}

/// What somebody can read, as a signed attribute says it.
/// <https://www.rfc-editor.org/rfc/rfc8551#section-2.5.2>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Ciphers that are supported here too, in the order of the signer's preference; each once.
    pub ciphers: Vec<ContentKind>,
    /// Whether keys may be transported by RSAES-OAEP.
    pub oaep: bool,
}

/// One SignerInfo.
#[derive(Clone, Debug)]
pub struct SignerFacts {
    /// How it names its certificate.
    pub sid: SignerId,
    /// The signature value as it came, right or wrong; empty where the SignerInfo cannot be read.
    pub value: Vec<u8>,
    /// What keeps it from being right, the most telling first; `None` when every check is right for
    /// at least one candidate.
    pub defect: Option<Defect>,
    /// More about `defect`.
    pub detail: Option<&'static str>,
    /// Whether the content has the signed digest.
    pub content: Check,
    /// The digest algorithm, where known.
    pub digest: Option<DigestAlgorithm>,
    /// Its object identifier, dotted.
    pub digest_oid: String,
    /// The signature algorithm, where known.
    pub algorithm: Option<SignatureAlgorithm>,
    /// Its object identifier, dotted.
    pub algorithm_oid: String,
    /// Every certificate that matches the signer identifier, each with its own signature check.
    pub candidates: Vec<Candidate>,
    /// The signer's claim of the time.
    pub signing_time: Option<UnixTime>,
    /// What the signer says can be read. Worth as much as the signature.
    pub capabilities: Option<Capabilities>,
    /// What the ESS attribute says.
    pub ess: Ess,
    /// The time stamps over its signature value, as far as they are right. They stand in no signed place: what
    /// is missing or wrong is simply not here.
    pub timestamps: Vec<TimeStampFacts>,
    /// Remarks.
    pub notes: Vec<Note>,
}

impl SignerFacts {
    /// The first candidate whose key made the signature and that the ESS attribute, if any, names.
    #[must_use]
    pub fn verified(&self) -> Option<&Candidate> {
        self.candidates
            .iter()
            .find(|candidate| candidate.is_verified())
    }

    /// The best signature check over all candidates.
    #[must_use]
    pub fn signature(&self) -> Check {
        if self
            .candidates
            .iter()
            .any(|candidate| candidate.signature.is_ok())
        {
            return Check::Ok;
        }
        self.candidates
            .first()
            .map_or(Check::Unchecked, |candidate| candidate.signature)
    }
}

/// A time stamp (RFC 3161) over the signature value of a SignerInfo. Its own signature is right and its ESS
/// attribute names the certificate; whether that is of anybody who is believed is not asked here.
#[derive(Clone, Debug)]
pub struct TimeStampFacts {
    /// What it says.
    pub info: TstInfo,
    /// The certificate of the authority that made it.
    pub certificate: Certificate,
    /// The digest algorithm of its signature.
    pub digest: DigestAlgorithm,
    /// Its signature algorithm.
    pub algorithm: SignatureAlgorithm,
    /// The readable certificates it carries.
    pub certificates: Vec<Certificate>,
    /// The readable CRLs it carries.
    pub crls: Vec<Crl>,
    /// The readable OCSP responses it carries.
    pub ocsp: Vec<OcspResponse>,
}

/// A certificate that may be the signer's.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The certificate.
    pub certificate: Certificate,
    /// Whether its key made the signature.
    pub signature: Check,
    /// Whether the ESS attribute allows it: `Unchecked` where there is none.
    pub ess: Check,
}

impl Candidate {
    /// Whether its key made the signature and nothing signed says that another certificate is meant.
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        self.signature.is_ok() && !matches!(self.ess, Check::Failed(_))
    }
}

/// A remark that decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// The label (smime-type, name, protocol) says another type than the CMS object.
    TypeMismatch,
    /// micalg or protocol of multipart/signed is missing or wrong.
    MicalgOdd,
    /// The digest is wrong and ESC bytes may have been lost on the way.
    EscLossSuspected,
    /// The signing time cannot be read.
    SigningTimeOdd,
    /// A certificate in the message cannot be read and was skipped.
    CertificateSkipped,
    /// A CRL in the message cannot be read and was skipped.
    CrlSkipped,
    /// There are bytes after the CMS object.
    TrailingBytes,
    /// The boundary holds characters that RFC 2046 does not allow.
    BoundaryOdd,
    /// The content has line ends other than CRLF; its canonical form was hashed.
    LineEndsConverted,
}

impl Note {
    /// The id in machine-readable output.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::TypeMismatch => "type-mismatch",
            Self::MicalgOdd => "micalg-odd",
            Self::EscLossSuspected => "esc-loss-suspected",
            Self::SigningTimeOdd => "signing-time-odd",
            Self::CertificateSkipped => "certificate-skipped",
            Self::CrlSkipped => "crl-skipped",
            Self::TrailingBytes => "trailing-bytes",
            Self::BoundaryOdd => "boundary-odd",
            Self::LineEndsConverted => "line-ends-converted",
        }
    }
}
