//! PKI-01: the service fetches two dozen poisoned lists. What it holds stays octet by octet, each of them is told in
//! the log and counted, and mail is judged as before. A list of a part takes no whole list's place.

use std::collections::BTreeSet;
use std::time::Duration;

use kenin_tests::forge::Town;
use kenin_tests::forge::certificates::{
    Authority, ListForm, Revoked, cn, crl_number, extension, key_usage, pem,
};
use kenin_tests::forge::der::{null, oid, seq, time, tlv, unsigned};
use kenin_tests::forge::keys::{Alg, Hash, Key};
use kenin_tests::http_server::{HttpServer, Page};
use kenin_tests::kenin::{Gateway, Setup, envelope, kenin};
use kenin_tests::sink::Sink;
use kenin_tests::world::wait_for;
use serde_json::Value;

const GOOD: &str = "/good.crl";
const POINT: &str = "2.5.29.28";
const DELTA: &str = "2.5.29.27";
/// Nobody knows it.
const UNKNOWN: &str = "1.3.6.1.4.1.99999.9";

/// A gateway that has one list of the issuer, which it fetched, and on which Bob stands.
struct World {
    sink: Sink,
    server: HttpServer,
    gateway: Gateway,
}

impl World {
    fn new() -> Self {
        let town = Town::get();
        let (sink, server) = (Sink::start(), HttpServer::start());
        server.put(GOOD, Page::Body(june().issue(&town.issuer.key)));
        let setup = Setup {
            anchor: format!(
                "[anchor.fetch]\ncrl = [\"{}\"]\n[fetch]\nports = [{}]\nallow_networks = [\"127.0.0.0/8\"]\n",
                server.url(GOOD),
                server.address.port()
            ),
            ..Setup::new(sink.address)
        };
        let mut gateway = Gateway::prepare(&setup);
        std::fs::remove_file(gateway.folder.join("crls/issuer.crl")).unwrap();
        let mute = pem("CERTIFICATE", &mute().certificate);
        std::fs::write(gateway.folder.join("intermediates/mute.pem"), mute).unwrap();
        gateway.restart();
        let world = Self {
            sink,
            server,
            gateway,
        };
        wait_for("the list is there", || {
            world.bob().contains("smime=fail (revoked")
        });
        world
    }

    /// What the gateway writes about a mail of Bob's.
    fn bob(&self) -> String {
        let town = Town::get();
        let raw = town.clear_signed(&town.bob, "bob@example.jp", "Am I good?");
        self.sink.clear();
        assert_eq!(self.gateway.send(&envelope(), &raw).code, 250);
        let mail = self.sink.wait(1, Duration::from_secs(30)).pop().unwrap();
        mail.fields("Authentication-Results")[0].clone()
    }

    /// Serves these and starts the service again with their URLs beside the first one; gives the URLs.
    fn fetch(&mut self, pages: &[Vec<u8>]) -> Vec<String> {
        let urls: Vec<String> = (0..pages.len())
            .map(|number| self.server.url(&format!("/list-{number:02}.crl")))
            .collect();
        for (number, page) in pages.iter().enumerate() {
            let path = format!("/list-{number:02}.crl");
            self.server.put(&path, Page::Body(page.clone()));
        }
        let file = self.gateway.folder.join("trust.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let first = format!("\"{}\"", self.server.url(GOOD));
        let all = format!("{first}, \"{}\"", urls.join("\", \""));
        assert!(text.contains(&first));
        std::fs::write(&file, text.replace(&first, &all)).unwrap();
        self.gateway.restart();
        urls
    }

    /// How many lists were fetched since the start, with this outcome.
    fn outcomes(&self, outcome: &str) -> usize {
        let start = format!("kenin_fetch_total{{kind=\"crl\",outcome=\"{outcome}\"}} ");
        let (_, metrics) = self.gateway.get("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
        line.map_or(0, |number| number.parse().unwrap())
    }

    /// SHA-256 of every list that is held.
    fn held(&self) -> BTreeSet<String> {
        let config = self.gateway.config().display().to_string();
        let output = kenin(&["crl", "status", "--format", "jsonl", "--config", &config]);
        let text = String::from_utf8(output.stdout).unwrap();
        let digest = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["sha256"].as_str().unwrap().to_owned()
        };
        text.lines().map(digest).collect()
    }
}

