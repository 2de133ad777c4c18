//! The hostile shapes of the threat model, as counted work and as time of the processor.

use std::time::Duration;

use super::names::exclude;
use super::*;
use crate::der::write;
use crate::testing::cpu_time;

/// The most that a path may cost (BOMB-05, BOMB-06).
const LONGEST: Duration = Duration::from_millis(200);

/// The time of the processor for reading the certificates and looking for a path.
fn cost(target: &Party, candidates: &[&Party], anchor: &Party, rules: &PathRules) -> Duration {
    // What was read before is remembered: each time anew, as for another mail.
    let read = |party: &Party| Certificate::from_der(party.certificate.der()).unwrap();
    cpu_time(3, || {
        let candidates: Vec<_> = candidates.iter().map(|one| read(one)).collect();
        let _ = find_path(
            &read(target),
            &candidates,
            &[anchor.anchor()],
            StatusSources::default(),
            rules,
            &mut Budget::default(),
        );
    })
}

/// Runs a hostile search and checks that it ends in the budget, soon.
#[track_caller]
fn bomb(target: &Party, candidates: &[&Party], anchor: &Party) {
    let end = find(target, candidates, anchor, &off());
    fails(end, PathErrorKind::Budget, "");
    let spent = cost(target, candidates, anchor, &off());
    assert!(spent < LONGEST, "{spent:?}");
}

/// BOMB-05: eight authorities of one name, each certified by all the others, and a certificate that names the anchor
/// as its issuer, so that the search does not end before it begins.
#[test]
fn a_ring_of_cross_certificates_ends_in_the_budget() {
    let root = Party::root("Root");
    let keys: Vec<SoftKey> = (0..8).map(|_| key()).collect();
    let named = |common: &str, key: &SoftKey| {
        CertificateBuilder::new(name(common), key.public_key()).without_key_ids()
    };
    let party = |builder: CertificateBuilder, issuer: &str, by: &SoftKey, own: &SoftKey| Party {
        certificate: builder.sign(&name(issuer), &[], by).unwrap(),
        key: copy(own),
    };
    let mut hubs = Vec::new();
    for (one, own) in (1..).zip(&keys) {
        for (other, by) in (1..).zip(&keys).filter(|(other, _)| *other != one) {
            let builder = authority(named("Hub", own)).serial(&[one, other]);
            hubs.push(party(builder, "Hub", by, own));
        }
    }
    let stranger = key();
    let builder = authority(named("Hub", &stranger));
    hubs.push(party(builder, "Root", &stranger, &stranger));
    let alice = key();
    let leaf = party(person(named("Alice", &alice)), "Hub", &keys[0], &alice);
    bomb(&leaf, &hubs.iter().collect::<Vec<_>>(), &root);
}

/// BOMB-05: with less than a path takes there is none; with what it takes, and with more, there is.
#[test]
fn each_part_of_the_budget_holds_at_its_edge() {
    let root = Party::root("Root");
    let excluded = [GeneralName::Dns("c.test".into())];
    let names = [GeneralName::Dns("n.example".into())];
    let ca = root.ca("CA", |b| b.name_constraints(&exclude(&excluded)));
    let leaf = ca.leaf("Alice", |b| b.subject_alt_names(&names));
    let run = |mut budget: Budget| {
        let end = find_path(
            &leaf.certificate,
            std::slice::from_ref(&ca.certificate),
            &[root.anchor()],
            StatusSources::default(),
            &off(),
            &mut budget,
        );
        (end, budget)
    };
    let all = Budget::DEFAULT;
    let (end, left) = run(Budget::DEFAULT);
    end.unwrap();
    type Narrowed = fn(u32) -> Budget;
    let parts: [(&str, u32, Narrowed); 4] = [
        ("signatures", all.signatures - left.signatures, |n| Budget {
            signatures: n,
            ..Budget::DEFAULT
        }),
        ("steps", all.steps - left.steps, |n| Budget {
            steps: n,
            ..Budget::DEFAULT
        }),
        ("comparisons", all.comparisons - left.comparisons, |n| {
            Budget {
                comparisons: n,
                ..Budget::DEFAULT
            }
        }),
        ("longer", 1, |n| Budget {
            depth: usize::try_from(n).unwrap(),
            ..Budget::DEFAULT
        }),
    ];
    for (words, used, budget) in parts {
        assert!(used > 0, "{words}");
        fails(run(budget(used - 1)).0, PathErrorKind::Budget, words);
        run(budget(used)).0.unwrap();
        run(budget(used + 1)).0.unwrap();
    }
}

