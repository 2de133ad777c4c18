//! x509-limbo: the cases that say something about mail, each through [`find_path`], and each that is refused for its
//! own reason.
//!
//! The name of a host that a case asks for is matched by a TLS client, not by path validation; a mail address has to be
//! one of the certificate's.

use std::collections::BTreeMap;

use kenin_pki::address::{Address, AddressCase};
use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::path::{
    AlgorithmFloor, Budget, PathRules, Purpose, RevocationMode, StatusSources, TrustAnchor,
    find_path,
};
use kenin_pki::time::UnixTime;
use serde_json::Value;

use super::{Exceptions, Outcome};

/// The namespaces that are run, and how many cases each has.
const RUN: [(&str, usize); 6] = [
    ("crl", 8),
    ("cve", 3),
    ("invalid", 1),
    ("pathlen", 13),
    ("pathological", 11),
    ("rfc5280", 102),
];

/// Those that are not. `online` are the paths of some web servers on the day when the suite was made. `webpki` is what
/// the CA/Browser Forum asks of such servers' certificates (which keys, which extended key usage, where names stand),
/// and how host names are matched. No case of either asks for a mail address, which is checked.
const LEFT_OUT: [(&str, usize); 2] = [("online", 14), ("webpki", 56)];

/// How many of the cases that are run agree; the others are exceptions.
const AGREE: usize = 121;

/// Cases that are refused, but for no rule of RFC 5280 §6.1 that a certificate breaks (`Invalid`). What is refused for
/// another reason than its own proves nothing.
#[rustfmt::skip]
const REFUSED: [(&str, &[&str]); 9] = [
    ("Revoked", &["crl::revoked-certificate-with-crl"]),
    ("RevocationUnavailable", &["crl::issuer-missing-crlsign"]),
    ("UnsupportedAlgorithm", &["invalid::invalid-issuer-key"]),
    ("Budget", &[
        "pathlen::max-chain-depth-0-exhausted", "pathlen::max-chain-depth-1-exhausted", "pathological::nc-dos-2",
    ]),
    ("Expired", &[
        "rfc5280::validity::expired-root", "rfc5280::validity::expired-intermediate", "rfc5280::validity::expired-leaf",
        "rfc5280::validity::expired-1-second", "rfc5280::validity::expired-5-seconds",
    ]),
    ("NotYetValid", &[
        "rfc5280::validity::notbefore-fractional", "rfc5280::validity::not-yet-valid-1-second",
        "rfc5280::validity::not-yet-valid-5-seconds",
    ]),
    ("IssuerNotTrusted", &[
        "pathological::intermediate-cycle-distinct-cas", "pathological::intermediate-cycle-distinct-cas-max-depth",
        "pathological::intermediate-cycle-same-logical-ca",
        "pathological::pathological-chain-distinct-subject-distinct-key",
        "pathological::pathological-chain-distinct-subject-same-key",
        "pathological::pathological-chain-same-subject-distinct-key",
        "pathological::pathological-chain-same-subject-same-key",
        "rfc5280::chain-untrusted-root",
    ]),
    // An issuer without a name; an authority other than the anchor. Of the last two the suite has the authority that
    // they are about nowhere, so that they say nothing: `pki` tests what they mean.
    ("IssuerUnavailable", &[
        "rfc5280::ee-empty-issuer", "rfc5280::serial::negative",
        "rfc5280::ica-ku-keycertsign", "rfc5280::intermediate-ca-missing-basic-constraints",
    ]),
    // Names of two thousand attributes, and one extension twice: no certificates.
    ("Unreadable", &["pathological::nc-dos-1", "pathological::nc-dos-3", "rfc5280::duplicate-extensions"]),
];

