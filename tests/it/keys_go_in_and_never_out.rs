//! `kenin key`: private keys go into the folder sealed, work for the addresses that were said, and never come out; and what
//! a tired person gets wrong is told before anything is written. KEY-01.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kenin_tests::encryption::{
    AGREEMENT, PASSWORD, Program, Reader, TRANSPORT, Way, Workshop, said,
};
use kenin_tests::forge::certificates::pem;
use kenin_tests::forge::der::time;
use kenin_tests::forge::keys::Key;
use kenin_tests::forge::mime;
use kenin_tests::kenin::{Gateway, Setup, kenin};
use kenin_tests::parts;
use kenin_tests::world::{files, wait_for, write_secret};
use rustix::process::Signal;

/// A configuration with a folder of keys, and readers who have some.
struct Desk {
    gateway: Gateway,
    shop: Workshop,
}

impl Desk {
    fn new() -> Self {
        let mut setup = Setup::new("127.0.0.1:9".parse().unwrap());
        setup.tables = "[keys]\npassphrase_file = \"keys.passphrase\"\n".to_owned();
        let gateway = Gateway::prepare(&setup);
        write_secret(&gateway.folder.join("keys.passphrase"), b"correct horse\n");
        let shop = Workshop::new();
        write_secret(&shop.file("password"), PASSWORD.as_bytes());
        Self { gateway, shop }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let config = self.gateway.config().display().to_string();
        kenin(&[arguments, &["--config", &config]].concat())
    }

    /// Runs `kenin key` with words before the file.
    fn key(&self, arguments: &[&str]) -> Output {
        self.run(&[&["key"][..], arguments].concat())
    }

    /// Takes somebody's PKCS #12 file in; the id.
    #[track_caller]
    fn import(&self, reader: &Reader, more: &[&str]) -> String {
        let password = self.shop.file("password").display().to_string();
        let file = reader.pkcs12.display().to_string();
        let words = ["import", &file, "--password-file", &password];
        let output = self.key(&[&words[..], more].concat());
        assert!(output.status.success(), "{}", said(&output));
        let id = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        assert_eq!(id.len(), 32, "{id}");
        id
    }

    fn list(&self, more: &[&str]) -> Vec<serde_json::Value> {
        let output = self.key(&[&["list", "--format", "json"][..], more].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)))
    }

    /// Opens a mail that OpenSSL encrypted for a reader, with the keys of an address.
    fn decrypt(&self, reader: &Reader, recipient: &str) -> Output {
        let way = Way {
            cipher: "aes-256-gcm",
            oaep: false,
        };
        let object = self.shop.encrypt(Program::OpenSsl, reader, way).unwrap();
        let mail = self.shop.file("mail.eml");
        let raw = mime::opaque(&mime::headers("alice@example.jp"), "", &object);
        std::fs::write(&mail, raw).unwrap();
        self.run(&["decrypt", "--recipient", recipient, mail.to_str().unwrap()])
    }

    fn folder(&self) -> std::path::PathBuf {
        self.gateway.folder.join("state/keys")
    }
}

#[track_caller]
fn fails(output: &Output, code: i32, words: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    assert!(said(output).contains(words), "{}", said(output));
}

#[test]
fn an_imported_key_opens_mail_to_its_addresses_and_to_no_other() {
    let desk = Desk::new();
    let id = desk.import(&desk.shop.rsa, &[]);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&desk.folder()), 0o700);
    let kept = files(&desk.folder());
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(mode(&kept[0]), 0o600);
    let listed = desk.list(&[]);
    assert_eq!(listed[0]["id"], id.as_str());
    assert_eq!(listed[0]["key"], "rsa-2048");
    assert_eq!(listed[0]["uses"], serde_json::json!(["decrypt", "sign"]));
    assert_eq!(listed[0]["addresses"][0], "rita@example.jp");
    let opened = desk.decrypt(&desk.shop.rsa, "Rita@example.jp");
    assert!(opened.status.success(), "{}", said(&opened));
    let nobody = desk.decrypt(&desk.shop.rsa, "sales@example.jp");
    fails(
        &nobody,
        65,
        "no key in the folder decrypts for sales@example.jp",
    );

    let added = desk.key(&["addresses", "add", &id[..6], "sales@example.jp"]);
    assert!(added.status.success(), "{}", said(&added));
    assert!(
        desk.decrypt(&desk.shop.rsa, "sales@example.jp")
            .status
            .success()
    );
    assert_eq!(desk.list(&["--address", "sales@example.jp"]).len(), 1);
    let removed = desk.key(&["addresses", "remove", &id[..6], "sales@example.jp"]);
    assert!(removed.status.success(), "{}", said(&removed));
    assert_eq!(
        desk.decrypt(&desk.shop.rsa, "sales@example.jp")
            .status
            .code(),
        Some(65)
    );

    // Another key is not tried: DEC-08.
    desk.import(&desk.shop.p256, &[]);
    let foreign = desk.decrypt(&desk.shop.rsa, "paul@example.jp");
    fails(&foreign, 1, "not encrypted for any of the keys");
}

