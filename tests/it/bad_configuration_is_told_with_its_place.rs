//! A configuration that is wrong: exit 78, the file and the line, the nearest known word, and nothing
//! listens.

use std::os::unix::fs::PermissionsExt;

use kenin_tests::forge::keys::Key;
use kenin_tests::kenin::{Gateway, Setup, kenin};
use kenin_tests::sink::Sink;
use kenin_tests::world::{listens, write_secret};

/// Changes to a good configuration: file, what to replace, by what, the line, a part of the message.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    ("kenin.toml", "hostname =", "hostnam =", "hostname"),
    (
        "kenin.toml",
        "mode = \"before-queue\"",
        "mode = \"befor-queue\"",
        "before-queue",
    ),
    (
        "kenin.toml",
        "bare_newline = \"reject\"",
        "bare_newline = \"ignore\"",
        "reject",
    ),
    (
        "kenin.toml",
        "[limits]\n",
        "[limits]\nmesage_size = 5\n",
        "message_size",
    ),
    (
        "kenin.toml",
        "[limits]\n",
        "[limits]\nconnections = 0\n",
        "connections",
    ),
    (
        "kenin.toml",
        "[limits]\n",
        "[limits]\nmessage_size = \"lots\"\n",
        "size",
    ),
    (
        "kenin.toml",
        "[log]\n",
        "[caps]\ncertificate = 5\n[log]\n",
        "certificates",
    ),
    (
        "kenin.toml",
        "[log]\n",
        "[caps]\nber_depth = 256\n[log]\n",
        "8 to 255",
    ),
    (
        "kenin.toml",
        "[log]\n",
        "[arc]\ndomain = \"gw.example.jp\"\nselector = \"a b\"\nkey = \"arc.key\"\n[log]\n",
        "host name",
    ),
    ("kenin.toml", "[[listener]]", "[[listener]", ""),
    (
        "kenin.toml",
        "[next_hop]\naddress",
        "[next_hop]\nadress",
        "address",
    ),
    (
        "kenin.toml",
        "[log]\nformat = \"json\"",
        "[log]\nformat = \"xml\"",
        "json",
    ),
    (
        "trust.toml",
        "name = \"test-root\"",
        "nam = \"test-root\"",
        "name",
    ),
    (
        "trust.toml",
        "anchors/root.pem",
        "anchors/rot.pem",
        "rot.pem",
    ),
    ("trust.toml", "mail-signing", "mail-singing", "mail-signing"),
    (
        "trust.toml",
        "[[anchor]]\n",
        "[[anchor]]\nrevocation = \"maybe\"\n",
        "required",
    ),
    (
        "mail.toml",
        "",
        "[[rule]]\nwhen = { domian = \"a.example\" }\nthen = { enforce = \"strict\" }\n",
        "domain",
    ),
    (
        "mail.toml",
        "",
        "[[rule]]\nwhen = { domain = \"a.example\" }\nthen = { enforce = \"strickt\" }\n",
        "strict",
    ),
    ("mail.toml", "", "rule = 7\n", ""),
];

#[test]
fn run_and_check_end_with_78_and_name_file_and_line() {
    let sink = Sink::start();
    let gateway = Gateway::prepare(&Setup::new(sink.address));
    let config = gateway.config().display().to_string();
    let good = kenin(&["check", "--offline", "--config", &config]);
    assert_eq!(
        good.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&good.stderr)
    );
    for (file, old, new, word) in MISTAKES {
        let path = gateway.folder.join(file);
        let before = std::fs::read_to_string(&path).unwrap();
        assert!(before.contains(old), "{file} has no {old:?}");
        let after = if old.is_empty() {
            (*new).to_owned()
        } else {
            before.replacen(old, new, 1)
        };
        std::fs::write(&path, after).unwrap();
        for command in [&["run"][..], &["check", "--offline"]] {
            let mut arguments = command.to_vec();
            arguments.extend(["--config", &config]);
            let output = kenin(&arguments);
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            assert_eq!(
                output.status.code(),
                Some(78),
                "{command:?} {new:?}: {said}"
            );
            let place = format!("{file}:");
            let at = said
                .find(&place)
                .unwrap_or_else(|| panic!("{new:?}: no {place} in {said}"));
            let line: String = said[at + place.len()..]
                .chars()
                .take_while(char::is_ascii_digit)
                .collect();
            assert!(!line.is_empty(), "{new:?}: no line in {said}");
            let number: usize = line.parse().unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let first = text
                .lines()
                .zip(before.lines())
                .take_while(|(a, b)| a == b)
                .count()
                + 1;
            let last = first + new.lines().count();
            assert!(
                (first..=last).contains(&number),
                "{new:?}: line {number}, not {first}: {said}"
            );
            assert!(said.contains(word), "{new:?}: no {word:?} in {said}");
        }
        assert!(!listens(gateway.address), "{new:?}: it listens");
        std::fs::write(&path, before).unwrap();
    }
}

#[test]
fn a_file_that_is_not_there_is_78_too() {
    let output = kenin(&["run", "--config", "/nonexistent/kenin.toml"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/kenin.toml"));
}

#[test]
fn a_taken_port_is_no_bad_configuration() {
    let sink = Sink::start();
    let first = Gateway::start(&Setup::new(sink.address));
    let output = kenin(&["run", "--config", &first.config().display().to_string()]);
    let code = output.status.code().unwrap();
    assert!(matches!(code, 69 | 74 | 78), "{code}");
    assert!(
        first.client().command("NOOP").code == 250,
        "the first one goes on"
    );
}

#[test]
fn a_key_that_anybody_may_read_is_refused() {
    let sink = Sink::start();
    let gateway = Gateway::prepare(&Setup::new(sink.address));
    let config = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(
        gateway.config(),
        format!("{config}\n[stamp]\nkey = \"stamp.key\"\n"),
    )
    .unwrap();
    let run = || {
        kenin(&[
            "check",
            "--offline",
            "--config",
            &gateway.config().display().to_string(),
        ])
    };
    let key = gateway.folder.join("stamp.key");
    // Not there, not a key, another kind of key, open to all: each is told.
    let missing = run();
    assert_eq!(missing.status.code(), Some(78));
    std::fs::write(&key, "no key").unwrap();
    assert_eq!(run().status.code(), Some(78));
    std::fs::remove_file(&key).unwrap();
    write_secret(&key, &Key::p256().pem());
    assert_eq!(run().status.code(), Some(78));
    std::fs::remove_file(&key).unwrap();
    write_secret(&key, &Key::ed25519().pem());
    assert_eq!(run().status.code(), Some(0));
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(run().status.code(), Some(78));
}
