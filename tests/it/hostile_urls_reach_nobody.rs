//! PKI-03: whoever signs a mail wrote the URLs in the certificate, or chose who did. Whatever stands there, the
//! gateway connects to hosts that are listed, at addresses that may be reached, and to nobody else: not by another
//! spelling, not by another scheme, not by a redirect.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use kenin_tests::forge::Town;
use kenin_tests::forge::certificates::{Authority, Person, extension};
use kenin_tests::forge::der::{oid, seq, tlv};
use kenin_tests::forge::keys::Key;
use kenin_tests::forge::{cms, mime};
use kenin_tests::http_server::{HttpServer, Page};
use kenin_tests::kenin::{Gateway, Setup, envelope};
use kenin_tests::sink::Sink;
use kenin_tests::world::free_address;

const FROM: &str = "mallory@evil.example";

/// Machines of the inner network, all at one port. Nobody takes their connections: one that was made waits here.
struct Farm {
    port: u16,
    /// Not among the ports that may be asked.
    closed: u16,
    listeners: Vec<TcpListener>,
}

impl Farm {
    fn open() -> Self {
        let (port, closed) = (free_address().port(), free_address().port());
        let mut listeners = Vec::new();
        for address in [
            format!("127.0.0.1:{port}"),
            format!("127.0.0.2:{port}"),
            format!("127.0.0.1:{closed}"),
        ] {
            listeners.push(TcpListener::bind(address).unwrap());
        }
        // A machine need not have IPv6.
        listeners.extend(TcpListener::bind(format!("[::1]:{port}")));
        for listener in &listeners {
            listener.set_nonblocking(true).unwrap();
        }
        Self {
            port,
            closed,
            listeners,
        }
    }

    fn assert_untouched(&self, after: &str) {
        for listener in &self.listeners {
            let error = listener.accept().map(|(_, from)| from).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{after}");
        }
    }
}

/// URLs that lead to the farm, or would, for whoever reads them so.
fn urls(farm: &Farm) -> Vec<String> {
    let Farm { port, closed, .. } = farm;
    let mut all: Vec<String> = [
        // The machine itself, in all its spellings.
        "http://127.0.0.1:PORT/",
        "HTTP://127.0.0.1:PORT/a.crl",
        "http://localhost:PORT/",
        "http://LocalHost:PORT/",
        "http://localhost.:PORT/",
        "http://127.0.0.1.:PORT/",
        "http://0.0.0.0:PORT/",
        "http://0:PORT/",
        "http://127.1:PORT/",
        "http://127.0.1:PORT/",
        "http://2130706433:PORT/",
        "http://0x7f000001:PORT/",
        "http://0x7f.0.0.1:PORT/",
        "http://0177.0.0.1:PORT/",
        "http://017700000001:PORT/",
        "http://127.0.0.01:PORT/",
        "http://127.0.0.%31:PORT/",
        "http://[::1]:PORT/",
        "http://[0:0:0:0:0:0:0:1]:PORT/",
        "http://[::]:PORT/",
        "http://[::ffff:127.0.0.1]:PORT/",
        "http://[::FFFF:7f00:1]:PORT/",
        "http://[::127.0.0.1]:PORT/",
        "http://[64:ff9b::7f00:1]:PORT/",
        "http://[2002:7f00:1::]:PORT/",
        "http://[::1%25lo]:PORT/",
        "http://[::1%lo]:PORT/",
        "http://[fe80::1%25lo]:PORT/",
        "http://\u{ff11}27.0.0.1:PORT/",
        "http://\u{24db}ocalhost:PORT/",
        "http://127\u{3002}0.0.1:PORT/",
        // Somebody else's name before or behind it.
        "http://ca.example@127.0.0.1:PORT/",
        "http://user:secret@127.0.0.1:PORT/",
        "http://127.0.0.1:PORT@ca.example/",
        "http://ca.example%40127.0.0.1:PORT/",
        "http://ca.example\\@127.0.0.1:PORT/",
        "http://127.0.0.1:PORT#@ca.example/",
        "http://127.0.0.1:PORT\\.ca.example/",
        "http://127.0.0.1%00.ca.example:PORT/",
        // More than one request, or more than one line.
        "http://127.0.0.1:PORT/%0d%0aHost:%20ca.example",
        "http://127.0.0.1:PORT/\r\nSET key value\r\n",
        "http://127.0.0.1:PORT/\r\nHost: ca.example\r\n\r\nPOST / HTTP/1.1",
        "http://127.0.0.1:PORT/\t",
        " http://127.0.0.1:PORT/",
        // Other schemes, and none.
        "https://127.0.0.1:PORT/",
        "ldap://127.0.0.1:PORT/cn=internal?certificateRevocationList;binary",
        "ldap://localhost:PORT/dc=internal?cACertificate;binary?sub?(objectClass=*)",
        "ldaps://127.0.0.1:PORT/o=x?certificateRevocationList;binary",
        "ldap:///cn=internal",
        "file:///etc/passwd",
        "file://127.0.0.1:PORT/etc/passwd",
        "gopher://127.0.0.1:PORT/_INFO",
        "ftp://127.0.0.1:PORT/a.crl",
        "dict://127.0.0.1:PORT/stats",
        "tftp://127.0.0.1:PORT/a",
        "http:127.0.0.1:PORT/",
        "http:///127.0.0.1:PORT/",
        "//127.0.0.1:PORT/",
        "127.0.0.1:PORT/",
        // Ports of others.
        "http://127.0.0.1:CLOSED/",
        "http://localhost:6379/",
        "http://127.0.0.1:22/",
        "http://127.0.0.1:0PORT/",
        "http://127.0.0.1:+PORT/",
        // Machines around it.
        "http://127.0.0.2:PORT/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://10.0.0.1/",
        "http://192.168.0.1:PORT/",
        "http://100.64.0.1/",
        "http://224.0.0.1/",
    ]
    .map(|url| url.replace("PORT", &port.to_string()))
    .map(|url| url.replace("CLOSED", &closed.to_string()))
    .to_vec();
    all.push(format!("http://127.0.0.1:{port}/{}", "a".repeat(100_000)));
    all.push(format!("http://{}127.0.0.1:{port}/", "a.".repeat(2000)));
    all
}