/// Runs two commands at one time; one that finds the other at work is run again, as it says.
fn at_one_time(desk: &Desk, commands: [&[&str]; 2]) {
    let config = desk.gateway.config().display().to_string();
    let run = |words: &[&str]| {
        let all = [&["key"][..], words, &["--config", config.as_str()]].concat();
        wait_for("a command that has the folder for itself", || {
            let output = kenin(&all);
            let done = output.status.code() != Some(75);
            assert!(!done || output.status.success(), "{}", said(&output));
            done
        });
    };
    std::thread::scope(|scope| {
        for words in commands {
            let run = &run;
            scope.spawn(move || run(words));
        }
    });
}

/// Both read the key, and make a key of the passphrase, before one of them writes.
#[test]
fn an_address_that_was_taken_from_a_key_does_not_come_back_with_another_command() {
    let desk = Desk::new();
    let named = ["--for", "paul@example.jp", "--for", "gone@example.jp"];
    let id = desk.import(&desk.shop.p256, &named);
    let remove = ["addresses", "remove", &id, "gone@example.jp"];
    let add = ["addresses", "add", &id, "new@example.jp"];
    at_one_time(&desk, [&remove, &add]);
    let addresses = &desk.list(&[])[0]["addresses"];
    let expected = serde_json::json!(["paul@example.jp", "new@example.jp"]);
    assert_eq!(addresses, &expected);
}

#[test]
fn a_key_that_two_commands_import_is_there_once() {
    let desk = Desk::new();
    let path = |path: &Path| path.display().to_string();
    let (file, password) = (path(&desk.shop.p256.pkcs12), desk.shop.file("password"));
    let password = path(&password);
    let import = ["import", &file, "--password-file", &password];
    at_one_time(&desk, [&import, &import]);
    assert_eq!(desk.list(&[]).len(), 1);
}

/// There is nothing to list, and nothing wrong with the disk.
#[test]
fn before_the_first_import_it_is_said_that_there_was_none() {
    let desk = Desk::new();
    fails(&desk.key(&["list"]), 66, "no key was imported yet");
}

#[test]
fn a_key_that_is_damaged_keeps_nobody_else_from_their_mail() {
    let desk = Desk::new();
    desk.import(&desk.shop.rsa, &[]);
    let id = desk.import(&desk.shop.p256, &[]);
    let file = desk.folder().join(format!("{id}.key"));
    std::fs::write(&file, b"cut").unwrap();
    let opened = desk.decrypt(&desk.shop.rsa, "rita@example.jp");
    assert!(opened.status.success(), "{}", said(&opened));
    assert!(said(&opened).contains("passed over"), "{}", said(&opened));
    let nobody = desk.decrypt(&desk.shop.rsa, "paul@example.jp");
    fails(
        &nobody,
        65,
        "no key in the folder decrypts for paul@example.jp",
    );
}

/// Whoever takes the first key in makes the folder, and the service has to be able to look into it.
#[test]
fn root_makes_no_folder_of_keys_in_that_of_the_service() {
    let desk = Desk::new();
    let folder = desk.folder();
    let around = folder.parent().unwrap();
    std::fs::create_dir_all(around).unwrap();
    // Nobody but root gives something away.
    if std::os::unix::fs::chown(around, Some(4711), None).is_err() {
        return;
    }
    let password = desk.shop.file("password").display().to_string();
    let file = desk.shop.rsa.pkcs12.display().to_string();
    let refused = desk.key(&["import", &file, "--password-file", &password]);
    fails(&refused, 77, "belongs to the user with the number 4711");
    assert!(!folder.exists());
}

