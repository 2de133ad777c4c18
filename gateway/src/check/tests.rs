use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kenin_keys::{Kek, KeyFacts, KeyFolder, KeyId, SealedKey, State, Uses};
use kenin_pki::address::Address;
use kenin_pki::crypto::{KeyType, Secret, SigningKey};

use super::*;
use crate::demo::authority::{Authority, Term};
use crate::init::{InitOptions, Mode, postfix};

fn made(dir: &Path) -> CheckOptions {
    let options = InitOptions {
        dir: dir.join("etc"),
        state_dir: dir.join("state"),
        ..InitOptions::new(Mode::BeforeQueue, "gw.example.jp")
    };
    postfix(&options).unwrap();
    CheckOptions {
        config: vec![dir.join("etc/kenin.toml")],
        offline: true,
        deny_warnings: false,
    }
}

fn change(dir: &Path, name: &str, from: &str, to: &str) {
    let path = dir.join(name);
    let old = fs::read_to_string(&path).unwrap();
    assert!(old.contains(from), "{name} has no {from}");
    fs::write(&path, old.replace(from, to)).unwrap();
}

#[test]
fn what_init_writes_has_no_mistake_but_a_missing_anchor() {
    let dir = tempfile::tempdir().unwrap();
    let options = made(dir.path());
    let report = check(&options);
    assert!(report.ok, "{}", report.to_text());
    let messages: Vec<&str> = report.findings.iter().map(|f| f.message.as_str()).collect();
    assert_eq!(
        messages,
        ["no [[anchor]]: every signature will be \"policy (issuer-not-trusted)\""]
    );
    let strict = check(&CheckOptions {
        deny_warnings: true,
        ..options
    });
    assert_eq!(
        (strict.ok, strict.exit_code()),
        (false, Exit::Configuration)
    );
}

