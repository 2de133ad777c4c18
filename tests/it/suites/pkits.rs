//! NIST PKITS: 249 path cases with policy inputs and CRLs, each through [`find_path`].

use std::path::Path;

use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::oid::OidBuf;
use kenin_pki::path::{
    AlgorithmFloor, Budget, PathRules, Purpose, RevocationMode, StatusSources, TrustAnchor,
    find_path,
};
use kenin_pki::time::UnixTime;
use serde_json::Value;

use super::{Exceptions, Outcome};

#[test]
fn pkits_agrees() {
    let Some(folder) = super::data("pkits") else {
        return;
    };
    let text = std::fs::read_to_string(folder.join("vectors.json")).unwrap();
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    let outcomes: Vec<Outcome> = vectors.iter().map(|vector| run(&folder, vector)).collect();
    let exceptions = Exceptions::parse(include_str!("pkits-exceptions.toml"));
    let agree = exceptions.judge(&outcomes, true);
    println!("PKITS: {agree} of {} agree", outcomes.len());
    assert!(
        agree == 249 && outcomes.len() == 249,
        "{agree} of {}",
        outcomes.len()
    );
}

fn run(folder: &Path, vector: &Value) -> Outcome {
    Outcome {
        name: vector["Name"].as_str().unwrap().to_owned(),
        expected: vector["ShouldValidate"].as_bool().unwrap(),
        got: validate(folder, vector),
    }
}

fn validate(folder: &Path, vector: &Value) -> Result<(), String> {
    let files = |key: &str, sub: &str| -> Vec<Vec<u8>> {
        let names = vector[key].as_array().unwrap();
        names
            .iter()
            .map(|n| std::fs::read(folder.join(sub).join(n.as_str().unwrap())).unwrap())
            .collect()
    };
    let certificates = files("CertPath", "certs")
        .iter()
        .map(|der| Certificate::from_der(der).map_err(|e| e.to_string()))
        .collect::<Result<Vec<_>, _>>()?;
    // A list that does not read is a list that is not there.
    let crls: Vec<Crl> = files("CRLPath", "crls")
        .iter()
        .filter_map(|der| Crl::from_der(der).ok())
        .collect();
    let (anchor, rest) = certificates.split_first().unwrap();
    let (target, candidates) = rest.split_last().unwrap();
    let flag = |key: &str| vector[key].as_bool().unwrap();
    let policies = vector["InitialPolicySet"].as_array().unwrap();
    let rules = PathRules {
        revocation: RevocationMode::Required,
        purpose: Purpose::Any,
        initial_policies: policies
            .iter()
            .filter_map(|p| policy(p.as_str().unwrap()))
            .collect(),
        require_explicit_policy: flag("InitialExplicitPolicy"),
        inhibit_policy_mapping: flag("InitialPolicyMappingInhibit"),
        inhibit_any_policy: flag("InitialAnyPolicyInhibit"),
        algorithms: AlgorithmFloor {
            minimum_rsa_bits: 1024,
            allow_sha1: true,
            allow_dsa: true,
        },
        ..PathRules::new(UnixTime::parse_rfc3339("2020-01-01T00:00:00Z").unwrap())
    };
    let anchors = [TrustAnchor::from_certificate(anchor.clone())];
    find_path(
        target,
        candidates,
        &anchors,
        StatusSources::lists(&crls),
        &rules,
        &mut Budget::default(),
    )
    .map(|_| ())
    .map_err(|e| format!("{:?}: {e}", e.kind()))
}

/// The names of the suite; `None` is any-policy.
fn policy(name: &str) -> Option<OidBuf> {
    let number = name.strip_prefix("NIST-test-policy-")?;
    OidBuf::from_dotted(&format!("2.16.840.1.101.3.2.1.48.{number}"))
}
