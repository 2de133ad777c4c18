//! A verdict: what was found out about one message, and its JSON.
//!
//! The JSON is that of `kenin verify --format jsonl`; fields are only ever added. Derived tables:
//! the words of RFC 9219 and the indications of ETSI EN 319 102-1.
//! Never decides: `judge` fills it in.

use crate::note::NoteId;
use crate::reason::{Reason, ResultWord};
use crate::trust::Disclosure;

mod json;
mod opened;

use json::InFile;
pub use opened::Around;

/// What was found out about one message.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The worst of the root signatures, `none` without one, nothing when a root layer stayed
    /// encrypted.
    pub result: Option<ResultWord>,
    /// Why; nothing exactly when `result` is nothing.
    pub reason: Option<Reason>,
    /// The addresses of the From field, as far as they can be read.
    pub from: Vec<String>,
    /// Root signatures first, then nested ones, which never change `result`.
    pub signatures: Vec<SignatureVerdict>,
    /// Encrypted layers.
    pub encryption: Vec<EncryptionVerdict>,
    /// All layers, outside in.
    pub layers: Vec<LayerVerdict>,
    /// Remarks that change nothing.
    pub notes: Vec<NoteVerdict>,
    /// What was wrong with the message as a whole, for people.
    pub detail: Option<String>,
    /// The revision of the trust policy that judged.
    pub revision: String,
}

/// One signed layer.
#[derive(Clone, Debug)]
pub struct SignatureVerdict {
    /// Where the signature is, as RFC 7281 writes it.
    pub section: String,
    /// Whether the signature covers the message.
    pub root: bool,
    /// Sections of the signatures whose content it stands in.
    pub within: Vec<String>,
    /// The result of this layer.
    pub result: ResultWord,
    /// Why.
    pub reason: Reason,
    /// The checks one by one.
    pub checks: Checks,
    /// Whose certificate, where there is one.
    pub signer: Option<SignerVerdict>,
    /// Name of the digest algorithm.
    pub digest: Option<String>,
    /// Name of the signature algorithm.
    pub algorithm: Option<String>,
    /// The time the signer claims, RFC 3339. A claim, nothing else.
    pub signing_time: Option<String>,
    /// What exactly failed, for people.
    pub detail: Option<String>,
    /// Remarks about this layer.
    pub notes: Vec<NoteVerdict>,
    /// From the certificate of the signer up to the one below the anchor: their subjects.
    pub path: Vec<String>,
    /// Name of the trust anchor the path ends in.
    pub anchor: Option<String>,
    /// What the status rests on, one line a certificate.
    pub status: Vec<String>,
    /// Since when what the status rests on was published, RFC 3339: the oldest of it.
    pub status_as_of: Option<String>,
    /// Revocation time (RFC 3339) and reason code, if revoked.
    pub revoked: Option<(String, Option<u8>)>,
    /// How much of it may be shown to others.
    pub disclosure: Disclosure,
    /// Number of signers (SignerInfos) in the layer.
    pub signers: usize,
    /// Octet strings by which a copy would show its certificates, or the signature itself, where they must not
    /// be shown. Not part of the JSON.
    pub traces: Vec<Vec<u8>>,
}

/// The six questions a reader may ask one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Is the content the one that was signed?
    pub content: CheckResult,
    /// Was the signature made with the key of the certificate?
    pub signature: CheckResult,
    /// Are the algorithms accepted?
    pub algorithm: CheckResult,
    /// Does the certificate lead to a trust anchor?
    pub path: CheckResult,
    /// Is it known not to be revoked?
    pub revocation: CheckResult,
    /// Does it belong to the From address?
    pub identity: CheckResult,
}

impl Checks {
    /// Nothing was reached.
    pub const UNCHECKED: Self = Self {
        content: CheckResult::Unchecked,
        signature: CheckResult::Unchecked,
        algorithm: CheckResult::Unchecked,
        path: CheckResult::Unchecked,
        revocation: CheckResult::Unchecked,
        identity: CheckResult::Unchecked,
    };

    /// In the order of their names in the JSON.
    pub fn each(&self) -> [(&'static str, CheckResult); 6] {
        [
            ("content", self.content),
            ("signature", self.signature),
            ("algorithm", self.algorithm),
            ("path", self.path),
            ("revocation", self.revocation),
            ("identity", self.identity),
        ]
    }
}

/// The answer to one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// Yes.
    Ok,
    /// Not reached, or not asked for.
    Unchecked,
    /// No, because.
    Failed(Reason),
}

impl CheckResult {
    /// `ok`, `unchecked` or the reason id.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unchecked => "unchecked",
            Self::Failed(reason) => reason.id(),
        }
    }
}

/// The certificate behind a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerVerdict {
    /// Its mail addresses.
    pub addresses: Vec<String>,
    /// The one it speaks for here: the one that equals From, else the first. Not part of the JSON.
    pub identifier: Option<String>,
    /// Its subject, RFC 4514, escaped and bounded.
    pub subject: String,
    /// Its issuer likewise.
    pub issuer: String,
    /// Its serial number, lower-case hex.
    pub serial: String,
    /// Its fingerprint, lower-case hex.
    pub sha256: String,
}

