//! Each rule of path validation with certificates made for it.

use super::*;
use crate::crl::RevocationReason;
use crate::crypto::{DigestAlgorithm, KeyType, MlDsa, SignatureAlgorithm, SigningKey, SoftKey};
use crate::extension::{
    BasicConstraints, DistributionPoint, DistributionPointName, GeneralName,
    IssuingDistributionPoint, KeyUsage, NameConstraints, PolicyConstraints, ReasonFlags,
};
use crate::issue::{CertificateBuilder, CrlBuilder};
use crate::name::{Name, NameBuilder};
use crate::oid::{self, Oid, OidBuf};

mod absent;
mod bombs;
mod clocks;
mod costs;
mod dsa;
mod names;
mod news;
mod ocsp;
mod odd;
mod policies;
mod proven;
mod revocation;

const DAY: i64 = 86_400;

fn now() -> UnixTime {
    UnixTime::parse_rfc3339("2026-06-01T00:00:00Z").unwrap()
}

fn name(common: &str) -> Name {
    NameBuilder::default()
        .with(oid::COMMON_NAME, common)
        .build()
        .unwrap()
}

fn key() -> SoftKey {
    SoftKey::generate(KeyType::P256).unwrap()
}

/// A certificate and its key.
struct Party {
    certificate: Certificate,
    key: SoftKey,
}

fn copy(key: &SoftKey) -> SoftKey {
    SoftKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap()
}

type Change = fn(CertificateBuilder) -> CertificateBuilder;

fn same(builder: CertificateBuilder) -> CertificateBuilder {
    builder
}

fn authority(builder: CertificateBuilder) -> CertificateBuilder {
    builder
        .basic_constraints(BasicConstraints {
            ca: true,
            path_len: None,
        })
        .key_usage(KeyUsage::KEY_CERT_SIGN | KeyUsage::CRL_SIGN)
}

/// Of someone who signs mail.
fn person(builder: CertificateBuilder) -> CertificateBuilder {
    builder
        .key_usage(KeyUsage::DIGITAL_SIGNATURE)
        .ext_key_usage(&[oid::EMAIL_PROTECTION])
        .mail(&["alice@example.jp"])
}

fn serial(common: &str) -> [u8; 2] {
    let sum = common.bytes().fold(7_u16, |sum, b| {
        sum.wrapping_mul(31).wrapping_add(u16::from(b))
    });
    (sum | 0x4000).to_be_bytes()
}

impl Party {
    fn root(common: &str) -> Self {
        let key = key();
        let builder = authority(CertificateBuilder::new(name(common), key.public_key()));
        Self {
            certificate: builder.self_signed(&key).unwrap(),
            key,
        }
    }

    fn issue(
        &self,
        common: &str,
        change: impl Fn(CertificateBuilder) -> CertificateBuilder,
    ) -> Self {
        let key = key();
        let builder =
            CertificateBuilder::new(name(common), key.public_key()).serial(&serial(common));
        let certificate = change(builder)
            .issued_by(&self.certificate, &self.key)
            .unwrap();
        Self { certificate, key }
    }

    fn ca(&self, common: &str, change: impl Fn(CertificateBuilder) -> CertificateBuilder) -> Self {
        self.issue(common, |b| change(authority(b)))
    }

    fn leaf(
        &self,
        common: &str,
        change: impl Fn(CertificateBuilder) -> CertificateBuilder,
    ) -> Self {
        self.issue(common, change)
    }

    fn list(&self) -> CrlBuilder {
        CrlBuilder::new(now().plus(-DAY), Some(now().plus(DAY))).number(1)
    }

    fn crl(&self, change: impl Fn(CrlBuilder) -> CrlBuilder) -> Crl {
        change(self.list())
            .issued_by(&self.certificate, &self.key)
            .unwrap()
    }

    fn anchor(&self) -> TrustAnchor {
        TrustAnchor::from_certificate(self.certificate.clone())
    }
}

fn off() -> PathRules {
    PathRules {
        revocation: RevocationMode::Off,
        ..PathRules::new(now())
    }
}

fn find(
    target: &Party,
    candidates: &[&Party],
    anchor: &Party,
    rules: &PathRules,
) -> Result<ValidPath, PathError> {
    find_with(target, candidates, &[anchor.anchor()], &[], rules)
}

