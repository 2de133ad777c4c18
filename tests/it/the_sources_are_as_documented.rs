//! The configurations of docs/sources.md work as printed, with the names of real servers in them.

use std::process::Command;

use kenin_tests::forge::Town;
use kenin_tests::kenin::{Gateway, Setup, kenin};
use kenin_tests::parts;
use kenin_tests::redis::{PASSWORD, Redis};
use kenin_tests::slapd::{Entry, READER, Slapd};
use kenin_tests::world::{run, wait_for, write_secret};

/// The block behind `<!-- test: name -->`.
fn block(page: &str, name: &str) -> String {
    let (_, behind) = page
        .split_once(&format!("<!-- test: {name} -->\n```"))
        .unwrap_or_else(|| panic!("docs/sources.md has no block {name}"));
    let (_, behind) = behind.split_once('\n').unwrap();
    behind.split_once("```").unwrap().0.to_owned()
}

#[test]
fn directory_and_cache_work_as_printed() {
    let page = std::fs::read_to_string(parts::project().join("docs/sources.md")).unwrap();
    let town = Town::get();
    let bob = Entry::person("Bob")
        .with("mail", "bob@example.jp")
        .certificate(&town.bob.certificate);
    let slapd = Slapd::start_private(&[bob]);
    let redis = Redis::start();
    let mut setup = Setup::new("127.0.0.1:9".parse().unwrap());
    let directory = block(&page, "directory");
    let cache = block(&page, "cache");
    for name in ["ldaps://ldap.example.jp", "dc=example,dc=jp", READER.0] {
        assert!(directory.contains(name), "{name}");
    }
    assert!(cache.contains("rediss://cache.example.jp:6379"));
    // Redis of the tests knows one user, who needs no name.
    let cache: String = cache
        .lines()
        .filter(|line| !line.starts_with("user"))
        .map(|line| format!("{line}\n"))
        .collect();
    let store = block(&page, "sqlite");
    setup.tables = format!("{store}{directory}{cache}")
        .replace(
            "ldaps://ldap.example.jp",
            &format!("ldaps://{}", slapd.secure),
        )
        .replace("cache.example.jp:6379", &redis.address.to_string());
    let gateway = Gateway::prepare(&setup);
    let file = |name: &str| gateway.folder.join(name);
    std::fs::copy(slapd.ca(), file("directory-ca.pem")).unwrap();
    std::fs::copy(redis.ca(), file("cache-ca.pem")).unwrap();
    write_secret(&file("directory.password"), READER.1.as_bytes());
    write_secret(&file("cache.password"), PASSWORD.as_bytes());
    let folder = gateway.folder.path().display().to_string();
    let lines = block(&page, "cache-key").replace("/etc/kenin", &folder);
    run(Command::new("bash").args(["-euc", &lines]));

    let config = gateway.config();
    let config = config.to_str().unwrap();
    let output = kenin(&["check", "--config", config]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("does not answer"), "{text}");
    for key in ["directory.", "cache."] {
        assert!(!text.contains(key), "{text}");
    }
    wait_for("the answer is the cache's", || {
        let output = kenin(&["cert", "find", "bob@example.jp", "--config", config]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        assert!(text.contains("found in  ldaps://"), "{text}");
        text.contains("(cached)")
    });
}
