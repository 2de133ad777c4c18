//! The inputs of path validation (RFC 5280 §6.1.1) that are a matter of policy.
//!
//! Nothing here reads a clock: the time is a parameter.

use crate::crl::RevokedEntry;
use crate::oid::OidBuf;
use crate::time::UnixTime;

/// What must hold for a path. [`PathRules::new`] gives the strict rules for signed mail.
#[derive(Clone, Debug)]
pub struct PathRules {
    /// The moment at which everything must be valid.
    pub time: UnixTime,
    /// What an unknown revocation status means.
    pub revocation: RevocationMode,
    /// What the target is used for.
    pub purpose: Purpose,
    /// user-initial-policy-set. Empty means any-policy.
    pub initial_policies: Vec<OidBuf>,
    /// initial-explicit-policy.
    pub require_explicit_policy: bool,
    /// initial-policy-mapping-inhibit.
    pub inhibit_policy_mapping: bool,
    /// initial-any-policy-inhibit.
    pub inhibit_any_policy: bool,
    /// What is too weak to count.
    pub algorithms: AlgorithmFloor,
    /// Refuse a path whose anchor certificate is outside its validity. Off by default: an anchor is
    /// trusted because an administrator says so, until the administrator says otherwise.
    pub check_anchor_validity: bool,
    /// A moment at which what the target signed is known to have been there already. The target, and no
    /// authority above it, may then have been revoked later, for a reason that leaves the key sound; all else
    /// is judged at `time` as ever. Only a trusted time stamp proves such a moment.
    pub proven_at: Option<UnixTime>,
}

/// What to do about revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationMode {
    /// Every certificate below the anchor must be known to be good.
    Required,
    /// A revoked certificate fails; an unknown status is a note.
    IfAvailable,
    /// Not looked at.
    Off,
}

/// What the target certificate is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Signing mail: digitalSignature or nonRepudiation, and where an extended key usage is present
    /// (also in an intermediate) emailProtection or anyExtendedKeyUsage (RFC 8550 §4.4).
    MailSigning,
    /// Encrypting mail for its holder: keyEncipherment or keyAgreement, by the kind of key (RFC 8550 §4.4.2), and an
    /// extended key usage as for signing mail.
    MailEncryption,
    /// Stamping times (RFC 3161 §2.3): an extended key usage that is critical and names timeStamping and nothing
    /// else; and where one is present in an intermediate, timeStamping or anyExtendedKeyUsage.
    TimeStamping,
    /// Whatever it is; only RFC 5280 §6.1 counts.
    Any,
}

/// The weakest algorithms and keys that still count, for every certificate and CRL below the anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlgorithmFloor {
    /// RSA keys shorter than this are weak.
    pub minimum_rsa_bits: usize,
    /// Whether signatures over SHA-1 and SHA-224 count. For old test suites only.
    pub allow_sha1: bool,
    /// Whether DSA keys count. For old test suites only: RFC 8550 §4.3 has DSA as historic.
    pub allow_dsa: bool,
}

impl PathRules {
    /// The rules for signed mail at `time`: revocation required, any policy, no weak algorithm.
    pub fn new(time: UnixTime) -> Self {
        Self {
            time,
            revocation: RevocationMode::Required,
            purpose: Purpose::MailSigning,
            initial_policies: Vec::new(),
            require_explicit_policy: false,
            inhibit_policy_mapping: false,
            inhibit_any_policy: false,
            algorithms: AlgorithmFloor::default(),
            check_anchor_validity: false,
            proven_at: None,
        }
    }

    /// Whether a revocation came too late to matter.
    pub(super) fn outlives(&self, entry: &RevokedEntry) -> bool {
        self.proven_at
            .is_some_and(|proven_at| entry.is_outlived_by(proven_at))
    }
}

impl Default for AlgorithmFloor {
    fn default() -> Self {
        Self {
            minimum_rsa_bits: 2048,
            allow_sha1: false,
            allow_dsa: false,
        }
    }
}
