//! Asking an OCSP responder about one certificate, and for how long its answer is worth remembering. Whether it
//! counts is for the path, which hears more than what is remembered: what is revoked for good is so by an old answer too.
//! <https://www.rfc-editor.org/rfc/rfc6960>

use std::slice;

use kenin_certstore::fetch::{Limits, Place, Request};
use kenin_pki::certificate::Certificate;
use kenin_pki::ocsp::{CertStatus, NONCE_SIZE, OcspAnswer, OcspRequest, OcspResponse};
use kenin_pki::oid;
use kenin_pki::path::{Budget, PathErrorKind, StatusSources, TrustAnchor, find_path};
use kenin_pki::time::UnixTime;

use super::asked::What;
use super::{About, DAY, Found, HOUR, whole};

/// Asks a responder, with a nonce, and takes its answer if it is one.
pub(super) async fn ask(about: &About<'_>, place: &Place, now: UnixTime) -> Found {
    let mut nonce = [0; NONCE_SIZE];
    let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    random
        .fill(&mut nonce)
        .map_err(|_| "there is no randomness for a nonce".to_owned())?;
    let key = about.by.public_key();
    let question = OcspRequest::new(about.certificate, key, nonce);
    let body = question.to_der();
    let request = Request::post(
        place,
        "application/ocsp-response",
        "application/ocsp-request",
        &body,
    );
    let bytes = whole(&*about.sources.network, &request, &Limits::OCSP).await?;
    let response = OcspResponse::from_der(&bytes).map_err(|error| error.to_string())?;
    if !question.is_answered_by(&response) {
        return Err("the answer is one to another question".to_owned());
    }
    // What a stranger on the way made must not stand for the answer until its own end.
    if !is_signed(&response, about.by) {
        return Err("nobody signed the answer who may".to_owned());
    }
    let answers: Vec<&OcspAnswer> = response.about(about.certificate, key).collect();
    let Some(end) = answers.iter().map(|answer| end_of(answer)).min() else {
        return Err("the answer is about another certificate".to_owned());
    };
    let mut times = answers.iter().map(|answer| answer.this_update);
    let early = response.produced_at().is_ahead_of(now) || times.any(|time| time.is_ahead_of(now));
    let revoked = |answer: &&OcspAnswer| matches!(answer.status, CertStatus::Revoked(_));
    let until = if !early && now < end {
        end.min(counts_until(about, &response, now))
    } else if answers.iter().any(revoked) {
        // The path hears it, and the responder may have a better one for the next message.
        now
    } else {
        return Err("the answer is not current".to_owned());
    };
    Ok((What::Status(response), until.0))
}

/// Until when an answer stands for its responder: a day at most; and where it does not tell the status, by what is
/// known here, for a moment. A certificate that is not known yet may be known soon, and a responder
/// whose own certificate has ended gets another.
fn counts_until(about: &About<'_>, response: &OcspResponse, now: UnixTime) -> UnixTime {
    let until = tells_until(about, response, now);
    until.unwrap_or(now.plus(MINUTE)).min(now.plus(DAY))
}

/// Until when an answer tells the status, by what is known here; nothing where it does not.
pub(super) fn tells_until(
    about: &About<'_>,
    response: &OcspResponse,
    now: UnixTime,
) -> Option<UnixTime> {
    let found = find_path(
        about.certificate,
        &[],
        &[TrustAnchor::from_certificate(about.by.clone())],
        StatusSources {
            crls: &about.lists,
            ocsp: slice::from_ref(response),
        },
        &about.rules,
        &mut Budget::default(),
    );
    match found {
        Ok(path) if path.revocation().iter().any(|fact| fact.source == "ocsp") => {
            Some(path.valid_until())
        }
        Err(error) if matches!(error.kind(), PathErrorKind::Revoked { .. }) => Some(now.plus(DAY)),
        _ => None,
    }
}

/// Without nextUpdate newer information is always to be had (RFC 6960 §4.2.2.1).
fn end_of(answer: &OcspAnswer) -> UnixTime {
    answer.next_update.unwrap_or(answer.this_update.plus(HOUR))
}

/// Whether the issuer signed it, or somebody to whom the issuer gave a certificate for that. Whether that one is
/// still good is for the path.
fn is_signed(response: &OcspResponse, issuer: &Certificate) -> bool {
    let named = |one: &Certificate| {
        let purposes = one.ext_key_usage().ok().flatten().unwrap_or_default();
        one.issuer() == issuer.subject()
            && purposes.iter().any(|purpose| *purpose == oid::OCSP_SIGNING)
            && one.verify_signature(issuer.public_key()).is_ok()
            && response.verify_signature(one.public_key()).is_ok()
    };
    response.verify_signature(issuer.public_key()).is_ok()
        || response.certificates().iter().take(MAX_NAMED).any(named)
}

/// Responders' certificates that are looked at.
const MAX_NAMED: usize = 4;
const MINUTE: i64 = 60;
