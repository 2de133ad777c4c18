//! The options of `verify`, each with a mail that it decides over.

use std::path::{Path, PathBuf};

use clap::Parser;
use kenin_pki::crypto::{DigestAlgorithm, KeyType, SignatureAlgorithm};
use kenin_pki::issue::CrlBuilder;
use kenin_pki::pem;
use kenin_smime::sign::{Form, Signer};

use super::super::arguments::{Arguments, Command};
use super::*;
use crate::demo::authority::{Authority, Holder, Term};

/// An authority's files, and a mail of somebody it knows.
struct World {
    folder: tempfile::TempDir,
    authority: Authority,
    person: Holder,
}

const ENTITY: &[u8] = b"Content-Type: text/plain\r\n\r\nHello.\r\n";

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = Authority::new("Example", KeyType::P256, now()).unwrap();
        let person = authority
            .issue("A", "a@example.jp", KeyType::P256, Term::Valid)
            .unwrap();
        authority.write(folder.path()).unwrap();
        Self {
            folder,
            authority,
            person,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn option(&self, option: &str, name: &str) -> String {
        format!("{option}={}", self.path(name).display())
    }

    fn trusted(&self) -> Vec<String> {
        vec![
            self.option("--anchor", "anchors"),
            self.option("--crl", "crls/root.pem"),
        ]
    }

    fn signer<'a>(&'a self, chain: &'a [Certificate]) -> Signer<'a> {
        Signer {
            key: &self.person.key,
            certificate: &self.person.certificate,
            chain,
            digest: DigestAlgorithm::Sha256,
            algorithm: SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256),
            signing_time: None,
            capabilities: &[],
        }
    }

    fn mail(&self) -> Vec<u8> {
        let chain = self.authority.chain();
        let entity = self.signer(&chain).sign(ENTITY, Form::Clear).unwrap();
        [b"From: a@example.jp\r\n", entity.as_slice()].concat()
    }
}

fn options(arguments: &[String]) -> JudgeOptions {
    let arguments = arguments.iter().map(String::as_str);
    let line = ["kenin", "verify"]
        .into_iter()
        .chain(arguments)
        .chain(["x"]);
    let Command::Verify(verify) = Arguments::try_parse_from(line).unwrap().command else {
        panic!("not verify")
    };
    verify.judge
}

fn verdict(arguments: &[String], file: &[u8]) -> String {
    let engine = Engine::new(&[], &options(arguments)).unwrap();
    let verdict = engine.judge(file.to_vec()).verdict;
    format!(
        "{} {}",
        verdict.result.map_or("null", |r| r.as_str()),
        verdict.reason_id()
    )
}

fn with(base: &[String], more: &[&str]) -> Vec<String> {
    base.iter()
        .cloned()
        .chain(more.iter().map(|s| (*s).to_owned()))
        .collect()
}

#[test]
fn a_status_is_required_unless_options_say_otherwise() {
    let world = World::new();
    let mail = world.mail();
    let anchor = [world.option("--anchor", "anchors/root.pem")];
    assert_eq!(verdict(&[], &mail), "policy issuer-not-trusted");
    assert_eq!(verdict(&anchor, &mail), "temperror revocation-unavailable");
    assert_eq!(
        verdict(&with(&anchor, &["--revocation=if-available"]), &mail),
        "pass ok"
    );
    assert_eq!(
        verdict(&with(&anchor, &["--revocation=off"]), &mail),
        "pass ok"
    );
    // The root's list alone says nothing of people.
    assert_eq!(
        verdict(&world.trusted(), &mail),
        "temperror revocation-unavailable"
    );
    let folder = world.option("--crl", "crls");
    assert_eq!(verdict(&with(&anchor, &[&folder]), &mail), "pass ok");
}

#[test]
fn lone_lf_is_taken_as_crlf() {
    let world = World::new();
    let text = String::from_utf8(world.mail())
        .unwrap()
        .replace("\r\n", "\n");
    let arguments = [
        world.option("--anchor", "anchors"),
        "--revocation=off".to_owned(),
    ];
    assert_eq!(verdict(&arguments, text.as_bytes()), "pass ok");
}

#[test]
fn the_time_is_that_of_the_option() {
    let world = World::new();
    let arguments = [
        world.option("--anchor", "anchors"),
        "--revocation=off".to_owned(),
    ];
    let at = |time: &str| verdict(&with(&arguments, &["--at", time]), &world.mail());
    assert_eq!(at("2060-01-01T00:00:00Z"), "fail certificate-expired");
    assert_eq!(
        at("2001-01-01T00:00:00+09:00"),
        "fail certificate-not-yet-valid"
    );
    for bad in [["--at", "yesterday"], ["--initial-policy", "1.x"]] {
        let error = Engine::new(&[], &options(&with(&[], &bad))).err().unwrap();
        assert_eq!(error.exit, Exit::Usage, "{bad:?}");
    }
}