/// Encrypted mail would arrive as it came, and nobody would be told why.
#[test]
fn keys_that_open_nothing_for_want_of_a_quarantine_are_told() {
    let desk = Desk::new();
    let checked = || said(&desk.run(&["check", "--offline"]));
    let before = checked();
    assert!(!before.contains("no [quarantine]"), "{before}");
    desk.import(&desk.shop.rsa, &[]);
    let after = checked();
    assert!(after.contains("no [quarantine]"), "{after}");
    assert!(after.contains("private keys that open: 1"), "{after}");
}

#[test]
fn no_piece_of_a_private_key_is_written_or_said() {
    let desk = Desk::new();
    let id = desk.import(&desk.shop.rsa, &[]);
    let private = {
        let text = String::from_utf8(desk.shop.rsa.person.key.pem()).unwrap();
        let digits: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        openssl_der(&digits)
    };
    let public = desk.shop.rsa.person.key.spki();
    let mut seen: Vec<(String, Vec<u8>)> = files(&desk.gateway.folder.join("state"))
        .into_iter()
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    assert!(!seen.is_empty());
    for verb in [
        &["list", "--format", "json"][..],
        &["show", &id],
        &["show", &id, "--format", "json"],
    ] {
        let output = desk.key(verb);
        assert!(output.status.success(), "{}", said(&output));
        seen.push((format!("{verb:?}"), said(&output).into_bytes()));
    }
    for piece in private.windows(24) {
        if public.windows(24).any(|window| window == piece) {
            continue;
        }
        let hex: String = piece.iter().map(|octet| format!("{octet:02x}")).collect();
        for (what, bytes) in &seen {
            let found = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!found(piece) && !found(hex.as_bytes()), "{what}");
        }
    }
}

/// PEM without its lines.
fn openssl_der(digits: &str) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(["base64", "-d", "-A"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(digits.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap().stdout
}

#[test]
fn what_a_tired_person_gets_wrong_is_told_and_nothing_is_written() {
    let desk = Desk::new();
    let shop = &desk.shop;
    let path = |path: &Path| path.display().to_string();
    let secret = |name: &str, text: &[u8]| {
        write_secret(&shop.file(name), text);
        path(&shop.file(name))
    };
    let p12 = path(&shop.rsa.pkcs12);
    let wrong = secret("wrong", b"open barley\n");
    let right = path(&shop.file("password"));
    fails(
        &desk.key(&["import", &p12, "--password-file", &wrong]),
        77,
        "wrong password",
    );
    // Standard input is no terminal here: nobody is asked.
    fails(&desk.key(&["import", &p12]), 2, "--password-file");
    let open = shop.file("open.password");
    std::fs::write(&open, PASSWORD).unwrap();
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o644)).unwrap();
    fails(
        &desk.key(&["import", &p12, "--password-file", &path(&open)]),
        77,
        "chmod 600",
    );
    let (certificate, key) = (path(&shop.p256.certificate), path(&shop.p256.key));
    let public = shop.file("public.key");
    std::fs::write(&public, shop.p256.person.key.pem()).unwrap();
    std::fs::set_permissions(&public, PermissionsExt::from_mode(0o644)).unwrap();
    fails(
        &desk.key(&["import", &path(&public), "--certificate", &certificate]),
        77,
        "can be read or changed by others",
    );
    fails(&desk.key(&["import", &key]), 65, "--certificate FILE");
    let others = path(&shop.rsa.certificate);
    fails(
        &desk.key(&["import", &key, "--certificate", &others]),
        65,
        "none of the certificates is of this key",
    );
    fails(
        &desk.key(&["import", &certificate]),
        65,
        "no private key in it",
    );
    fails(
        &desk.key(&["import", &path(&shop.file("absent"))]),
        66,
        "absent",
    );
    fails(
        &desk.key(&["import", &p12, "--password-file", &right, "--for", "nobody"]),
        2,
        "not a mail address",
    );
    let weak = Reader::new(
        shop.file("").as_path(),
        &shop.root,
        "weak",
        Key::rsa(1024),
        TRANSPORT,
    );
    let weak_p12 = path(&weak.pkcs12);
    fails(
        &desk.key(&["import", &weak_p12, "--password-file", &right]),
        65,
        "1024 bits",
    );
    let ed = Reader::new(
        shop.file("").as_path(),
        &shop.root,
        "edna",
        Key::ed25519(),
        AGREEMENT,
    );
    let pair = [path(&ed.key), path(&ed.certificate)];
    fails(
        &desk.key(&[
            "import",
            &pair[0],
            "--certificate",
            &pair[1],
            "--use",
            "decrypt",
        ]),
        65,
        "decrypts nothing",
    );
    assert!(!desk.folder().exists(), "nothing was written");
    let planned = desk.key(&["import", &p12, "--password-file", &right, "--dry-run"]);
    assert!(planned.status.success(), "{}", said(&planned));
    assert!(!desk.folder().exists(), "nothing was written");

    let old = desk.key(&["import", &weak_p12, "--password-file", &right, "--retired"]);
    assert!(old.status.success(), "{}", said(&old));
    assert_eq!(desk.list(&[])[0]["state"], "retired");
    // What it opens mail with is not what mail is encrypted for, and that is said of a key that new mail may be for.
    let tells = |output: &Output| said(output).contains("kenin cert import");
    assert!(!tells(&old), "{}", said(&old));
    let new = desk.key(&["import", &p12, "--password-file", &right]);
    assert!(new.status.success() && tells(&new), "{}", said(&new));
}

