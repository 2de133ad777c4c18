//! `kenin verify` with answers of a real OCSP responder (`openssl ocsp`), beside the mail and in it: good is
//! good, and everything else is something else.

use std::path::{Path, PathBuf};
use std::process::Command;

use kenin_pki::UnixTime;
use kenin_pki::ocsp::OcspResponse;
use kenin_tests::forge::certificates::{
    Authority, EMAIL_PROTECTION, Person, ext_key_usage, extension, pem,
};
use kenin_tests::forge::cms::{SignedForm, SignerForm};
use kenin_tests::forge::{Town, der, mime};
use kenin_tests::verify::{Said, verify};
use kenin_tests::world::{Folder, run};

/// id-kp-OCSPSigning.
const OCSP_SIGNING: &str = "1.3.6.1.5.5.7.3.9";
const NO_CHECK: &str = "1.3.6.1.5.5.7.48.1.5";

/// What the responder's list of certificates says of one.
#[derive(Clone, Copy)]
enum Entry {
    Valid,
    Revoked,
    Absent,
}

/// Files of a town for the `openssl` program.
struct Bureau {
    folder: Folder,
}

impl Bureau {
    fn new() -> Self {
        let (bureau, town) = (
            Self {
                folder: Folder::new(),
            },
            Town::get(),
        );
        bureau.keep("root", &town.root.certificate, &town.root.key.pem());
        bureau.keep("issuer", &town.issuer.certificate, &town.issuer.key.pem());
        bureau.keep("alice", &town.alice.certificate, &[]);
        bureau
    }

