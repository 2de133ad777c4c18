//! What a mail is worth on arrival: ARC chain, DKIM (RFC 6376), SPF (RFC 7208), DMARC (RFC 9989).

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kenin_policy::{ArrivalResults, header};
use kenin_smtp_filter::{Division, Envelope};
use mail_auth::arc::ArcError;
use mail_auth::common::crypto::Algorithm;
use mail_auth::dkim::DkimError;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    ArcOutput, AuthenticatedMessage, DkimOutput, DkimResult, DmarcOutput, DmarcResult, Error,
    MessageAuthenticator, SpfOutput, SpfResult,
};
use tokio::time::{Instant, timeout_at};

use super::Sealed;

/// Refuses a mail with more to verify than anybody sends; says whether it has a field of a chain.
///
/// Every signature costs look-ups at servers that a stranger names.
pub(super) fn bounded(raw: &[u8]) -> Result<bool, Sealed> {
    let (mut signatures, mut chain) = (0, 0);
    for field in header::scan(raw).fields {
        let dkim = field.may_be(raw, |name| name.starts_with("dkim"));
        let arc = field.may_be(raw, |name| name.starts_with("arc-"));
        signatures += usize::from(dkim);
        chain += usize::from(arc);
        if (dkim || arc) && field.whole.len() > MAX_FIELD {
            return Err(Sealed::TooMuch);
        }
    }
    if signatures > MAX_SIGNATURES || chain > MAX_CHAIN {
        return Err(Sealed::TooMuch);
    }
    Ok(chain > 0)
}

/// Asks the domain name system, and says what each method found.
pub(super) async fn evaluate<'x>(
    authenticator: &MessageAuthenticator,
    message: &'x AuthenticatedMessage<'x>,
    envelope: &Envelope,
    hostname: &str,
    by: Instant,
) -> (ArcOutput<'x>, ArrivalResults) {
    let client = client(envelope);
    let (chain, signatures, sender) = tokio::join!(
        timeout_at(by, authenticator.verify_arc(message)),
        timeout_at(by, authenticator.verify_dkim(message)),
        timeout_at(by, async {
            let (address, hello) = client?;
            let from = &envelope.mail_from;
            let asked = SpfParameters::verify_mail_from(address, hello, hostname, from);
            Some(authenticator.verify_spf(asked).await)
        }),
    );
    let chain = chain.unwrap_or_else(|_| {
        let late = Error::Dns(mail_auth::DnsError::Resolver(
            "no answer in time".to_owned(),
        ));
        ArcOutput::default().with_result(DkimResult::TempError(late))
    });
    let mut results = ArrivalResults::default();
    results.add("arc", word(chain.result()), &[]);
    match &signatures {
        Ok(signatures) => dkim(signatures, &mut results),
        Err(_) => results.add("dkim", "temperror", &[]),
    }
    let sender = match sender {
        Ok(sender) => sender,
        Err(_) => client.map(|_| SpfOutput::new(String::new()).with_result(SpfResult::TempError)),
    };
    if let (Some(sender), Some((_, hello))) = (&sender, client) {
        let identity = match envelope.mail_from.as_str() {
            "" => ("smtp.helo", hello),
            from => ("smtp.mailfrom", from),
        };
        results.add("spf", spf_word(sender.result()), &[identity]);
    }
    // Without every signature, or without the client where none of them holds, nothing is known.
    if let Ok(signatures) = &signatures {
        let good: Vec<DkimOutput<'_>> = signatures
            .iter()
            .filter(|one| acceptable(one))
            .cloned()
            .collect();
        let unknown = sender.is_none();
        let sender = sender.unwrap_or_else(|| SpfOutput::new(String::new()));
        let from = envelope
            .mail_from
            .rsplit_once('@')
            .map(|(_, domain)| domain);
        let asked = DmarcParameters {
            message,
            dkim_output: &good,
            dkim2_output: None,
            rfc5321_mail_from_domain: from.or(client.map(|(_, hello)| hello)).unwrap_or_default(),
            spf_output: &sender,
        };
        match timeout_at(by, authenticator.verify_dmarc(asked)).await {
            Ok(found) => dmarc(&found, unknown, &mut results),
            Err(_) => results.add("dmarc", "temperror", &[]),
        }
    }
    (chain, results)
}

