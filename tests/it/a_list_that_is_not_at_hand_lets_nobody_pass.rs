//! A revocation list of more than 8 MiB lies beside the store, in an index of each node's own. Where the store knows
//! the list and the index is not there, the node fetches it at once; until then nobody in its scope passes, not even
//! where a status is wanted only if available, and the log, `kenin crl status`, health and metrics say so.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use kenin_tests::forge::Town;
use kenin_tests::http_server::{HttpServer, Page};
use kenin_tests::kenin::{Gateway, Setup, envelope, kenin};
use kenin_tests::postgres::Postgres;
use kenin_tests::sink::Sink;
use kenin_tests::world::{files, wait_for};
use serde_json::Value;

const PATH: &str = "/issuer.crl";

/// A gateway that wants a status only if available, and has no list of the issuer by itself.
struct Node {
    sink: Sink,
    gateway: Gateway,
}

impl Node {
    /// With these tables of `kenin.toml`, and what it may fetch; started.
    fn start(tables: &str, fetch: &str) -> Self {
        let sink = Sink::start();
        let mut gateway = Gateway::prepare(&Setup {
            anchor: format!("revocation = \"if-available\"\n{fetch}"),
            tables: tables.to_owned(),
            ..Setup::new(sink.address)
        });
        std::fs::remove_file(gateway.folder.join("crls/issuer.crl")).unwrap();
        gateway.restart();
        Self { sink, gateway }
    }

    /// What it says of a mail of Bob's.
    fn bob(&self) -> String {
        let raw = Town::get().clear_signed(&Town::get().bob, "bob@example.jp", "Am I good?");
        self.sink.clear();
        assert_eq!(self.gateway.send(&envelope(), &raw).code, 250);
        let mail = self.sink.wait(1, Duration::from_secs(30)).pop().unwrap();
        mail.fields("Authentication-Results")[0].clone()
    }

    fn wait_for_bob(&self, word: &str) {
        wait_for(word, || self.bob().contains(word));
    }

    fn crl(&self, arguments: &[&str]) -> Output {
        let config = self.gateway.config().display().to_string();
        let first = ["crl", "--config", config.as_str()];
        kenin(&[&first[..], arguments].concat())
    }

