//! The rules of RFC 5280 §6.1 for one chain whose signatures are already verified.
//!
//! Signatures are the business of [`super::search`], revocation that of [`super::status`]. Beyond
//! §6.1: the algorithm floor, and the extended key usage of a path for mail (RFC 8550 §4.4.4).

use crate::certificate::Certificate;
use crate::crypto::{DigestAlgorithm, KeyKind, PublicKey, SignatureAlgorithm};
use crate::extension::{FieldError, KeyUsage};
use crate::oid::{self, Oid};

use super::anchor::TrustAnchor;
use super::budget::Budget;
use super::constraints::{Constraints, NameFault};
use super::error::{PathError, PathErrorKind};
use super::policy::{Policies, PolicyFault};
use super::rules::{AlgorithmFloor, PathRules, Purpose};

/// Checks a chain, target first, the certificate under the anchor last.
pub(super) fn chain(
    certificates: &[&Certificate],
    anchor: &TrustAnchor,
    rules: &PathRules,
    budget: &mut Budget,
) -> Result<(), PathError> {
    let mut names = Constraints::default();
    let mut policies = Policies::new(rules, certificates.len());
    let mut left = usize::MAX;
    weak_key(anchor.key(), rules.algorithms)
        .map_or(Ok(()), |what| Err(weak(what, anchor.certificate())))?;
    if let Some(certificate) = anchor.certificate().filter(|_| rules.check_anchor_validity) {
        validity(certificate, rules)?;
    }
    if let Some(certificate) = anchor.binding() {
        readable(certificate)?;
        // A certificate that is itself trusted vouches for itself, authority or not.
        if !matches!(certificates, [only] if only.der() == certificate.der()) {
            issuing(certificate, rules)?;
        }
        let field = |e| unreadable(e, certificate);
        if let Some(constraints) = certificate.name_constraints().map_err(field)? {
            names.add(constraints);
        }
        left = path_length(certificate)?.unwrap_or(left);
        let limits = certificate
            .policy_constraints()
            .map_err(field)?
            .copied()
            .unwrap_or_default();
        // RFC 5937 §3: they begin to hold as if the anchor were the first certificate of the path.
        policies.count(
            true,
            limits.require_explicit_policy,
            limits.inhibit_policy_mapping,
            certificate.inhibit_any_policy().map_err(field)?,
        );
    }
    let last = certificates.len().saturating_sub(1);
    for (at, certificate) in certificates.iter().rev().enumerate() {
        budget.step().map_err(PathError::spent)?;
        let is_last = at == last;
        let self_issued = certificate.is_self_issued();
        if is_last {
            target(certificate, rules)?;
        } else {
            intermediate(certificate, rules)?;
        }
        let field = |e| unreadable(e, certificate);
        if !names.is_empty() && (is_last || !self_issued) {
            let alt_names = certificate
                .subject_alt_names()
                .map_err(field)?
                .unwrap_or_default();
            names
                .check(certificate.subject(), alt_names, budget)
                .map_err(|fault| name_fault(fault, certificate))?;
        }
        let own = certificate.policies().map_err(field)?;
        policies
            .enter(
                own.map(|p| p.iter().map(|p| p.policy.as_oid())),
                self_issued && !is_last,
                budget,
            )
            .map_err(|fault| policy_fault(fault, certificate))?;
        let limits = certificate
            .policy_constraints()
            .map_err(field)?
            .copied()
            .unwrap_or_default();
        if is_last {
            return policies
                .finish(limits.require_explicit_policy)
                .map_err(|fault| policy_fault(fault, certificate));
        }
        if let Some(mappings) = certificate.policy_mappings().map_err(field)? {
            policies
                .map(
                    mappings
                        .iter()
                        .map(|m| (m.issuer.as_oid(), m.subject.as_oid())),
                    budget,
                )
                .map_err(|fault| policy_fault(fault, certificate))?;
        }
        policies.count(
            self_issued,
            limits.require_explicit_policy,
            limits.inhibit_policy_mapping,
            certificate.inhibit_any_policy().map_err(field)?,
        );
        if let Some(constraints) = certificate.name_constraints().map_err(field)? {
            names.add(constraints);
        }
        if !self_issued {
            left = left
                .checked_sub(1)
                .ok_or_else(|| PathError::invalid("path length constraint", certificate))?;
        }
        if let Some(length) = path_length(certificate)? {
            left = left.min(length);
        }
    }
    Ok(())
}