/// One encrypted layer.
#[derive(Clone, Debug)]
pub struct EncryptionVerdict {
    /// Where it is.
    pub section: String,
    /// Whether it was opened.
    pub opened: bool,
    /// `ok`, or one word for every cause.
    pub reason: &'static str,
    /// Name of the content encryption algorithm, or its OID.
    pub content: String,
    /// `aead`, `none` or `unknown`.
    pub integrity: String,
    /// Number of recipients named in it.
    pub recipients: usize,
}

/// One layer.
#[derive(Clone, Debug)]
pub struct LayerVerdict {
    /// Where it is.
    pub section: String,
    /// What it is.
    pub kind: &'static str,
    /// Whether it encloses the whole message.
    pub root: bool,
}

/// One remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteVerdict {
    /// Which.
    pub id: NoteId,
    /// About what.
    pub section: Option<String>,
}

impl Verdict {
    /// The word for the reason: a reason id, or `undecryptable` when there is no result.
    pub fn reason_id(&self) -> &'static str {
        self.reason.map_or("undecryptable", Reason::id)
    }

    /// Root signatures only.
    pub fn root_signatures(&self) -> impl Iterator<Item = &SignatureVerdict> {
        self.signatures.iter().filter(|signature| signature.root)
    }

    /// Whether a signature over the message belongs to its content and to the key of its certificate, whoever that is.
    pub fn has_right_signature(&self) -> bool {
        self.root_signatures().any(|signature| {
            let checks = &signature.checks;
            checks.content == CheckResult::Ok && checks.signature == CheckResult::Ok
        })
    }

    /// Whether the certificate of some signature must not be shown to others.
    pub fn is_shielded(&self) -> bool {
        self.signatures.iter().any(SignatureVerdict::is_shielded)
    }

    /// Whether the message is signed by the owner of its From address, by every rule.
    pub fn is_pass(&self) -> bool {
        self.result == Some(ResultWord::Pass)
    }

    /// The JSON object of `kenin verify --format jsonl` for this file.
    pub fn to_json(&self, file: &str) -> String {
        // The types below cannot fail to serialise: no maps with odd keys, no floats.
        serde_json::to_string(&InFile {
            file,
            verdict: self,
        })
        .unwrap_or_default()
    }

    /// The same as a value, for those who add to it.
    pub fn to_value(&self, file: &str) -> serde_json::Value {
        serde_json::to_value(InFile {
            file,
            verdict: self,
        })
        .unwrap_or_default()
    }

    /// The `smimeStatus` of RFC 9219 §4.1; nothing for mail that is not S/MIME. What was not judged is `signed` only
    /// where a signature is there.
    pub fn rfc9219(&self) -> Option<&'static str> {
        let Some(result) = self.result else {
            return Some("unknown");
        };
        let opened = self.encryption.iter().any(|layer| layer.opened);
        Some(match (result, opened) {
            (ResultWord::None, _) => return None,
            (ResultWord::Pass, false) => "signed/verified",
            (ResultWord::Pass, true) => "encrypted+signed/verified",
            (ResultWord::Fail | ResultWord::PermError | ResultWord::Policy, false) => {
                "signed/failed"
            }
            (ResultWord::Fail | ResultWord::PermError | ResultWord::Policy, true) => {
                "encrypted+signed/failed"
            }
            (ResultWord::Neutral | ResultWord::TempError, _)
                if self.root_signatures().next().is_none() =>
            {
                "unknown"
            }
            (ResultWord::Neutral | ResultWord::TempError, _) => "signed",
        })
    }

    /// Main indication and sub-indication of ETSI EN 319 102-1 §5.1.3, where a signature was
    /// judged.
    pub fn indication(&self) -> Option<(&'static str, Option<&'static str>)> {
        indication(self.reason?)
    }
}

impl SignatureVerdict {
    /// The address the signature speaks for, if the certificate has any. Under `verdict-only` an
    /// address that From does not name stays in the certificate.
    pub fn identifier(&self) -> Option<&str> {
        let told = self.disclosure == Disclosure::Full || self.checks.identity == CheckResult::Ok;
        self.signer.as_ref().filter(|_| told)?.identifier.as_deref()
    }

    /// Whether its certificate must not be shown to others.
    pub fn is_shielded(&self) -> bool {
        self.disclosure == Disclosure::VerdictOnly
    }

    /// What may be said to others about this signature: under `verdict-only`, revoked, expired and
    /// unknown certificates look alike.
    pub fn outward(&self) -> (ResultWord, Reason) {
        let reason = match (self.disclosure, self.reason) {
            (
                Disclosure::VerdictOnly,
                Reason::Revoked
                | Reason::CertificateExpired
                | Reason::CertificateNotYetValid
                | Reason::PathInvalid
                | Reason::KeyUsage
                | Reason::Profile
                | Reason::NotRegistered
                | Reason::IssuerNotTrusted,
            ) => Reason::NotAccepted,
            (_, reason) => reason,
        };
        (reason.result(), reason)
    }
}