fn find_with(
    target: &Party,
    candidates: &[&Party],
    anchors: &[TrustAnchor],
    crls: &[Crl],
    rules: &PathRules,
) -> Result<ValidPath, PathError> {
    let candidates: Vec<_> = candidates.iter().map(|c| c.certificate.clone()).collect();
    find_path(
        &target.certificate,
        &candidates,
        anchors,
        StatusSources::lists(crls),
        rules,
        &mut Budget::default(),
    )
}

#[track_caller]
fn fails(result: Result<ValidPath, PathError>, kind: PathErrorKind, words: &str) {
    let error = result.expect_err("a path was found");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.detail().contains(words), "{error}");
}

/// Root, intermediate, leaf.
fn three(ca: Change, leaf: Change) -> (Party, Party, Party) {
    let root = Party::root("Root");
    let ca = root.ca("Intermediate", ca);
    let leaf = ca.leaf("Alice", leaf);
    (root, ca, leaf)
}

#[test]
fn a_good_path_says_what_it_rests_on() {
    let (root, ca, leaf) = three(same, person);
    let crls = [root.crl(|c| c), ca.crl(|c| c)];
    let rules = PathRules::new(now());
    let path = find_with(&leaf, &[&ca, &root], &[root.anchor()], &crls, &rules).unwrap();
    assert_eq!(
        path.certificates(),
        [leaf.certificate.clone(), ca.certificate.clone()]
    );
    assert_eq!(path.anchor(), 0);
    assert_eq!(path.revocation().len(), 2);
    assert_eq!(path.valid_until(), now().plus(DAY));
    assert!(path.notes().is_empty());
    assert!(
        path.revocation()
            .iter()
            .any(|f| f.position == 0 && f.digest == *crls[1].sha256())
    );
}

#[test]
fn an_anchor_is_a_name_and_a_key() {
    let (root, ca, leaf) = three(same, person);
    let key = root.certificate.public_key().clone();
    let anchor = TrustAnchor::from_name_and_key(name("root"), key);
    find_with(&leaf, &[&ca], &[anchor], &[], &off()).unwrap();
    let wrong = TrustAnchor::from_name_and_key(name("Root"), ca.certificate.public_key().clone());
    let found = find_with(&leaf, &[&ca], &[wrong], &[], &off());
    fails(found, PathErrorKind::Invalid, "signature");
}

#[test]
fn validity_is_judged_at_the_given_time() {
    let (root, ca, leaf) = three(same, |b| person(b).validity(now(), now().plus(DAY)));
    let at = |time| PathRules { time, ..off() };
    for ok in [0, DAY] {
        find(&leaf, &[&ca], &root, &at(now().plus(ok))).unwrap();
    }
    let late = find(&leaf, &[&ca], &root, &at(now().plus(DAY + 1)));
    fails(late, PathErrorKind::Expired, "expired");
    let early = find(&leaf, &[&ca], &root, &at(now().plus(-1)));
    fails(early, PathErrorKind::NotYetValid, "not yet");
    let (root, ca, leaf) = three(|b| b.validity(now().plus(-9), now().plus(-1)), person);
    fails(
        find(&leaf, &[&ca], &root, &off()),
        PathErrorKind::Expired,
        "expired",
    );
}

#[test]
fn the_validity_of_an_anchor_counts_only_on_request() {
    let root_key = key();
    let builder = authority(CertificateBuilder::new(name("Root"), root_key.public_key()));
    let builder = builder.validity(now().plus(-9 * DAY), now().plus(-DAY));
    let certificate = builder.self_signed(&root_key).unwrap();
    let root = Party {
        certificate,
        key: root_key,
    };
    let leaf = root.leaf("Alice", person);
    find(&leaf, &[], &root, &off()).unwrap();
    let strict = PathRules {
        check_anchor_validity: true,
        ..off()
    };
    fails(
        find(&leaf, &[], &root, &strict),
        PathErrorKind::Expired,
        "expired",
    );
}

#[test]
fn unknown_authorities_are_told_from_missing_ones() {
    let (root, ca, leaf) = three(same, person);
    let other = Party::root("Other");
    let end = find(&leaf, &[&ca, &root], &other, &off());
    fails(end, PathErrorKind::IssuerNotTrusted, "not trusted");
    let end = find(&leaf, &[], &root, &off());
    fails(end, PathErrorKind::IssuerUnavailable, "issuer");
    let end = find(&leaf, &[&ca], &other, &off());
    fails(end, PathErrorKind::IssuerUnavailable, "issuer");
    fails(
        find(&other, &[], &root, &off()),
        PathErrorKind::IssuerNotTrusted,
        "not trusted",
    );
}

