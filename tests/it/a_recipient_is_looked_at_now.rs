//! `kenin encrypt --to`: whoever encrypts answers for the recipient's certificate, so that each is looked at for each mail:
//! its address, its key usage, its path, its status. Where one recipient has none that is good, nothing is written.

use std::process::{Command, Output};

use kenin_tests::encryption::{AGREEMENT, Reader, TEXT, TRANSPORT, object, part, said};
use kenin_tests::forge::Town;
use kenin_tests::forge::certificates::{extension, key_usage};
use kenin_tests::forge::der::{oid, seq, time};
use kenin_tests::forge::keys::Key;
use kenin_tests::forge::mime;
use kenin_tests::kenin::{Gateway, Setup, kenin};
use kenin_tests::slapd::{BASE, Entry, Slapd};
use kenin_tests::world::Folder;

/// A configuration, and readers below the town's issuer.
struct Desk {
    gateway: Gateway,
}

impl Desk {
    fn new(tables: &str) -> Self {
        let mut setup = Setup::new("127.0.0.1:9".parse().unwrap());
        setup.tables = tables.to_owned();
        let gateway = Gateway::prepare(&setup);
        let mail = [mime::headers("alice@example.jp"), part()].concat();
        std::fs::write(gateway.folder.join("mail.eml"), mail).unwrap();
        Self { gateway }
    }

    fn reader(&self, name: &str, usage: u8) -> Reader {
        let key = match usage {
            TRANSPORT => Key::rsa(2048),
            _ => Key::p256(),
        };
        Reader::new(
            self.gateway.folder.path(),
            &Town::get().issuer,
            name,
            key,
            usage,
        )
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let config = self.gateway.config().display().to_string();
        kenin(&[arguments, &["--config", &config]].concat())
    }

    #[track_caller]
    fn keep(&self, reader: &Reader) {
        let output = self.run(&["cert", "import", reader.certificate.to_str().unwrap()]);
        assert!(output.status.success(), "{}", said(&output));
    }

    fn encrypt(&self, to: &[&str]) -> Output {
        let mail = self.gateway.folder.join("mail.eml").display().to_string();
        let mut arguments = vec!["encrypt"];
        for address in to {
            arguments.extend(["--to", *address]);
        }
        arguments.push(&mail);
        self.run(&arguments)
    }

    /// By OpenSSL.
    fn opens(&self, reader: &Reader, mail: &[u8]) -> bool {
        let file = self.gateway.folder.join("object.der");
        std::fs::write(&file, object(mail)).unwrap();
        let mut command = Command::new("openssl");
        command.args(["cms", "-decrypt", "-binary", "-inform", "DER", "-in"]);
        command.arg(&file).arg("-recip").arg(&reader.certificate);
        let output = command.arg("-inkey").arg(&reader.key).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains(TEXT)
    }
}

/// Refused with this code and these words, and not one byte written.
#[track_caller]
fn refused(output: &Output, code: i32, words: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    assert!(said(output).contains(words), "{}", said(output));
    assert!(output.stdout.is_empty(), "{}", said(output));
}

#[test]
fn good_recipients_read_it_and_one_bad_one_keeps_it_from_all() {
    let desk = Desk::new("");
    let (rita, paul) = (
        desk.reader("rosa", TRANSPORT),
        desk.reader("paul", AGREEMENT),
    );
    desk.keep(&rita);
    desk.keep(&paul);
    let output = desk.encrypt(&["rosa@example.jp", "Paul@EXAMPLE.jp"]);
    assert!(output.status.success(), "{}", said(&output));
    // Nobody said what the two can read.
    assert!(said(&output).contains("aes-256-cbc"), "{}", said(&output));
    assert!(
        said(&output).contains("integrity: none"),
        "{}",
        said(&output)
    );
    for reader in [&rita, &paul] {
        assert!(desk.opens(reader, &output.stdout));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("Subject: [...]") && !text.contains("Forged"),
        "{text}"
    );
    refused(
        &desk.encrypt(&["rosa@example.jp", "nobody@example.jp"]),
        1,
        "no certificate was found for nobody@example.jp",
    );
    // A key that signs is none to encrypt for, whatever its certificate is called.
    let signer = desk.reader("sigrid", 0xc0);
    desk.keep(&signer);
    refused(
        &desk.encrypt(&["rosa@example.jp", "sigrid@example.jp"]),
        1,
        "key-usage",
    );
}