/// BOMB-05: sixty cross certificates of one name, and none of them leads to the anchor's key.
#[test]
fn an_explosion_of_paths_ends_in_the_budget() {
    let root = Party::root("Hub");
    let impostor = Party::root("Hub");
    let hubs: Vec<Party> = (0..60).map(|_| impostor.ca("Hub", same)).collect();
    // Without key identifiers every one of them has to be tried.
    let key = key();
    let certificate = CertificateBuilder::new(name("Alice"), key.public_key())
        .extension(oid::AUTHORITY_KEY_IDENTIFIER, false, &[0x30, 0])
        .issued_by(&hubs[59].certificate, &hubs[59].key)
        .unwrap();
    let leaf = Party { certificate, key };
    let candidates: Vec<&Party> = hubs.iter().chain([&impostor]).collect();
    let end = find(&leaf, &candidates, &root, &off());
    assert!(end.is_err());
    let mut budget = Budget {
        signatures: 30,
        ..Budget::default()
    };
    let candidates: Vec<_> = candidates.iter().map(|c| c.certificate.clone()).collect();
    let end = find_path(
        &leaf.certificate,
        &candidates,
        &[root.anchor()],
        StatusSources::default(),
        &off(),
        &mut budget,
    );
    fails(end, PathErrorKind::Budget, "signatures");
}

#[test]
fn a_mesh_of_cross_certificates_ends_in_the_budget() {
    // Nine layers of five certificates each, of the same key, so that signatures cost nothing:
    // 5^9 chains, of which every one breaks the path length of the first. Long names cost nothing either.
    let long = "x".repeat(20_000);
    let root = Party::root("Root");
    let short = BasicConstraints {
        ca: true,
        path_len: Some(0),
    };
    let top = root.issue("Layer 0", |b| {
        b.basic_constraints(short)
            .key_usage(KeyUsage::KEY_CERT_SIGN)
    });
    let mut all = vec![top];
    for layer in 1..=9 {
        let above = all.len() - 1;
        let key = key();
        for number in 0..5_u8 {
            let builder =
                CertificateBuilder::new(name(&format!("Layer {layer} {long}")), key.public_key());
            let certificate = authority(builder.serial(&[number + 1]))
                .issued_by(&all[above].certificate, &all[above].key)
                .unwrap();
            all.push(Party {
                certificate,
                key: copy(&key),
            });
        }
    }
    let leaf = all[all.len() - 1].leaf("Alice", person);
    bomb(&leaf, &all.iter().collect::<Vec<_>>(), &root);
}

#[test]
fn loops_are_cut() {
    let root = Party::root("Root");
    let (a, b) = (Party::root("A"), Party::root("B"));
    let cross = |subject: &Party, issuer: &Party| {
        let key = copy(&subject.key);
        let name = subject.certificate.subject().clone();
        let builder = authority(CertificateBuilder::new(name, key.public_key()));
        Party {
            certificate: builder.issued_by(&issuer.certificate, &issuer.key).unwrap(),
            key,
        }
    };
    let (a_by_b, b_by_a) = (cross(&a, &b), cross(&b, &a));
    let leaf = a.leaf("Alice", person);
    let end = find(&leaf, &[&a_by_b, &b_by_a], &root, &off());
    fails(end, PathErrorKind::IssuerNotTrusted, "no path");
    // The loop leads to the name of the anchor, and not to its key.
    let exit = cross(&a, &Party::root("Root"));
    let end = find(&leaf, &[&a_by_b, &b_by_a, &exit], &root, &off());
    fails(end, PathErrorKind::IssuerNotTrusted, "has the key");
    let exit = cross(&b, &root);
    find(&leaf, &[&a_by_b, &b_by_a, &exit], &root, &off()).unwrap();
}

