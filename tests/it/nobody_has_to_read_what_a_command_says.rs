//! A command does its work, and its exit code is the answer, whether anybody reads what it says to people or not; and what
//! is its result is written to its end, or that is an error.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kenin_tests::encryption::{PASSWORD, Workshop, said};
use kenin_tests::forge::mime;
use kenin_tests::kenin::{Gateway, Setup, kenin};
use kenin_tests::parts;
use kenin_tests::world::{run, write_secret};

/// A stream that nobody reads any more, as before `| head -1`.
fn nobody() -> Stdio {
    let (ours, _) = UnixStream::pair().unwrap();
    Stdio::from(OwnedFd::from(ours))
}

/// Runs the program with nobody at its standard error.
fn unread(words: &[&str], out: Stdio) -> Output {
    let mut command = Command::new(parts::kenin());
    let command = command.args(words).env_remove("KENIN_CONFIG");
    let command = command.stdin(Stdio::null()).stdout(out).stderr(nobody());
    command.output().unwrap()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// With `2>&1 | head -1` the older key stayed in use, and the exit code was 0.
#[test]
fn a_key_is_rotated_though_nobody_reads_it() {
    let mut setup = Setup::new("127.0.0.1:9".parse().unwrap());
    setup.tables = "[keys]\nkey_file = \"keys.kek\"\n".to_owned();
    let gateway = Gateway::prepare(&setup);
    write_secret(&gateway.folder.join("keys.kek"), &[7; 32]);
    let shop = Workshop::new();
    let (password, config) = (path(&shop.file("password")), path(&gateway.config()));
    write_secret(&shop.file("password"), PASSWORD.as_bytes());
    let more = ["--password-file", &password, "--config", &config];
    let (old, new) = (path(&shop.rsa.pkcs12), path(&shop.p256.pkcs12));
    let imported = kenin(&[&["key", "import", &old][..], &more].concat());
    assert!(imported.status.success(), "{}", said(&imported));
    let old = String::from_utf8(imported.stdout).unwrap();
    let old = old.trim();
    let rotate = ["key", "rotate", old, &new];
    let rotated = unread(&[&rotate[..], &more].concat(), nobody());
    assert!(rotated.status.success(), "{:?}", rotated.status);
    let listed = kenin(&["key", "list", "--format", "json", "--config", &config]);
    let keys: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(keys.len(), 2, "{}", said(&listed));
    for one in &keys {
        let expected = match one["id"] == old {
            true => "retired",
            false => "active",
        };
        assert_eq!(one["state"], expected, "{one}");
    }
}

/// Nothing was written, and the exit code was 0.
#[test]
fn a_mail_is_signed_encrypted_and_opened_though_nobody_reads_how() {
    let shop = Workshop::new();
    let (plain, closed) = (shop.file("plain.eml"), shop.file("closed.eml"));
    let raw = [mime::headers("rita@example.jp"), mime::text("hello")].concat();
    std::fs::write(&plain, raw).unwrap();
    let certificate = path(&shop.rsa.certificate);
    let pair = format!("{certificate}:{}", path(&shop.rsa.key));
    let plain = path(&plain);
    let written = |words: &[&str]| {
        let output = unread(words, Stdio::piped());
        assert!(output.status.success(), "{words:?}: {:?}", output.status);
        output.stdout
    };
    let signed = written(&["sign", "--key", &pair, &plain]);
    let signed = String::from_utf8(signed).unwrap();
    assert!(signed.contains("multipart/signed"), "{signed}");
    let encrypt = ["encrypt", "--unchecked", "--certificate", &certificate];
    let encrypted = written(&[&encrypt[..], &[&plain]].concat());
    std::fs::write(&closed, encrypted).unwrap();
    let opened = written(&["decrypt", "--key", &pair, &path(&closed)]);
    let opened = String::from_utf8(opened).unwrap();
    assert!(opened.contains("hello"), "{opened}");
    // That nothing is trusted is said first: this ended with a panic.
    let judged = unread(&["verify", &plain], Stdio::piped());
    assert_eq!(judged.status.code(), Some(1));
}

/// `kenin check | grep -q error` made it 0.
#[test]
fn the_exit_code_is_the_answer_also_where_the_output_is_cut_off() {
    let shop = Workshop::new();
    let absent = path(&shop.file("absent.toml"));
    let checked = unread(&["check", "--offline", "--config", &absent], nobody());
    assert_eq!(checked.status.code(), Some(78));
}

/// What stands behind the last line end was written when the program had ended already, and nobody asked how that went.
#[test]
fn an_opened_content_without_a_line_end_that_finds_no_room_is_an_error() {
    let shop = Workshop::new();
    let (content, object) = (shop.file("content"), shop.file("object"));
    std::fs::write(&content, "no line end").unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["cms", "-encrypt", "-binary", "-aes256", "-outform", "DER"]);
    openssl.arg("-in").arg(&content).arg("-out").arg(&object);
    run(openssl.arg(&shop.rsa.certificate));
    let pair = format!("{}:{}", path(&shop.rsa.certificate), path(&shop.rsa.key));
    let object = path(&object);
    let open = ["decrypt", "--key", &pair, &object];
    let opened = kenin(&open);
    assert_eq!(opened.stdout, b"no line end", "{}", said(&opened));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(parts::kenin());
    let output = command.args(open).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{}", said(&output));
}