/// Whether a seal of ours can be the next of this chain.
pub(super) fn may_continue(chain: &ArcOutput<'_>, has_fields: bool) -> Result<(), Sealed> {
    let longest = chain.sets().last().map_or(0, |set| set.seal.header.i);
    match chain.result() {
        DkimResult::None if !has_fields => Ok(()),
        DkimResult::Pass if longest < MAX_INSTANCE => Ok(()),
        DkimResult::TempError(_) => Err(Sealed::Unanswered),
        _ => Err(Sealed::Chain),
    }
}

/// The client that brought the mail to the MTA, and its name for itself; nothing where only the MTA is
/// known, or where it is a host of the site, for which SPF says nothing.
fn client(envelope: &Envelope) -> Option<(IpAddr, &str)> {
    let known = &envelope.xforward;
    let (address, hello) = match envelope.division {
        Division::Never => (envelope.client.ip(), envelope.helo.as_str()),
        Division::Copies | Division::Answers => {
            let text = known.addr.as_deref()?;
            let bare = match text.get(..5) {
                Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => text.get(5..)?,
                _ => text,
            };
            (
                bare.parse().ok()?,
                known.helo.as_deref().unwrap_or_default(),
            )
        }
    };
    let address = address.to_canonical();
    let here = match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    };
    let outside = !(here || address.is_loopback() || address.is_unspecified());
    outside.then_some((address, hello))
}

fn dkim(signatures: &[DkimOutput<'_>], results: &mut ArrivalResults) {
    if signatures.is_empty() {
        results.add("dkim", "none", &[]);
    }
    for one in signatures {
        let result = match one.result() {
            DkimResult::Pass if !acceptable(one) => "policy",
            result => word(result),
        };
        let Some(signature) = one.signature() else {
            results.add("dkim", result, &[]);
            continue;
        };
        let beginning = STANDARD.encode(signature.b.get(..6).unwrap_or_default());
        let properties = [
            ("header.d", signature.d.as_str()),
            ("header.s", signature.s.as_str()),
            ("header.b", beginning.as_str()),
        ];
        results.add("dkim", result, &properties);
    }
}

/// A signature that counts: SHA-1 proves nothing any more (RFC 8301 §3.1).
fn acceptable(one: &DkimOutput<'_>) -> bool {
    let weak = one
        .signature()
        .is_some_and(|signature| signature.a == Algorithm::RsaSha1);
    *one.result() == DkimResult::Pass && !weak
}

fn dmarc(found: &DmarcOutput, client_unknown: bool, results: &mut ArrivalResults) {
    let both = [found.dkim_result(), found.spf_result()];
    let any = |wanted: fn(&DmarcResult) -> bool| both.iter().any(|one| wanted(one));
    let result = if any(|one| *one == DmarcResult::Pass) {
        "pass"
    } else if any(|one| matches!(one, DmarcResult::TempError(_))) {
        "temperror"
    } else if any(|one| matches!(one, DmarcResult::PermError(_))) {
        "permerror"
    } else if found.dmarc_record().is_none() {
        "none"
    } else if client_unknown {
        // Whether SPF would have passed is not known.
        return;
    } else {
        "fail"
    };
    results.add("dmarc", result, &[("header.from", found.domain())]);
}

/// The word of RFC 8601 §2.7.1.
fn word(result: &DkimResult) -> &'static str {
    match result {
        DkimResult::Pass => "pass",
        DkimResult::None => "none",
        DkimResult::TempError(_) => "temperror",
        DkimResult::PermError(_) => "permerror",
        DkimResult::Fail(_)
        | DkimResult::Neutral(
            Error::Dkim(DkimError::FailedBodyHashMatch) | Error::Arc(ArcError::FailedBodyHashMatch),
        ) => "fail",
        DkimResult::Neutral(_) => "neutral",
    }
}

fn spf_word(result: SpfResult) -> &'static str {
    match result {
        SpfResult::Pass => "pass",
        SpfResult::Fail => "fail",
        SpfResult::SoftFail => "softfail",
        SpfResult::Neutral => "neutral",
        SpfResult::TempError => "temperror",
        SpfResult::PermError => "permerror",
        SpfResult::None => "none",
    }
}

/// DKIM signatures of one mail.
const MAX_SIGNATURES: usize = 16;
/// RFC 8617 §5.1.1: the instance of the last set that may be.
const MAX_INSTANCE: u32 = 50;
/// Three fields a set.
const MAX_CHAIN: usize = 3 * 50;
/// Octets of one field of them.
const MAX_FIELD: usize = 8 << 10;
