//! What the last look searches for beside the names that the configuration knows.

use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{KeyType, SoftKey};
use kenin_pki::der::{self, write};
use kenin_pki::issue::common_name;
use kenin_smime::SignerId;

use super::*;
use crate::testing::builder;

/// A scene whose configuration knows the root and nothing below it.
fn scene() -> Scene {
    let mut scene = Scene::new(Disclosure::VerdictOnly);
    let root = scene.world.root.certificate.subject().der().to_vec();
    scene.names = vec![&*root.leak()];
    scene.world.known.clear();
    scene
}

/// Somebody below the intermediate authority, by a name of their own.
fn holder(scene: &Scene, common: &str) -> Party {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let made = builder(common, &key).mail_signer(&[ALICE]);
    let middle = &scene.world.middle;
    let certificate = made.issued_by(&middle.certificate, &middle.key).unwrap();
    Party { key, certificate }
}

fn encoded(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    kenin_smime::push_base64(&mut out, bytes);
    String::from_utf8(out).unwrap()
}

/// Signs a text with an attachment, and brings a chain along.
fn signed(by: &Party, chain: &[Certificate], attached: &[u8]) -> Vec<u8> {
    let entity = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n\
         Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n--b--\r\n",
        encoded(attached)
    );
    let signer = Signer {
        chain,
        ..Signer::new(&by.key, &by.certificate)
    };
    let signed = signer.sign(entity.as_bytes(), Form::Clear).unwrap();
    let mail = format!("From: {ALICE}\r\nTo: bob@example.jp\r\nSubject: Hello\r\n");
    [mail.as_bytes(), &signed].concat()
}

fn attempt(scene: &Scene, mail: &[u8]) -> Result<Delivered, Reason> {
    let verdict = scene.world.verdict(mail);
    assert!(verdict.is_shielded());
    let context = scene.context(StampMode::Headers);
    deliver(mail, &verdict, &context, &Limits::default())
}

/// The authority between the root and the holders came with the mail and is known from nowhere else.
#[test]
fn a_certificate_of_an_authority_that_only_the_mail_knows_is_found() {
    let scene = scene();
    let (hanako, taro) = (holder(&scene, "Hanako"), holder(&scene, "Taro"));
    let chain = [scene.world.middle.certificate.clone()];
    let plain = signed(&hanako, &chain, b"no certificate");
    assert!(attempt(&scene, &plain).unwrap().wrapped);
    let mail = signed(&hanako, &chain, taro.certificate.der());
    assert_eq!(attempt(&scene, &mail), Err(Reason::NotAccepted));
}

/// Nobody knows who issued the certificate, so that no name of an authority is looked for.
#[test]
fn what_was_taken_out_is_found_wherever_else_it_stands() {
    let scene = scene();
    let hanako = holder(&scene, "Hanako");
    let certificate = &hanako.certificate;
    let mail = signed(&hanako, &[], b"hello");
    let facts = examine(&mail, &Limits::default(), &[]);
    let signer = &facts.signatures[0].signers[0];
    assert_eq!(
        signer.sid,
        SignerId::IssuerAndSerial {
            issuer: certificate.issuer().der().to_vec(),
            serial: certificate.serial().to_vec(),
        }
    );
    assert!(signer.value.len() > 60);
    let id = certificate.subject_key_id().unwrap().unwrap();
    let serial = write::element(der::INTEGER, certificate.serial());
    let identifier = write::seq(&[certificate.issuer().der(), serial.as_slice()]);
    let tagged = write::element(0x80, id);
    let delivered = attempt(&scene, &mail).unwrap();
    assert!(delivered.wrapped);
    for (what, trace) in [
        ("certificate", certificate.der()),
        ("subject", certificate.subject().der()),
        ("issuer and serial number", identifier.as_slice()),
        ("key identifier", tagged.as_slice()),
        ("key", certificate.spki()),
        ("fingerprint", certificate.sha256().as_slice()),
        ("signature", signer.value.as_slice()),
    ] {
        let hex: String = trace.iter().map(|byte| format!("{byte:02x}")).collect();
        for text in [hex, encoded(trace).trim_end().replace("\r\n", "\r\n ")] {
            // The header is not covered, and goes along.
            let more = [format!("X-More: {text}\r\n").as_bytes(), &mail].concat();
            let refused = attempt(&scene, &more);
            assert_eq!(refused, Err(Reason::NotAccepted), "{what} {text}");
        }
    }
    // What the holder writes of themselves is theirs to write.
    let named = [&b"X-More: Hanako\r\n"[..], &mail].concat();
    assert!(attempt(&scene, &named).is_ok());
}

