//! PKI-04: a URL in a certificate is no counter of readers and no way to have others asked. A thousand mails whose
//! signers' certificates name the same one cause one fetch: of a list, of an answer about one certificate, of an
//! issuer. One that fails rests too.

use std::time::{Duration, Instant};

use kenin_pki::UnixTime;
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{SigningKey, SoftKey};
use kenin_pki::issue::OcspBuilder;
use kenin_pki::ocsp::CertStatus;
use kenin_tests::forge::certificates::{Authority, Person, extension, pem};
use kenin_tests::forge::der::{oid, seq, tlv};
use kenin_tests::forge::keys::Key;
use kenin_tests::forge::{Town, cms, mime};
use kenin_tests::http_server::{HttpServer, Page};
use kenin_tests::kenin::{Gateway, Setup, envelope};
use kenin_tests::sink::{Behaviour, Sink};

const MAILS: usize = 1000;
const FROM: &str = "reader@example.jp";
const OCSP: &str = "1.3.6.1.5.5.7.48.1";
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";

/// CRLDistributionPoints.
fn points(url: &str) -> Vec<u8> {
    let name = tlv(0x86, url.as_bytes());
    let point = seq([tlv(0xa0, &tlv(0xa0, &name))]);
    extension("2.5.29.31", false, &seq([point]))
}

/// AuthorityInfoAccess.
fn access(method: &str, url: &str) -> Vec<u8> {
    let one = seq([oid(method), tlv(0x86, url.as_bytes())]);
    extension("1.3.6.1.5.5.7.1.1", false, &seq([one]))
}

fn person(issuer: &Authority, extension: Vec<u8>) -> Person {
    let key = Key::p256();
    let mut form = issuer.person_form("Reader", FROM, &key);
    form.extensions.push(extension);
    issuer.issue(&form, key)
}

/// A mail without any certificate but the signer's.
fn mail(person: &Person) -> Vec<u8> {
    let part = mime::text("Who reads this?");
    let object = cms::detached(person, &[], &part);
    mime::clear_signed(&mime::headers(FROM), &part, &object)
}

/// What a responder says of somebody, for as long as the certificate holds.
fn good(person: &Person, issuer: &Authority) -> Vec<u8> {
    let key = SoftKey::from_pem_or_der(&issuer.key.pem()).unwrap();
    let certificate = Certificate::from_der(&person.certificate).unwrap();
    let time = |text| UnixTime::parse_rfc3339(text).unwrap();
    let from = time("2026-01-01T00:00:00Z");
    let times = (from, Some(time("2047-01-01T00:00:00Z")));
    OcspBuilder::new(from)
        .answer(&certificate, key.public_key(), CertStatus::Good, times)
        .signed_der(&key)
        .unwrap()
}

#[test]
fn a_thousand_mails_cause_one_fetch() {
    let (town, server) = (Town::get(), HttpServer::start());
    let sink = Sink::with(Behaviour {
        keeps_bytes: false,
        ..Behaviour::default()
    });
    let setup = Setup {
        anchor: format!(
            "[anchor.fetch]\nfrom_certificates = true\nhosts = [\"127.0.0.1\"]\n\
             [fetch]\nports = [{}]\nallow_networks = [\"127.0.0.0/8\"]\n",
            server.address.port()
        ),
        ..Setup::new(sink.address)
    };
    let mut gateway = Gateway::prepare(&setup);
    let [lister, asked, hidden, lost] =
        ["Lister", "Asked", "Hidden", "Lost"].map(|name| town.root.below(name));
    for (number, known) in [&lister, &asked, &lost].iter().enumerate() {
        let file = gateway.folder.join(format!("intermediates/{number}.pem"));
        std::fs::write(file, pem("CERTIFICATE", &known.certificate)).unwrap();
    }
    std::fs::write(gateway.folder.join("crls/hidden.crl"), hidden.crl(&[])).unwrap();
    let list = points(&server.url("/list"));
    let one = person(&asked, access(OCSP, &server.url("/answer")));
    server.put("/list", Page::Body(lister.crl(&[])));
    server.put("/answer", Page::Body(good(&one, &asked)));
    server.put("/issuer", Page::Body(hidden.certificate.clone()));
    // Of many people the list and the issuer are the same.
    let many =
        |make: &dyn Fn() -> Person| -> Vec<Vec<u8>> { (0..50).map(|_| mail(&make())).collect() };
    let issuer = access(CA_ISSUERS, &server.url("/issuer"));
    let kinds = [
        many(&|| person(&lister, list.clone())),
        vec![mail(&one)],
        many(&|| person(&hidden, issuer.clone())),
        vec![mail(&person(&lost, access(OCSP, &server.url("/lost"))))],
    ];
    gateway.restart();
    let begun = Instant::now();
    let mut client = gateway.client();
    for number in 0..MAILS {
        for mails in &kinds {
            let raw = &mails[number % mails.len()];
            let reply = client.mail(&envelope(), raw);
            let reply = reply.unwrap_or_else(|| panic!("{}", gateway.log()));
            assert_eq!(reply.code, 250, "{}", reply.text());
        }
    }
    sink.wait(kinds.len() * MAILS, Duration::from_secs(60));
    let stamps = sink.records().into_iter();
    let stamps: Vec<String> = stamps.map(|one| one.stamps.concat()).collect();
    let with = |words: &str| stamps.iter().filter(|stamp| stamp.contains(words)).count();
    assert_eq!(with("smime=pass"), 3 * MAILS);
    assert_eq!(with("smime=temperror"), MAILS);
    for path in ["/list", "/answer", "/issuer"] {
        assert_eq!(server.requests(path), 1, "{path}");
    }
    // It is tried again after a minute, then after two, four and so on.
    let minutes = usize::try_from(begun.elapsed().as_secs() / 60).unwrap();
    let tries = server.requests("/lost");
    assert!((1..=1 + minutes).contains(&tries), "{tries}");
}
