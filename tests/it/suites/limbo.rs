//! x509-limbo: the cases that say something about mail, each through [`find_path`].
//!
//! Left out are `webpki::` and `online::`, which are about TLS servers and their profile. The peer name
//! of a case is matched by a TLS client, not by path validation, and is left out of the comparison:
//! cases that fail only for it are exceptions.

use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::path::{
    AlgorithmFloor, Budget, PathRules, Purpose, RevocationMode, StatusSources, TrustAnchor,
    find_path,
};
use kenin_pki::time::UnixTime;
use serde_json::Value;

use super::{Exceptions, Outcome};

#[test]
fn limbo_agrees() {
    let Some(folder) = super::data("limbo") else {
        return;
    };
    let text = std::fs::read_to_string(folder.join("limbo.json")).unwrap();
    let suite: Value = serde_json::from_str(&text).unwrap();
    let applies = |id: &str| !id.starts_with("webpki::") && !id.starts_with("online::");
    let outcomes: Vec<Outcome> = suite["testcases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| applies(case["id"].as_str().unwrap()))
        .map(|case| Outcome {
            name: case["id"].as_str().unwrap().to_owned(),
            expected: case["expected_result"] == "SUCCESS",
            got: validate(case),
        })
        .collect();
    let exceptions = Exceptions::parse(include_str!("limbo-exceptions.toml"));
    let agree = exceptions.judge(&outcomes, false);
    println!("limbo: {agree} of {} agree", outcomes.len());
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
    let target = read(&case["peer_certificate"].as_str().unwrap().to_owned())?;
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
        .map(|_| ())
        .map_err(|e| format!("{:?}: {e}", e.kind()))
}