/// What is wrong with a certificate as the target, whatever stands above it.
pub(super) fn target(certificate: &Certificate, rules: &PathRules) -> Result<(), PathError> {
    validity(certificate, rules)?;
    strength(certificate, rules)?;
    numbered(certificate)?;
    readable(certificate)?;
    let field = |e| unreadable(e, certificate);
    match rules.purpose {
        Purpose::MailSigning => {
            signing_usage(certificate)?;
            mail_purpose(certificate)?;
        }
        Purpose::MailEncryption => {
            encrypting_usage(certificate)?;
            mail_purpose(certificate)?;
        }
        Purpose::TimeStamping => {
            signing_usage(certificate)?;
            stamping_only(certificate)?;
        }
        Purpose::Any => {}
    }
    let basic = certificate.basic_constraints().map_err(field)?;
    let ca = basic.is_some_and(|b| b.ca);
    if !ca && certificate.name_constraints().map_err(field)?.is_some() {
        let what = "name constraints in an end-entity certificate";
        return Err(PathError::invalid(what, certificate));
    }
    // §4.2.1.9: one extension says that it is no authority, another that it signs certificates.
    let signs = certificate.key_usage().map_err(field)?;
    if basic.is_some() && !ca && signs.is_some_and(|u| u.any(KeyUsage::KEY_CERT_SIGN)) {
        let what = "basic constraints and key usage contradict each other";
        return Err(PathError::invalid(what, certificate));
    }
    // §4.2.1.6: where the subject is empty, the other names are all there is.
    let named = certificate
        .extensions()
        .iter()
        .find(|e| e.oid == oid::SUBJECT_ALT_NAME);
    if certificate.subject().is_empty() && !named.is_some_and(|names| names.critical) {
        let what = "neither a subject nor a critical subjectAltName";
        return Err(PathError::invalid(what, certificate));
    }
    Ok(())
}

/// What is wrong with a certificate as an issuer, whatever stands above and below it.
pub(super) fn intermediate(certificate: &Certificate, rules: &PathRules) -> Result<(), PathError> {
    validity(certificate, rules)?;
    strength(certificate, rules)?;
    numbered(certificate)?;
    readable(certificate)?;
    issuing(certificate, rules)
}

/// Whether a certificate is strong enough and understood, whatever it is for.
pub(super) fn is_fit(certificate: &Certificate, rules: &PathRules) -> bool {
    strength(certificate, rules).is_ok() && readable(certificate).is_ok()
}

fn issuing(certificate: &Certificate, rules: &PathRules) -> Result<(), PathError> {
    let field = |e| unreadable(e, certificate);
    if !certificate
        .basic_constraints()
        .map_err(field)?
        .is_some_and(|b| b.ca)
    {
        return Err(PathError::invalid(
            "issuer is not a certification authority",
            certificate,
        ));
    }
    let usage = certificate.key_usage().map_err(field)?;
    if usage.is_some_and(|usage| !usage.any(KeyUsage::KEY_CERT_SIGN)) {
        return Err(PathError::invalid(
            "issuer may not sign certificates",
            certificate,
        ));
    }
    if certificate.subject().is_empty() {
        return Err(PathError::invalid("issuer without a name", certificate));
    }
    match rules.purpose {
        Purpose::MailSigning | Purpose::MailEncryption => mail_purpose(certificate),
        Purpose::TimeStamping => stamping_purpose(certificate),
        Purpose::Any => Ok(()),
    }
}

fn validity(certificate: &Certificate, rules: &PathRules) -> Result<(), PathError> {
    let field = |e| unreadable(e, certificate);
    let (from, until) = (
        certificate.not_before().map_err(field)?,
        certificate.not_after().map_err(field)?,
    );
    if rules.time > until {
        return Err(PathError::new(
            PathErrorKind::Expired,
            "certificate has expired",
            Some(certificate),
        ));
    }
    if rules.time < from {
        let what = "certificate is not yet valid";
        return Err(PathError::new(
            PathErrorKind::NotYetValid,
            what,
            Some(certificate),
        ));
    }
    Ok(())
}

/// §4.1.2.2: a serial number has twenty octets at most. The one that keeps it positive in DER is not counted: many
/// authorities understood it so. Zero and less are to be borne with, by the same section.
fn numbered(certificate: &Certificate) -> Result<(), PathError> {
    let octets = match certificate.serial() {
        [0, magnitude @ ..] => magnitude,
        octets => octets,
    };
    if octets.len() > MAX_SERIAL {
        let what = "serial number of more than 20 octets";
        return Err(PathError::invalid(what, certificate));
    }
    Ok(())
}

