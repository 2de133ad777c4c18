//! BOMB-05, BOMB-06 and BOMB-08 in whole mails through `kenin verify`, and the pathological cases of x509-limbo: what
//! certificates that are hostile to path building cost, as time of the processor, and the verdict.

use std::path::PathBuf;
use std::slice::from_ref;
use std::time::Duration;

use kenin_pki::certificate::Certificate;
use kenin_pki::path::{
    AlgorithmFloor, Budget, PathRules, Purpose, RevocationMode, StatusSources, TrustAnchor,
    find_path,
};
use kenin_pki::time::UnixTime;
use kenin_tests::forge::Expect::{self, Is, OneOf};
use kenin_tests::forge::certificates::{
    Authority, CertificateForm, Person, alt_names, basic_constraints, extension, name,
    name_constraints, rfc822,
};
use kenin_tests::forge::der::{cat, oid, seq, tlv, utf8};
use kenin_tests::forge::keys::Key;
use kenin_tests::forge::{Town, cms, mime};
use kenin_tests::parts;
use kenin_tests::verify::{Said, options};
use kenin_tests::world::{Folder, measure};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

const FROM: &str = "alice@example.jp";
const BUDGET: Expect = Is("temperror", "path-budget");
/// The most that a path may cost.
const LONGEST: Duration = Duration::from_millis(200);

/// The program with the town's root as its only anchor.
struct Court {
    folder: Folder,
    options: Vec<String>,
    /// What a mail without anything costs: the program's own start.
    floor: Duration,
}

impl Court {
    fn new(more: &[&str]) -> Self {
        let folder = Folder::new();
        let trust = Town::get().write(folder.path());
        let mut options = options(&trust, false);
        options.push("--revocation=off".to_owned());
        options.extend(more.iter().map(|option| (*option).to_owned()));
        let mut court = Self {
            folder,
            options,
            floor: Duration::ZERO,
        };
        court.floor = court.cost(b"From: a@b.example\r\n\r\nx\r\n").1;
        court
    }

    fn cost(&self, raw: &[u8]) -> (Said, Duration) {
        let file: PathBuf = self.folder.join("bomb.eml");
        let out = self.folder.join("out.jsonl");
        std::fs::write(&file, raw).unwrap();
        let mut arguments = ["verify", "--format", "jsonl"].map(str::to_owned).to_vec();
        arguments.extend(self.options.iter().cloned());
        arguments.push(file.display().to_string());
        let usage = measure(&parts::kenin(), &arguments, &out);
        assert!(usage.code == 0 || usage.code == 1, "exit {}", usage.code);
        let line = std::fs::read_to_string(&out).unwrap();
        let json = serde_json::from_str(line.trim()).unwrap();
        (Said { json }, usage.cpu.saturating_sub(self.floor))
    }

    /// Other work on the machine costs caches: of several tries the least is the program's own.
    fn judge(&self, name: &str, raw: &[u8], bound: Duration, expect: Expect) {
        let (said, mut own) = self.cost(raw);
        let (result, reason) = (said.result(), said.reason());
        assert!(expect.allows(result, reason), "{name}: {}", said.json);
        for _ in 0..5 {
            if own >= bound {
                own = own.min(self.cost(raw).1);
            }
        }
        println!("{name}: {} bytes, {result} ({reason}), {own:?}", raw.len());
        assert!(own < bound, "{name}: {own:?} of {bound:?}");
    }
}

fn mail(person: &Person, certificates: &[Vec<u8>]) -> Vec<u8> {
    let chain: Vec<&[u8]> = certificates.iter().map(Vec::as_slice).collect();
    let part = mime::text("Who issued me?");
    let object = cms::detached(person, &chain, &part);
    mime::clear_signed(&mime::headers(FROM), &part, &object)
}

/// Without key identifiers, so that every issuer of the name has to be tried.
fn nameless(mut form: CertificateForm) -> CertificateForm {
    let (own, other) = (oid("2.5.29.14"), oid("2.5.29.35"));
    let has = |extension: &Vec<u8>, oid: &[u8]| extension.windows(oid.len()).any(|at| at == oid);
    form.extensions
        .retain(|one| !has(one, &own) && !has(one, &other));
    form
}

/// An authority below another, changed before it is issued.
fn below(above: &Authority, common: &str, change: impl FnOnce(&mut CertificateForm)) -> Authority {
    let key = Key::p256();
    let mut form = above.authority_form(common, &key);
    change(&mut form);
    above.authority(&form, key)
}

fn person(issuer: &Authority, change: impl FnOnce(&mut CertificateForm)) -> Person {
    let key = Key::p256();
    let mut form = issuer.person_form("Alice", FROM, &key);
    change(&mut form);
    issuer.issue(&form, key)
}