/// The table from reasons to EN 319 102-1; `None` where nothing is signed.
fn indication(reason: Reason) -> Option<(&'static str, Option<&'static str>)> {
    const PASSED: &str = "TOTAL-PASSED";
    const FAILED: &str = "TOTAL-FAILED";
    const OPEN: &str = "INDETERMINATE";
    Some(match reason {
        Reason::NotSigned | Reason::SignatureNotAtRoot => return None,
        Reason::Ok => (PASSED, None),
        Reason::DigestMismatch => (FAILED, Some("HASH_FAILURE")),
        Reason::SignatureInvalid | Reason::EssMismatch | Reason::AlgorithmMismatch => {
            (FAILED, Some("SIG_CRYPTO_FAILURE"))
        }
        Reason::WeakDigest | Reason::WeakAlgorithm => (OPEN, Some("CRYPTO_CONSTRAINTS_FAILURE")),
        Reason::CertificateExpired => (OPEN, Some("OUT_OF_BOUNDS_NO_POE")),
        Reason::CertificateNotYetValid => (FAILED, Some("NOT_YET_VALID")),
        Reason::Revoked => (OPEN, Some("REVOKED_NO_POE")),
        Reason::PathInvalid | Reason::KeyUsage => (OPEN, Some("CHAIN_CONSTRAINTS_FAILURE")),
        Reason::IssuerNotTrusted | Reason::IssuerUnavailable | Reason::DirectoryUnavailable => {
            (OPEN, Some("NO_CERTIFICATE_CHAIN_FOUND"))
        }
        Reason::FromMismatch
        | Reason::FromAmbiguous
        | Reason::NotRegistered
        | Reason::RegistrationUnavailable
        | Reason::MultipleSigners
        | Reason::HeaderMismatch
        | Reason::Profile
        | Reason::NotAccepted
        | Reason::NoSignedAttributes => (OPEN, Some("SIG_CONSTRAINTS_FAILURE")),
        Reason::RevocationUnavailable => (OPEN, Some("TRY_LATER")),
        Reason::SignerCertificateMissing => (OPEN, Some("NO_SIGNING_CERTIFICATE_FOUND")),
        Reason::Malformed
        | Reason::NoSigners
        | Reason::TwoContents
        | Reason::AttributesNotDer
        | Reason::AttributeMissing
        | Reason::AttributeDuplicate
        | Reason::ContentTypeMismatch
        | Reason::AmbiguousMime => (FAILED, Some("FORMAT_FAILURE")),
        Reason::UnsupportedAlgorithm
        | Reason::UnsupportedLayer
        | Reason::ClockNotTrusted
        | Reason::PathBudget
        | Reason::LimitAsn1
        | Reason::LimitMime
        | Reason::LimitLayers
        | Reason::LimitSigners
        | Reason::LimitCertificates
        | Reason::LimitCompression
        | Reason::LimitSize
        | Reason::LimitTime
        | Reason::LimitPoison => (OPEN, Some("GENERIC")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unsigned;

    #[test]
    fn every_reason_has_its_words() {
        for reason in Reason::ALL {
            let verdict = Verdict {
                result: Some(reason.result()),
                reason: Some(*reason),
                ..unsigned()
            };
            assert_eq!(
                indication(*reason).is_none(),
                reason.result() == ResultWord::None,
                "{reason}"
            );
            assert_eq!(
                indication(*reason).is_some_and(|(main, _)| main == "TOTAL-PASSED"),
                *reason == Reason::Ok
            );
            assert_eq!(
                verdict
                    .rfc9219()
                    .is_some_and(|word| word.contains("verified")),
                *reason == Reason::Ok,
                "{reason}"
            );
            let value = verdict.to_value("a \"file\".eml");
            assert_eq!(value["file"], "a \"file\".eml");
            assert_eq!(value["reason"], reason.id());
            assert_eq!(value["result"], reason.result().as_str());
            assert_eq!(
                value,
                serde_json::from_str::<serde_json::Value>(&verdict.to_json("a \"file\".eml"))
                    .unwrap()
            );
        }
    }

    /// RFC 9219 §4.1: `unknown` is S/MIME that is neither signed nor encrypted, as a compressed layer is.
    #[test]
    fn a_layer_that_nobody_signed_is_not_called_signed() {
        let verdict = Verdict {
            result: Some(ResultWord::Neutral),
            reason: Some(Reason::UnsupportedLayer),
            ..unsigned()
        };
        assert_eq!(verdict.rfc9219(), Some("unknown"));
        assert!(!verdict.has_right_signature());
    }

    #[test]
    fn no_result_is_null() {
        let verdict = Verdict {
            result: None,
            reason: None,
            ..unsigned()
        };
        let value = serde_json::to_value(&verdict).unwrap();
        assert!(value["result"].is_null());
        assert_eq!(value["reason"], "undecryptable");
        assert!(value.get("file").is_none());
    }
}