/// Every extension that counts reads, and none that is critical is unknown.
fn readable(certificate: &Certificate) -> Result<(), PathError> {
    let field = |e| unreadable(e, certificate);
    certificate.subject_alt_names().map_err(field)?;
    certificate.key_usage().map_err(field)?;
    certificate.ext_key_usage().map_err(field)?;
    certificate.basic_constraints().map_err(field)?;
    certificate.name_constraints().map_err(field)?;
    certificate.policies().map_err(field)?;
    certificate.policy_mappings().map_err(field)?;
    certificate.policy_constraints().map_err(field)?;
    certificate.inhibit_any_policy().map_err(field)?;
    if let Some(oid) = certificate.unknown_critical().first() {
        return Err(PathError::invalid(
            format!("unknown critical extension {oid}"),
            certificate,
        ));
    }
    // §4.1.2.1. That none is there twice is a condition of reading them.
    if certificate.version() < 3 && !certificate.extensions().is_empty() {
        let what = "extensions in a certificate before version 3";
        return Err(PathError::invalid(what, certificate));
    }
    // Nothing here rests on these; but who cannot read a critical one cannot process it.
    for (oid, error) in [
        (
            oid::AUTHORITY_KEY_IDENTIFIER,
            certificate.authority_key_id().err(),
        ),
        (
            oid::SUBJECT_KEY_IDENTIFIER,
            certificate.subject_key_id().err(),
        ),
        (
            oid::CRL_DISTRIBUTION_POINTS,
            certificate.crl_distribution_points().err(),
        ),
    ] {
        let mut extensions = certificate.extensions().iter();
        if let Some(error) = error
            && extensions.any(|e| e.critical && e.oid == oid)
        {
            return Err(field(error));
        }
    }
    Ok(())
}

/// The algorithm floor: the key of the certificate and the signature on it.
fn strength(certificate: &Certificate, rules: &PathRules) -> Result<(), PathError> {
    if let Some(what) = weak_key(certificate.public_key(), rules.algorithms) {
        return Err(weak(what, Some(certificate)));
    }
    // An algorithm without a digest known here did not verify; that was said before.
    match SignatureAlgorithm::from_identifier(certificate.signature_algorithm()) {
        Ok(algorithm) if weak_digest(algorithm, rules.algorithms) => Err(weak(
            format!("signature with {}", algorithm.digest().name()),
            Some(certificate),
        )),
        _ => Ok(()),
    }
}

/// Whether a signature by this algorithm is below the floor. MD5 always is.
pub(super) fn weak_digest(algorithm: SignatureAlgorithm, floor: AlgorithmFloor) -> bool {
    match algorithm.digest() {
        DigestAlgorithm::Md5 => true,
        DigestAlgorithm::Sha1 | DigestAlgorithm::Sha224 => !floor.allow_sha1,
        _ => false,
    }
}

/// What makes a key too weak.
pub(super) fn weak_key(key: &PublicKey, floor: AlgorithmFloor) -> Option<String> {
    match key.kind() {
        KeyKind::Rsa { bits }
            if usize::try_from(*bits).is_ok_and(|bits| bits < floor.minimum_rsa_bits) =>
        {
            Some(format!("RSA key of {bits} bits"))
        }
        KeyKind::Dsa { .. } if !floor.allow_dsa => Some("DSA key".to_owned()),
        _ => None,
    }
}

/// A present key usage must allow signatures.
fn signing_usage(certificate: &Certificate) -> Result<(), PathError> {
    let bits = KeyUsage::DIGITAL_SIGNATURE | KeyUsage::NON_REPUDIATION;
    let usage = certificate
        .key_usage()
        .map_err(|e| unreadable(e, certificate))?;
    match usage.is_none_or(|usage| usage.any(bits)) {
        true => Ok(()),
        false => Err(key_usage("key usage does not allow signing", certificate)),
    }
}

/// A present key usage must allow signatures, and a present extended key usage must name mail or anything. Nothing else is
/// looked at.
///
/// # Errors
/// Why nobody believes it for signed mail.
pub fn mail_signing_usage(certificate: &Certificate) -> Result<(), PathError> {
    signing_usage(certificate)?;
    mail_purpose(certificate)
}