/// The list that is held: of June 2025, number 60, with Bob on it.
fn june() -> ListForm {
    let town = Town::get();
    let mut form = town.issuer.list_form("20250601000000Z");
    form.extensions[1] = crl_number(60);
    let bob = Revoked {
        serial: &town.bob.serial,
        date: "20250501000000Z",
        reason: 1,
    };
    form.entries.push(bob.entry());
    form
}

/// A newer one, with nobody on it.
fn july() -> ListForm {
    let mut form = Town::get().issuer.list_form("20250701000000Z");
    form.extensions[1] = crl_number(70);
    form
}

fn by_issuer(change: impl FnOnce(&mut ListForm)) -> Vec<u8> {
    let mut form = july();
    change(&mut form);
    form.issue(&Town::get().issuer.key)
}

/// An authority that may sign certificates and no lists: always the same one.
fn mute() -> &'static Authority {
    static MUTE: std::sync::OnceLock<Authority> = std::sync::OnceLock::new();
    MUTE.get_or_init(|| {
        let (root, key) = (&Town::get().root, Key::p256());
        let mut form = root.authority_form("Mute", &key);
        form.extensions[1] = key_usage(0x04);
        root.authority(&form, key)
    })
}

/// An entry of somebody with this critical extension.
fn entry(extension: Vec<u8>) -> Vec<u8> {
    seq([unsigned(&[9]), time("20250501000000Z"), seq([extension])])
}

