//! A recipient's certificate that is revoked while the gateway runs: the next mail after it knows is refused, however often
//! the certificate was found good before, and without a restart. What a responder said is believed until its own end, as
//! docs/protecting.md says, but not against a list.

use std::time::Duration;

use kenin_tests::client::Envelope;
use kenin_tests::encryption::{AGREEMENT, Reader, said};
use kenin_tests::forge::Town;
use kenin_tests::forge::certificates::{NOT_AFTER, alt_names, key_usage, rfc822};
use kenin_tests::forge::enveloped::shows;
use kenin_tests::forge::keys::Key;
use kenin_tests::http_server::{HttpServer, Page};
use kenin_tests::kenin::{Gateway, Setup, kenin};
use kenin_tests::openssl_ocsp::Responder;
use kenin_tests::sink::Sink;
use kenin_tests::world::{Folder, wait_for};
use rustix::process::Signal;

const ANN: &str = "ann@must.example";
const RULES: &str =
    "[[rule]]\nwhen = { recipient_domain = \"must.example\" }\nthen = { encrypt = \"must\" }\n";
const REFUSED: &str = "550 5.7.1 Encryption required but no valid certificate for <ann@must.example>; message not sent";
const TEXT: &str = "Nobody but Ann reads this line.";

/// A gateway that encrypts for Ann, whose certificate lies in its store, and has no list of its issuer.
struct World {
    ann: Reader,
    sink: Sink,
    gateway: Gateway,
    /// Mails that were taken.
    taken: usize,
}

impl World {
    /// With these lines for its anchor, made of Ann; not started.
    fn prepare(anchor: impl FnOnce(&Reader) -> String) -> Self {
        let (folder, sink) = (Folder::new(), Sink::start());
        let issuer = &Town::get().issuer;
        let ann = Reader::with(folder.path(), issuer, "ann", Key::p256(), |form| {
            form.extensions[0] = alt_names(&[rfc822(ANN.as_bytes())]);
            form.extensions[1] = key_usage(AGREEMENT);
        });
        let gateway = Gateway::prepare(&Setup {
            mail: RULES.to_owned(),
            anchor: anchor(&ann),
            ..Setup::new(sink.address)
        });
        std::fs::remove_file(gateway.folder.join("crls/issuer.crl")).unwrap();
        let world = Self {
            ann,
            sink,
            gateway,
            taken: 0,
        };
        let file = world.ann.certificate.display().to_string();
        world.command(&["cert", "import", &file]);
        world
    }

    fn command(&self, words: &[&str]) {
        let config = self.gateway.config().display().to_string();
        let output = kenin(&[words, &["--config", &config]].concat());
        assert!(output.status.success(), "{}", said(&output));
    }

    /// Puts a list of this month of 2025 in its file.
    fn put_list(&self, month: u32, revoked: &[&[u8]]) {
        let file = self.gateway.folder.join("crls/issuer.crl");
        std::fs::write(file, list(month, revoked)).unwrap();
    }

    /// What is answered to a mail for her. Taken, it has arrived, encrypted.
    fn send(&mut self) -> String {
        let raw = format!(
            "From: Sender <sender@own.example>\r\nTo: {ANN}\r\nSubject: {TEXT}\r\n\
             Date: Fri, 01 May 2026 12:00:00 +0000\r\nMessage-ID: <{}@own.example>\r\n\
             MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{TEXT}\r\n",
            self.taken
        );
        let envelope = Envelope::new("sender@own.example", ANN);
        let reply = self.gateway.send(&envelope, raw.as_bytes());
        self.taken += usize::from(reply.code == 250);
        for mail in self.sink.wait(self.taken, Duration::from_secs(30)) {
            assert!(!shows(&mail.raw, TEXT), "it went in clear");
            let kind = mail.fields("Content-Type").concat();
            assert!(kind.starts_with("application/pkcs7-mime"), "{kind}");
        }
        assert_eq!(self.sink.count(), self.taken);
        reply.text()
    }

    #[track_caller]
    fn is_taken(&mut self) {
        let reply = self.send();
        assert!(reply.starts_with("250 "), "{reply}");
    }

    /// Twice, since what is refused is never remembered either.
    #[track_caller]
    fn is_refused(&mut self) {
        for _ in 0..2 {
            assert_eq!(self.send(), REFUSED);
        }
    }

