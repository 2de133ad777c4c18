//! STO-02: a real Redis between Kenin and its directory: what it gives back is used only as it was put there; whatever
//! else it does, the answer is the directory's, and nobody is told more than that a directory is away.

use std::net::SocketAddr;
use std::process::Output;
use std::time::{Duration, Instant};

use kenin_tests::forge::Town;
use kenin_tests::kenin::{Gateway, Setup, kenin};
use kenin_tests::redis::{PASSWORD, Redis};
use kenin_tests::slapd::{BASE, Entry, Slapd};
use kenin_tests::world::{wait_for, write_secret};

fn people() -> Vec<Entry> {
    let town = Town::get();
    let of = |name: &str, certificate: &[u8]| {
        let mail = format!("{}@example.jp", name.to_lowercase());
        Entry::person(name)
            .with("mail", &mail)
            .certificate(certificate)
    };
    vec![
        of("Alice", &town.alice.certificate),
        of("Bob", &town.bob.certificate),
    ]
}

/// A gateway that is never started, between a directory and a cache.
fn gateway(directory: SocketAddr, cache_url: &str, more: &str) -> Gateway {
    let mut setup = Setup::new("127.0.0.1:9".parse().unwrap());
    setup.tables = format!(
        "[[directory]]\nurl = \"ldap://{directory}\"\nbase = \"{BASE}\"\n\
         [cache]\nurl = \"{cache_url}\"\npassword_file = \"cache.password\"\nkey_file = \"cache.key\"\n{more}\n"
    );
    let gateway = Gateway::prepare(&setup);
    write_secret(&gateway.folder.join("cache.password"), PASSWORD.as_bytes());
    write_secret(&gateway.folder.join("cache.key"), &[7; 32]);
    gateway
}

fn over_tls(slapd: &Slapd, redis: &Redis) -> Gateway {
    let gateway = gateway(
        slapd.plain,
        &format!("rediss://{}", redis.address),
        "ca = \"cache-ca.pem\"",
    );
    std::fs::copy(redis.ca(), gateway.folder.join("cache-ca.pem")).unwrap();
    gateway
}

fn asked(gateway: &Gateway, address: &str) -> Output {
    let config = gateway.config();
    kenin(&[
        "cert",
        "find",
        address,
        "--format",
        "json",
        "--config",
        config.to_str().unwrap(),
    ])
}

/// Whether somebody is told that the cache held what nobody put there.
fn is_alarmed(gateway: &Gateway, address: &str) -> bool {
    let output = asked(gateway, address);
    String::from_utf8_lossy(&output.stderr).contains("left out 1 that were changed or put back")
}

/// The exit code, and where the certificates were found.
fn find(gateway: &Gateway, address: &str) -> (i32, Vec<String>) {
    let output = asked(gateway, address);
    let found: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let places = found.iter().map(|one| one["found_in"].as_str().unwrap());
    let places = places.map(str::to_owned).collect();
    (output.status.code().unwrap(), places)
}

const ALICE: &str = "alice@example.jp";
const BOB: &str = "bob@example.jp";
const AWAY: (i32, Vec<String>) = (69, Vec::new());

/// Asks until the cache answers: one that is slow for once is passed by.
fn wait_until_cached(gateway: &Gateway, address: &str) {
    wait_for("the cache answers", || {
        let (code, places) = find(gateway, address);
        code == 0 && places.iter().all(|place| place.ends_with("(cached)"))
    });
}