    /// What `kenin crl status` says of the issuer's list, and its exit code.
    fn list(&self) -> (Option<Value>, Option<i32>) {
        let output = self.crl(&["status", "--format", "jsonl"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let of_issuer = |line: &Value| line["issuer"] == "CN=Kenin Test Issuer";
        (lines.find(of_issuer), output.status.code())
    }

    /// The one index file that there is.
    fn index(&self) -> PathBuf {
        let mut all = files(&self.gateway.folder.join("state/lists"));
        all.retain(|path| path.extension().is_some_and(|end| end == "kri"));
        let [one] = <[PathBuf; 1]>::try_from(all).unwrap();
        one
    }

    fn is_fresh(&self) -> bool {
        let list = self.list().0;
        list.is_some_and(|list| list["freshness"] == "fresh")
    }

    /// Whether log, status, health and metrics say that so many lists are lacking.
    fn assert_lacking(&self, count: usize) {
        let (list, code) = self.list();
        let list = list.expect("the list is known");
        let (word, wanted) = match count {
            0 => ("fresh", Some(0)),
            _ => ("missing", Some(1)),
        };
        assert_eq!((list["freshness"].as_str(), code), (Some(word), wanted));
        assert_eq!(list["entries"].is_null(), count > 0, "{list}");
        let (_, metrics) = self.gateway.get("/metrics");
        let line = format!("\nkenin_crl_missing {count}\n");
        assert!(metrics.contains(&line), "{metrics}");
        let (code, health) = self.gateway.get("/readyz?verbose");
        assert_eq!(code, 200, "{health}");
        let said = health.contains(&format!("not at hand: {count} "));
        assert_eq!(said, count > 0, "{health}");
        assert!(count == 0 || self.gateway.log().contains("is not at hand"));
    }
}

fn fetch(server: &HttpServer) -> String {
    format!(
        "[anchor.fetch]\ncrl = [\"{}\"]\n[fetch]\nports = [{}]\nallow_networks = [\"127.0.0.0/8\"]\n",
        server.url(PATH),
        server.address.port()
    )
}

/// A long list of the first of this month of 2026.
fn list(month: u32, revoked: &[&[u8]]) -> Vec<u8> {
    let this = format!("2026{month:02}01000000Z");
    Town::get().issuer.long_crl(revoked, &this)
}

#[test]
fn what_one_node_fetched_the_other_fetches_at_once() {
    let (database, server) = (Postgres::start(), HttpServer::start());
    server.put(PATH, Page::Body(list(1, &[])));
    let store = format!("[store]\nurl = \"{}\"\n", database.url());
    let nodes = [(); 2].map(|()| Node::start(&store, &fetch(&server)));
    for node in &nodes {
        wait_for("the list is there", || node.is_fresh());
    }
    let bob: &[&[u8]] = &[&Town::get().bob.serial];
    server.put(PATH, Page::Body(list(2, bob)));
    let [here, there] = &nodes;
    let done = here.crl(&["refresh"]);
    assert!(done.status.success(), "{done:?}");
    here.wait_for_bob("smime=fail (revoked");
    // It would have come to it by itself after a day.
    there.wait_for_bob("smime=fail (revoked");
    wait_for("the list is there", || there.is_fresh());
    assert!(there.gateway.log().contains("is not at hand"));
    there.assert_lacking(0);
}

#[test]
fn a_node_that_cannot_have_a_list_lets_nobody_in_its_scope_pass() {
    let (database, server) = (Postgres::start(), HttpServer::start());
    let long = list(1, &[]);
    server.put(PATH, Page::Body(long.clone()));
    let store = format!("[store]\nurl = \"{}\"\n", database.url());
    let here = Node::start(&store, &fetch(&server));
    wait_for("the list is there", || here.is_fresh());
    let there = Node::start(&store, "");
    let unknown = "smime=temperror (revocation-unavailable";
    assert!(there.bob().contains(unknown), "{}", there.bob());
    there.assert_lacking(1);
    let text = there.crl(&["status"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("missing, known to the store"), "{text}");
    // A command beside it judges alike.
    let mail = there.gateway.folder.join("bob.eml");
    let raw = Town::get().clear_signed(&Town::get().bob, "bob@example.jp", "Am I good?");
    std::fs::write(&mail, raw).unwrap();
    let config = there.gateway.config().display().to_string();
    let mail = mail.display().to_string();
    let said = kenin(&["verify", "--config", &config, "--format", "jsonl", &mail]);
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said["reason"], "revocation-unavailable", "{said}");

    std::fs::write(there.gateway.folder.join("crls/issuer.crl"), long).unwrap();
    there.wait_for_bob("smime=pass");
    there.assert_lacking(0);
}

#[test]
fn an_index_that_is_lost_or_damaged_is_missed_and_fetched_again() {
    let server = HttpServer::start();
    let page = Page::Body(list(1, &[]));
    server.put(PATH, page.clone());
    let mut node = Node::start("", &fetch(&server));
    wait_for("the list is there", || node.is_fresh());
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 3] = [
        ("No such file", |file| std::fs::remove_file(file).unwrap()),
        ("no whole index", |file| {
            let whole = std::fs::read(file).unwrap();
            std::fs::write(file, &whole[..whole.len() / 2]).unwrap();
        }),
        ("other records", |file| {
            let mut whole = std::fs::read(file).unwrap();
            let middle = whole.len() / 2;
            whole[middle] ^= 1;
            std::fs::write(file, whole).unwrap();
        }),
    ];
    for (word, damage) in damages {
        // By hand, while its server is away.
        node.gateway.kill();
        damage(&node.index());
        server.put(PATH, Page::Status(503));
        node.gateway.restart();
        let bob = node.bob();
        assert!(
            bob.contains("smime=temperror (revocation-unavailable"),
            "{bob}"
        );
        node.assert_lacking(1);
        assert!(node.gateway.log().contains(word), "{word}");
        server.put(PATH, page.clone());
        let done = node.crl(&["refresh"]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(
            done.status.success() && said.contains("kept the list"),
            "{said}"
        );
        node.wait_for_bob("smime=pass");
        node.assert_lacking(0);

        // And by itself.
        let count = server.requests(PATH);
        node.gateway.kill();
        damage(&node.index());
        node.gateway.restart();
        node.wait_for_bob("smime=pass");
        node.assert_lacking(0);
        assert_eq!(server.requests(PATH), count + 1);
    }
}