/// The certificate of the wrapping leads to no anchor here, and stands in every mail that is wrapped.
#[test]
fn a_mail_that_was_wrapped_here_is_wrapped_again() {
    let scene = Scene::new(Disclosure::VerdictOnly);
    let mail = scene.world.person(ALICE).sign(ALICE, Form::Clear);
    let once = scene.delivered(&mail, StampMode::Headers);
    let (verdict, again) = scene.copy(&once, StampMode::Headers);
    assert!(verdict.is_shielded() && again.wrapped);
    assert!(scene.own.verdict(&applied(&once, &again)).is_pass());
    // The same by another gateway, which shows its own certificate only.
    let other = Scene::new(Disclosure::VerdictOnly);
    let context = StampContext {
        wrapper: Some(&other.wrapper),
        ..scene.context(StampMode::Headers)
    };
    let elsewhere = deliver(&once, &verdict, &context, &Limits::default()).unwrap();
    assert!(elsewhere.wrapped);
    let of_the_first = scene.wrapper.certificate().public_key().bits();
    let seen = opened(&applied(&once, &elsewhere));
    assert!(memchr::memmem::find(&seen, of_the_first).is_none());
}

#[test]
fn traces_are_of_shielded_signatures_only_and_in_no_json() {
    let open = Scene::new(Disclosure::Full);
    let alice = open.world.person(ALICE);
    let verdict = open.world.verdict(&alice.sign(ALICE, Form::Clear));
    assert!(verdict.signatures[0].traces.is_empty());
    let closed = scene();
    let hanako = holder(&closed, "Hanako");
    let verdict = closed.world.verdict(&signed(&hanako, &[], b"hello"));
    let traces = &verdict.signatures[0].traces;
    let root = common_name("Root").unwrap().der().to_vec();
    assert!(traces.contains(&root));
    assert!(traces.contains(&hanako.certificate.subject().der().to_vec()));
    assert!(!verdict.to_json("mail").contains("traces"));
}

/// Each body costs one look, however many recipients are treated differently.
#[test]
fn a_body_that_several_copies_share_is_looked_through_once() {
    let scene = Scene::new(Disclosure::VerdictOnly);
    let context = StampContext {
        tags: true,
        ..scene.context(StampMode::Headers)
    };
    let modes = [
        StampMode::Headers,
        StampMode::Subject(crate::subject::Language::Ja),
        StampMode::Wrap,
    ];
    let of = |end: &[u8]| {
        let header = format!("From: {ALICE}\r\nSubject: Hello\r\n\r\n");
        let lines = "a line that says nothing\r\n".repeat(12_000);
        [header.as_bytes(), lines.as_bytes(), end, b"\r\n"].concat()
    };
    let mail = of(b"");
    let verdict = scene.world.verdict(&mail);
    let copies = deliver_each(&mail, &verdict, &context, &modes, &Limits::default()).unwrap();
    assert_eq!(copies.len(), 3);
    let sizes = texts(&mail, &copies);
    let sizes = sizes
        .iter()
        .map(|text| text.iter().map(|piece| piece.len()).sum());
    let sizes: Vec<usize> = sizes.collect();
    assert_eq!(sizes[0], applied(&mail, &copies[0]).len());
    assert!(sizes[0] > mail.len() && sizes[1] < 70_000 && sizes[2] < 70_000);
    assert!(sizes[1] > BESIDE);
    // What stands in it is in all of them.
    let middle = scene.world.middle.certificate.der();
    let mail = of(encoded(middle).as_bytes());
    let verdict = scene.world.verdict(&mail);
    let refused = deliver_each(&mail, &verdict, &context, &modes, &Limits::default());
    assert_eq!(refused, Err(Reason::NotAccepted));
    let none = deliver_each(&mail, &verdict, &context, &[], &Limits::default());
    assert_eq!(none, Ok(Vec::new()));
}