/// Each would clear Bob; and how many of the last ones are refused for being old.
fn poisoned() -> (Vec<(&'static str, Vec<u8>)>, usize) {
    let town = Town::get();
    let (issuer, good) = (&town.issuer, july());
    let signature = issuer.key.sign(good.algorithm, b"other octets");
    let mut changed = good.issue(&issuer.key);
    *changed.last_mut().unwrap() ^= 1;
    let mut cut = good.issue(&issuer.key);
    cut.truncate(cut.len() - 1);
    let twice = [june().issue(&issuer.key), good.issue(&issuer.key)].concat();
    let impostor = Authority::root_named(issuer.name.clone());
    let of = |authority: &Authority| authority.list_form("20250701000000Z").issue(&authority.key);
    let person = ListForm {
        issuer: cn("Mallory"),
        ..july()
    };
    let at = |this: &str, number: Option<i64>| {
        let mut form = issuer.list_form(this);
        match number {
            Some(number) => form.extensions[1] = crl_number(number),
            None => drop(form.extensions.remove(1)),
        }
        form
    };
    let stale = ListForm {
        next: Some(time("20240201000000Z")),
        ..at("20240101000000Z", Some(99))
    };
    let others = tlv(0xa4, &town.root.name);
    let all = vec![
        ("unsigned", good.with_signature(b"")),
        ("changed", changed),
        ("signed, but other octets", good.with_signature(&signature)),
        ("same name, other key", of(&impostor)),
        (
            "in the root's name",
            by_issuer(|form| form.issuer = town.root.name.clone()),
        ),
        ("wrong issuer", of(&town.strange_root)),
        ("by a person", person.issue(&town.mallory.key)),
        ("by who may sign no lists", of(mute())),
        (
            "SHA-1",
            by_issuer(|form| form.algorithm = Alg::Ecdsa(Hash::Sha1)),
        ),
        (
            "of the future",
            by_issuer(|form| form.this = time("20470101000000Z")),
        ),
        (
            "critical extension",
            by_issuer(|form| form.extensions.push(extension(UNKNOWN, true, &null()))),
        ),
        (
            "critical extension of an entry",
            by_issuer(|form| form.entries.push(entry(extension(UNKNOWN, true, &null())))),
        ),
        (
            "entries of others, and not indirect",
            by_issuer(|form| {
                form.entries
                    .push(entry(extension("2.5.29.29", true, &seq([others]))))
            }),
        ),
        (
            "scope that cannot be read",
            by_issuer(|form| form.extensions.push(extension(POINT, true, &null()))),
        ),
        (
            "number that cannot be read",
            by_issuer(|form| form.extensions[1] = extension("2.5.29.20", false, &null())),
        ),
        (
            "key that cannot be read",
            by_issuer(|form| form.extensions[0] = extension("2.5.29.35", false, &null())),
        ),
        (
            "delta without a base",
            by_issuer(|form| form.extensions.push(extension(DELTA, true, &null()))),
        ),
        (
            "delta without a number",
            by_issuer(|form| form.extensions[1] = extension(DELTA, true, &[2, 1, 60])),
        ),
        ("two in one answer", twice),
        ("cut off", cut),
        ("no list at all", seq([oid(UNKNOWN)])),
        // Rightly signed, and of before.
        (
            "older number",
            at("20250601000000Z", Some(59)).issue(&issuer.key),
        ),
        (
            "older with a higher number",
            at("20250501000000Z", Some(99)).issue(&issuer.key),
        ),
        (
            "older without a number",
            at("20250501000000Z", None).issue(&issuer.key),
        ),
        ("stale and of long ago", stale.issue(&issuer.key)),
    ];
    (all, 4)
}

#[test]
fn each_is_told_and_none_is_taken() {
    let mut world = World::new();
    let before = world.held();
    let (all, older) = poisoned();
    let pages: Vec<Vec<u8>> = all.iter().map(|(_, page)| page.clone()).collect();
    let urls = world.fetch(&pages);
    wait_for("all were fetched", || {
        let done =
            ["refused", "older", "new", "unchanged", "failed"].map(|one| world.outcomes(one));
        done.iter().sum::<usize>() >= all.len()
    });
    for ((name, _), url) in all.iter().zip(&urls) {
        let told = |line: &str| line.contains(url) && line.contains("the one held stays");
        wait_for(name, || world.gateway.log().lines().any(told));
    }
    assert_eq!(world.outcomes("refused"), all.len() - older);
    assert_eq!(world.outcomes("older"), older);
    assert_eq!(world.held(), before);
    assert!(
        world.bob().contains("smime=fail (revoked"),
        "{}",
        world.bob()
    );
}

#[test]
fn a_list_of_a_part_clears_nobody_whom_the_whole_one_has_revoked() {
    let mut world = World::new();
    let before = world.held();
    let flag = |number: u8| tlv(0x80 | number, &[0xff]);
    let uri = tlv(0x86, b"http://ca.example/part.crl");
    let named = tlv(0xa0, &tlv(0xa0, &uri));
    // Reasons are numbered bits: this is keyCompromise.
    let some_reasons = tlv(0x83, &[6, 0x40]);
    let mut parts: Vec<Vec<u8>> = [named, flag(1), flag(2), some_reasons, flag(4), flag(5)]
        .iter()
        .map(|part| {
            let scope = extension(POINT, true, &seq([part]));
            by_issuer(|form| form.extensions.push(scope))
        })
        .collect();
    // It takes Bob off a list that is not the one held.
    let removed = Revoked {
        serial: &Town::get().bob.serial,
        date: "20250501000000Z",
        reason: 8,
    };
    parts.push(by_issuer(|form| {
        form.extensions.push(extension(DELTA, true, &[2, 1, 65]));
        form.entries.push(removed.entry());
    }));
    world.fetch(&parts);
    wait_for("all were taken", || world.outcomes("new") == parts.len());
    let wanted = before.len() + parts.len();
    assert_eq!(world.held().len(), wanted);
    assert!(world.held().is_superset(&before));
    // With all of them in use.
    world.gateway.restart();
    assert!(
        world.bob().contains("smime=fail (revoked"),
        "{}",
        world.bob()
    );
}
