//! Revocation lists come from where trust.toml says, at the start and again; OCSP answers when they are
//! needed. What is poisoned changes nothing (PKI-01, BOMB-09), what does not come is never good (PKI-02), and nobody is
//! connected to who was not listed (PKI-03).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kenin_tests::forge::Town;
use kenin_tests::forge::certificates::{Authority, NOT_AFTER, Person, pem};
use kenin_tests::http_server::{HttpServer, Page};
use kenin_tests::kenin::{Gateway, Setup, envelope, kenin};
use kenin_tests::sink::Sink;
use kenin_tests::world::{Folder, run, wait_for};
use serde_json::Value;

const PATH: &str = "/issuer.crl";

/// A gateway that has no list of the issuer but what it fetches.
struct World {
    sink: Sink,
    server: HttpServer,
    gateway: Gateway,
}

impl World {
    /// With these lines for `[anchor.fetch]`, made from the server; it may be reached.
    fn new(fetch: impl Fn(&HttpServer) -> String, first: Page) -> Self {
        let world = Self::prepare(fetch, "allow_networks = [\"127.0.0.0/8\"]", first);
        world.started()
    }

    fn prepare(fetch: impl Fn(&HttpServer) -> String, reach: &str, first: Page) -> Self {
        let (sink, server) = (Sink::start(), HttpServer::start());
        server.put(PATH, first);
        let setup = Setup {
            anchor: format!(
                "[anchor.fetch]\n{}\n[fetch]\nports = [{}]\n{reach}\n",
                fetch(&server),
                server.address.port()
            ),
            ..Setup::new(sink.address)
        };
        let gateway = Gateway::prepare(&setup);
        std::fs::remove_file(gateway.folder.join("crls/issuer.crl")).unwrap();
        Self {
            sink,
            server,
            gateway,
        }
    }

    fn started(mut self) -> Self {
        self.gateway.restart();
        self
    }

    /// What the gateway writes about a mail of this person.
    fn stamp(&self, person: &Person, from: &str) -> String {
        let raw = Town::get().clear_signed(person, from, "Am I good?");
        self.sink.clear();
        assert_eq!(self.gateway.send(&envelope(), &raw).code, 250);
        let mail = self.sink.wait(1, Duration::from_secs(30)).pop().unwrap();
        mail.fields("Authentication-Results")[0].clone()
    }

    fn bob(&self) -> String {
        self.stamp(&Town::get().bob, "bob@example.jp")
    }

    fn wait_for_bob(&self, word: &str) {
        wait_for(word, || self.bob().contains(word));
    }

    fn crl(&self, arguments: &[&str]) -> Output {
        let config = self.gateway.config().display().to_string();
        let first = ["crl", "--config", config.as_str()];
        kenin(&[&first[..], arguments].concat())
    }

    /// The lines of `kenin crl status`, without what only time changes, and the exit code.
    fn status(&self) -> (Vec<Value>, Option<i32>) {
        let output = self.crl(&["status", "--format", "jsonl"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().remove("age");
            line
        });
        (lines.collect(), output.status.code())
    }
}

fn lists(server: &HttpServer) -> String {
    format!("crl = [\"{}\"]", server.url(PATH))
}

/// A list of the issuer from the first of this month of 2025.
fn list(month: u32, revoked: &[&[u8]]) -> Vec<u8> {
    let this = format!("2025{month:02}01000000Z");
    let issuer = &Town::get().issuer;
    issuer.crl_between(revoked, &this, Some(NOT_AFTER))
}

/// 200 with this field and body, whatever they say of each other.
fn raw(field: &str, body: &[u8]) -> Page {
    let head = format!("HTTP/1.1 200 OK\r\n{field}\r\nConnection: close\r\n\r\n");
    Page::Raw([head.as_bytes(), body].concat())
}

