//! What `kenin init` and `kenin trust add` write is there whole, before or after: configuration, key,
//! anchors. Whichever system call fails, the program does not crash, no file is half-written, nothing
//! strays, and the next try succeeds.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};

use kenin_tests::forge::Town;
use kenin_tests::forge::certificates::pem;
use kenin_tests::parts;
use kenin_tests::strace::{Injection, Strace};
use kenin_tests::world::{Folder, files};

/// The files below a folder and what they hold.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    files(folder)
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            (name, std::fs::read(&path).unwrap())
        })
        .collect()
}

/// A program of which one call fails: what it did, and whether the call happened.
fn broken(
    arguments: &[String],
    call: &'static str,
    error: &'static str,
    nth: usize,
) -> (Output, bool) {
    let strace = Strace::new(Injection {
        call,
        error,
        nth,
        paths: Vec::new(),
    });
    let prefix = strace.prefix();
    let output = Command::new(&prefix[0])
        .args(&prefix[1..])
        .arg(parts::kenin())
        .args(arguments)
        .env_remove("KENIN_CONFIG")
        .output()
        .unwrap();
    (output, strace.happened())
}

/// Calls through which files are made and changed, and how they fail.
const CALLS: &[(&str, &[&str])] = &[
    ("openat", &["ENOSPC", "EMFILE"]),
    ("write", &["ENOSPC", "EIO", "EINTR"]),
    ("fsync", &["EIO", "ENOSPC"]),
    ("rename", &["EIO", "ENOSPC"]),
    ("mkdir", &["ENOSPC"]),
    ("fchmod", &["EIO"]),
];

/// Lets every call of a command fail, one a run, in a folder that is as `prepare` makes it; `known`
/// says whether a file's content may be what it is.
fn every_call_fails(
    prepare: impl Fn(&Path) -> Vec<String>,
    known: impl Fn(&str, Option<&Vec<u8>>, &[u8]) -> bool,
    whole: impl Fn(&BTreeMap<String, Vec<u8>>) -> bool,
) {
    let (mut failed, mut ran) = (0, 0);
    for (call, errors) in CALLS {
        for error in *errors {
            for nth in 1.. {
                let place = Folder::new();
                let folder = place.join("x");
                std::fs::create_dir(&folder).unwrap();
                let arguments = prepare(&folder);
                let before = contents(&folder);
                let (output, happened) = broken(&arguments, call, error, nth);
                let case = format!("{call} {error} {nth}: {output:?}");
                let after = contents(&folder);
                assert_eq!(output.status.signal(), None, "{case}");
                assert_ne!(output.status.code(), Some(101), "a panic: {case}");
                for (name, now) in &after {
                    assert!(known(name, before.get(name), now), "{name}: {case}");
                }
                assert!(before.keys().all(|name| after.contains_key(name)), "{case}");
                ran += 1;
                if output.status.success() {
                    assert!(whole(&after), "success, and not all is there: {case}");
                } else {
                    failed += 1;
                    let mut again = Command::new(parts::kenin());
                    again.args(&arguments).env_remove("KENIN_CONFIG");
                    // What was done before the failure is no obstacle, or is said to be done.
                    let again = again.output().unwrap();
                    assert!(
                        again.status.success() || whole(&after),
                        "the next try: {again:?} after {case}"
                    );
                    assert!(whole(&contents(&folder)), "after the next try: {case}");
                }
                if !happened {
                    break;
                }
            }
        }
    }
    println!("{ran} runs, {failed} failed");
    assert!(failed > 20, "{failed}");
}

#[test]
fn init_writes_all_of_a_file_or_nothing() {
    const NAMES: [&str; 8] = [
        "kenin.toml",
        "trust.toml",
        "mail.toml",
        "stamp.key",
        "wrap/authority.key",
        "wrap/authority.pem",
        "wrap/key.pem",
        "wrap/certificate.pem",
    ];
    let is_whole = |name: &str, bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        match name {
            "stamp.key" | "wrap/authority.key" | "wrap/key.pem" => {
                text.starts_with("-----BEGIN") && text.trim_end().ends_with("KEY-----")
            }
            "wrap/authority.pem" | "wrap/certificate.pem" => {
                text.starts_with("-----BEGIN") && text.trim_end().ends_with("CERTIFICATE-----")
            }
            "kenin.toml" => text.contains("[log]"),
            "trust.toml" => text.len() > 500,
            _ => text.len() > 100,
        }
    };
    every_call_fails(
        |folder| {
            for name in ["kenin.toml", "trust.toml", "mail.toml"] {
                std::fs::write(folder.join(name), "# old\n").unwrap();
            }
            let text = folder.display();
            format!(
                "init postfix --force --hostname gw.example.jp --dir {text} --state-dir {text}/state"
            )
            .split(' ')
            .map(str::to_owned)
            .collect()
        },
        |name, before, now| {
            NAMES.contains(&name) && (before.is_some_and(|b| b == now) || is_whole(name, now))
        },
        |all| {
            NAMES
                .iter()
                .all(|name| all.get(*name).is_some_and(|bytes| is_whole(name, bytes)))
        },
    );
}

#[test]
fn trust_add_changes_all_of_trust_toml_or_nothing() {
    let town = Town::get();
    let root = pem("CERTIFICATE", &town.root.certificate);
    let place = Folder::new();
    let certificate = place.join("root.pem");
    std::fs::write(&certificate, &root).unwrap();
    let old = "# ours\nintermediates = []\n";
    every_call_fails(
        |folder| {
            let config = folder.join("kenin.toml");
            let text = "hostname = \"gw.example.jp\"\nstate_dir = \"/nonexistent\"\n\
                        [[listener]]\naddress = \"127.0.0.1:1\"\nmode = \"after-queue\"\n\
                        [next_hop]\naddress = \"127.0.0.1:2\"\n";
            std::fs::write(&config, text).unwrap();
            std::fs::write(folder.join("trust.toml"), old).unwrap();
            [
                "trust",
                "add",
                &certificate.display().to_string(),
                "--name",
                "new",
                "--config",
            ]
            .map(str::to_owned)
            .into_iter()
            .chain([config.display().to_string()])
            .collect()
        },
        |name, before, now| match name {
            "kenin.toml" => before.is_some_and(|b| b == now),
            "trust.toml" => {
                now == old.as_bytes()
                    || String::from_utf8_lossy(now).contains("file = \"anchors/new.pem\"")
            }
            "anchors/new.pem" => now.ends_with(b"-----END CERTIFICATE-----\n"),
            _ => false,
        },
        |all| {
            let trust = String::from_utf8_lossy(&all["trust.toml"]).into_owned();
            trust.contains("anchors/new.pem") && all.contains_key("anchors/new.pem")
        },
    );
}