#[test]
fn what_was_put_there_is_used_and_nothing_else() {
    let mut slapd = Slapd::start(&people());
    let redis = Redis::start();
    let gateway = over_tls(&slapd, &redis);
    let directory = format!("ldap://{}", slapd.plain);
    assert_eq!(find(&gateway, ALICE), (0, vec![directory.clone()]));
    for address in [ALICE, BOB] {
        wait_until_cached(&gateway, address);
    }
    let keys = redis.keys();
    assert_eq!(keys.len(), 2);
    // Redis learns nothing of whom somebody writes to.
    for key in &keys {
        assert!((1..=600).contains(&redis.life(key)));
        for text in [key.clone(), redis.get(key)] {
            let text = String::from_utf8_lossy(&text).to_lowercase();
            assert!(!text.contains("alice") && !text.contains("example"));
        }
    }

    slapd.stop();
    wait_until_cached(&gateway, ALICE);

    // A changed byte anywhere, a value cut short or made longer, another's value, another key's.
    let values: Vec<Vec<u8>> = keys.iter().map(|key| redis.get(key)).collect();
    let spoiled = |change: &dyn Fn(&[u8]) -> Vec<u8>| {
        for (key, value) in keys.iter().zip(&values) {
            redis.set(key, &change(value));
        }
        assert_eq!(find(&gateway, ALICE), AWAY);
        // One that is slow for once is passed by, and then there is nothing to tell.
        wait_for("it is told", || is_alarmed(&gateway, ALICE));
        for (key, value) in keys.iter().zip(&values) {
            redis.set(key, value);
        }
    };
    let shortest = values.iter().map(Vec::len).min().unwrap();
    for at in (0..shortest).step_by(97).chain([shortest - 1]) {
        spoiled(&|value| {
            let mut changed = value.to_vec();
            changed[at] ^= 0x10;
            changed
        });
    }
    spoiled(&|value| value[..value.len() - 1].to_vec());
    spoiled(&|value| [value, b"\0"].concat());
    spoiled(&|_| vec![0; 2 << 20]);
    redis.set(&keys[0], &values[1]);
    redis.set(&keys[1], &values[0]);
    assert_eq!(find(&gateway, ALICE), AWAY);
    wait_for("it is told", || is_alarmed(&gateway, ALICE));
    redis.set(&keys[0], &values[0]);
    redis.set(&keys[1], &values[1]);
    wait_until_cached(&gateway, ALICE);
    std::fs::write(gateway.folder.join("cache.key"), [8; 32]).unwrap();
    assert_eq!(find(&gateway, ALICE), AWAY);
    std::fs::write(gateway.folder.join("cache.key"), [7; 32]).unwrap();
    wait_until_cached(&gateway, ALICE);
    assert!(!is_alarmed(&gateway, ALICE));

    redis.flush();
    assert_eq!(find(&gateway, ALICE), AWAY);
    assert!(!is_alarmed(&gateway, ALICE), "what is gone is no lie");
    slapd.restart();
    assert_eq!(find(&gateway, ALICE), (0, vec![directory]));
}

#[test]
fn that_there_is_nobody_is_remembered_for_a_minute() {
    let mut slapd = Slapd::start(&people());
    let redis = Redis::start();
    let socket = format!("unix:{}", redis.socket().display());
    let gateway = gateway(slapd.plain, &socket, "");
    wait_for("the cache has it", || {
        assert_eq!(find(&gateway, "nobody@example.jp"), (1, Vec::new()));
        !redis.keys().is_empty()
    });
    assert!((1..=60).contains(&redis.life(&redis.keys()[0])));
    slapd.stop();
    wait_for("the cache answers", || {
        find(&gateway, "nobody@example.jp").0 == 1
    });
    // What is not known is not made up.
    assert_eq!(find(&gateway, "somebody@example.jp"), AWAY);
}

#[test]
fn a_cache_that_is_away_or_not_ours_is_passed_by() {
    let slapd = Slapd::start(&people());
    let mut redis = Redis::start();
    let gateway = over_tls(&slapd, &redis);
    let directory = (0, vec![format!("ldap://{}", slapd.plain)]);
    let check = || {
        let config = gateway.config();
        let output = kenin(&["check", "--config", config.to_str().unwrap()]);
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!check().contains("does not answer"), "{}", check());

    // Somebody else's server, and a password that is wrong.
    let ca = gateway.folder.join("cache-ca.pem");
    std::fs::copy(slapd.ca(), &ca).unwrap();
    assert_eq!(find(&gateway, ALICE), directory);
    assert!(check().contains("the cache does not answer"), "{}", check());
    std::fs::copy(redis.ca(), &ca).unwrap();
    let secret = gateway.folder.join("cache.password");
    std::fs::write(&secret, "wrong").unwrap();
    assert_eq!(find(&gateway, ALICE), directory);
    std::fs::write(&secret, PASSWORD).unwrap();
    assert!(redis.keys().is_empty());

    redis.kill();
    let began = Instant::now();
    assert_eq!(find(&gateway, ALICE), directory);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(check().contains("the cache does not answer"), "{}", check());
}
