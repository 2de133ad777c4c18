//! By what a copy would show a certificate that must not be shown, or a signature made with it, when it was
//! taken out of its place: the last look at a copy searches for these octets.
//!
//! What a certificate says of its holder is not among them: whoever signs may write their own name and address.

use kenin_pki::certificate::Certificate;
use kenin_pki::der;
use kenin_pki::der::write;
use kenin_smime::{SignatureFacts, SignerId};

use super::is_closed;
use super::signer::JudgedSigner;
use crate::step::Case;

/// Those of a layer: the names of the authorities in question, the ones only the mail knows among them; the
/// signatures; and the certificates of those who signed and of others that stand below such an authority.
pub(super) fn of_layer(
    case: &Case<'_>,
    signature: &SignatureFacts,
    signers: &[JudgedSigner],
) -> Vec<Vec<u8>> {
    let authorities = case
        .trust
        .shielded_among(case.known, &signature.certificates);
    let mut traces: Vec<Vec<u8>> = authorities.iter().map(|name| name.der().to_vec()).collect();
    let closed = signers.iter().filter(|signer| is_closed(case, signer));
    for facts in closed.filter_map(|signer| signature.signers.get(signer.place)) {
        traces.push(part(&facts.value));
        match &facts.sid {
            SignerId::IssuerAndSerial { issuer, serial } => traces.push(identifier(issuer, serial)),
            SignerId::KeyId(id) => traces.push(key_id(id)),
            SignerId::Unknown => {}
        }
        let candidates = facts.candidates.iter().map(|one| &one.certificate);
        traces.extend(candidates.flat_map(of_certificate));
    }
    let brought = signature.certificates.iter();
    let holders = brought.filter(|one| authorities.contains(&one.issuer()) && !is_authority(one));
    traces.extend(holders.flat_map(of_certificate));
    traces.sort_unstable();
    traces.dedup();
    traces
}

/// Those of a certificate. The name of its issuer is not among them, since it is that of others too.
pub(crate) fn of_certificate(certificate: &Certificate) -> Vec<Vec<u8>> {
    let id = certificate.subject_key_id().ok().flatten();
    let mut traces = vec![
        certificate.subject().der().to_vec(),
        identifier(certificate.issuer().der(), certificate.serial()),
        part(certificate.public_key().bits()),
        certificate.sha256().to_vec(),
    ];
    traces.extend(id.map(key_id));
    traces
}

/// The content of an IssuerAndSerialNumber (RFC 5652 §10.2.4).
fn identifier(issuer: &[u8], serial: &[u8]) -> Vec<u8> {
    [issuer, &write::element(der::INTEGER, serial)].concat()
}

/// A key identifier, wherever it stands; a short one only where it is one.
fn key_id(id: &[u8]) -> Vec<u8> {
    match id.len() < LONG {
        true => write::octet_string(id),
        false => id.to_vec(),
    }
}

/// Of a long value enough to know it by, from its middle, wherever it was cut.
fn part(value: &[u8]) -> Vec<u8> {
    let before = value.len().saturating_sub(PART) / 2;
    value.iter().skip(before).take(PART).copied().collect()
}

fn is_authority(certificate: &Certificate) -> bool {
    let basic = certificate.basic_constraints().ok().flatten();
    basic.is_some_and(|basic| basic.ca)
}

/// Octets of a key identifier that nothing else has by chance.
const LONG: usize = 16;
const PART: usize = 32;