#[test]
fn limbo_agrees() {
    let Some(folder) = super::data("limbo") else {
        return;
    };
    let text = std::fs::read_to_string(folder.join("limbo.json")).unwrap();
    let suite: Value = serde_json::from_str(&text).unwrap();
    let cases = suite["testcases"].as_array().unwrap();
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for case in cases {
        *counted.entry(namespace(case)).or_default() += 1;
    }
    // A namespace that is new belongs into one of the two.
    let known: BTreeMap<&str, usize> = RUN.into_iter().chain(LEFT_OUT).collect();
    assert_eq!(counted, known, "cases of the suite");

    let is_run = |case: &&Value| RUN.iter().any(|(name, _)| *name == namespace(case));
    for case in cases.iter().filter(|case| !is_run(case)) {
        let names = mail_names(case);
        assert!(names.is_empty(), "{} asks for {names:?}", name(case));
    }
    let outcomes: Vec<Outcome> = cases
        .iter()
        .filter(is_run)
        .map(|case| Outcome {
            name: name(case).to_owned(),
            expected: case["expected_result"] == "SUCCESS",
            got: validate(case),
        })
        .collect();
    let exceptions = Exceptions::parse(include_str!("limbo-exceptions.toml"));
    let agree = exceptions.judge(&outcomes, false);
    println!("limbo: {agree} of {} agree", outcomes.len());
    assert_eq!(agree, AGREE);

    let wrong: Vec<String> = outcomes
        .iter()
        .filter_map(|outcome| {
            let said = outcome.got.as_ref().err()?;
            let otherwise = |(_, cases): &&(&str, &[&str])| cases.contains(&outcome.name.as_str());
            let expected = REFUSED
                .iter()
                .find(otherwise)
                .map_or("Invalid", |(why, _)| *why);
            let word = said.split(|c: char| !c.is_alphanumeric()).next();
            (word != Some(expected)).then(|| format!("{}: {said}, not {expected}", outcome.name))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let refused = |name: &str| outcomes.iter().any(|o| o.name == name && o.got.is_err());
    for case in REFUSED.iter().flat_map(|(_, cases)| *cases) {
        assert!(refused(case), "{case} is not refused");
    }
}

fn name(case: &Value) -> &str {
    case["id"].as_str().unwrap()
}

fn namespace(case: &Value) -> &str {
    name(case).split("::").next().unwrap()
}

/// The mail addresses that a case asks for.
fn mail_names(case: &Value) -> Vec<&str> {
    let many = case["expected_peer_names"].as_array();
    let many = many.map(Vec::as_slice).unwrap_or_default().iter();
    many.chain([&case["expected_peer_name"]])
        .filter(|name| name["kind"] == "RFC822")
        .map(|name| name["value"].as_str().unwrap())
        .collect()
}

fn validate(case: &Value) -> Result<(), String> {
    let many = |key: &str| -> Vec<String> {
        let list = case[key].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .map(|pem| pem.as_str().unwrap().to_owned())
            .collect()
    };
    let read = |pem: &String| {
        let mut all =
            Certificate::from_pem_or_der_many(pem.as_bytes()).map_err(|e| e.to_string())?;
        all.pop().ok_or_else(|| "empty".to_owned())
    };
    let target = read(&case["peer_certificate"].as_str().unwrap().to_owned())
        .map_err(|e| format!("Unreadable: {e}"))?;
    let candidates: Vec<Certificate> = many("untrusted_intermediates")
        .iter()
        .filter_map(|pem| read(pem).ok())
        .collect();
    let anchors: Vec<TrustAnchor> = many("trusted_certs")
        .iter()
        .filter_map(|pem| read(pem).ok())
        .map(|certificate| TrustAnchor::from_certificate(certificate).constrained())
        .collect();
    let crls: Vec<Crl> = many("crls")
        .iter()
        .filter_map(|pem| Crl::from_pem_or_der_many(pem.as_bytes()).ok())
        .flatten()
        .collect();
    let time = match case["validation_time"].as_str() {
        // A time between two seconds: notBefore is compared with the one before, as limbo does.
        Some(text) => UnixTime::parse_rfc3339(text).ok_or_else(|| format!("time {text}"))?,
        None => UnixTime::parse_rfc3339("2025-06-01T00:00:00Z").unwrap(),
    };
    let rules = PathRules {
        revocation: if crls.is_empty() {
            RevocationMode::Off
        } else {
            RevocationMode::Required
        },
        purpose: Purpose::Any,
        algorithms: AlgorithmFloor {
            minimum_rsa_bits: 1024,
            allow_sha1: true,
            allow_dsa: true,
        },
        check_anchor_validity: true,
        ..PathRules::new(time)
    };
    let depth = case["max_chain_depth"]
        .as_u64()
        .map(|n| usize::try_from(n).unwrap());
    let mut budget = Budget {
        depth: depth.unwrap_or(Budget::DEFAULT.depth),
        ..Budget::DEFAULT
    };
    let sources = StatusSources::lists(&crls);
    find_path(&target, &candidates, &anchors, sources, &rules, &mut budget)
        .map_err(|e| format!("{:?}: {e}", e.kind()))?;
    let own = target.addresses().map_err(|e| e.to_string())?;
    for name in mail_names(case) {
        let wanted = Address::parse(name).map_err(|e| format!("{name}: {e}"))?;
        if !own
            .iter()
            .any(|own| own.matches(&wanted, AddressCase::Exact))
        {
            return Err(format!("Address: {name} is not in the certificate"));
        }
    }
    Ok(())
}