/// Somebody whose certificate says of this URL that lists, a responder and the issuer's certificate are there.
fn pointing(issuer: &Authority, url: &str) -> Person {
    let key = Key::p256();
    let mut form = issuer.person_form("Mallory", FROM, &key);
    let name = tlv(0x86, url.as_bytes());
    let access = |method: &str| seq([oid(method), name.clone()]);
    let all = seq([access("1.3.6.1.5.5.7.48.1"), access("1.3.6.1.5.5.7.48.2")]);
    let point = seq([tlv(0xa0, &tlv(0xa0, &name))]);
    form.extensions
        .push(extension("1.3.6.1.5.5.7.1.1", false, &all));
    form.extensions
        .push(extension("2.5.29.31", false, &seq([point])));
    issuer.issue(&form, key)
}

/// A gateway without a list of the issuer, under these rules.
struct World {
    sink: Sink,
    gateway: Gateway,
    /// Below the root, and known to nobody.
    hidden: Authority,
}

impl World {
    fn new(farm: &Farm, fetch: &str, networks: &str) -> Self {
        let sink = Sink::start();
        let port = farm.port;
        let setup = Setup {
            anchor: format!(
                "[anchor.fetch]\n{fetch}\n[fetch]\nports = [{port}]\nallow_networks = [{networks}]\n"
            ),
            ..Setup::new(sink.address)
        };
        let mut gateway = Gateway::prepare(&setup);
        std::fs::remove_file(gateway.folder.join("crls/issuer.crl")).unwrap();
        gateway.restart();
        Self {
            sink,
            gateway,
            hidden: Town::get().root.below("Hidden Issuer"),
        }
    }

