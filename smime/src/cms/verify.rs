//! The mathematics of one SignedData: digests of the content, signatures over the attributes, and the
//! conditions of RFC 5652 §5.4–§5.6 that make both mean something. Whether a certificate or an algorithm
//! is acceptable is not asked here.

use kenin_pki::algorithm::AlgorithmIdentifier;
use kenin_pki::certificate::{Certificate, Memo};
use kenin_pki::crypto::{AlgorithmError, Digest, DigestAlgorithm, SignatureAlgorithm, VerifyError};

use super::attributes::Attributes;
use super::matcher::Matcher;
use super::signed_data::{SignedData, SignerInfo};
use super::timestamp;
use super::{Content, Refusal, oids};
use crate::defect::{Check, Defect};
use crate::facts::{Candidate, Ess, Note, SignerFacts, SignerId};
use crate::limits::Limits;

/// How much calculation a message has left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) signature_checks: usize,
    pub(crate) digested_bytes: usize,
    /// Signature calculations for time stamps: on their own account, since nobody signed that they are there.
    pub(crate) timestamp_checks: usize,
}

impl Budget {
    /// Time stamps of one message whose signatures are looked at.
    pub(crate) const TIMESTAMP_CHECKS: usize = 16;
}

/// Evaluates the signers of one layer.
pub(crate) struct Verifier<'v> {
    /// What was signed.
    pub(crate) content: Content<'v>,
    /// Certificates from elsewhere.
    pub(crate) known: &'v [Certificate],
    pub(crate) budget: &'v mut Budget,
    digests: Vec<(DigestAlgorithm, Digest)>,
}

impl<'v> Verifier<'v> {
    /// For one layer.
    pub(crate) const fn new(
        content: Content<'v>,
        known: &'v [Certificate],
        budget: &'v mut Budget,
    ) -> Self {
        Self {
            content,
            known,
            budget,
            digests: Vec::new(),
        }
    }

    /// Evaluates every signer, in order, and the time stamps of those that are right.
    pub(crate) fn signers(
        &mut self,
        signed: &SignedData<'_, '_>,
        limits: &Limits,
        memo: Option<&Memo>,
    ) -> Vec<SignerFacts> {
        let mut all: Vec<SignerFacts> = signed
            .signers
            .iter()
            .map(|cursor| self.signer(signed, SignerInfo::read(*cursor)))
            .collect();
        for (cursor, facts) in signed.signers.iter().zip(&mut all) {
            // What is wrong does not become right by its age.
            if facts.defect.is_none()
                && let Some(info) = SignerInfo::read(*cursor)
            {
                facts.timestamps = timestamp::read(&info, self.known, limits, memo, self.budget);
            }
        }
        all
    }

    /// Evaluates one signer, without what is not signed: a time stamp is itself evaluated so, and never has
    /// time stamps.
    pub(super) fn signer(
        &mut self,
        signed: &SignedData<'_, '_>,
        info: Option<SignerInfo<'_, '_>>,
    ) -> SignerFacts {
        let mut facts = blank();
        let Some(info) = info else {
            facts.refuse((Defect::Malformed, "the SignerInfo has a wrong structure"));
            return facts;
        };
        facts.value.clone_from(&info.signature);
        facts.digest_oid = info.digest.oid().to_string();
        facts.algorithm_oid = info.algorithm.oid().to_string();
        facts.digest = DigestAlgorithm::from_identifier(&info.digest);
        let broken = is_broken(&info.digest);
        if broken {
            facts.refuse((Defect::WeakDigest, "the digest algorithm is broken"));
        }
        let attributes = match info.signed_attributes.map(Attributes::read).transpose() {
            Ok(attributes) => attributes,
            Err(refusal) => {
                facts.refuse(refusal);
                facts.sid = info.sid;
                return facts;
            }
        };
        let algorithm = self.algorithms(&mut facts, &info, attributes.as_ref(), broken);
        match &attributes {
            Some(attributes) => self.attributes(&mut facts, signed, attributes, broken),
            None => {
                facts.refuse((
                    Defect::NoSignedAttributes,
                    "the signer has no signed attributes",
                ));
                if let Content::Refused(defect) = self.content {
                    facts.content = Check::Failed(defect);
                }
            }
        }
        self.candidates(&mut facts, signed, &info, attributes.as_ref(), algorithm);
        facts.sid = info.sid;
        conclude(&mut facts, signed, attributes.is_some());
        facts
    }