#[test]
fn an_unknown_key_is_shown_with_its_line_and_the_one_meant() {
    let dir = tempfile::tempdir().unwrap();
    let options = made(dir.path());
    change(
        dir.path(),
        "etc/kenin.toml",
        "authserv_id =",
        "autserv_id =",
    );
    let report = check(&options);
    assert_eq!(report.exit_code(), Exit::Configuration);
    let text = report.to_text();
    assert!(text.starts_with("error: "), "{text}");
    assert!(
        text.contains("kenin.toml:11:1: unknown field `autserv_id`"),
        "{text}"
    );
    assert!(text.contains("(did you mean \"authserv_id\"?)"), "{text}");
    assert!(
        text.contains(" 11 | autserv_id = \"smime.gw.example.jp\"\n"),
        "{text}"
    );
    assert!(text.ends_with("1 error, 0 warnings\n"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(json["findings"][0]["line"], 11);
    assert_eq!(json["findings"][0]["severity"], "error");
    assert_eq!(json["findings"][0]["hint"], "did you mean \"authserv_id\"?");
}

#[test]
fn a_tag_in_the_subject_is_told_to_break_dkim() {
    let dir = tempfile::tempdir().unwrap();
    let options = made(dir.path());
    let rule = "[[rule]]\nthen = { stamp = \"subject\" }\n";
    fs::write(dir.path().join("etc/mail.toml"), rule).unwrap();
    let report = check(&options);
    assert!(report.ok);
    let finding = &report.findings[0];
    assert!(finding.message.contains("breaks every DKIM signature"));
    assert!(finding.file.as_ref().unwrap().ends_with("mail.toml"));
}

#[test]
fn policy_files_are_checked_too() {
    for (name, text) in [("trust.toml", "[[ancor]]\n"), ("mail.toml", "[[ruel]]\n")] {
        let dir = tempfile::tempdir().unwrap();
        let options = made(dir.path());
        fs::write(dir.path().join("etc").join(name), format!("# one\n{text}")).unwrap();
        let report = check(&options);
        let finding = &report.findings[0];
        assert_eq!(finding.severity, Severity::Error);
        assert_eq!(finding.line, Some(2), "{}", finding.message);
        assert!(finding.file.as_ref().unwrap().ends_with(name));
        assert_eq!(finding.column, Some(3), "{}", finding.message);
        let hint = finding.hint.as_deref().unwrap();
        assert!(hint.starts_with("did you mean "), "{hint}");
    }
}

#[test]
fn a_shared_authserv_id_and_a_readable_key_are_warnings() {
    let dir = tempfile::tempdir().unwrap();
    let options = made(dir.path());
    change(
        dir.path(),
        "etc/kenin.toml",
        "\"smime.gw.example.jp\"",
        "\"gw.example.jp\"",
    );
    let key = dir.path().join("etc/stamp.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let report = check(&options);
    assert!(report.ok);
    let text = report.to_text();
    assert!(
        text.contains("\"gw.example.jp\" is also another filter's authserv-id here"),
        "{text}"
    );
    assert!(
        text.contains("stamp.key can be read by its group (chmod 600 "),
        "{text}"
    );
}

#[test]
fn a_stamp_key_that_everybody_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = made(dir.path());
    let key = dir.path().join("etc/stamp.key");
    for mode in [0o644, 0o620, 0o601] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let report = check(&options);
        assert_eq!(report.exit_code(), Exit::Configuration, "{mode:o}");
        let text = report.to_text();
        assert!(
            text.contains("can be read or changed by anybody (chmod 600 "),
            "{text}"
        );
        assert_eq!(text.matches("stamp.key: ").count(), 1, "{text}");
    }
}

#[test]
fn refusing_after_the_queue_is_a_warning_at_the_mode() {
    let dir = tempfile::tempdir().unwrap();
    let options = made(dir.path());
    change(dir.path(), "etc/mail.toml", "# [[rule]]", "[[rule]]");
    change(dir.path(), "etc/mail.toml", "# when", "when");
    change(dir.path(), "etc/mail.toml", "# then", "then");
    let warned = |report: &Report| report.to_text().contains("it will bounce it");
    assert!(!warned(&check(&options)));
    change(
        dir.path(),
        "etc/kenin.toml",
        "\"before-queue\"",
        "\"after-queue\"",
    );
    let report = check(&options);
    assert!(report.ok && warned(&report), "{}", report.to_text());
    assert!(
        report
            .findings
            .iter()
            .all(|finding| finding.severity == Severity::Warning)
    );
}

#[test]
fn an_authority_whose_list_is_missing_is_named() {
    use crate::demo::authority::Authority;
    use kenin_pki::crypto::KeyType;

    let dir = tempfile::tempdir().unwrap();
    let options = made(dir.path());
    let etc = dir.path().join("etc");
    let now = crate::clock::unix_time(crate::clock::now());
    Authority::new("Test", KeyType::P256, now)
        .unwrap()
        .write(&etc)
        .unwrap();
    let list = etc.join("crls/intermediate.pem");
    let aside = dir.path().join("list");
    fs::rename(&list, &aside).unwrap();
    let trust = etc.join("trust.toml");
    let mut text = fs::read_to_string(&trust).unwrap();
    text.push_str(
        "\n[[anchor]]\nname = \"r\"\nfile = \"anchors/root.pem\"\nuse = [\"mail-signing\"]\n",
    );
    fs::write(&trust, text).unwrap();
    let missing = |report: &Report| {
        report
            .findings
            .iter()
            .filter(|f| f.message.starts_with("no revocation list of "))
            .count()
    };
    assert_eq!(
        missing(&check(&options)),
        1,
        "{}",
        check(&options).to_text()
    );
    fs::rename(&aside, &list).unwrap();
    assert_eq!(
        missing(&check(&options)),
        0,
        "{}",
        check(&options).to_text()
    );
}

#[test]
fn a_missing_mail_toml_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let options = made(dir.path());
    fs::remove_file(dir.path().join("etc/mail.toml")).unwrap();
    let report = check(&options);
    assert!(report.ok && report.to_text().contains("none is refused"));
}

#[test]
fn a_missing_key_file_is_an_error_at_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let options = made(dir.path());
    fs::remove_file(dir.path().join("etc/stamp.key")).unwrap();
    let report = check(&options);
    assert!(!report.ok);
    assert!(
        report
            .findings
            .iter()
            .any(|f| f.line.is_some() && f.message.contains("stamp.key"))
    );
}

#[test]
fn the_environment_is_looked_at_unless_offline() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = CheckOptions {
        offline: false,
        ..made(dir.path())
    };
    let address = taken.local_addr().unwrap().to_string();
    change(dir.path(), "etc/kenin.toml", "127.0.0.1:10025", &address);
    let text = check(&options).to_text();
    assert!(text.contains(&format!("{address} is in use")), "{text}");
    let text = check(&CheckOptions {
        offline: true,
        ..options
    })
    .to_text();
    assert!(!text.contains("is in use"), "{text}");
}

