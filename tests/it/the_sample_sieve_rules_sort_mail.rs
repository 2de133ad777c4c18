//! The Sieve rules of `docs/stamp.md`, run as they are printed there by Pigeonhole (Debian's
//! `dovecot-sieve`) over mail that Kenin has stamped.

use std::path::Path;
use std::process::Command;

use kenin_tests::forge::certificates::{Authority, Person};
use kenin_tests::forge::mime::{self, join};
use kenin_tests::forge::{Town, cms, keys::Key};
use kenin_tests::kenin::{AUTHSERV_ID, Gateway, Setup, envelope};
use kenin_tests::sink::Sink;
use kenin_tests::world::{Folder, run};

/// The blocks of the page that are Sieve.
fn rules() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/stamp.md");
    let text = std::fs::read_to_string(page).unwrap();
    let blocks = text.split("```\n").skip(1).step_by(2);
    let sieve = blocks.filter(|block| block.starts_with("require"));
    sieve.map(str::to_owned).collect()
}

/// The folder that a rule puts a mail into; `None` for the inbox.
fn sorted(folder: &Folder, rule: &str, mail: &[u8]) -> Option<String> {
    let file = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let home = folder.path().display();
    // The program gives up root's rights, and wants to be told whose to take.
    let conf =
        format!("mail_location = maildir:{home}/mail\nmail_uid = nobody\nmail_gid = nogroup\n");
    let conf = file(
        "dovecot.conf",
        format!("{conf}first_valid_uid = 1\n").as_bytes(),
    );
    let (rule, mail) = (file("rule.sieve", rule.as_bytes()), file("mail.eml", mail));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder.path(), mode).unwrap();
    let mut command = Command::new("sieve-test");
    command.arg("-c").arg(conf).arg(rule).arg(mail);
    let said = String::from_utf8(run(&mut command)).unwrap();
    let stored = said.split("store message in folder: ").nth(1)?;
    Some(stored.lines().next().unwrap().to_owned()).filter(|folder| folder != "INBOX")
}

/// Somebody whose authority publishes no list.
fn unlisted(town: &Town) -> (Authority, Person) {
    let authority = town.root.below("Unlisted");
    let person = authority.person("Erin", "erin@example.jp", Key::p256());
    (authority, person)
}

#[test]
fn every_state_goes_to_its_folder() {
    let town = Town::get();
    let alice = "Alice <alice@example.jp>";
    let good = town.clear_signed(&town.alice, alice, "As agreed.");
    let changed = String::from_utf8(good.clone()).unwrap();
    let changed = changed.replace("As agreed.", "As altered.").into_bytes();
    let (authority, erin) = unlisted(town);
    let part = mime::text("Nobody knows.");
    let chain = [&authority.certificate[..]];
    let unknown = mime::clear_signed(
        &mime::headers("Erin <erin@example.jp>"),
        &part,
        &cms::detached(&erin, &chain, &part),
    );
    let lie = format!("Authentication-Results: {AUTHSERV_ID}; smime=pass\r\n");
    let plain = mime::plain(&mime::headers(alice), "Not signed.");
    let table = [
        ("smime=pass", good, Some("Signature valid")),
        ("smime=fail", changed, Some("Signature INVALID")),
        (
            "smime=policy",
            town.opaque(&town.bob, alice, "Not by Alice."),
            Some("Signed, not accepted"),
        ),
        ("smime=temperror", unknown, Some("Signature not checked")),
        ("smime=none", plain.clone(), None),
        ("smime=none", join(&[lie.as_bytes(), &plain]), None),
    ];
    let rules = rules();
    let [one, four] = &rules[..] else {
        panic!("{} blocks of Sieve in docs/stamp.md", rules.len());
    };
    let sink = Sink::start();
    let gateway = Gateway::start(&Setup::new(sink.address));
    let folder = Folder::new();
    for (place, (result, mail, expected)) in table.iter().enumerate() {
        let reply = gateway.send(&envelope(), mail);
        assert_eq!(reply.code, 250, "{reply:?}");
        let delivered = sink.mails().remove(place).raw;
        let text = String::from_utf8_lossy(&delivered).into_owned();
        assert!(text.contains(result), "{text}");
        assert_eq!(
            sorted(&folder, four, &delivered).as_deref(),
            *expected,
            "{text}"
        );
        let invalid = (*result == "smime=fail").then_some("Signature invalid");
        assert_eq!(
            sorted(&folder, one, &delivered).as_deref(),
            invalid,
            "{text}"
        );
    }
}
