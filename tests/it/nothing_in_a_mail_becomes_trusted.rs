//! PKI-07: whatever certificates and lists a mail brings, what is trusted stays as the administrator wrote it, and the
//! store keeps nothing of them but what good mail was signed with: no root, no cross certificate, no authority, no
//! list, nobody's certificate but the signer's own.

use std::collections::BTreeSet;
use std::time::Duration;

use kenin_tests::forge::certificates::{Authority, NOT_AFTER, Person, cn};
use kenin_tests::forge::cms::{self, SignedForm, SignerForm};
use kenin_tests::forge::keys::{Hash, Key};
use kenin_tests::forge::mime::{base64, clear_signed, headers, mixed, opaque, plain, text};
use kenin_tests::forge::{Town, mime};
use kenin_tests::kenin::{Gateway, Setup, envelope, kenin};
use kenin_tests::sink::Sink;
use kenin_tests::world::{files, wait_for};

const ALICE: &str = "alice@example.jp";

struct World {
    sink: Sink,
    gateway: Gateway,
}

impl World {
    /// A gateway that keeps the certificates of who signs well.
    fn new() -> Self {
        let sink = Sink::start();
        let gateway = Gateway::start(&Setup {
            mail: "[[rule]]\nthen = { harvest = \"use\" }\n".to_owned(),
            ..Setup::new(sink.address)
        });
        Self { sink, gateway }
    }

    /// What the gateway writes about a mail.
    fn stamp(&self, raw: &[u8]) -> String {
        self.sink.clear();
        assert_eq!(self.gateway.send(&envelope(), raw).code, 250);
        let mail = self.sink.wait(1, Duration::from_secs(30)).pop().unwrap();
        mail.fields("Authentication-Results").concat()
    }

    /// Sends a good mail until the certificate with which it was signed is in the store.
    fn keep(&self, raw: &[u8], certificate: &[u8]) {
        let hex = hex(certificate);
        wait_for("the certificate is kept", || {
            assert!(self.stamp(raw).contains("smime=pass"));
            self.gateway.store_dump().contains(&hex)
        });
    }

    /// The files that say what is trusted, and what the command says of them.
    fn trust(&self) -> Vec<(String, Vec<u8>)> {
        let folder = &self.gateway.folder;
        let mut all = vec![folder.join("trust.toml")];
        for name in ["anchors", "intermediates", "crls"] {
            all.extend(files(&folder.join(name)));
        }
        all.sort();
        let mut all: Vec<(String, Vec<u8>)> = all
            .iter()
            .map(|path| (path.display().to_string(), std::fs::read(path).unwrap()))
            .collect();
        let config = self.gateway.config().display().to_string();
        let said = kenin(&["trust", "list", "--format", "json", "--config", &config]);
        all.push(("trust list".to_owned(), said.stdout));
        all
    }
}

/// The fingerprint of a certificate as SQL writes it.
fn hex(certificate: &[u8]) -> String {
    let digest = Hash::Sha256.of(certificate);
    digest.iter().map(|octet| format!("{octet:02X}")).collect()
}

fn signed(signer: &Person, chain: &[&[u8]]) -> Vec<u8> {
    let part = text("Trust me.");
    clear_signed(&headers(ALICE), &part, &cms::detached(signer, chain, &part))
}

/// A certificate of an authority's name and key, named so by somebody else, and signed with this key.
fn cross(by: &Authority, subject: &Authority, key: &Key) -> Vec<u8> {
    let mut form = by.authority_form("", &subject.key);
    form.subject.clone_from(&subject.name);
    form.issue(key)
}

