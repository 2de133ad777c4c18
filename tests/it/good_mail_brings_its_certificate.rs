//! `harvest` in mail.toml: the certificate of somebody whose mail passed is kept, and nobody else's.

use kenin_tests::forge::Town;
use kenin_tests::kenin::{Gateway, Setup, envelope, kenin};
use kenin_tests::sink::Sink;
use kenin_tests::world::wait_for;

/// The certificates of an address: origin and quarantine, as the command prints them.
fn kept(gateway: &Gateway, address: &str) -> Vec<String> {
    let config = gateway.config().display().to_string();
    let done = kenin(&["cert", "list", "--address", address, "--config", &config]);
    let text = String::from_utf8(done.stdout).unwrap();
    let origins = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("origin"));
    origins.map(|origin| origin.trim().to_owned()).collect()
}

#[test]
fn only_who_signed_well_is_kept_and_nobody_takes_a_pinned_ones_place() {
    let town = Town::get();
    let sink = Sink::start();
    let gateway = Gateway::start(&Setup {
        mail: "[[rule]]\nthen = { harvest = \"use\" }\n".to_owned(),
        ..Setup::new(sink.address)
    });
    // Bob's is pinned: another one of his that comes by mail has to wait.
    let file = gateway.folder.join("pinned.pem");
    let other = town.issuer.person(
        "Bob",
        "bob@example.jp",
        kenin_tests::forge::keys::Key::p256(),
    );
    let pinned = kenin_tests::forge::certificates::pem("CERTIFICATE", &other.certificate);
    std::fs::write(&file, pinned).unwrap();
    let config = gateway.config().display().to_string();
    let path = file.display().to_string();
    assert!(
        kenin(&["cert", "import", &path, "--config", &config])
            .status
            .success()
    );

    let alice = town.clear_signed(&town.alice, "alice@example.jp", "Pay 1000 yen.");
    let forged = String::from_utf8(alice.clone()).unwrap();
    let forged = forged.replace("1000", "9000").into_bytes();
    let send = |raw: &[u8]| assert_eq!(gateway.send(&envelope(), raw).code, 250);
    // PKI-07: the wrong ones first. What comes of them would be there when the right ones are.
    send(&forged);
    send(&town.clear_signed(&town.mallory, "carol@example.jp", "I am Carol."));
    send(&town.clear_signed(&town.strange_alice, "alice@example.jp", "I am Alice."));
    send(&town.clear_signed(&town.rita, "rita@example.jp", "I am revoked."));
    let dave = town.clear_signed(&town.dave, "dave@example.jp", "hello");
    let bob = town.clear_signed(&town.bob, "bob@example.jp", "hello");
    for (mail, address, wanted) in [
        (&dave, "dave@example.jp", &["harvest"][..]),
        (
            &bob,
            "bob@example.jp",
            &["admin", "harvest, quarantined"][..],
        ),
    ] {
        // One is kept at a time, and whoever comes meanwhile comes again.
        wait_for("it is kept", || {
            send(mail);
            let mut found = kept(&gateway, address);
            found.sort();
            found == wanted
        });
    }
    // Whoever finds nobody to encrypt for is told of the one that waits.
    let path = gateway.folder.join("mail.eml").display().to_string();
    std::fs::write(&path, &alice).unwrap();
    let done = kenin(&[
        "encrypt",
        "--to",
        "bob@example.jp",
        "--config",
        &config,
        &path,
    ]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("quarantined (kenin cert promote)"), "{said}");
    for nobody in [
        "alice@example.jp",
        "carol@example.jp",
        "mallory@evil.example",
        "rita@example.jp",
    ] {
        assert!(kept(&gateway, nobody).is_empty(), "{nobody}");
    }
    wait_for("Alice's own is kept", || {
        send(&alice);
        kept(&gateway, "alice@example.jp") == ["harvest"]
    });
}