/// Many programs write such files, and to write `pass:` in OpenSSL makes one.
#[test]
fn a_file_with_an_empty_password_is_taken_in() {
    let desk = Desk::new();
    let path = |path: &Path| path.display().to_string();
    let (file, empty) = (desk.shop.file("empty.p12"), desk.shop.file("empty"));
    let (file, key) = (path(&file), path(&desk.shop.p256.key));
    let certificate = path(&desk.shop.p256.certificate);
    let export = Command::new("openssl")
        .args(["pkcs12", "-export", "-passout", "pass:"])
        .args(["-out", &file, "-inkey", &key, "-in", &certificate])
        .status();
    assert!(export.unwrap().success());
    let import = |password: &Path| desk.key(&["import", &file, "--password-file", &path(password)]);
    fails(&import(&empty), 66, "empty: ");
    write_secret(&empty, b"\n");
    let taken = import(&empty);
    assert!(taken.status.success(), "{}", said(&taken));
    assert_eq!(desk.list(&[]).len(), 1);
}

#[test]
fn check_tells_that_answers_go_in_clear_where_nobody_is_proven() {
    let desk = Desk::new();
    let tells = |told: bool| {
        let checked = said(&desk.run(&["check", "--offline"]));
        let tells = checked.contains("answers to such mail go as the rules say");
        assert_eq!(tells, told, "{checked}");
    };
    tells(false);
    desk.import(&desk.shop.rsa, &[]);
    tells(true);
    let rules = desk.gateway.folder.join("mail.toml");
    std::fs::write(rules, "[protect]\nreplies = \"by-rule\"\n").unwrap();
    tells(false);
}

#[test]
fn check_names_whom_mail_cannot_be_encrypted_for_again() {
    let desk = Desk::new();
    desk.import(&desk.shop.rsa, &[]);
    let check = |rule: &str| {
        let rule = format!("[[rule]]\nthen = {{ {rule} }}\n");
        std::fs::write(desk.gateway.folder.join("mail.toml"), rule).unwrap();
        said(&desk.run(&["check", "--offline"]))
    };
    let tells =
        "opened for rita@example.jp is to be encrypted again, and the store has no certificate";
    let again = check("reencrypt = true");
    assert!(again.contains(tells), "{again}");
    let never = check("stamp = \"headers\"");
    assert!(!never.contains(tells), "{never}");
    let certificate = desk.shop.rsa.certificate.display().to_string();
    let output = desk.run(&["cert", "import", &certificate]);
    assert!(output.status.success(), "{}", said(&output));
    let known = check("reencrypt = true");
    assert!(!known.contains("encrypted again"), "{known}");
}