/// Whoever does not keep the mail cannot hold it.
#[test]
fn mail_is_held_behind_milters_or_in_a_quarantine() {
    let dir = tempfile::tempdir().unwrap();
    let options = made(dir.path());
    let rule = "[[rule]]\nthen = { enforce = \"quarantine\" }\n";
    fs::write(dir.path().join("etc/mail.toml"), rule).unwrap();
    let report = check(&options);
    assert_eq!(
        (report.ok, report.exit_code()),
        (false, Exit::Configuration)
    );
    let text = report.to_text();
    for part in [
        "kenin.toml:",
        "quarantine",
        "needs a milter on every listener",
        "make this listener",
    ] {
        assert!(text.contains(part), "{text}");
    }
    change(
        dir.path(),
        "etc/kenin.toml",
        "mode = \"before-queue\"",
        "mode = \"milter\"",
    );
    let report = check(&options);
    assert!(report.ok, "{}", report.to_text());
}

#[test]
fn the_secret_of_the_keys_and_their_folder_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let options = made(dir.path());
    let secret = dir.path().join("etc/keys.passphrase");
    let old = fs::read_to_string(dir.path().join("etc/kenin.toml")).unwrap();
    let table = "\n[keys]\npassphrase_file = \"keys.passphrase\"\n";
    fs::write(dir.path().join("etc/kenin.toml"), format!("{old}{table}")).unwrap();
    let report = || {
        let report = check(&options);
        (report.ok, report.to_text())
    };
    let (ok, text) = report();
    assert!(!ok && text.contains("keys.passphrase: "), "{text}");
    fs::write(&secret, "open sesame\n").unwrap();
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o644)).unwrap();
    let (ok, text) = report();
    assert!(!ok && text.contains("chmod 600"), "{text}");
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let (ok, text) = report();
    assert!(ok && text.contains("there are no keys"), "{text}");
    let folder = dir.path().join("state/keys");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    let (ok, text) = report();
    assert!(!ok && text.contains("chmod 700"), "{text}");
    fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).unwrap();
    let (ok, text) = report();
    assert!(ok && text.contains("private keys that open: 0"), "{text}");
}

#[test]
fn mail_is_held_in_a_quarantine_whose_key_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let options = made(dir.path());
    let rule = "[[rule]]\nthen = { enforce = \"quarantine\" }\n";
    fs::write(dir.path().join("etc/mail.toml"), rule).unwrap();
    let file = dir.path().join("etc/kenin.toml");
    let table = "\n[quarantine]\nkey_file = \"quarantine.key\"\n";
    let text = fs::read_to_string(&file).unwrap() + table;
    fs::write(&file, text).unwrap();
    let key = dir.path().join("etc/quarantine.key");
    for (octets, wrong) in [
        (None, "No such file"),
        (Some(31), "31 bytes, and not 32"),
        (Some(32), ""),
    ] {
        if let Some(octets) = octets {
            fs::write(&key, vec![7; octets]).unwrap();
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let report = check(&options);
        let text = report.to_text();
        assert_eq!(report.ok, wrong.is_empty(), "{text}");
        assert!(text.contains(wrong), "{text}");
        // Over a file that is there nobody is told to write another key.
        assert_eq!(text.contains("urandom"), octets.is_none(), "{text}");
    }
    let previous = "\nkey_file = \"quarantine.key\"\nprevious_key_files = [\"old.key\"]\n";
    change(
        dir.path(),
        "etc/kenin.toml",
        "\nkey_file = \"quarantine.key\"\n",
        previous,
    );
    let text = check(&options).to_text();
    assert!(text.contains("it is in a backup; without it"), "{text}");
    assert!(!text.contains("urandom"), "{text}");
    change(
        dir.path(),
        "etc/kenin.toml",
        "previous_key_files = [\"old.key\"]\n",
        "",
    );
    change(
        dir.path(),
        "etc/kenin.toml",
        "mode = \"before-queue\"",
        "mode = \"after-queue\"",
    );
    let text = check(&options).to_text();
    assert!(!text.contains("it will bounce it"), "{text}");
}