#[test]
fn a_forged_issuer_name_does_not_help() {
    let root = Party::root("Root");
    let impostor = Party::root("Root");
    let leaf = impostor.leaf("Alice", person);
    let end = find(&leaf, &[], &root, &off());
    fails(end, PathErrorKind::IssuerNotTrusted, "has the key");
}

#[test]
fn generations_of_one_authority_are_told_apart_by_key() {
    let root = Party::root("Root");
    let old = root.ca("Intermediate", |b| {
        b.validity(now().plus(-9 * DAY), now().plus(-DAY))
    });
    let new = root.ca("Intermediate", same);
    let leaf = new.leaf("Alice", person);
    let path = find(&leaf, &[&old, &new], &root, &off()).unwrap();
    assert_eq!(path.certificates()[1], new.certificate);
    let leaf = old.leaf("Bob", person);
    fails(
        find(&leaf, &[&old, &new], &root, &off()),
        PathErrorKind::Expired,
        "expired",
    );
}

#[test]
fn only_authorities_issue() {
    let root = Party::root("Root");
    let middle = root.leaf("Middle", person);
    let leaf = middle.leaf("Alice", person);
    let end = find(&leaf, &[&middle], &root, &off());
    fails(end, PathErrorKind::Invalid, "not a certification authority");
    let middle = root.issue("Middle", |b| {
        b.basic_constraints(BasicConstraints {
            ca: true,
            path_len: None,
        })
        .key_usage(KeyUsage::CRL_SIGN)
    });
    let leaf = middle.leaf("Alice", person);
    let end = find(&leaf, &[&middle], &root, &off());
    fails(end, PathErrorKind::Invalid, "may not sign certificates");
}

#[test]
fn path_length_does_not_count_self_issued_certificates() {
    let short: Change = |b| {
        b.basic_constraints(BasicConstraints {
            ca: true,
            path_len: Some(0),
        })
    };
    let root = Party::root("Root");
    let one = root.issue("One", |b| short(b).key_usage(KeyUsage::KEY_CERT_SIGN));
    let two = one.ca("Two", same);
    let leaf = two.leaf("Alice", person);
    let end = find(&leaf, &[&one, &two], &root, &off());
    fails(end, PathErrorKind::Invalid, "path length");
    let renewed = one.ca("One", same);
    let leaf = renewed.leaf("Alice", person);
    find(&leaf, &[&one, &renewed], &root, &off()).unwrap();
}

#[test]
fn purposes_bind_the_leaf_and_the_intermediates() {
    let usage = PathErrorKind::KeyUsage;
    let any = PathRules {
        purpose: Purpose::Any,
        ..off()
    };
    let (root, ca, leaf) = three(same, |b| b.ext_key_usage(&[oid::SERVER_AUTH]));
    fails(find(&leaf, &[&ca], &root, &off()), usage, "extended");
    find(&leaf, &[&ca], &root, &any).unwrap();
    let (root, ca, leaf) = three(|b| b.ext_key_usage(&[oid::CLIENT_AUTH]), person);
    fails(find(&leaf, &[&ca], &root, &off()), usage, "extended");
    let (root, ca, leaf) = three(|b| b.ext_key_usage(&[oid::ANY_EXT_KEY_USAGE]), person);
    find(&leaf, &[&ca], &root, &off()).unwrap();
    let (root, ca, leaf) = three(same, |b| b.key_usage(KeyUsage::KEY_ENCIPHERMENT));
    fails(find(&leaf, &[&ca], &root, &off()), usage, "key usage");
    let (root, ca, leaf) = three(same, |b| b.key_usage(KeyUsage::NON_REPUDIATION));
    find(&leaf, &[&ca], &root, &off()).unwrap();
}

