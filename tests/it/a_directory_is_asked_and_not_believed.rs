//! STO-01: `kenin cert find` with a real directory: only certificates that hold the address come back, whatever lies in
//! the entries and whatever the address looks like; a password and a question travel over verified TLS or not at all;
//! and a directory that is away is said to be, and comes back.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::Output;

use kenin_tests::forge::Town;
use kenin_tests::forge::certificates::{Authority, NOT_BEFORE, Person, pem};
use kenin_tests::forge::der::{cat, explicit, int, oid, seq, time, tlv};
use kenin_tests::forge::keys::{Hash, Key};
use kenin_tests::kenin::{Gateway, Setup, kenin};
use kenin_tests::slapd::{BASE, Entry, READER, Slapd};
use kenin_tests::world::write_secret;

/// A gateway that is never started: the commands need its configuration only.
fn gateway(tables: &str) -> Gateway {
    let mut setup = Setup::new("127.0.0.1:9".parse().unwrap());
    setup.tables = tables.to_owned();
    Gateway::prepare(&setup)
}

fn table(url: &str, more: &str) -> String {
    format!("[[directory]]\nurl = \"{url}\"\nbase = \"{BASE}\"\n{more}\n")
}

fn plain(slapd: &Slapd) -> Gateway {
    gateway(&table(&format!("ldap://{}", slapd.plain), ""))
}

struct Answer {
    code: i32,
    /// Fingerprints, and where each was found.
    found: Vec<(String, String)>,
    said: String,
}