/// Root, who mostly asks, can read what the service cannot.
#[test]
fn every_secret_of_another_user_than_the_state_folder_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let options = made(dir.path());
    let file = dir.path().join("etc/kenin.toml");
    let tables = "\n[quarantine]\nkey_file = \"quarantine.key\"\n[keys]\nkey_file = \"keys.kek\"\n";
    let text = fs::read_to_string(&file).unwrap() + tables;
    fs::write(&file, text).unwrap();
    for name in ["quarantine.key", "keys.kek"] {
        let secret = dir.path().join("etc").join(name);
        fs::write(&secret, [7; 32]).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let config = Config::load(&options.config).unwrap();
    let told = || {
        let mut findings = Vec::new();
        environment::owners(&config, &mut findings);
        let messages = findings.into_iter().map(|finding| finding.message);
        messages.collect::<Vec<String>>().join("\n")
    };
    assert_eq!(told(), "");
    // Nobody but root gives something away.
    if std::os::unix::fs::chown(dir.path().join("state"), Some(4711), None).is_err() {
        return;
    }
    let text = told();
    for name in ["stamp.key", "wrap/key.pem", "quarantine.key", "keys.kek"] {
        let secret = format!("etc/{name} belongs to another user than ");
        assert!(text.contains(&secret), "{text}");
    }
    let group = fs::Permissions::from_mode(0o640);
    fs::set_permissions(dir.path().join("etc/keys.kek"), group).unwrap();
    assert!(
        !told().contains("keys.kek"),
        "its group may be the service's"
    );
}

/// Mail that is to be signed goes unsigned where nobody can sign it, and that is no secret.
#[test]
fn what_cannot_be_signed_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let options = made(dir.path());
    let rule =
        "[[rule]]\nwhen = { sender_domain = \"own.example\" }\nthen = { sign = \"clear\" }\n";
    let told = || {
        let report = check(&options);
        let all = report.findings.iter();
        let about = all.filter(|finding| finding.message.contains("signed"));
        let about: Vec<String> = about.map(|finding| finding.message.clone()).collect();
        about.join("\n")
    };
    fs::write(dir.path().join("etc/mail.toml"), "").unwrap();
    assert_eq!(told(), "");
    fs::write(dir.path().join("etc/mail.toml"), rule).unwrap();
    assert!(told().contains("there are no [keys]"), "{}", told());
    let file = dir.path().join("etc/kenin.toml");
    let old = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        format!("{old}\n[keys]\npassphrase_file = \"pass\"\n"),
    )
    .unwrap();
    assert!(told().contains("no listener tells"), "{}", told());
    let mode = "mode = \"before-queue\"";
    change(
        dir.path(),
        "etc/kenin.toml",
        mode,
        &format!("{mode}\nsubmission = true"),
    );
    assert_eq!(told(), "");
}

/// From then on mail goes unsigned, and nobody hears of it. Who opens old mail only signs nothing anyway.
#[test]
fn a_key_whose_certificate_has_ended_signs_no_more_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let options = made(dir.path());
    let file = dir.path().join("etc/kenin.toml");
    let old = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{old}\n[keys]\nkey_file = \"kek\"\n")).unwrap();
    let secret = dir.path().join("etc/kek");
    fs::write(&secret, [7; 32]).unwrap();
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    fs::create_dir_all(dir.path().join("state")).unwrap();
    let folder = KeyFolder::create(&dir.path().join("state/keys")).unwrap();
    let kek = Kek::from_key(&Secret::new(vec![7; 32])).unwrap();
    let now = crate::clock::unix_time(crate::clock::now());
    for (term, state, told) in [
        (Term::Valid, State::Active, false),
        (Term::Expired, State::Retired, false),
        (Term::Expired, State::Active, true),
    ] {
        let mut authority = Authority::new("Test", KeyType::P256, now).unwrap();
        let holder = authority
            .issue("Alice", "alice@example.jp", KeyType::P256, term)
            .unwrap();
        let facts = KeyFacts {
            id: KeyId::random().unwrap(),
            tenant: "default".to_owned(),
            version: 1,
            state,
            uses: Uses {
                decrypt: true,
                sign: true,
            },
            addresses: vec![Address::parse("alice@example.jp").unwrap()],
            public: holder.key.public_key().clone(),
            certificates: vec![holder.certificate.clone()],
        };
        let pkcs8 = Secret::new(holder.key.to_pkcs8().unwrap());
        let sealed = SealedKey::seal(facts, &pkcs8, &kek).unwrap();
        folder.change().unwrap().add(&sealed).unwrap();
        let report = check(&options);
        let text = report.to_text();
        assert!(report.ok, "{text}");
        let says = text.contains("of alice@example.jp: its certificate ended");
        assert_eq!(says, told, "{text}");
    }
}