#[test]
fn without_its_secret_the_folder_stays_as_it_is() {
    let desk = Desk::new();
    let id = desk.import(&desk.shop.rsa, &[]);
    let passphrase = desk.gateway.folder.join("keys.passphrase");
    let before: Vec<Vec<u8>> = files(&desk.folder())
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    std::fs::write(&passphrase, "wrong horse\n").unwrap();
    let password = desk.shop.file("password").display().to_string();
    let other = desk.shop.p256.pkcs12.display().to_string();
    fails(
        &desk.key(&["import", &other, "--password-file", &password]),
        78,
        "which is there already",
    );
    fails(
        &desk.key(&["show", &id]),
        1,
        "no passphrase that is at hand",
    );
    fails(&desk.key(&["retire", &id]), 78, "which is there already");
    fails(
        &desk.decrypt(&desk.shop.rsa, "rita@example.jp"),
        78,
        "passphrase",
    );
    std::fs::set_permissions(&passphrase, PermissionsExt::from_mode(0o644)).unwrap();
    fails(
        &desk.decrypt(&desk.shop.rsa, "rita@example.jp"),
        78,
        "chmod 600",
    );
    let after: Vec<Vec<u8>> = files(&desk.folder())
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    assert_eq!(before, after);
    let none = Gateway::prepare(&Setup::new("127.0.0.1:9".parse().unwrap()));
    let config = none.config().display().to_string();
    fails(&kenin(&["key", "list", "--config", &config]), 78, "[keys]");
}

#[test]
fn keys_are_sealed_anew_under_another_secret() {
    let desk = Desk::new();
    let ids = [
        desk.import(&desk.shop.rsa, &[]),
        desk.import(&desk.shop.p256, &[]),
    ];
    let file = desk.gateway.config();
    let text = std::fs::read_to_string(&file).unwrap();
    let old = "passphrase_file = \"keys.passphrase\"";
    write_secret(&desk.gateway.folder.join("keys.kek"), &[7; 32]);
    let both = format!("key_file = \"keys.kek\"\nprevious = {{ {old} }}");
    std::fs::write(&file, text.replace(old, &both)).unwrap();
    let planned = desk.key(&["rekey", "--dry-run"]);
    assert!(
        said(&planned).contains("would seal 2 key(s)"),
        "{}",
        said(&planned)
    );
    let done = desk.key(&["rekey"]);
    assert!(said(&done).contains("sealed 2 key(s)"), "{}", said(&done));
    let again = desk.key(&["rekey"]);
    assert!(said(&again).contains("already"), "{}", said(&again));
    std::fs::write(&file, text.replace(old, "key_file = \"keys.kek\"")).unwrap();
    for id in &ids {
        assert!(desk.key(&["show", id]).status.success());
    }
    assert!(
        desk.decrypt(&desk.shop.p256, "paul@example.jp")
            .status
            .success()
    );
    std::fs::write(&file, text).unwrap();
    fails(&desk.key(&["show", &ids[0]]), 1, "not at hand");
}

/// A reload with another secret, and no `previous`, had all mail go on closed and unsigned.
#[test]
fn a_secret_that_opens_none_of_the_keys_takes_none_away() {
    let mut desk = Desk::new();
    let id = desk.import(&desk.shop.p256, &[]);
    desk.gateway.restart();
    let passphrase = desk.gateway.folder.join("keys.passphrase");
    // It is there, and keeps its mode.
    std::fs::write(&passphrase, "battery staple\n").unwrap();
    fails(
        &desk.run(&["check", "--offline"]),
        78,
        "none of the keys in",
    );
    desk.gateway.process().signal(Signal::HUP);
    wait_for("the log says so", || {
        desk.gateway.log().contains("the keys stay as they were")
    });
    let ended = desk.gateway.try_restart_under(&[]);
    assert_eq!(ended.and_then(|status| status.code()), Some(78));
    // One line, and not the place in the file in escapes.
    std::fs::remove_file(&passphrase).unwrap();
    let shown = desk.key(&["show", &id]);
    fails(&shown, 1, "No such file");
    assert!(!said(&shown).contains("u{a}"), "{}", said(&shown));
}

/// Which one it was depended on their ids, which are random.
#[test]
fn of_several_keys_the_one_that_was_certified_last_signs() {
    let desk = Desk::new();
    desk.import(&desk.shop.p256, &[]);
    let (folder, key) = (desk.shop.file(""), Key::p256());
    let newer = Reader::with(folder.as_path(), &desk.shop.root, "newer", key, |form| {
        form.not_before = time("20210101000000Z");
    });
    let mail = desk.shop.file("plain.eml");
    let raw = mime::plain(&mime::headers("paul@example.jp"), "hello");
    std::fs::write(&mail, raw).unwrap();
    let mail = mail.display().to_string();
    for _ in 0..4 {
        let id = desk.import(&newer, &["--for", "paul@example.jp"]);
        let signed = desk.run(&["sign", "--sender", "paul@example.jp", "--dry-run", &mail]);
        let told = said(&signed);
        assert!(
            signed.status.success() && told.contains("CN=newer"),
            "{told}"
        );
        assert!(desk.key(&["remove", &id, "--force"]).status.success());
    }
}