fn find(gateway: &Gateway, address: &str) -> Answer {
    let config = gateway.config();
    let output = kenin(&[
        "cert",
        "find",
        address,
        "--format",
        "json",
        "--config",
        config.to_str().unwrap(),
    ]);
    let found: Vec<serde_json::Value> = match output.stdout.is_empty() {
        true => Vec::new(),
        false => serde_json::from_slice(&output.stdout).unwrap(),
    };
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    Answer {
        code: output.status.code().unwrap(),
        found: found
            .iter()
            .map(|one| (text(&one["sha256"]), text(&one["found_in"])))
            .collect(),
        said: said(&output),
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn fingerprint(certificate: &[u8]) -> String {
    let digest = Hash::Sha256.of(certificate);
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The fingerprints alone, sorted.
fn prints(answer: &Answer) -> Vec<String> {
    let mut all: Vec<String> = answer
        .found
        .iter()
        .map(|(print, _)| print.clone())
        .collect();
    all.sort();
    all
}

fn sorted(certificates: &[&[u8]]) -> Vec<String> {
    let mut all: Vec<String> = certificates.iter().map(|one| fingerprint(one)).collect();
    all.sort();
    all
}

/// Somebody whose certificate ended in 2021.
fn expired(name: &str, address: &str) -> Person {
    let (town, key) = (Town::get(), Key::p256());
    let mut form = town.issuer.person_form(name, address, &key);
    form.not_before = time(NOT_BEFORE);
    form.not_after = time("20210101000000Z");
    town.issuer.issue(&form, key)
}

/// SignedData that holds certificates and nothing else.
fn certs_only(certificates: &[&[u8]]) -> Vec<u8> {
    let signed = seq([
        int(1),
        tlv(0x31, &[]),
        seq([oid("1.2.840.113549.1.7.1")]),
        tlv(0xa0, &cat(certificates)),
        tlv(0x31, &[]),
    ]);
    seq([oid("1.2.840.113549.1.7.2"), explicit(0, &signed)])
}

#[test]
fn only_her_own_certificates_come_back() {
    let town = Town::get();
    let old = expired("Alice", "alice@example.jp");
    let dora = expired("Dora", "dora@example.jp");
    let alice = Entry::person("Alice")
        .with("mail", "alice@example.jp")
        .certificate(&town.alice.certificate)
        .certificate(&town.bob.certificate)
        .certificate(&old.certificate)
        .octets("userSMIMECertificate", b"\x30\x82garbage\xff\x00");
    let carol = Entry::person("Carol")
        .with("mail", "c.smith@example.jp")
        .with("proxyAddresses", "SMTP:c.smith@example.jp")
        .with("proxyAddresses", "smtp:carol@example.jp")
        .octets(
            "userSMIMECertificate",
            &certs_only(&[&town.carol.certificate, &town.issuer.certificate]),
        );
    let dora_entry = Entry::person("Dora")
        .with("mail", "dora@example.jp")
        .certificate(&dora.certificate);
    let eve = Entry::person("Eve")
        .with("mail", "eve@example.jp")
        .certificate(&town.alice.certificate);
    let mut people = vec![alice, carol, dora_entry, eve];
    // Somebody entered the same address twenty times.
    for number in 0..20 {
        let key = Key::p256();
        let many = town.issuer.person("Many", "many@example.jp", key);
        let entry = Entry::person(&format!("Many {number}")).with("mail", "many@example.jp");
        people.push(entry.certificate(&many.certificate));
    }
    let slapd = Slapd::start(&people);
    let gateway = plain(&slapd);

    let answer = find(&gateway, "Alice@EXAMPLE.jp");
    assert_eq!(answer.code, 0, "{}", answer.said);
    // The one that ended is shown too, behind the one that holds.
    assert_eq!(
        answer.found[0],
        (
            fingerprint(&town.alice.certificate),
            format!("ldap://{}", slapd.plain)
        )
    );
    assert_eq!(
        prints(&answer),
        sorted(&[&town.alice.certificate, &old.certificate])
    );
    assert!(
        answer.said.contains("left out 1 without the address"),
        "{}",
        answer.said
    );
    assert!(
        answer.said.contains("left out 1 that cannot be read"),
        "{}",
        answer.said
    );

    let answer = find(&gateway, "carol@example.jp");
    assert_eq!(
        (answer.code, prints(&answer)),
        (0, sorted(&[&town.carol.certificate]))
    );

    let answer = find(&gateway, "dora@example.jp");
    assert_eq!(
        (answer.code, prints(&answer)),
        (1, sorted(&[&dora.certificate]))
    );

    for nobody in ["eve@example.jp", "nobody@example.jp"] {
        let answer = find(&gateway, nobody);
        assert_eq!((answer.code, answer.found.len()), (1, 0), "{nobody}");
    }

    let answer = find(&gateway, "many@example.jp");
    assert_eq!((answer.code, answer.found.len()), (0, 16));
    assert!(
        answer.said.contains("more than 16 entries"),
        "{}",
        answer.said
    );

    // Whatever the address says, it is compared and nothing else. What is no address never leaves.
    for (address, code) in [
        ("*@example.jp", 1),
        ("a*@example.jp", 1),
        ("\"*)(mail=*\"@example.jp", 1),
        ("\"*)(|(mail=*\"@example.jp", 1),
        ("\"\\\\2a\"@example.jp", 1),
        ("&|!=~@example.jp", 1),
        ("*", 2),
        ("*)(mail=*", 2),
        ("alice@example.jp)(objectClass=*", 2),
        ("alice@example.jp\n", 2),
        ("\"a\u{1}\"@example.jp", 2),
    ] {
        let answer = find(&gateway, address);
        assert_eq!(answer.code, code, "{address:?}: {}", answer.said);
        assert!(answer.found.is_empty(), "{address:?}");
    }

    // Text, for people, says the same.
    let config = gateway.config();
    let output = kenin(&[
        "cert",
        "find",
        "dora@example.jp",
        "--config",
        config.to_str().unwrap(),
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(&format!("found in  ldap://{}, not valid now", slapd.plain)),
        "{text}"
    );
}

#[test]
fn the_store_is_asked_first_and_both_are_shown() {
    let town = Town::get();
    let entry = Entry::person("Alice").with("mail", "alice@example.jp");
    let slapd = Slapd::start(&[entry.certificate(&town.strange_alice.certificate)]);
    let gateway = plain(&slapd);
    let file = gateway.folder.join("alice.pem");
    std::fs::write(&file, pem("CERTIFICATE", &town.alice.certificate)).unwrap();
    let config = gateway.config();
    let (file, config) = (file.to_str().unwrap(), config.to_str().unwrap());
    let output = kenin(&["cert", "import", file, "--config", config]);
    assert!(output.status.success(), "{}", said(&output));
    let answer = find(&gateway, "alice@example.jp");
    let expected = [
        (fingerprint(&town.alice.certificate), "store".to_owned()),
        (
            fingerprint(&town.strange_alice.certificate),
            format!("ldap://{}", slapd.plain),
        ),
    ];
    assert_eq!(answer.found, expected);
}

#[test]
fn referrals_lead_nowhere() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let to = format!("ldap://{}/{BASE}", elsewhere.local_addr().unwrap());
    let town = Town::get();
    let bob = Entry::person("Bob")
        .with("mail", "bob@example.jp")
        .certificate(&town.bob.certificate);
    let slapd = Slapd::start(&[Entry::referral("elsewhere", &to), bob]);
    let answer = find(&plain(&slapd), "bob@example.jp");
    assert_eq!(
        (answer.code, prints(&answer)),
        (0, sorted(&[&town.bob.certificate]))
    );
    let error = elsewhere.accept().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[test]
fn tls_is_verified_or_there_is_no_question() {
    let town = Town::get();
    let bob = Entry::person("Bob")
        .with("mail", "bob@example.jp")
        .certificate(&town.bob.certificate);
    let slapd = Slapd::start_private(&[bob]);
    let other = Authority::root("Another Root");
    let (dn, password) = READER;
    for (url, start_tls) in [
        (format!("ldap://{}", slapd.plain), "start_tls = true\n"),
        (format!("ldaps://{}", slapd.secure), ""),
    ] {
        let more = format!(
            "{start_tls}ca = \"directory-ca.pem\"\nbind_dn = \"{dn}\"\npassword_file = \"directory.password\"\n"
        );
        let gateway = gateway(&table(&url, &more));
        let (ca, secret) = (
            gateway.folder.join("directory-ca.pem"),
            gateway.folder.join("directory.password"),
        );
        std::fs::copy(slapd.ca(), &ca).unwrap();
        write_secret(&secret, format!("{password}\n").as_bytes());
        let answer = find(&gateway, "bob@example.jp");
        assert_eq!(
            (answer.code, prints(&answer)),
            (0, sorted(&[&town.bob.certificate])),
            "{url}: {}",
            answer.said
        );

        std::fs::write(&ca, pem("CERTIFICATE", &other.certificate)).unwrap();
        let answer = find(&gateway, "bob@example.jp");
        assert_eq!((answer.code, answer.found.len()), (69, 0), "{url}");
        assert!(
            answer.said.contains("no TLS with 127.0.0.1"),
            "{}",
            answer.said
        );

        std::fs::copy(slapd.ca(), &ca).unwrap();
        std::fs::write(&secret, "wrong").unwrap();
        let answer = find(&gateway, "bob@example.jp");
        assert_eq!((answer.code, answer.found.len()), (69, 0), "{url}");
        assert!(
            answer.said.contains("invalidCredentials"),
            "{}",
            answer.said
        );
        assert!(!answer.said.contains("wrong"), "{}", answer.said);
    }
    // Without a name this directory tells nothing.
    let answer = find(&plain(&slapd), "bob@example.jp");
    assert!(
        answer.code != 0 && answer.found.is_empty(),
        "{}",
        answer.said
    );
}

#[test]
fn a_question_in_clear_to_another_machine_is_a_mistake_with_its_place() {
    let gateway = gateway(&table("ldap://192.0.2.1", ""));
    let config = gateway.config();
    let output = kenin(&["check", "--offline", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8(output.stdout).unwrap();
    let written = std::fs::read_to_string(&config).unwrap();
    let line = 1 + written
        .lines()
        .position(|line| line.starts_with("url = "))
        .unwrap();
    assert!(text.contains(&format!("kenin.toml:{line}:")), "{text}");
    assert!(text.contains("start_tls = true"), "{text}");
}

#[test]
fn a_directory_that_is_away_is_said_to_be_and_comes_back() {
    let town = Town::get();
    let bob = Entry::person("Bob")
        .with("mail", "bob@example.jp")
        .certificate(&town.bob.certificate);
    let mut slapd = Slapd::start(&[bob]);
    let gateway = plain(&slapd);
    let check = || {
        let config = gateway.config();
        let output = kenin(&["check", "--config", config.to_str().unwrap()]);
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let silent = format!("ldap://{} does not answer", slapd.plain);
    let (code, text) = check();
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("does not answer"), "{text}");

    slapd.stop();
    let answer = find(&gateway, "bob@example.jp");
    assert_eq!((answer.code, answer.found.len()), (69, 0));
    assert!(answer.said.contains("unavailable"), "{}", answer.said);
    let (code, text) = check();
    // A warning: the service starts without it.
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&silent), "{text}");

    slapd.restart();
    let answer = find(&gateway, "bob@example.jp");
    assert_eq!(
        (answer.code, prints(&answer)),
        (0, sorted(&[&town.bob.certificate]))
    );
}