/// Eight authorities of one name, each certified by all the others: sixty certificates, and one by which the name
/// seems to lead to the root.
#[test]
fn bomb_05_a_ring_of_cross_certificates() {
    let hubs: Vec<Authority> = (0..8).map(|_| Authority::root("Hub")).collect();
    let cross = |one: usize, by: usize| {
        let form = hubs[by].authority_form("Hub", &hubs[one].key);
        nameless(form).issue(&hubs[by].key)
    };
    let pairs = (0..8).flat_map(|one| (0..8).map(move |by| (one, by)));
    let pairs: Vec<(usize, usize)> = pairs.filter(|(one, by)| one != by).collect();
    let again = pairs.iter().take(60 - pairs.len());
    let mut ring: Vec<Vec<u8>> = pairs
        .iter()
        .chain(again)
        .map(|(one, by)| cross(*one, *by))
        .collect();
    assert_eq!(ring.len(), 60);
    let stranger = Key::p256();
    let way = nameless(Town::get().root.authority_form("Hub", &stranger));
    ring.push(way.issue(&stranger));
    let key = Key::p256();
    let form = nameless(hubs[0].person_form("Alice", FROM, &key));
    let alice = hubs[0].issue(&form, key);
    Court::new(&[]).judge("ring", &mail(&alice, &ring), LONGEST, BUDGET);
}

/// Nine layers of five certificates, all of one name and key a layer: 5^9 chains, all of them too long for the first.
#[test]
fn bomb_05_a_mesh_of_chains() {
    let long = "x".repeat(20_000);
    let top = below(&Town::get().root, "Layer 0", |form| {
        form.extensions[0] = basic_constraints(true, Some(0));
    });
    let mut all = vec![top];
    for layer in 1..=9 {
        let above = all[all.len() - 1].clone();
        let key = Key::p256();
        for _ in 0..5 {
            let form = above.authority_form(&format!("Layer {layer} {long}"), &key);
            all.push(above.authority(&form, key.clone()));
        }
    }
    let alice = person(&all[all.len() - 1], |_| {});
    let certificates: Vec<Vec<u8>> = all.iter().map(|one| one.certificate.clone()).collect();
    Court::new(&[]).judge("mesh", &mail(&alice, &certificates), LONGEST, BUDGET);
}

/// A thousand names against a thousand constraints.
#[test]
fn bomb_05_and_08_names_times_constraints() {
    let dns = |name: String| tlv(0x82, name.as_bytes());
    let excluded: Vec<Vec<u8>> = (0..1000).map(|n| dns(format!("c{n}.test"))).collect();
    let mut names: Vec<Vec<u8>> = (0..1000).map(|n| dns(format!("n{n}.example"))).collect();
    names.push(rfc822(FROM.as_bytes()));
    let narrow = below(&Town::get().root, "Narrow", |form| {
        form.extensions.push(name_constraints(&[], &excluded));
    });
    let alice = person(&narrow, |form| form.extensions[0] = alt_names(&names));
    let raw = mail(&alice, from_ref(&narrow.certificate));
    Court::new(&[]).judge("names", &raw, LONGEST, BUDGET);
}

/// CVE-2023-0464: forty policies, each mapped to each, at nine levels; a tree of them would have 40^9 nodes. The path
/// is valid, and costs little (RFC 9618).
#[test]
fn bomb_06_every_policy_mapped_to_every_policy() {
    let policies: Vec<Vec<u8>> = (0..40).map(|n| oid(&format!("1.2.3.{n}"))).collect();
    let named = seq(policies.iter().map(|policy| seq([policy])));
    let named = extension("2.5.29.32", false, &named);
    let pairs = policies
        .iter()
        .flat_map(|one| policies.iter().map(move |other| seq([one, other])));
    let mapped = extension("2.5.29.33", true, &seq(pairs));
    let mut chain: Vec<Authority> = Vec::new();
    for level in 0..9 {
        let above = chain.last().unwrap_or(&Town::get().root).clone();
        chain.push(below(&above, &format!("Level {level}"), |form| {
            form.extensions.extend([named.clone(), mapped.clone()]);
        }));
    }
    let alice = person(&chain[8], |form| form.extensions.push(named.clone()));
    let certificates: Vec<Vec<u8>> = chain.iter().map(|one| one.certificate.clone()).collect();
    let raw = mail(&alice, &certificates);
    Court::new(&["--require-explicit-policy"]).judge("policies", &raw, LONGEST, Is("pass", "ok"));
}