/// A present key usage must allow what is done to encrypt for such a key (RFC 8550 §4.4.2, RFC 8410 §5, RFC 9935 §5), and
/// something must be done with it. Nothing else is looked at.
///
/// # Errors
/// Why nobody encrypts for it.
pub fn encrypting_usage(certificate: &Certificate) -> Result<(), PathError> {
    let key = certificate.public_key();
    let bits = match key.kind() {
        KeyKind::Rsa { .. } if key.algorithm() != oid::RSASSA_PSS => KeyUsage::KEY_ENCIPHERMENT,
        KeyKind::MlKem(_) => KeyUsage::KEY_ENCIPHERMENT,
        KeyKind::Ec(_) | KeyKind::X25519 => KeyUsage::KEY_AGREEMENT,
        KeyKind::Rsa { .. }
        | KeyKind::Dsa { .. }
        | KeyKind::Ed25519
        | KeyKind::MlDsa(_)
        | KeyKind::Unsupported(_) => {
            return Err(key_usage("no key that is encrypted for", certificate));
        }
    };
    let usage = certificate
        .key_usage()
        .map_err(|e| unreadable(e, certificate))?;
    let Some(usage) = usage else { return Ok(()) };
    if !usage.any(bits) {
        let what = "key usage does not allow encryption";
        return Err(key_usage(what, certificate));
    }
    // RFC 5280 §4.2.1.3: with such a key its holder enciphers, and does not decipher.
    if bits == KeyUsage::KEY_AGREEMENT && usage.any(KeyUsage::ENCIPHER_ONLY) {
        let what = "key usage allows its holder enciphering only";
        return Err(key_usage(what, certificate));
    }
    Ok(())
}

/// A present extended key usage must name mail or anything.
fn mail_purpose(certificate: &Certificate) -> Result<(), PathError> {
    let what = "extended key usage does not allow mail";
    names_purpose(certificate, oid::EMAIL_PROTECTION, what)
}

/// A present extended key usage must name time stamping or anything.
fn stamping_purpose(certificate: &Certificate) -> Result<(), PathError> {
    let what = "extended key usage does not allow time stamps";
    names_purpose(certificate, oid::TIME_STAMPING, what)
}

fn names_purpose(certificate: &Certificate, wanted: Oid<'_>, what: &str) -> Result<(), PathError> {
    let purposes = certificate
        .ext_key_usage()
        .map_err(|e| unreadable(e, certificate))?;
    let fits = purposes.is_none_or(|purposes| {
        purposes
            .iter()
            .any(|p| *p == wanted || *p == oid::ANY_EXT_KEY_USAGE)
    });
    if fits {
        Ok(())
    } else {
        Err(key_usage(what, certificate))
    }
}

/// RFC 3161 §2.3: a key that stamps times does nothing else, and its certificate says so critically.
fn stamping_only(certificate: &Certificate) -> Result<(), PathError> {
    let purposes = certificate
        .ext_key_usage()
        .map_err(|e| unreadable(e, certificate))?;
    let only = matches!(purposes, Some([purpose]) if *purpose == oid::TIME_STAMPING);
    let mut extensions = certificate.extensions().iter();
    if only && extensions.any(|e| e.critical && e.oid == oid::EXT_KEY_USAGE) {
        Ok(())
    } else {
        let what = "extended key usage is not critical and of time stamps only";
        Err(key_usage(what, certificate))
    }
}

fn path_length(certificate: &Certificate) -> Result<Option<usize>, PathError> {
    let basic = certificate
        .basic_constraints()
        .map_err(|e| unreadable(e, certificate))?;
    Ok(basic
        .and_then(|b| b.path_len)
        .map(|n| usize::try_from(n).unwrap_or(usize::MAX)))
}

fn unreadable(error: FieldError, certificate: &Certificate) -> PathError {
    PathError::invalid(error.to_string(), certificate)
}

fn key_usage(what: &str, certificate: &Certificate) -> PathError {
    PathError::new(PathErrorKind::KeyUsage, what, Some(certificate))
}

fn weak(what: impl Into<String>, certificate: Option<&Certificate>) -> PathError {
    PathError::new(PathErrorKind::WeakAlgorithm, what, certificate)
}

fn name_fault(fault: NameFault, certificate: &Certificate) -> PathError {
    let text = match fault {
        NameFault::Spent(spent) => return PathError::spent(spent),
        NameFault::Excluded(form) => format!("name constraints exclude its {form}"),
        NameFault::NotPermitted(form) => format!("name constraints do not permit its {form}"),
        NameFault::NotUnderstood(form) => {
            format!("name constraints cannot be applied to its {form}")
        }
    };
    PathError::invalid(text, certificate)
}

fn policy_fault(fault: PolicyFault, certificate: &Certificate) -> PathError {
    match fault {
        PolicyFault::Spent(spent) => PathError::spent(spent),
        PolicyFault::NoValidPolicy => {
            PathError::invalid("no acceptable certificate policy", certificate)
        }
        PolicyFault::MappedAny => PathError::invalid("policy mapping of anyPolicy", certificate),
    }
}

/// Octets of a serial number.
const MAX_SERIAL: usize = 20;