#[test]
fn a_long_chain_ends_at_the_depth() {
    let root = Party::root("Root");
    let mut chain = vec![root.ca("CA 0", same)];
    for n in 1..=10 {
        let next = chain[n - 1].ca(&format!("CA {n}"), same);
        chain.push(next);
    }
    let leaf = chain[9].leaf("Alice", person);
    let all: Vec<&Party> = chain.iter().collect();
    find(&leaf, &all, &root, &off()).unwrap();
    let leaf = chain[10].leaf("Alice", person);
    fails(
        find(&leaf, &all, &root, &off()),
        PathErrorKind::Budget,
        "longer",
    );
}

/// BOMB-05, BOMB-08: names times constraints.
#[test]
fn an_explosion_of_name_constraints_ends_in_the_budget() {
    let many: Vec<GeneralName> = (0..1_000)
        .map(|n| GeneralName::Dns(format!("c{n}.test").into()))
        .collect();
    let names: Vec<GeneralName> = (0..1_000)
        .map(|n| GeneralName::Dns(format!("n{n}.example").into()))
        .collect();
    let root = Party::root("Root");
    let ca = root.ca("CA", |b| b.name_constraints(&exclude(&many)));
    let leaf = ca.leaf("Alice", |b| b.subject_alt_names(&names));
    bomb(&leaf, &[&ca], &root);
}

/// BOMB-06, through certificates.
#[test]
fn an_explosion_of_policies_is_cheap() {
    let all: Vec<OidBuf> = (0..40)
        .map(|n| OidBuf::from_dotted(&format!("1.2.3.{n}")).unwrap())
        .collect();
    let oids: Vec<Oid<'_>> = all.iter().map(OidBuf::as_oid).collect();
    let pairs: Vec<(Oid<'_>, Oid<'_>)> = oids
        .iter()
        .flat_map(|a| oids.iter().map(|b| (*a, *b)))
        .collect();
    let root = Party::root("Root");
    let mut chain = vec![root.ca("CA 0", |b| b.policies(&oids).policy_mappings(&pairs))];
    for n in 1..10 {
        let next = chain[n - 1].ca(&format!("CA {n}"), |b| {
            b.policies(&oids).policy_mappings(&pairs)
        });
        chain.push(next);
    }
    let leaf = chain[9].leaf("Alice", |b| person(b).policies(&oids));
    let all: Vec<&Party> = chain.iter().collect();
    let rules = PathRules {
        require_explicit_policy: true,
        ..off()
    };
    find(&leaf, &all, &root, &rules).unwrap();
    let spent = cost(&leaf, &all, &root, &rules);
    assert!(spent < LONGEST, "{spent:?}");
}

/// BOMB-07: issuer keys that would cost much or are no keys are refused before any mathematics.
#[test]
fn monstrous_keys_are_refused_at_once() {
    let root = Party::root("Root");
    let signer = SoftKey::generate(KeyType::Rsa(2048)).unwrap();
    let spki = |modulus: &[u8], exponent: &[u8]| {
        let algorithm = write::seq(&[write::oid(oid::RSA_ENCRYPTION), write::null()]);
        let key = write::seq(&[write::unsigned(modulus), write::unsigned(exponent)]);
        write::seq(&[algorithm, write::bit_string(&key)])
    };
    let usual = [1, 0, 1];
    for (what, bytes) in [
        ("16384 bits", spki(&[0xff; 2048], &usual)),
        ("65536 bits", spki(&[0xff; 8192], &usual)),
        ("long exponent", spki(&[0xff; 256], &[0xff; 256])),
        ("even exponent", spki(&[0xff; 256], &[0x80, 0, 2])),
        ("even modulus", spki(&[0xfe; 256], &usual)),
    ] {
        let Ok(public) = crate::crypto::PublicKey::from_spki(&bytes) else {
            continue;
        };
        let builder = authority(CertificateBuilder::new(name("CA"), &public));
        let certificate = builder.issued_by(&root.certificate, &root.key).unwrap();
        let ca = Party {
            certificate,
            key: copy(&signer),
        };
        let leaf = ca.leaf("Alice", person);
        assert!(find(&leaf, &[&ca], &root, &off()).is_err(), "{what}");
        // The other signatures of the path are in it.
        let spent = cost(&leaf, &[&ca], &root, &off());
        assert!(spent < Duration::from_millis(10), "{what}: {spent:?}");
    }
}