    /// Waits until a list that names somebody is in force.
    fn wait_for_the_list(&self) {
        wait_for("the new list is in force", || {
            let (_, metrics) = self.gateway.get("/metrics");
            assert!(metrics.contains("\nkenin_crl_entries "), "{metrics}");
            !metrics.contains("\nkenin_crl_entries 0\n")
        });
    }

    /// How many answers of the responder were fetched since the start.
    fn answers(&self) -> String {
        let (_, metrics) = self.gateway.get("/metrics");
        let name = "kenin_fetch_total{kind=\"ocsp\",outcome=\"new\"} ";
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix(name));
        value.unwrap_or("0").to_owned()
    }
}

/// A list of the issuer from the first of this month of 2025.
fn list(month: u32, revoked: &[&[u8]]) -> Vec<u8> {
    let this = format!("2025{month:02}01000000Z");
    let issuer = &Town::get().issuer;
    issuer.crl_between(revoked, &this, Some(NOT_AFTER))
}

/// What trust.toml needs so that somebody on this machine is asked.
fn fetch(source: &str, port: u16) -> String {
    format!(
        "[anchor.fetch]\n{source}\n[fetch]\nports = [{port}]\nallow_networks = [\"127.0.0.0/8\"]\n"
    )
}

#[test]
fn by_a_list_in_a_file_whether_the_gateway_is_told_or_sees_it() {
    for told in [true, false] {
        let mut world = World::prepare(|_| String::new());
        world.put_list(1, &[]);
        world.gateway.restart();
        world.is_taken();
        world.is_taken();
        let serial = world.ann.person.serial.clone();
        world.put_list(2, &[&serial]);
        if told {
            world.gateway.process().signal(Signal::HUP);
        }
        world.wait_for_the_list();
        world.is_refused();
        // It takes nothing back that the file is gone, or as it was.
        world.put_list(1, &[]);
        world.gateway.process().signal(Signal::HUP);
        world.is_refused();
    }
}

#[test]
fn by_a_list_that_is_fetched_into_the_store() {
    let server = HttpServer::start();
    server.put("/issuer.crl", Page::Body(list(1, &[])));
    let source = format!("crl = [\"{}\"]", server.url("/issuer.crl"));
    let mut world = World::prepare(|_| fetch(&source, server.address.port()));
    world.gateway.restart();
    wait_for("the first list is there", || {
        let reply = world.send();
        let early = reply.starts_with("451 4.7.5 Revocation status unavailable");
        assert!(early || reply.starts_with("250 "), "{reply}");
        !early
    });
    world.is_taken();
    let serial = world.ann.person.serial.clone();
    server.put("/issuer.crl", Page::Body(list(2, &[&serial])));
    world.command(&["crl", "refresh"]);
    world.wait_for_the_list();
    world.is_refused();
}

/// A gateway that asks a responder, which knows Ann as good, was asked once, and has her as revoked by now.
fn believing() -> (World, Responder) {
    let mut responder = None;
    let mut world = World::prepare(|ann| {
        let started = responder.insert(Responder::start(&[&ann.person], &[]));
        let source = format!("ocsp = \"{}\"", started.url());
        fetch(&source, started.address.port())
    });
    let responder = responder.unwrap();
    world.gateway.restart();
    world.is_taken();
    assert_eq!(world.answers(), "1");
    responder.know(&[], &[&world.ann.person]);
    // The answer is good for a day, and the responder is not asked again before its end.
    world.is_taken();
    assert_eq!(world.answers(), "1");
    (world, responder)
}

#[test]
fn an_answer_of_a_responder_does_not_stand_against_a_list() {
    let (mut world, _responder) = believing();
    let serial = world.ann.person.serial.clone();
    world.put_list(1, &[&serial]);
    world.gateway.process().signal(Signal::HUP);
    world.wait_for_the_list();
    world.is_refused();
    assert_eq!(world.answers(), "1");
}

#[test]
fn what_a_responder_said_outlives_a_reload_and_no_restart() {
    let (mut world, _responder) = believing();
    // Afterwards no path is known, and hers is found by what was said before.
    let before = world.gateway.log().matches(TAKEN_OVER).count();
    world.gateway.process().signal(Signal::HUP);
    wait_for("it is reloaded", || {
        world.gateway.log().matches(TAKEN_OVER).count() > before
    });
    world.is_taken();
    assert_eq!(world.answers(), "1");
    world.gateway.restart();
    world.is_refused();
    assert_eq!(world.answers(), "1");
}

const TAKEN_OVER: &str = "configuration taken over";