    fn keep(&self, name: &str, certificate: &[u8], key: &[u8]) {
        let text = pem("CERTIFICATE", certificate);
        std::fs::write(self.file(&format!("{name}.pem")), text).unwrap();
        std::fs::write(self.file(&format!("{name}.key")), key).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What `responder` answers about the certificate with this serial number, which `issuer` issued.
    fn answer(
        &self,
        (subject, serial): (&str, &[u8]),
        issuer: &str,
        responder: &str,
        entry: Entry,
    ) -> PathBuf {
        let hex: String = serial.iter().map(|octet| format!("{octet:02X}")).collect();
        let index = match entry {
            Entry::Valid => format!("V\t480101000000Z\t\t{hex}\tunknown\t/CN=x\n"),
            Entry::Revoked => {
                format!("R\t480101000000Z\t260101000000Z,keyCompromise\t{hex}\tunknown\t/CN=x\n")
            }
            Entry::Absent => String::new(),
        };
        let file = self.file("index.txt");
        std::fs::write(&file, index).unwrap();
        let out = self.file(&format!("{subject}-{responder}.ors"));
        let mut command = Command::new("openssl");
        command.args(["ocsp", "-sha256", "-index"]).arg(&file);
        for (option, file) in [
            ("-CA", format!("{issuer}.pem")),
            ("-issuer", format!("{issuer}.pem")),
            ("-cert", format!("{subject}.pem")),
            ("-rsigner", format!("{responder}.pem")),
            ("-rkey", format!("{responder}.key")),
        ] {
            command.arg(option).arg(self.file(&file));
        }
        command.args(["-ndays", "1", "-respout"]).arg(&out);
        run(&mut command);
        out
    }

    /// What the root says of the authority below it.
    fn of_issuer(&self) -> PathBuf {
        let serial = serial(&Town::get().issuer.certificate);
        self.answer(("issuer", &serial), "root", "root", Entry::Valid)
    }

    fn of_alice(&self, responder: &str, entry: Entry) -> PathBuf {
        let serial = &Town::get().alice.serial;
        self.answer(("alice", serial), "issuer", responder, entry)
    }

    /// Verifies a mail by these answers, so many seconds after the first was made.
    fn verify(&self, mail: &[u8], answers: &[&Path], later: i64) -> Said {
        let file = self.file("mail.eml");
        std::fs::write(&file, mail).unwrap();
        let first = std::fs::read(self.of_issuer()).unwrap();
        let made = OcspResponse::from_der(&first).unwrap().produced_at();
        let at = UnixTime(made.0 + later);
        let mut options = vec![
            format!("--anchor={}", self.file("root.pem").display()),
            format!("--intermediate={}", self.file("issuer.pem").display()),
            format!("--at={at}"),
            format!("--ocsp={}", self.of_issuer().display()),
        ];
        let more = answers
            .iter()
            .map(|file| format!("--ocsp={}", file.display()));
        options.extend(more);
        let (mut said, _, _) = verify(&options, &[&file]);
        said.remove(0)
    }
}

/// The content of the INTEGER after the version.
fn serial(certificate: &[u8]) -> Vec<u8> {
    let read = kenin_pki::Certificate::from_der(certificate).unwrap();
    read.serial().to_vec()
}

/// Alice's mail, opaque, with these OCSP responses among its CRLs.
fn mail(stapled: &[PathBuf]) -> Vec<u8> {
    let town = Town::get();
    let entity = mime::text("Of good standing.");
    let form = SignerForm::new(&town.alice, &entity);
    let mut signed =
        SignedForm::detached(&form, &entity, &[&town.alice.certificate]).attached(&entity);
    signed.crls = stapled
        .iter()
        .map(|file| {
            let response = std::fs::read(file).unwrap();
            let format = der::oid("1.3.6.1.5.5.7.16.2");
            der::tlv(0xa1, &der::cat(&[format, response]))
        })
        .collect();
    let headers = mime::headers("Alice <alice@example.jp>");
    mime::opaque(&headers, "signed-data", &signed.encode())
}

fn says(said: &Said) -> (&str, &str) {
    (said.result(), said.reason())
}

#[test]
fn good_is_good_and_everything_else_is_something_else() {
    let bureau = Bureau::new();
    let mail = mail(&[]);
    let good = bureau.of_alice("issuer", Entry::Valid);
    let said = bureau.verify(&mail, &[&good], 60);
    assert_eq!(says(&said), ("pass", "ok"), "{}", said.json);
    assert!(said.json.to_string().contains("ocsp of "), "{}", said.json);

    let stale = bureau.verify(&mail, &[&good], 86_400 + 60);
    let unknown = ("temperror", "revocation-unavailable");
    assert_eq!(says(&stale), unknown, "{}", stale.json);
    let early = bureau.verify(&mail, &[&good], -3600);
    assert_eq!(says(&early), unknown, "{}", early.json);
    let none = bureau.verify(&mail, &[], 60);
    assert_eq!(says(&none), unknown, "{}", none.json);

    let bad = bureau.of_alice("issuer", Entry::Revoked);
    let said = bureau.verify(&mail, &[&bad], 60);
    assert_eq!(says(&said), ("fail", "revoked"), "{}", said.json);
    // A list of certificates that does not have Alice's.
    let absent = bureau.of_alice("issuer", Entry::Absent);
    let said = bureau.verify(&mail, &[&absent], 60);
    assert_eq!(says(&said), unknown, "{}", said.json);
}

#[test]
fn a_responder_answers_if_the_issuer_named_it() {
    let bureau = Bureau::new();
    let mail = mail(&[]);
    let town = Town::get();
    let keep = |name: &str, by: &Authority, purpose: &str| -> Person {
        let key = town.issuer.key.clone();
        let mut form = by.person_form("Responder", "ocsp@example.jp", &key);
        form.extensions = vec![
            ext_key_usage(&[purpose]),
            extension(NO_CHECK, false, &[5, 0]),
        ];
        let person = by.issue(&form, key);
        bureau.keep(name, &person.certificate, &person.key.pem());
        person
    };
    keep("named", &town.issuer, OCSP_SIGNING);
    keep("unnamed", &town.issuer, EMAIL_PROTECTION);
    keep("stranger", &town.root, OCSP_SIGNING);
    for (responder, expected) in [
        ("named", ("pass", "ok")),
        ("unnamed", ("temperror", "revocation-unavailable")),
        ("stranger", ("temperror", "revocation-unavailable")),
    ] {
        let answer = bureau.of_alice(responder, Entry::Valid);
        let said = bureau.verify(&mail, &[&answer], 60);
        assert_eq!(says(&said), expected, "{responder} {}", said.json);
    }
}

#[test]
fn answers_may_come_in_the_mail() {
    let bureau = Bureau::new();
    let good = bureau.of_alice("issuer", Entry::Valid);
    let stapled = mail(&[good]);
    let said = bureau.verify(&stapled, &[], 60);
    assert_eq!(says(&said), ("pass", "ok"), "{}", said.json);
    // What is known besides is not forgotten for it.
    let bad = bureau.of_alice("issuer", Entry::Revoked);
    let said = bureau.verify(&stapled, &[&bad], 60);
    assert_eq!(says(&said), ("fail", "revoked"), "{}", said.json);
    let junk = bureau.file("junk");
    std::fs::write(&junk, [0x30, 3, 0x0a, 1, 3]).unwrap();
    let said = bureau.verify(&mail(&[junk]), &[&bad], 60);
    assert!(said.has_note("crl-skipped"), "{}", said.json);
}
