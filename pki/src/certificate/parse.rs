//! From bytes to fields. <https://www.rfc-editor.org/rfc/rfc5280#section-4.1>

use crate::algorithm::AlgorithmIdentifier;
use crate::crypto::PublicKey;
use crate::der::{
    DerError, GENERALIZED_TIME, Reader, SEQUENCE, UTC_TIME, context, context_constructed,
};
use crate::extension::{ExtensionSet, FieldError, read};
use crate::name::Name;
use crate::oid::{self, Oid};
use crate::signed::Signed;
use crate::time::UnixTime;

use super::Inner;

pub(super) fn certificate(bytes: &[u8]) -> Result<Inner, DerError> {
    if bytes.len() > MAX_SIZE {
        return Err(DerError("longer than any certificate"));
    }
    let (signed, tbs, _) = Signed::read(bytes)?;
    let mut reader = tbs.reader();
    let version = match reader.optional(context_constructed(0))? {
        Some(field) => {
            let mut inner = field.reader();
            let version = inner.small()?;
            inner.finish()?;
            u8::try_from(version)
                .ok()
                .filter(|v| *v <= 2)
                .ok_or(DerError("unknown version"))?
                + 1
        }
        None => 1,
    };
    let serial = reader.integer()?;
    let inner_algorithm = AlgorithmIdentifier::read(&mut reader)?;
    let issuer = Name::read(&mut reader)?;
    let mut validity = reader.sequence()?;
    let not_before = date(&mut validity, "notBefore")?;
    let not_after = date(&mut validity, "notAfter")?;
    validity.finish()?;
    let subject = Name::read(&mut reader)?;
    let public_key = PublicKey::from_spki(reader.element(SEQUENCE)?.raw)?;
    // issuerUniqueID and subjectUniqueID: nobody uses them, nothing follows from them.
    reader.optional(context(1))?;
    reader.optional(context(2))?;
    let extensions = match reader.optional(context_constructed(3))? {
        Some(field) => {
            let mut inner = field.reader();
            let extensions = ExtensionSet::read(&mut inner)?;
            inner.finish()?;
            extensions
        }
        None => ExtensionSet::empty(),
    };
    reader.finish()?;

    Ok(Inner {
        signed,
        version,
        serial: serial.into(),
        inner_algorithm,
        issuer,
        not_before,
        not_after,
        subject,
        public_key,
        unknown_critical: extensions.unknown_critical(&KNOWN),
        basic_constraints: extensions.field(
            oid::BASIC_CONSTRAINTS,
            "basicConstraints",
            read::basic_constraints,
        ),
        key_usage: extensions.field(oid::KEY_USAGE, "keyUsage", read::key_usage),
        ext_key_usage: extensions.field(oid::EXT_KEY_USAGE, "extKeyUsage", read::oids),
        subject_key_id: extensions.field(
            oid::SUBJECT_KEY_IDENTIFIER,
            "subjectKeyIdentifier",
            read::octets,
        ),
        authority_key_id: extensions.field(
            oid::AUTHORITY_KEY_IDENTIFIER,
            "authorityKeyIdentifier",
            read::authority_key_id,
        ),
        subject_alt_names: extensions.field(
            oid::SUBJECT_ALT_NAME,
            "subjectAltName",
            read::general_names,
        ),
        name_constraints: extensions.field(
            oid::NAME_CONSTRAINTS,
            "nameConstraints",
            read::name_constraints,
        ),
        policies: extensions.field(
            oid::CERTIFICATE_POLICIES,
            "certificatePolicies",
            read::policies,
        ),
        policy_mappings: extensions.field(
            oid::POLICY_MAPPINGS,
            "policyMappings",
            read::policy_mappings,
        ),
        policy_constraints: extensions.field(
            oid::POLICY_CONSTRAINTS,
            "policyConstraints",
            read::policy_constraints,
        ),
        inhibit_any_policy: extensions.field(
            oid::INHIBIT_ANY_POLICY,
            "inhibitAnyPolicy",
            read::small,
        ),
        crl_distribution_points: extensions.field(
            oid::CRL_DISTRIBUTION_POINTS,
            "cRLDistributionPoints",
            read::distribution_points,
        ),
        extensions,
    })
}

/// A date must be an element that could be a date; what it says may be unreadable.
fn date(
    reader: &mut Reader<'_>,
    field: &'static str,
) -> Result<Result<UnixTime, FieldError>, DerError> {
    let element = reader.any()?;
    if !matches!(element.tag, UTC_TIME | GENERALIZED_TIME) {
        return Err(DerError("validity is not a time"));
    }
    Ok(element
        .time()
        .map_err(|DerError(what)| FieldError { field, what }))
}

/// Certificates have a few kilobytes, with post-quantum keys and signatures some tens. What is read of one
/// takes several times its size, and a message may bring many.
const MAX_SIZE: usize = 256 * 1024;

/// Extensions that path validation understands.
const KNOWN: [Oid<'static>; 12] = [
    oid::BASIC_CONSTRAINTS,
    oid::KEY_USAGE,
    oid::EXT_KEY_USAGE,
    oid::SUBJECT_KEY_IDENTIFIER,
    oid::AUTHORITY_KEY_IDENTIFIER,
    oid::SUBJECT_ALT_NAME,
    oid::NAME_CONSTRAINTS,
    oid::CERTIFICATE_POLICIES,
    oid::POLICY_MAPPINGS,
    oid::POLICY_CONSTRAINTS,
    oid::INHIBIT_ANY_POLICY,
    oid::CRL_DISTRIBUTION_POINTS,
];