/// A key that signs is none that is encrypted for, unless its certificate says so too.
#[test]
fn encryption_has_key_usages_of_its_own() {
    let rules = PathRules {
        purpose: Purpose::MailEncryption,
        ..off()
    };
    let usage = PathErrorKind::KeyUsage;
    let agrees: Change = |b| b.key_usage(KeyUsage::KEY_AGREEMENT);
    let (root, ca, leaf) = three(same, agrees);
    find(&leaf, &[&ca], &root, &rules).unwrap();
    fails(find(&leaf, &[&ca], &root, &off()), usage, "signing");
    let transports: Change = |b| b.key_usage(KeyUsage::KEY_ENCIPHERMENT);
    let signs: Change = person;
    for wrong in [signs, transports] {
        let (root, ca, leaf) = three(same, wrong);
        fails(find(&leaf, &[&ca], &root, &rules), usage, "encryption");
    }
    let enciphers: Change = |b| b.key_usage(KeyUsage::KEY_AGREEMENT | KeyUsage::ENCIPHER_ONLY);
    let (root, ca, leaf) = three(same, enciphers);
    let found = find(&leaf, &[&ca], &root, &rules);
    fails(found, usage, "enciphering only");
    let deciphers: Change = |b| b.key_usage(KeyUsage::KEY_AGREEMENT | KeyUsage::DECIPHER_ONLY);
    let (root, ca, leaf) = three(same, deciphers);
    find(&leaf, &[&ca], &root, &rules).unwrap();
    let (root, ca, leaf) = three(same, same);
    find(&leaf, &[&ca], &root, &rules).unwrap();
    let (root, ca, leaf) = three(|b| b.ext_key_usage(&[oid::CLIENT_AUTH]), agrees);
    fails(find(&leaf, &[&ca], &root, &rules), usage, "extended");
    for (kind, wanted) in [
        (KeyType::Rsa(2048), Some(KeyUsage::KEY_ENCIPHERMENT)),
        (KeyType::X25519, Some(KeyUsage::KEY_AGREEMENT)),
        (KeyType::Ed25519, None),
        (KeyType::MlDsa(MlDsa::Dsa44), None),
    ] {
        let root = Party::root("Root");
        let holder = SoftKey::generate(kind).unwrap();
        for bits in [KeyUsage::KEY_ENCIPHERMENT, KeyUsage::KEY_AGREEMENT] {
            let builder = CertificateBuilder::new(name("Bob"), holder.public_key());
            let builder = builder.serial(&[7]).key_usage(bits);
            let certificate = builder.issued_by(&root.certificate, &root.key).unwrap();
            let found = find_path(
                &certificate,
                &[],
                &[root.anchor()],
                StatusSources::default(),
                &rules,
                &mut Budget::default(),
            );
            assert_eq!(found.is_ok(), wanted == Some(bits), "{kind:?} {bits}");
        }
    }
}

#[test]
fn an_unknown_critical_extension_is_refused_anywhere() {
    let odd = |b: CertificateBuilder| b.extension(oid::CMS_DATA, true, &[5, 0]);
    let (root, ca, leaf) = three(same, odd);
    fails(
        find(&leaf, &[&ca], &root, &off()),
        PathErrorKind::Invalid,
        "unknown critical",
    );
    let (root, ca, leaf) = three(odd, person);
    fails(
        find(&leaf, &[&ca], &root, &off()),
        PathErrorKind::Invalid,
        "unknown critical",
    );
    let (root, ca, leaf) = three(same, |b| person(b).extension(oid::CMS_DATA, false, &[5, 0]));
    find(&leaf, &[&ca], &root, &off()).unwrap();
}

#[test]
fn weak_algorithms_are_told_as_such() {
    let root = Party::root("Root");
    let rsa = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
    let builder = authority(CertificateBuilder::new(name("CA"), rsa.public_key()));
    let ca = Party {
        certificate: builder.issued_by(&root.certificate, &root.key).unwrap(),
        key: rsa,
    };
    let leaf = ca.leaf("Alice", person);
    find(&leaf, &[&ca], &root, &off()).unwrap();
    let mut floor = off();
    floor.algorithms.minimum_rsa_bits = 3072;
    fails(
        find(&leaf, &[&ca], &root, &floor),
        PathErrorKind::WeakAlgorithm,
        "2048",
    );
    let leaf = ca.leaf("Alice", |b| {
        person(b).algorithm(SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha1))
    });
    fails(
        find(&leaf, &[&ca], &root, &off()),
        PathErrorKind::WeakAlgorithm,
        "sha1",
    );
    let mut old = off();
    old.algorithms.allow_sha1 = true;
    find(&leaf, &[&ca], &root, &old).unwrap();
}