/// It could not be removed, and no other key was listed.
#[test]
fn a_key_whose_file_was_cut_hides_no_other_and_can_be_removed() {
    let desk = Desk::new();
    let cut = desk.import(&desk.shop.rsa, &[]);
    let whole = desk.import(&desk.shop.p256, &[]);
    let file = desk.folder().join(format!("{cut}.key"));
    let octets = std::fs::read(&file).unwrap();
    std::fs::write(&file, &octets[..100]).unwrap();
    let listed = desk.key(&["list"]);
    fails(&listed, 65, &whole);
    assert!(
        said(&listed).contains(&format!("{cut}.key")),
        "{}",
        said(&listed)
    );
    let removed = desk.key(&["remove", &cut, "--force"]);
    assert!(removed.status.success(), "{}", said(&removed));
    assert_eq!(desk.list(&[]).len(), 1);
}

#[test]
fn a_key_that_was_replaced_opens_old_mail_and_signs_no_more() {
    let desk = Desk::new();
    let old = desk.import(&desk.shop.rsa, &[]);
    let mail = desk.shop.file("plain.eml");
    let raw = mime::plain(&mime::headers("rita@example.jp"), "hello");
    std::fs::write(&mail, raw).unwrap();
    let mail = mail.display().to_string();
    let sign = |sender| desk.run(&["sign", "--sender", sender, &mail]);
    assert!(sign("rita@example.jp").status.success());
    fails(&sign("pia@example.jp"), 65, "signs for pia@example.jp");

    let new = Reader::new(
        desk.shop.file("").as_path(),
        &desk.shop.root,
        "newrita",
        Key::rsa(2048),
        0x20,
    );
    let password = desk.shop.file("password").display().to_string();
    let file = new.pkcs12.display().to_string();
    let words = ["rotate", &old[..8], &file, "--password-file", &password];
    let planned = desk.key(&[&words[..], &["--dry-run"]].concat());
    let text = said(&planned);
    assert!(planned.status.success(), "{text}");
    assert!(
        text.contains("would import ") && text.contains(&format!("would retire {old}")),
        "{text}"
    );
    assert_eq!(desk.list(&["--address", "rita@example.jp"]).len(), 1);
    let rotated = desk.key(&words);
    assert!(rotated.status.success(), "{}", said(&rotated));
    let listed = desk.list(&["--address", "rita@example.jp"]);
    let states: Vec<&str> = listed
        .iter()
        .map(|one| one["state"].as_str().unwrap())
        .collect();
    assert_eq!(listed.len(), 2);
    assert!(
        states.contains(&"active") && states.contains(&"retired"),
        "{listed:?}"
    );
    for reader in [&desk.shop.rsa, &new] {
        let opened = desk.decrypt(reader, "rita@example.jp");
        assert!(opened.status.success(), "{}", said(&opened));
    }
    // Back to the older one: both would be retired then.
    let id = |state| listed.iter().find(|one| one["state"] == state).unwrap()["id"].as_str();
    let newer = id("active").unwrap();
    let before = desk.shop.rsa.pkcs12.display().to_string();
    let back = ["rotate", newer, &before, "--password-file", &password];
    fails(&desk.key(&back), 65, "which is retired");
    fails(
        &desk.key(&[&back[..], &["--retired"]].concat()),
        2,
        "--retired",
    );
    let again = desk.key(&["import", &before, "--password-file", &password]);
    let text = said(&again);
    assert!(
        text.contains("retired and stays so") && !text.contains("decrypts and signs"),
        "{text}"
    );
    let states = desk.list(&["--address", "rita@example.jp"]);
    assert!(
        states.iter().any(|one| one["state"] == "active"),
        "{states:?}"
    );
    // The new one is for encryption only.
    fails(&sign("rita@example.jp"), 65, "signs for rita@example.jp");

    fails(&desk.key(&["remove", &old]), 2, "--force");
    assert_eq!(desk.list(&[]).len(), 2);
    let removed = desk.key(&["remove", &old, "--force"]);
    assert!(removed.status.success(), "{}", said(&removed));
    fails(
        &desk.decrypt(&desk.shop.rsa, "rita@example.jp"),
        1,
        "not encrypted for",
    );
    fails(&desk.key(&["show", "xyz"]), 2, "is no id");
    fails(
        &desk.key(&["show", &old]),
        65,
        "no key in the folder begins with",
    );
}