#[test]
fn a_status_that_is_bad_or_unknown_now_keeps_it_back() {
    let desk = Desk::new("");
    let town = Town::get();
    let rosa = desk.reader("rosa", TRANSPORT);
    desk.keep(&rosa);
    let list = desk.gateway.folder.join("crls/issuer.crl");
    assert!(desk.encrypt(&["rosa@example.jp"]).status.success());
    std::fs::write(&list, town.issuer.crl(&[&rosa.person.serial])).unwrap();
    refused(&desk.encrypt(&["rosa@example.jp"]), 1, "revoked");
    std::fs::remove_file(&list).unwrap();
    refused(
        &desk.encrypt(&["rosa@example.jp"]),
        75,
        "revocation-unavailable",
    );
}

#[test]
fn a_certificate_of_somebody_else_is_for_nobody_until_it_is_registered() {
    let desk = Desk::new("");
    let rosa = desk.reader("rosa", TRANSPORT);
    desk.keep(&rosa);
    refused(
        &desk.encrypt(&["sales@example.jp"]),
        1,
        "no certificate was found",
    );
    let file = rosa.certificate.to_str().unwrap();
    let output = desk.run(&["cert", "register", "sales@example.jp", file]);
    assert!(output.status.success(), "{}", said(&output));
    let output = desk.encrypt(&["sales@example.jp"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(desk.opens(&rosa, &output.stdout));
}

/// RFC 4262: an issuer says what its people read.
#[test]
fn the_cipher_is_the_best_that_all_are_known_to_read() {
    let desk = Desk::new("");
    let reads_gcm = |name: &str| {
        let gcm = seq([seq([oid("2.16.840.1.101.3.4.1.46")])]);
        let issuer = &Town::get().issuer;
        let folder = desk.gateway.folder.path();
        Reader::with(folder, issuer, name, Key::rsa(2048), |form| {
            form.extensions[1] = key_usage(TRANSPORT);
            let capabilities = extension("1.2.840.113549.1.9.15", false, &gcm);
            form.extensions.push(capabilities);
        })
    };
    let (modern, old) = (reads_gcm("greta"), desk.reader("otto", TRANSPORT));
    desk.keep(&modern);
    desk.keep(&old);
    let one = desk.encrypt(&["greta@example.jp"]);
    assert!(said(&one).contains("aes-256-gcm"), "{}", said(&one));
    assert!(desk.opens(&modern, &one.stdout));
    let both = desk.encrypt(&["greta@example.jp", "otto@example.jp"]);
    assert!(said(&both).contains("aes-256-cbc"), "{}", said(&both));
}

#[test]
fn directories_are_asked_and_a_silent_one_is_told() {
    let town = Town::get();
    let folder = Folder::new();
    let lena = Reader::new(folder.path(), &town.issuer, "lena", Key::p256(), AGREEMENT);
    let entry = Entry::person("Lena")
        .with("mail", "lena@example.jp")
        .certificate(&lena.person.certificate);
    let mut slapd = Slapd::start(&[entry]);
    let url = format!("ldap://{}", slapd.plain);
    let desk = Desk::new(&format!(
        "[[directory]]\nurl = \"{url}\"\nbase = \"{BASE}\"\n"
    ));
    let output = desk.encrypt(&["lena@example.jp"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains(&url), "{}", said(&output));
    assert!(desk.opens(&lena, &output.stdout));
    slapd.stop();
    refused(&desk.encrypt(&["lena@example.jp"]), 69, "is unavailable");
}

/// PKI-07: as on its way, the newer certificate of a directory does not take the place of the one that was imported.
#[test]
fn a_directory_takes_no_imported_certificates_place() {
    let (folder, issuer) = (Folder::new(), &Town::get().issuer);
    let newer = Reader::with(folder.path(), issuer, "lena", Key::rsa(2048), |form| {
        form.extensions[1] = key_usage(TRANSPORT);
        form.not_before = time("20250101000000Z");
    });
    let entry = Entry::person("Lena")
        .with("mail", "lena@example.jp")
        .certificate(&newer.person.certificate);
    let slapd = Slapd::start(&[entry]);
    let desk = Desk::new(&format!(
        "[[directory]]\nurl = \"ldap://{}\"\nbase = \"{BASE}\"\n",
        slapd.plain
    ));
    let output = desk.encrypt(&["lena@example.jp"]);
    assert!(desk.opens(&newer, &output.stdout), "{}", said(&output));
    let imported = desk.reader("lena", TRANSPORT);
    desk.keep(&imported);
    let output = desk.encrypt(&["lena@example.jp"]);
    assert!(desk.opens(&imported, &output.stdout), "{}", said(&output));
    // Where it is no good any more the directory's is.
    let list = issuer.crl(&[&imported.person.serial]);
    std::fs::write(desk.gateway.folder.join("crls/issuer.crl"), list).unwrap();
    let output = desk.encrypt(&["lena@example.jp"]);
    assert!(desk.opens(&newer, &output.stdout), "{}", said(&output));
}

#[test]
fn files_are_looked_at_too_unless_somebody_vouches_for_them() {
    let desk = Desk::new("");
    let rosa = desk.reader("rosa", TRANSPORT);
    let stranger = Reader::new(
        desk.gateway.folder.path(),
        &Town::get().strange_root,
        "strange",
        Key::rsa(2048),
        TRANSPORT,
    );
    let mail = desk.gateway.folder.join("mail.eml").display().to_string();
    let encrypt = |reader: &Reader, more: &[&str]| {
        let file = reader.certificate.display().to_string();
        let words = ["encrypt", "--certificate", &file, &mail];
        desk.run(&[&words[..], more].concat())
    };
    let output = encrypt(&rosa, &[]);
    assert!(output.status.success(), "{}", said(&output));
    refused(&encrypt(&stranger, &[]), 1, "issuer-not-trusted");
    let output = encrypt(&stranger, &["--unchecked"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("neither path nor status"),
        "{}",
        said(&output)
    );
    let none = kenin(&["encrypt", &mail]);
    refused(&none, 2, "--to ADDRESS");
    // What is trusted stands on the command line, or nothing is.
    let file = rosa.certificate.display().to_string();
    refused(
        &kenin(&["encrypt", "--certificate", &file, &mail]),
        1,
        "issuer-not-trusted",
    );
    let pem_of_key = desk.gateway.folder.join("rosa.key");
    refused(
        &kenin(&[
            "encrypt",
            "--certificate",
            pem_of_key.to_str().unwrap(),
            &mail,
        ]),
        65,
        "certificate",
    );
}

/// That nothing is trusted was said where nobody had asked.
#[test]
fn who_takes_certificates_at_their_word_is_not_told_that_nothing_is_trusted() {
    let desk = Desk::new("");
    let rosa = desk.reader("rosa", TRANSPORT);
    let mail = desk.gateway.folder.join("mail.eml").display().to_string();
    let file = rosa.certificate.display().to_string();
    let words = ["encrypt", "--certificate", &file, &mail];
    let asks = kenin(&words);
    assert!(
        said(&asks).contains("nothing is trusted"),
        "{}",
        said(&asks)
    );
    let asks_nobody = kenin(&[&words[..], &["--unchecked"]].concat());
    let told = said(&asks_nobody);
    assert!(asks_nobody.status.success(), "{told}");
    assert!(!told.contains("nothing is trusted"), "{told}");
}

/// `--unchecked` is about path and status. What a certificate says of its own key holds whoever vouches for it.
#[test]
fn nobody_vouches_for_a_key_against_its_own_certificate() {
    let desk = Desk::new("");
    let mail = desk.gateway.folder.join("mail.eml").display().to_string();
    let forbidden = "key usage does not allow encryption";
    for (name, key, usage, words) in [
        ("signs", Key::rsa(2048), 0x80, forbidden),
        ("agrees", Key::rsa(2048), 0x08, forbidden),
        ("transports", Key::p256(), 0x20, forbidden),
        ("enciphers", Key::p256(), 0x09, "enciphering only"),
        ("short", Key::rsa(1024), TRANSPORT, "1024 bits"),
    ] {
        let folder = desk.gateway.folder.path();
        let reader = Reader::new(folder, &Town::get().strange_root, name, key, usage);
        let file = reader.certificate.display().to_string();
        let output = desk.run(&["encrypt", "--unchecked", "--certificate", &file, &mail]);
        refused(&output, 1, words);
    }
}