#[test]
fn ranks_follow_what_a_reader_learns() {
    let revoked = PathErrorKind::Revoked {
        time: now(),
        reason: RevocationReason::Unspecified,
    };
    let order = [
        PathErrorKind::IssuerUnavailable,
        PathErrorKind::IssuerNotTrusted,
        PathErrorKind::UnsupportedAlgorithm,
        PathErrorKind::Invalid,
        PathErrorKind::RevocationUnavailable,
        PathErrorKind::Budget,
        PathErrorKind::WeakAlgorithm,
        PathErrorKind::KeyUsage,
        PathErrorKind::Expired,
        revoked,
    ];
    let (_, ca, leaf) = three(same, person);
    let of = |kind, at: &Party| {
        let error = PathError::new(kind, "", Some(&at.certificate));
        error.seen_from(Some(&leaf.certificate)).rank()
    };
    let ranks: Vec<u8> = order.iter().map(|kind| of(*kind, &leaf)).collect();
    assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
    // On one of several ways an authority is unfit; on another only a status is missing.
    let missing = PathErrorKind::RevocationUnavailable;
    for kind in [PathErrorKind::Expired, PathErrorKind::KeyUsage, revoked] {
        assert!(of(kind, &ca) < of(missing, &leaf), "{kind:?}");
        assert!(
            of(kind, &ca) > of(PathErrorKind::Invalid, &leaf),
            "{kind:?}"
        );
    }
}

/// Two certificates of one authority, as at a renewal: the one that has run out says nothing about a
/// way on which only a list is missing.
#[test]
fn an_unfit_second_certificate_does_not_hide_what_is_missing() {
    let (root, ca, leaf) = three(same, person);
    let again = |change: Change| Party {
        certificate: change(authority(CertificateBuilder::new(
            name("Intermediate"),
            ca.key.public_key(),
        )))
        .issued_by(&root.certificate, &root.key)
        .unwrap(),
        key: copy(&ca.key),
    };
    let expired = again(|b| {
        b.serial(&[9])
            .validity(now().plus(-9 * DAY), now().plus(-DAY))
    });
    let server = again(|b| b.serial(&[8]).ext_key_usage(&[oid::SERVER_AUTH]));
    let crls = [root.crl(|c| c.revoke(&[7], now().plus(-DAY), RevocationReason::Superseded))];
    let revoked = again(|b| b.serial(&[7]));
    for other in [&expired, &server, &revoked] {
        for order in [[&ca, other], [other, &ca]] {
            let rules = PathRules::new(now());
            let end = find_with(&leaf, &order, &[root.anchor()], &crls, &rules);
            fails(end, PathErrorKind::RevocationUnavailable, "no CRL");
        }
    }
}

/// Every bit of a signed structure counts: no copy with one bit changed makes a valid path.
#[test]
fn no_changed_bit_is_accepted() {
    let (root, ca, leaf) = three(same, person);
    let crls = [root.crl(|c| c), ca.crl(|c| c)];
    let anchors = [root.anchor()];
    let rules = PathRules::new(now());
    let run = |leaf: &Certificate, ca: &Certificate, crls: &[Crl]| {
        find_path(
            leaf,
            std::slice::from_ref(ca),
            &anchors,
            StatusSources::lists(crls),
            &rules,
            &mut Budget::default(),
        )
    };
    run(&leaf.certificate, &ca.certificate, &crls).unwrap();
    let changed = |der: &[u8]| -> Vec<Vec<u8>> {
        let flip = |at: usize| {
            let mut der = der.to_vec();
            der[at] ^= 1 << (at % 8);
            der
        };
        (0..der.len()).map(flip).collect()
    };
    for der in changed(leaf.certificate.der()) {
        let Ok(bad) = Certificate::from_der(&der) else {
            continue;
        };
        assert!(run(&bad, &ca.certificate, &crls).is_err(), "{der:02x?}");
    }
    for der in changed(ca.certificate.der()) {
        let Ok(bad) = Certificate::from_der(&der) else {
            continue;
        };
        assert!(run(&leaf.certificate, &bad, &crls).is_err(), "{der:02x?}");
    }
    for der in changed(crls[1].der()) {
        let Ok(bad) = Crl::from_der(&der) else {
            continue;
        };
        let end = run(&leaf.certificate, &ca.certificate, &[crls[0].clone(), bad]);
        assert!(end.is_err_and(|e| e.is_revocation()), "{der:02x?}");
    }
}