/// A hundred million zeros, compressed.
fn bomb() -> Vec<u8> {
    let script = "import gzip,sys; sys.stdout.buffer.write(gzip.compress(bytes(100_000_000)))";
    run(Command::new("python3").args(["-c", script]))
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_list_is_there_at_the_start_and_replaced_on_command() {
    let world = World::new(lists, Page::Body(list(1, &[])));
    world.wait_for_bob("smime=pass");
    let (_, metrics) = world.gateway.get("/metrics");
    for line in [
        "kenin_fetch_total{kind=\"crl\",outcome=\"new\"} 1",
        "kenin_crl_last_success_timestamp_seconds{anchor=\"test-root\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(!metrics.contains(PATH), "a URL in a metric");
    let (before, code) = world.status();
    assert_eq!(code, Some(0));
    let url = world.server.url(PATH);
    let fetched = before.iter().find(|line| line["sources"][0] == *url);
    assert_eq!(fetched.unwrap()["freshness"], "fresh");
    assert!(before.iter().any(|line| line["sources"][0] == "file"));

    // Tried out, in PEM.
    let bob = &Town::get().bob.serial;
    let next = pem("X509 CRL", &list(2, &[bob]));
    world.server.put(PATH, Page::Body(next.into_bytes()));
    let tried = world.crl(&["refresh", "--dry-run"]);
    assert!(tried.status.success(), "{}", words(&tried));
    assert!(words(&tried).contains("would keep"), "{}", words(&tried));
    assert_eq!(world.status().0, before);

    let done = world.crl(&["refresh", &url]);
    assert!(done.status.success(), "{}", words(&done));
    assert!(words(&done).contains("kept the list"), "{}", words(&done));
    world.wait_for_bob("smime=fail (revoked");
    let again = world.crl(&["refresh"]);
    assert!(words(&again).contains("had already"), "{}", words(&again));
    let other = world.crl(&["refresh", "http://192.0.2.1/"]);
    assert_eq!(other.status.code(), Some(2), "{}", words(&other));

    // What is held and fresh is not fetched at the next start.
    let count = world.server.requests(PATH);
    let world = world.started();
    world.wait_for_bob("smime=fail (revoked");
    assert_eq!(world.server.requests(PATH), count);
}

#[test]
fn what_is_poisoned_changes_nothing() {
    let world = World::new(lists, Page::Body(list(6, &[])));
    world.wait_for_bob("smime=pass");
    let (before, _) = world.status();
    let town = Town::get();
    let bob: &[&[u8]] = &[&town.bob.serial];
    let impostor = Authority::root_named(town.issuer.name.clone());
    let mut unsigned = list(7, bob);
    let last = unsigned.len() - 1;
    unsigned[last] ^= 1;
    let mut cut = list(7, bob);
    cut.truncate(cut.len() - 1);
    let future = town
        .issuer
        .crl_between(bob, "20470101000000Z", Some(NOT_AFTER));
    let bomb = bomb();
    for (name, page, code) in [
        ("unsigned", Page::Body(unsigned), 65),
        ("another key", Page::Body(impostor.crl(bob)), 65),
        ("older", Page::Body(list(5, bob)), 65),
        ("another issuer", Page::Body(town.strange_root.crl(bob)), 65),
        ("of the future", Page::Body(future), 65),
        ("cut off", Page::Body(cut), 65),
        (
            "a certificate",
            Page::Body(town.issuer.certificate.clone()),
            65,
        ),
        ("garbage", Page::Body(b"<html>not here</html>".to_vec()), 65),
        ("nothing", Page::Body(Vec::new()), 65),
        ("endless", Page::Endless, 65),
        ("a gibibyte", raw("Content-Length: 1073741824", b"0"), 69),
        (
            "a gibibyte in one chunk",
            raw("Transfer-Encoding: chunked", b"40000000\r\n0"),
            69,
        ),
        ("inflatable", raw("Content-Encoding: gzip", &bomb), 69),
        (
            "inflatable, and not said to be",
            Page::Body(bomb.clone()),
            65,
        ),
        ("not found", Page::Status(404), 69),
        ("elsewhere", Page::Moved("http://127.0.0.2/".to_owned()), 69),
        ("a byte a second", Page::Slow(list(7, bob)), 69),
        ("silence", Page::Hang, 69),
    ] {
        world.server.put(PATH, page);
        let output = world.crl(&["refresh"]);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{name}: {}",
            words(&output)
        );
        assert_eq!(world.status().0, before, "{name}");
    }
    assert!(world.bob().contains("smime=pass"));
}

#[test]
fn a_server_that_is_down_makes_nothing_good() {
    let reach = "allow_networks = [\"127.0.0.0/8\"]";
    let mut world = World::prepare(lists, reach, Page::Body(list(1, &[])));
    // The one that trust.toml names goes.
    world.server = HttpServer::start();
    let world = world.started();
    wait_for("the log says that nothing came", || {
        world.gateway.log().contains("takes no connection")
    });
    assert!(
        world
            .bob()
            .contains("smime=temperror (revocation-unavailable")
    );
    let (_, code) = world.status();
    assert_eq!(code, Some(1), "a URL that never gave a list");
    let metric = "kenin_fetch_total{kind=\"crl\",outcome=\"failed\"} 1";
    assert!(world.gateway.get("/metrics").1.contains(metric));
}

#[test]
fn a_network_that_is_not_listed_is_not_connected_to() {
    let world = World::prepare(lists, "", Page::Body(list(1, &[]))).started();
    wait_for("the log says why", || {
        world
            .gateway
            .log()
            .contains("is not connected to: loopback")
    });
    let output = world.crl(&["refresh"]);
    assert_eq!(output.status.code(), Some(69), "{}", words(&output));
    assert!(world.bob().contains("smime=temperror"));
    assert_eq!(world.server.connections(), 0);
}

/// `openssl ocsp` over the files of the town.
struct Responder {
    folder: Folder,
    count: AtomicUsize,
}

impl Responder {
    /// Knows Bob as good and Carol as revoked, and nobody else.
    fn new() -> Self {
        let (folder, town) = (Folder::new(), Town::get());
        let certificate = pem("CERTIFICATE", &town.issuer.certificate);
        std::fs::write(folder.join("issuer.pem"), certificate).unwrap();
        std::fs::write(folder.join("issuer.key"), town.issuer.key.pem()).unwrap();
        let hex = |serial: &[u8]| -> String {
            serial.iter().map(|octet| format!("{octet:02X}")).collect()
        };
        let index = format!(
            "V\t480101000000Z\t\t{}\tunknown\t/CN=x\n\
             R\t480101000000Z\t260101000000Z,keyCompromise\t{}\tunknown\t/CN=y\n",
            hex(&town.bob.serial),
            hex(&town.carol.serial)
        );
        std::fs::write(folder.join("index.txt"), index).unwrap();
        Self {
            folder,
            count: AtomicUsize::new(0),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn answer(&self, question: &[u8]) -> Vec<u8> {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let asked: &Path = &self.file(&format!("{number}.req"));
        let answered = self.file(&format!("{number}.ors"));
        std::fs::write(asked, question).unwrap();
        let mut command = Command::new("openssl");
        command
            .arg("ocsp")
            .arg("-index")
            .arg(self.file("index.txt"))
            .arg("-CA")
            .arg(self.file("issuer.pem"))
            .arg("-rsigner")
            .arg(self.file("issuer.pem"))
            .arg("-rkey")
            .arg(self.file("issuer.key"))
            .arg("-reqin")
            .arg(asked)
            .arg("-respout")
            .arg(&answered)
            .args(["-ndays", "1"]);
        run(&mut command);
        std::fs::read(answered).unwrap()
    }
}

#[test]
fn a_responder_is_asked_where_no_list_tells() {
    let responder = Arc::new(Responder::new());
    let fetch = |server: &HttpServer| format!("ocsp = \"{}\"", server.url("/ocsp"));
    let world = World::new(fetch, Page::Status(404));
    let page = Page::Made(Arc::new({
        let responder = Arc::clone(&responder);
        move |question: &[u8]| responder.answer(question)
    }));
    world.server.put("/ocsp", page);
    let town = Town::get();
    assert!(world.bob().contains("smime=pass"), "{}", world.bob());
    let asked = world.server.requests("/ocsp");
    assert_eq!(asked, 1, "of the issuer the root's list tells");
    for _ in 0..5 {
        assert!(world.bob().contains("smime=pass"));
    }
    assert_eq!(world.server.requests("/ocsp"), asked, "it is remembered");
    let carol = world.stamp(&town.carol, "carol@example.jp");
    assert!(carol.contains("smime=fail (revoked"), "{carol}");
    // Whom the responder does not know nobody calls good.
    let dave = world.stamp(&town.dave, "dave@example.jp");
    assert!(dave.contains("smime=temperror"), "{dave}");
    // And whatever comes instead of an answer.
    for page in [
        Page::Status(500),
        Page::Body(b"<html>".to_vec()),
        // Of another's certificate.
        Page::Body(responder.answer(&std::fs::read(responder.file("0.req")).unwrap())),
        Page::Hang,
        // BOMB-09.
        Page::Endless,
        raw("Content-Length: 104857600", b"0"),
        raw("Content-Encoding: gzip", &bomb()),
        Page::Slow(vec![0x30; 1000]),
    ] {
        let erin = town
            .issuer
            .person("Erin", "erin@example.jp", town.erin.key.clone());
        world.server.put("/ocsp", page);
        let stamp = world.stamp(&erin, "erin@example.jp");
        assert!(stamp.contains("smime=temperror"), "{stamp}");
    }
    // What is remembered of Bob is as it was.
    let asked = world.server.requests("/ocsp");
    assert!(world.bob().contains("smime=pass"));
    assert_eq!(world.server.requests("/ocsp"), asked);
}