    /// Finds the algorithms, and whether what is said of them in several places agrees.
    fn algorithms(
        &self,
        facts: &mut SignerFacts,
        info: &SignerInfo<'_, '_>,
        attributes: Option<&Attributes>,
        broken: bool,
    ) -> Option<SignatureAlgorithm> {
        let protection = attributes.and_then(|attributes| attributes.protection.as_ref());
        if let Some(protection) = protection {
            let agrees = protection.as_ref().is_some_and(|(digest, signature)| {
                same_algorithm(digest, &info.digest) && same_algorithm(signature, &info.algorithm)
            });
            if !agrees {
                facts.refuse((
                    Defect::AlgorithmMismatch,
                    "CMSAlgorithmProtection does not agree",
                ));
            }
        }
        let Some(digest) = facts.digest else {
            if !broken {
                facts.refuse((
                    Defect::UnsupportedAlgorithm,
                    "the digest algorithm is not supported",
                ));
            }
            return None;
        };
        match SignatureAlgorithm::from_cms(&info.algorithm, digest) {
            Ok(algorithm) => {
                facts.algorithm = Some(algorithm);
                // Ed25519 hashes on its own; RFC 8419 §3.1 pairs it with SHA-512 and nothing else. ML-DSA stands beside
                // what is no weaker than itself (RFC 9882 §3.3).
                if !algorithm.suits(digest) {
                    facts.refuse((
                        Defect::AlgorithmMismatch,
                        "the digest algorithm is not that of the signature algorithm",
                    ));
                }
                if algorithm.digest() == DigestAlgorithm::Md5 {
                    facts.refuse((Defect::WeakDigest, "the digest algorithm is broken"));
                    return None;
                }
                (!broken).then_some(algorithm)
            }
            Err(AlgorithmError::Unsupported(_)) => {
                facts.refuse((
                    Defect::UnsupportedAlgorithm,
                    "the signature algorithm is not supported",
                ));
                None
            }
            Err(AlgorithmError::Parameters(_)) => {
                facts.refuse((
                    Defect::Malformed,
                    "the signature algorithm has wrong parameters",
                ));
                None
            }
        }
    }

    /// The conditions on the attributes, and the digest of the content.
    fn attributes(
        &mut self,
        facts: &mut SignerFacts,
        signed: &SignedData<'_, '_>,
        attributes: &Attributes,
        broken: bool,
    ) {
        if let Some(refusal) = attributes.defect {
            facts.refuse(refusal);
        }
        facts.signing_time = attributes.signing_time;
        facts.capabilities.clone_from(&attributes.capabilities);
        if attributes.signing_time_odd {
            facts.notes.push(Note::SigningTimeOdd);
        }
        match &attributes.content_type {
            None => facts.refuse((
                Defect::AttributeMissing,
                "there is no content-type attribute",
            )),
            Some(own) if *own != signed.content_type.content() => facts.refuse((
                Defect::ContentTypeMismatch,
                "the content-type attribute differs from the content's type",
            )),
            Some(_) => {}
        }
        facts.content = match &attributes.message_digest {
            None => {
                facts.refuse((
                    Defect::AttributeMissing,
                    "there is no message-digest attribute",
                ));
                Check::Failed(Defect::AttributeMissing)
            }
            Some(expected) => self.content_check(facts.digest, broken, expected),
        };
    }

    fn content_check(
        &mut self,
        algorithm: Option<DigestAlgorithm>,
        broken: bool,
        expected: &[u8],
    ) -> Check {
        if let Content::Refused(defect) = self.content {
            return Check::Failed(defect);
        }
        match algorithm {
            _ if broken => Check::Failed(Defect::WeakDigest),
            None => Check::Failed(Defect::UnsupportedAlgorithm),
            Some(algorithm) => match self.digest(algorithm) {
                Ok(digest) if digest.as_ref() == expected => Check::Ok,
                Ok(_) => Check::Failed(Defect::DigestMismatch),
                Err(defect) => Check::Failed(defect),
            },
        }
    }

