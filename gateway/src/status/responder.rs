//! Asking an OCSP responder about one certificate. Whether its answer counts is for the path.
//! <https://www.rfc-editor.org/rfc/rfc6960>

use kenin_certstore::fetch::{Limits, Place, Request};
use kenin_pki::certificate::Certificate;
use kenin_pki::ocsp::{NONCE_SIZE, OcspRequest, OcspResponse};
use kenin_pki::oid;
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
    let Some(answer) = response.about(about.certificate, key) else {
        return Err("the answer is about another certificate".to_owned());
    };
    let until = answer.next_update.unwrap_or(answer.this_update.plus(HOUR));
    if answer.this_update > now || until <= now {
        return Err("the answer is not current".to_owned());
    }
    let until = until.min(now.plus(DAY));
    Ok((What::Status(response), until.0))
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