/// 64 certificates with 100,000 names each, and names of 100,000 parts: reading the mail is what they cost.
#[test]
fn bomb_08_very_many_names_in_very_many_certificates() {
    let court = Court::new(&[]);
    let reading = |raw: &[u8]| Duration::from_millis(50 + raw.len() as u64 / 100_000);
    let names = extension("2.5.29.17", false, &seq([rfc822(b"a").repeat(100_000)]));
    let issuer = below(&Town::get().root, "Issuer", |_| {});
    // Of the issuer's name and key, so that each could be the one.
    let fat = |_| {
        let mut form = Town::get().root.authority_form("Issuer", &issuer.key);
        form.extensions.push(names.clone());
        form.issue(&Town::get().root.key)
    };
    let mut certificates: Vec<Vec<u8>> = (0..62).map(fat).collect();
    certificates.push(issuer.certificate.clone());
    let alice = person(&issuer, |_| {});
    let raw = mail(&alice, &certificates);
    let pass = Is("pass", "ok");
    court.judge("authorities of many names", &raw, reading(&raw), pass);
    let fat = person(&issuer, |form| form.extensions[0].clone_from(&names));
    let raw = mail(&fat, &certificates);
    let unread = OneOf(&[("permerror", "")]);
    court.judge(
        "a signer of many names besides",
        &raw,
        reading(&raw),
        unread,
    );
    let parts: Vec<(&str, Vec<u8>)> = (0..100_000).map(|_| ("2.5.4.3", utf8("x"))).collect();
    let long = name(&parts);
    let alice = person(&issuer, |form| form.subject.clone_from(&long));
    let raw = mail(&alice, from_ref(&issuer.certificate));
    court.judge("a name of 100,000 parts", &raw, reading(&raw), unread);
    let arcs = tlv(6, &cat([&[0x2a][..], &[0xff; 100_000], &[1]]));
    let alice = person(&issuer, |form| {
        let purposes = seq([arcs.clone()]);
        form.extensions[2] = extension("2.5.29.37", false, &purposes);
    });
    let raw = mail(&alice, from_ref(&issuer.certificate));
    court.judge(
        "an object identifier of 100,000 octets",
        &raw,
        reading(&raw),
        Expect::NotPass,
    );
}

/// x509-limbo's `pathological::` with its `nc-dos` cases: the right end, each within the bound.
#[test]
fn bomb_05_the_pathological_cases_of_limbo() {
    let Some(folder) = parts::data("limbo") else {
        return;
    };
    let text = std::fs::read_to_string(folder.join("limbo.json")).unwrap();
    let suite: Value = serde_json::from_str(&text).unwrap();
    let cases = suite["testcases"].as_array().unwrap().iter();
    let id = |case: &Value| case["id"].as_str().unwrap().to_owned();
    let cases: Vec<&Value> = cases
        .filter(|case| id(case).starts_with("pathological::"))
        .collect();
    assert!(cases.len() >= 11, "{}", cases.len());
    for case in cases {
        let (mut least, mut good) = (Duration::MAX, false);
        for _ in 0..3 {
            let begun = cpu_time();
            good = is_valid(case);
            least = least.min(cpu_time() - begun);
        }
        println!("{}: {good}, {least:?}", id(case));
        assert_eq!(good, case["expected_result"] == "SUCCESS", "{}", id(case));
        assert!(least < LONGEST, "{}: {least:?}", id(case));
    }
}

/// The time of the processor that this thread has used.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, rest) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap(), rest.unwrap())
}

fn is_valid(case: &Value) -> bool {
    let read = |pem: &Value| {
        let all = Certificate::from_pem_or_der_many(pem.as_str()?.as_bytes());
        all.ok()?.pop()
    };
    let many = |key: &str| -> Vec<Certificate> {
        let all = case[key].as_array().unwrap().iter();
        all.filter_map(read).collect()
    };
    let Some(peer) = read(&case["peer_certificate"]) else {
        return false;
    };
    let anchors = many("trusted_certs").into_iter();
    let anchors: Vec<TrustAnchor> = anchors
        .map(|one| TrustAnchor::from_certificate(one).constrained())
        .collect();
    let rules = PathRules {
        revocation: RevocationMode::Off,
        purpose: Purpose::Any,
        algorithms: AlgorithmFloor {
            minimum_rsa_bits: 1024,
            ..AlgorithmFloor::default()
        },
        check_anchor_validity: true,
        ..PathRules::new(UnixTime::parse_rfc3339("2025-06-01T00:00:00Z").unwrap())
    };
    let depth = case["max_chain_depth"].as_u64();
    let mut budget = Budget {
        depth: depth.map_or(Budget::DEFAULT.depth, |n| usize::try_from(n).unwrap()),
        ..Budget::DEFAULT
    };
    find_path(
        &peer,
        &many("untrusted_intermediates"),
        &anchors,
        StatusSources::default(),
        &rules,
        &mut budget,
    )
    .is_ok()
}