/// BOMB-08: very many names in one certificate.
#[test]
fn very_many_names_are_bounded() {
    let names: Vec<GeneralName> = (0..100_000)
        .map(|n| GeneralName::Rfc822(format!("a{n}@example.jp").into()))
        .collect();
    let few: Vec<GeneralName> = (0..10)
        .map(|n| GeneralName::Rfc822(format!("c{n}.test").into()))
        .collect();
    let root = Party::root("Root");
    let ca = root.ca("CA", |b| b.name_constraints(&exclude(&few)));
    let key = key();
    let issued = CertificateBuilder::new(name("Alice"), key.public_key())
        .subject_alt_names(&names)
        .issued_by(&ca.certificate, &ca.key);
    // Refused when read, or bounded in what comes after: either will do.
    let Ok(certificate) = issued else { return };
    let leaf = Party { certificate, key };
    assert!(find(&leaf, &[&ca], &root, &off()).is_err());
    let spent = cost(&leaf, &[&ca], &root, &off());
    assert!(spent < LONGEST, "{spent:?}");
}

/// BOMB-08: names that are read, and one more.
#[test]
fn names_of_a_subject_hold_at_their_edge() {
    let root = Party::root("Root");
    for (count, fine) in [(9_999, true), (10_000, true), (10_001, false)] {
        let names: Vec<GeneralName> = (0..count)
            .map(|n| GeneralName::Rfc822(format!("a{n}@example.jp").into()))
            .collect();
        let leaf = root.leaf("Alice", |b| b.subject_alt_names(&names));
        let read = leaf.certificate.subject_alt_names();
        assert_eq!(read.is_ok(), fine, "{count}");
        assert_eq!(find(&leaf, &[], &root, &off()).is_ok(), fine, "{count}");
    }
}

#[test]
fn names_of_distribution_points_times_names_of_lists_end_in_the_budget() {
    let names = |host: &str| -> Vec<GeneralName> {
        (0..2000)
            .map(|n| GeneralName::Uri(format!("http://{host}/{n}").into()))
            .collect()
    };
    let (root, ca, _) = three(same, person);
    let point = DistributionPoint {
        name: Some(DistributionPointName::Full(names("a.test"))),
        ..DistributionPoint::default()
    };
    let leaf = ca.leaf("Alice", |b| {
        person(b).crl_distribution_points(std::slice::from_ref(&point))
    });
    let scope = IssuingDistributionPoint {
        name: Some(DistributionPointName::Full(names("b.test"))),
        ..IssuingDistributionPoint::default()
    };
    let crls = [
        root.crl(|c| c),
        ca.crl(|c| c.issuing_distribution_point(&scope)),
    ];
    let rules = PathRules::new(now());
    let end = find_with(&leaf, &[&ca], &[root.anchor()], &crls, &rules);
    fails(end, PathErrorKind::Budget, "name comparisons");
}

/// Ed25519 hashes the whole list again for every key that is tried: few are.
#[test]
fn a_long_list_is_tried_under_few_keys() {
    let (root, ca, leaf) = three(same, person);
    let ed25519 = || SoftKey::generate(KeyType::Ed25519).unwrap();
    let forger = CertificateBuilder::new(name("Intermediate"), ed25519().public_key());
    let key = ed25519();
    let forger = authority(forger).self_signed(&key).unwrap();
    let long = CrlBuilder::new(now(), Some(now().plus(DAY)))
        .extension(oid::AUTHORITY_INFO_ACCESS, false, &vec![0; 10_000_000])
        .issued_by(&forger, &key)
        .unwrap();
    let strangers: Vec<Certificate> = (0..60)
        .map(|_| {
            let key = ed25519();
            authority(CertificateBuilder::new(
                name("Intermediate"),
                key.public_key(),
            ))
            .self_signed(&key)
            .unwrap()
        })
        .chain([ca.certificate.clone()])
        .collect();
    let mut budget = Budget::default();
    let end = find_path(
        &leaf.certificate,
        &strangers,
        &[root.anchor()],
        StatusSources::lists(&[root.crl(|c| c), long]),
        &PathRules::new(now()),
        &mut budget,
    );
    fails(
        end,
        PathErrorKind::RevocationUnavailable,
        "no authorised key",
    );
}