    /// The digest of the content, calculated once for each algorithm.
    fn digest(&mut self, algorithm: DigestAlgorithm) -> Result<Digest, Defect> {
        if let Some((_, digest)) = self.digests.iter().find(|(known, _)| *known == algorithm) {
            return Ok(*digest);
        }
        self.spend(self.content.size())?;
        let digest = self.content.digest(algorithm)?;
        self.digests.push((algorithm, digest));
        Ok(digest)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Defect> {
        let left = self
            .budget
            .digested_bytes
            .checked_sub(bytes)
            .ok_or(Defect::LimitSigners)?;
        self.budget.digested_bytes = left;
        Ok(())
    }

    /// Tries every certificate that matches the signer identifier.
    fn candidates(
        &mut self,
        facts: &mut SignerFacts,
        signed: &SignedData<'_, '_>,
        info: &SignerInfo<'_, '_>,
        attributes: Option<&Attributes>,
        algorithm: Option<SignatureAlgorithm>,
    ) {
        let matcher = Matcher::new(&info.sid);
        let mut matching: Vec<&Certificate> = Vec::new();
        for certificate in signed.certificates.iter().chain(self.known) {
            if matcher.matches(certificate)
                && !matching
                    .iter()
                    .any(|other| other.der() == certificate.der())
            {
                matching.push(certificate);
            }
        }
        if matching.is_empty() {
            facts.refuse(
                match signed.unreadable.iter().any(|raw| matcher.occurs_in(raw)) {
                    true => (Defect::Malformed, "the signer's certificate cannot be read"),
                    false => (
                        Defect::SignerCertificateMissing,
                        "no certificate at hand matches the signer identifier",
                    ),
                },
            );
        }
        let ess = attributes.map_or(&[][..], |attributes| attributes.ess.as_slice());
        facts.ess = if ess.is_empty() {
            Ess::Absent
        } else if ess.iter().any(Option::is_none) {
            Ess::Unreadable
        } else {
            Ess::Mismatched
        };
        for certificate in matching {
            let named = match facts.ess {
                Ess::Absent => Check::Unchecked,
                Ess::Unreadable => Check::Failed(Defect::EssMismatch),
                _ if ess.iter().flatten().all(|ess| ess.names(certificate)) => {
                    facts.ess = Ess::Matched;
                    Check::Ok
                }
                _ => Check::Failed(Defect::EssMismatch),
            };
            let signature = match algorithm {
                None => Check::Unchecked,
                Some(_) if self.budget.signature_checks == 0 => {
                    facts.refuse((
                        Defect::LimitSigners,
                        "there are too many signatures to check",
                    ));
                    Check::Unchecked
                }
                Some(algorithm) => {
                    self.budget.signature_checks -= 1;
                    self.signature(certificate, algorithm, info, attributes)
                }
            };
            facts.candidates.push(Candidate {
                certificate: certificate.clone(),
                signature,
                ess: named,
            });
        }
    }

    fn signature(
        &mut self,
        certificate: &Certificate,
        algorithm: SignatureAlgorithm,
        info: &SignerInfo<'_, '_>,
        attributes: Option<&Attributes>,
    ) -> Check {
        let key = certificate.public_key();
        let refused = match (&self.content, attributes) {
            (_, Some(attributes)) => self.spend(attributes.signed.len()).err(),
            (Content::Refused(defect), None) => Some(*defect),
            // The content itself has to be seen.
            (_, None) if algorithm.hashes_itself() => self.spend(self.content.size()).err(),
            (_, None) => None,
        };
        if let Some(defect) = refused {
            return Check::Failed(defect);
        }
        let outcome = match attributes {
            Some(attributes) => key.verify(algorithm, &attributes.signed, &info.signature),
            None if algorithm.hashes_itself() => {
                key.verify(algorithm, &self.content.whole(), &info.signature)
            }
            None => match self.digest(algorithm.digest()) {
                Ok(digest) => key.verify_digest(algorithm, digest.as_ref(), &info.signature),
                Err(defect) => return Check::Failed(defect),
            },
        };
        match outcome {
            Ok(()) => Check::Ok,
            Err(VerifyError::BadSignature | VerifyError::Mismatch) => {
                Check::Failed(Defect::SignatureInvalid)
            }
            Err(VerifyError::BadKey | VerifyError::Unsupported) => {
                Check::Failed(Defect::UnsupportedAlgorithm)
            }
        }
    }
}

impl SignerFacts {
    /// Records a refusal unless a more telling one is known.
    fn refuse(&mut self, (defect, detail): Refusal) {
        if self.defect.is_none_or(|known| rank(defect) < rank(known)) {
            self.defect = Some(defect);
            self.detail = Some(detail);
        }
    }
}

/// The order in which defects of a signer are told: what makes it no signature at all, then what makes
/// it a wrong one, then what cannot be known.
const fn rank(defect: Defect) -> u8 {
    match defect {
        Defect::Malformed => 0,
        Defect::LimitSigners => 1,
        Defect::TwoContents => 2,
        Defect::NoSignedAttributes => 3,
        Defect::AttributesNotDer => 4,
        Defect::AttributeDuplicate => 5,
        Defect::AttributeMissing => 6,
        Defect::ContentTypeMismatch => 7,
        Defect::WeakDigest => 8,
        Defect::AlgorithmMismatch => 9,
        Defect::DigestMismatch => 10,
        Defect::SignerCertificateMissing => 11,
        Defect::EssMismatch => 12,
        Defect::SignatureInvalid => 13,
        _ => 14,
    }
}

/// Draws the sum over content, ESS and candidates.
fn conclude(facts: &mut SignerFacts, signed: &SignedData<'_, '_>, with_attributes: bool) {
    if !with_attributes && facts.verified().is_some() {
        // The signature is over the content itself: if it is right, so is the content.
        facts.content = Check::Ok;
    }
    if let Check::Failed(defect) = facts.content {
        facts.refuse((defect, defect.detail()));
    }
    let allowed = facts
        .candidates
        .iter()
        .any(|candidate| !matches!(candidate.ess, Check::Failed(_)));
    if !facts.candidates.is_empty() && !allowed {
        facts.refuse((
            Defect::EssMismatch,
            "the signed attributes name another certificate",
        ));
    }
    if facts.verified().is_none() {
        let failed = facts
            .candidates
            .iter()
            .find_map(|candidate| match candidate.signature {
                Check::Failed(defect) => Some(defect),
                _ => None,
            });
        if let Some(defect) = failed {
            facts.refuse((defect, defect.detail()));
        }
    }
    if !signed.unreadable.is_empty() && !facts.notes.contains(&Note::CertificateSkipped) {
        facts.notes.push(Note::CertificateSkipped);
    }
}

/// Whether two identifiers mean the same algorithm: absent parameters and NULL are one.
fn same_algorithm(one: &AlgorithmIdentifier, other: &AlgorithmIdentifier) -> bool {
    one.oid() == other.oid()
        && (one.parameters() == other.parameters()
            || (one.has_no_parameters() && other.has_no_parameters()))
}

fn is_broken(digest: &AlgorithmIdentifier) -> bool {
    [oids::MD2, oids::MD4, oids::MD5]
        .into_iter()
        .any(|known| known == digest.oid())
}

const fn blank() -> SignerFacts {
    SignerFacts {
        sid: SignerId::Unknown,
        value: Vec::new(),
        defect: None,
        detail: None,
        content: Check::Unchecked,
        digest: None,
        digest_oid: String::new(),
        algorithm: None,
        algorithm_oid: String::new(),
        candidates: Vec::new(),
        signing_time: None,
        capabilities: None,
        ess: Ess::Absent,
        timestamps: Vec::new(),
        notes: Vec::new(),
    }
}