/// The same key gets a certificate every year.
#[test]
fn a_renewed_certificate_is_added_to_its_key() {
    let desk = Desk::new();
    let first = desk.import(&desk.shop.p256, &[]);
    let person = &desk.shop.p256.person;
    let form = desk
        .shop
        .root
        .person_form("paul", "paul.new@example.jp", &person.key);
    let renewed = desk.shop.root.issue(&form, person.key.clone());
    let file = desk.shop.file("renewed.pem");
    std::fs::write(&file, pem("CERTIFICATE", &renewed.certificate)).unwrap();
    let (key, file) = (
        desk.shop.p256.key.display().to_string(),
        file.display().to_string(),
    );
    let again = desk.key(&["import", &key, "--certificate", &file]);
    assert!(said(&again).contains("added to"), "{}", said(&again));
    assert_eq!(String::from_utf8_lossy(&again.stdout).trim(), first);
    let listed = desk.list(&[]);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["certificates"].as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["addresses"].as_array().unwrap().len(), 2);
    let same = desk.key(&["import", &key, "--certificate", &file]);
    assert!(said(&same).contains("had already"), "{}", said(&same));
}

/// A terminal of Python's, which shows what is typed unless the program asks it not to.
#[test]
fn a_password_is_asked_for_at_the_terminal_and_not_shown() {
    let desk = Desk::new();
    let script = "import os, pty, sys\n\
        pid, terminal = pty.fork()\n\
        if pid == 0:\n\x20   os.execv(sys.argv[2], sys.argv[2:])\n\
        shown, asked = b'', False\n\
        while True:\n\x20   try:\n\x20       piece = os.read(terminal, 4096)\n\x20   except OSError:\n\x20       break\n\
        \x20   if not piece:\n\x20       break\n\x20   shown += piece\n\
        \x20   if not asked and b'password of' in shown:\n\
        \x20       asked = True\n\x20       os.write(terminal, sys.argv[1].encode().decode('unicode_escape').encode())\n\
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n\
        sys.stdout.buffer.write(shown)\n\
        sys.exit(code)\n";
    let config = desk.gateway.config();
    let import = |typed: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", script, typed]).arg(parts::kenin());
        command.args(["key", "import"]).arg(&desk.shop.rsa.pkcs12);
        command.arg("--config").arg(&config);
        command.env_remove("KENIN_CONFIG").output().unwrap()
    };
    let ended = import("open\\x03");
    fails(&ended, 77, "no password");
    let wrong = import("open barley\\r");
    fails(&wrong, 77, "wrong password");
    let right = import("open xyz\\x7f\\x7f\\x7fsesame\\r");
    assert!(right.status.success(), "{}", said(&right));
    for output in [&ended, &wrong, &right] {
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            !shown.contains("sesame") && !shown.contains("barley"),
            "{shown}"
        );
    }
    assert_eq!(desk.list(&[]).len(), 1);
}

/// A command that was ended by the system, or by Ctrl-\, left what it had in memory in a core.
#[test]
fn a_command_leaves_no_core() {
    let desk = Desk::new();
    // As generous as it may be, and then the command, which reads a key from standard input.
    let mut child = Command::new("/bin/sh")
        .args(["-c", "ulimit -S -c \"$(ulimit -H -c)\"; exec \"$0\" \"$@\""])
        .arg(parts::kenin())
        .args(["key", "import", "-", "--config"])
        .arg(desk.gateway.config())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let limits = format!("/proc/{}/limits", child.id());
    wait_for("there is no room for a core", || {
        let limits = std::fs::read_to_string(&limits).unwrap_or_default();
        let core = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max core file size"));
        let soft = core.and_then(|core| core.split_whitespace().next());
        soft.is_some_and(|soft| matches!(soft, "0" | "1"))
    });
    drop(child.stdin.take());
    child.wait().unwrap();
}