#[test]
fn a_list_from_after_that_time_does_not_hide_the_one_from_before() {
    let world = World::new();
    let issuer = &world.authority.intermediate;
    let late = now().0 + 400 * 86_400;
    let list = CrlBuilder::new(UnixTime(late), Some(UnixTime(late + 86_400))).number(9);
    let list = list.issued_by(&issuer.certificate, &issuer.key).unwrap();
    std::fs::write(
        world.path("crls/late.pem"),
        pem::encode("X509 CRL", list.der()),
    )
    .unwrap();
    let arguments = [
        world.option("--anchor", "anchors"),
        world.option("--crl", "crls"),
    ];
    assert_eq!(verdict(&arguments, &world.mail()), "pass ok");
}

#[test]
fn a_required_policy_that_nobody_asserts_fails_the_path() {
    let world = World::new();
    let arguments = [
        world.option("--anchor", "anchors"),
        "--revocation=off".to_owned(),
    ];
    let arguments = with(
        &arguments,
        &["--require-explicit-policy", "--initial-policy", "1.2.3"],
    );
    assert_eq!(verdict(&arguments, &world.mail()), "fail path-invalid");
}

#[test]
fn bare_cms_needs_its_content() {
    let world = World::new();
    let chain = world.authority.chain();
    let detached = world.signer(&chain).sign_cms(b"Hello.\r\n", true).unwrap();
    let within = world.signer(&chain).sign_cms(b"Hello.\r\n", false).unwrap();
    let trust = [
        world.option("--anchor", "anchors"),
        "--revocation=off".to_owned(),
    ];
    std::fs::write(world.path("good"), "Hello.\r\n").unwrap();
    std::fs::write(world.path("bad"), "Hello!\r\n").unwrap();
    let beside =
        |name: &str, file: &[u8]| verdict(&with(&trust, &[&world.option("--content", name)]), file);
    assert_eq!(verdict(&trust, &within), "pass ok");
    assert_eq!(
        verdict(&trust, pem::encode("CMS", &within).as_bytes()),
        "pass ok"
    );
    // As people save the body of a pkcs7-mime part: base64, nothing around it.
    let saved = |cms: &[u8]| {
        let text = pem::encode("CMS", cms);
        text.lines()
            .filter(|line| !line.starts_with('-'))
            .fold(String::new(), |text, line| text + line + "\r\n")
    };
    assert_eq!(verdict(&trust, saved(&within).as_bytes()), "pass ok");
    assert_eq!(beside("good", saved(&detached).as_bytes()), "pass ok");
    assert_eq!(beside("good", &detached), "pass ok");
    assert_eq!(beside("bad", &detached), "fail digest-mismatch");
    assert_ne!(verdict(&trust, &detached), "pass ok");
    assert_ne!(beside("bad", &within), "pass ok");
}

#[test]
fn a_configuration_brings_its_trust() {
    let world = World::new();
    let write = |name: &str, text: &str| std::fs::write(world.path(name), text).unwrap();
    write(
        "kenin.toml",
        "hostname = \"gw.example.jp\"\n[[listener]]\naddress = \"127.0.0.1:10025\"\n\
         mode = \"before-queue\"\n[next_hop]\naddress = \"127.0.0.1:10026\"\n",
    );
    write(
        "trust.toml",
        "crls = [\"crls\"]\n[[anchor]]\nname = \"root\"\nfile = \"anchors/root.pem\"\n",
    );
    let engine = Engine::new(&[world.path("kenin.toml")], &options(&[])).unwrap();
    assert!(engine.judge(world.mail()).verdict.is_pass());
    write("trust.toml", "[[anchor]]\nname = 3\n");
    let error = Engine::new(&[world.path("kenin.toml")], &options(&[]))
        .err()
        .unwrap();
    assert_eq!(error.exit, Exit::Configuration);
}

#[test]
fn what_is_named_must_be_there_and_be_what_it_should() {
    let world = World::new();
    let exit = |option: &str, name: &str| {
        let arguments = [world.option(option, name)];
        Engine::new(&[], &options(&arguments))
            .err()
            .map(|failure| failure.exit)
    };
    assert_eq!(exit("--anchor", "absent"), Some(Exit::NoInput));
    assert_eq!(exit("--crl", "absent"), Some(Exit::NoInput));
    assert_eq!(exit("--content", "absent"), Some(Exit::NoInput));
    assert_eq!(exit("--anchor", "crls/root.pem"), Some(Exit::Data));
    std::fs::write(world.path("junk.pem"), "junk").unwrap();
    assert_eq!(exit("--intermediate", "junk.pem"), Some(Exit::Data));
    // In a folder it is passed over: what is left out cannot make anything trusted.
    std::fs::write(world.path("crls/junk.crl"), "junk").unwrap();
    assert_eq!(exit("--crl", "crls"), None);
    assert!(Path::new(&world.path("crls/junk.crl")).exists());
}