/// Mails, and whether they pass all the same.
fn mails() -> Vec<(&'static str, Vec<u8>, bool)> {
    let town = Town::get();
    let (root, strange) = (&town.root, &town.strange_root);
    let twin_root = Authority::root_named(root.name.clone());
    let twin_issuer = {
        let key = Key::p256();
        let mut form = twin_root.authority_form("", &key);
        form.subject.clone_from(&town.issuer.name);
        twin_root.authority(&form, key)
    };
    let twin = twin_issuer.person("Alice", ALICE, Key::p256());
    let mallory = Authority {
        name: cn("Mallory"),
        key: town.mallory.key.clone(),
        certificate: town.mallory.certificate.clone(),
    };
    let below_mallory = mallory.person("Alice", ALICE, Key::p256());
    let up = cross(strange, root, &strange.key);
    let down = cross(root, strange, &Key::p256());
    let part = text("Trust me.");
    let good = SignerForm::new(&town.alice, &part);
    let own: [&[u8]; 2] = [&town.alice.certificate, &town.issuer.certificate];
    // A good mail with all kinds of things beside its signature.
    let mut baggage = SignedForm::detached(&good, &part, &own);
    baggage.certificates.extend([
        strange.certificate.clone(),
        twin_root.certificate.clone(),
        twin_issuer.certificate.clone(),
        up.clone(),
        down.clone(),
        town.bob.certificate.clone(),
        town.strange_alice.certificate.clone(),
        strange
            .person("Carol", "carol@example.jp", Key::p256())
            .certificate,
    ]);
    let newer = town
        .issuer
        .crl_between(&[&town.bob.serial], "20260101000000Z", Some(NOT_AFTER));
    baggage.crls = vec![strange.crl(&[]), twin_issuer.crl(&[]), newer];
    let only = SignedForm {
        certificates: baggage.certificates.clone(),
        crls: baggage.crls.clone(),
        ..SignedForm::empty()
    };
    let mut two = SignedForm::detached(&good, &part, &own);
    two.certificates.push(town.mallory.certificate.clone());
    let second = SignerForm::new(&town.mallory, &part);
    two.signers.push(second.encode(&part));
    let changed = String::from_utf8(signed(&town.alice, &town.chain())).unwrap();
    let changed = changed.replace("Trust me.", "Trust him.").into_bytes();
    let below = mime::signed_entity("below-1", &part, &cms::detached(&town.bob, &[], &part));
    let mut attached =
        b"Content-Type: application/pkix-cert\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            .to_vec();
    attached.extend(base64(&strange.certificate));
    vec![
        (
            "the root inside the message",
            signed(&town.strange_alice, &[&strange.certificate]),
            false,
        ),
        (
            "a root and an issuer of our names",
            signed(&twin, &[&twin_issuer.certificate, &twin_root.certificate]),
            false,
        ),
        (
            "cross certificates between the roots",
            signed(&town.strange_alice, &[&strange.certificate, &down, &up]),
            false,
        ),
        (
            "a person as an authority",
            signed(
                &below_mallory,
                &[&mallory.certificate, &town.issuer.certificate],
            ),
            false,
        ),
        (
            "certificates only",
            opaque(&headers(ALICE), "certs-only", &only.encode()),
            false,
        ),
        (
            "certificates only, called signed",
            opaque(&headers(ALICE), "signed-data", &only.encode()),
            false,
        ),
        (
            "an attached certificate",
            mixed(&headers(ALICE), "mixed", &[&part, &attached]),
            false,
        ),
        ("unsigned", plain(&headers(ALICE), "Trust me."), false),
        (
            "signed by another",
            signed(&town.mallory, &town.chain()),
            false,
        ),
        ("changed", changed, false),
        (
            "revoked",
            town.clear_signed(&town.rita, "rita@example.jp", "Trust me."),
            false,
        ),
        (
            "signed below the root",
            mixed(&headers("bob@example.jp"), "mixed", &[&below]),
            false,
        ),
        (
            "signed by two",
            clear_signed(&headers(ALICE), &part, &two.encode()),
            false,
        ),
        (
            "encrypted",
            opaque(&headers(ALICE), "enveloped-data", &cms::enveloped()),
            false,
        ),
        (
            "our root below another",
            signed(
                &town.alice,
                &[&town.issuer.certificate, &up, &strange.certificate],
            ),
            true,
        ),
        (
            "good, with baggage",
            clear_signed(&headers(ALICE), &part, &baggage.encode()),
            true,
        ),
    ]
}

#[test]
fn the_store_keeps_the_signers_own_certificate_and_nothing_else() {
    let (town, world) = (Town::get(), World::new());
    let alice = town.clear_signed(&town.alice, ALICE, "Hello.");
    world.keep(&alice, &town.alice.certificate);
    let (before, trust) = (world.gateway.store_dump(), world.trust());
    for (name, raw, passes) in mails() {
        let stamp = world.stamp(&raw);
        assert_eq!(stamp.contains("smime=pass"), passes, "{name}: {stamp}");
    }
    // One is kept at a time: when this one is, the ones before it are through.
    let dave = town.clear_signed(&town.dave, "dave@example.jp", "Hello.");
    world.keep(&dave, &town.dave.certificate);
    let after = world.gateway.store_dump();
    let old: BTreeSet<&str> = before.lines().collect();
    let new: BTreeSet<&str> = after.lines().collect();
    assert!(old.is_subset(&new), "{before}\n{after}");
    let dave = hex(&town.dave.certificate);
    for line in new.difference(&old) {
        assert!(line.contains(&dave), "{line}");
    }
    assert_eq!(world.trust(), trust);
    // Nor does anything of it count for the next mail.
    let stamp = world.stamp(&signed(&town.strange_alice, &[]));
    assert!(stamp.contains("smime=policy"), "{stamp}");
    let bob = town.clear_signed(&town.bob, "bob@example.jp", "Hello.");
    let stamp = world.stamp(&bob);
    assert!(
        stamp.contains("smime=pass"),
        "a list of a mail was kept: {stamp}"
    );
}