    /// A mail by whose signer the status, and another by whose signer the issuer, is to be asked for there.
    fn send(&self, url: &str) {
        let town = Town::get();
        self.sink.clear();
        let mut client = self.gateway.client();
        let (chain, none): ([&[u8]; 1], &[&[u8]]) = (town.chain(), &[]);
        for (issuer, chain) in [(&town.issuer, &chain[..]), (&self.hidden, none)] {
            let part = mime::text("Look me up.");
            let object = cms::detached(&pointing(issuer, url), chain, &part);
            let raw = mime::clear_signed(&mime::headers(FROM), &part, &object);
            let reply = client.mail(&envelope(), &raw).unwrap();
            assert_eq!(reply.code, 250, "{}", reply.text());
        }
        for mail in self.sink.wait(2, Duration::from_secs(30)) {
            let stamp = mail.fields("Authentication-Results").concat();
            assert!(!stamp.contains("smime=pass"), "{stamp}");
        }
    }
}

/// That host is listed, and the URL says what it says: where it leads is what forbids it.
#[test]
fn addresses_that_are_not_public_are_not_connected_to() {
    let farm = Farm::open();
    let hosts = [
        "127.0.0.1",
        "127.0.0.2",
        "localhost",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "10.0.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "224.0.0.1",
    ];
    let hosts = hosts.map(|host| format!("\"{host}\"")).join(", ");
    let fetch = format!("from_certificates = true\nhosts = [{hosts}]");
    let world = World::new(&farm, &fetch, "");
    let urls = urls(&farm);
    assert!(urls.len() >= 40);
    for url in &urls {
        world.send(url);
        farm.assert_untouched(url);
    }
    // These got as far as that.
    let log = world.gateway.log();
    for words in [
        "127.0.0.1 is not connected to: loopback",
        "127.0.0.2 is not connected to: loopback",
        "0.0.0.0 is not connected to: unspecified",
        "::1 is not connected to: loopback",
        "::ffff:127.0.0.1 is not connected to: loopback",
        "64:ff9b::7f00:1 is not connected to: loopback",
        "2002:7f00:1:: is not connected to: loopback",
        "169.254.169.254 is not connected to: link-local",
        "fd00:ec2::254 is not connected to: unique local",
        "10.0.0.1 is not connected to: private",
        "100.64.0.1 is not connected to: shared",
        "224.0.0.1 is not connected to: multicast",
    ] {
        assert!(log.contains(words), "{words}");
    }
}

/// The farm may be reached, but nobody listed its hosts; and one that is listed leads there in vain.
#[test]
fn hosts_that_are_not_listed_are_not_connected_to() {
    let farm = Farm::open();
    let port = farm.port;
    let listed = HttpServer::start_at(SocketAddr::from(([127, 0, 0, 5], port)));
    let networks = "\"127.0.0.0/8\", \"::1\"";
    let by_hand = format!("crl = [\"http://127.0.0.5:{port}/by-hand.crl\"]");
    let by_list = "from_certificates = true\nhosts = [\"127.0.0.5\"]";
    // Without the word of trust.toml nothing that a certificate says is fetched.
    let strict = World::new(&farm, &by_hand, networks);
    let world = World::new(&farm, by_list, networks);
    for url in &urls(&farm) {
        for world in [&strict, &world] {
            world.send(url);
        }
        farm.assert_untouched(url);
    }
    strict.send(&format!("http://127.0.0.5:{port}/listed"));
    assert_eq!(listed.requests("/listed"), 0);
    world.send(&format!("http://127.0.0.5:{port}/listed"));
    assert!(
        listed.requests("/listed") > 0,
        "the one that may be asked is"
    );

    for (number, target) in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://127.0.0.2:{port}/"),
        format!("//127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://[::1]:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("http://127.0.0.5@127.0.0.1:{port}/"),
        format!("http://127.0.0.5:{port}@127.0.0.1:{port}/"),
        format!("http://127.0.0.5.:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("ldap://127.0.0.1:{port}/o=x?certificateRevocationList;binary"),
        format!("gopher://127.0.0.1:{port}/_INFO"),
        "file:///etc/passwd".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/moved-{number:02}");
        listed.put(&path, Page::Moved(target.clone()));
        world.send(&format!("http://127.0.0.5:{port}{path}"));
        assert!(listed.requests(&path) > 0, "{target}");
        farm.assert_untouched(target);
    }
}
