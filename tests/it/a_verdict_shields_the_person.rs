//! Mail signed with a card (made up, in the shape of a JPKI certificate) through Postfix: what arrives is
//! the gateway's signed word. OpenSSL and NSS accept it by the gateway's root alone, and nothing in it, or
//! in any answer, shows the card's certificate or what it says of its holder.

use std::process::Command;
use std::time::Duration;

use kenin_tests::client::{Client, Envelope};
use kenin_tests::forge::Town;
use kenin_tests::forge::card::{ATTRIBUTES, Holder, JSim, POLICY};
use kenin_tests::forge::certificates::{Person, pem};
use kenin_tests::forge::keys::Key;
use kenin_tests::forge::{cms, mime};
use kenin_tests::kenin::{Gateway, Setup, kenin};
use kenin_tests::ledger::behind_postfix;
use kenin_tests::nss::Nss;
use kenin_tests::openssl_mail::signed_part;
use kenin_tests::postfix::Postfix;
use kenin_tests::sink::{Received, Sink, split};
use kenin_tests::world::{Folder, free_address, wait_for};

const HANAKO: &str = "hanako@example.jp";

/// The trust of a site that takes card signatures.
fn trust_the_cards(gateway: &mut Gateway, jsim: &JSim, revoked: &[&[u8]]) {
    let folder = &gateway.folder;
    std::fs::write(folder.join("anchors/jsim.pem"), jsim.anchor_pem()).unwrap();
    std::fs::write(folder.join("crls/jsim.crl"), jsim.crl(revoked)).unwrap();
    let mut trust = std::fs::read_to_string(folder.join("trust.toml")).unwrap();
    trust.push_str(&format!(
        "\n[[anchor]]\nname = \"j-sim\"\nfile = \"anchors/jsim.pem\"\ndisclosure = \"verdict-only\"\n\
         profile = {{ certificate_policies = [\"{POLICY}\"], key_usage = [\"digital-signature\", \"non-repudiation\"], holder_attributes = \"{ATTRIBUTES}\" }}\n"
    ));
    std::fs::write(folder.join("trust.toml"), trust).unwrap();
    gateway.restart();
}

fn signed(form: &str, person: &Person, from: &str, body: &str) -> Vec<u8> {
    let part = mime::text(body);
    match form {
        "clear" => {
            let object = cms::detached(person, &[], &part);
            mime::clear_signed(&mime::headers(from), &part, &object)
        }
        _ => {
            let object = cms::opaque(person, &[], &part);
            mime::opaque(&mime::headers(from), "signed-data", &object)
        }
    }
}

/// A reader of the wrapped form, with the gateway's root and nothing else.
struct Reader {
    folder: Folder,
    nss: Nss,
}

impl Reader {
    fn of(gateway: &Gateway) -> Self {
        let folder = Folder::new();
        let root = std::fs::read(gateway.folder.join("wrap/authority.pem")).unwrap();
        std::fs::write(folder.join("root.pem"), &root).unwrap();
        let der = openssl::x509::X509::from_pem(&root)
            .unwrap()
            .to_der()
            .unwrap();
        Self {
            folder,
            nss: Nss::trusting(&[&der]),
        }
    }

    /// The signed part, once OpenSSL and NSS accept the mail and its From is the signer's address.
    fn accepts(&self, mail: &Received) -> Vec<u8> {
        let (file, signer) = (self.folder.join("mail"), self.folder.join("signer.pem"));
        std::fs::write(&file, &mail.raw).unwrap();
        let mut command = Command::new("openssl");
        command
            .args(["cms", "-verify", "-purpose", "smimesign", "-in"])
            .arg(&file);
        command.arg("-CAfile").arg(self.folder.join("root.pem"));
        let output = command.arg("-signer").arg(&signer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");

        let content = signed_part(&mail.raw).expect("clear-signed");
        assert_eq!(output.stdout, content);
        let object = self.folder.join("signature.der");
        let mut command = Command::new("openssl");
        command
            .args(["cms", "-cmsout", "-outform", "DER", "-in"])
            .arg(&file);
        assert!(command.arg("-out").arg(&object).status().unwrap().success());
        let object = std::fs::read(&object).unwrap();
        assert_eq!(self.nss.statuses(&object, &content), ["GoodSignature"]);
        let mut changed = content.clone();
        changed[40] ^= 1;
        assert_ne!(self.nss.statuses(&object, &changed), ["GoodSignature"]);

        let mut command = Command::new("openssl");
        let address = command
            .args(["x509", "-noout", "-email", "-in"])
            .arg(&signer);
        let address = String::from_utf8(address.output().unwrap().stdout).unwrap();
        let from = mail.fields("From").concat();
        assert!(
            from.ends_with(&format!("<{}>", address.trim())),
            "{from} {address}"
        );
        content
    }
}

/// Everything that base64 hides in some text, beside the text itself.
fn opened(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut layer = bytes.to_vec();
    for _ in 0..3 {
        let text = String::from_utf8_lossy(&layer).into_owned();
        let mut inside = Vec::new();
        let mut run = String::new();
        for line in text.lines().map(str::trim_end).chain([""]) {
            let encoded = line.len() > 3
                && line
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
            if encoded {
                run.push_str(line);
            } else {
                inside.extend(openssl::base64::decode_block(&run).unwrap_or_default());
                inside.push(b'\n');
                run.clear();
            }
        }
        out.extend_from_slice(&inside);
        layer = inside;
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Nothing of the card, in clear, in base64 or in hex.
fn shows_nothing_of(what: &str, seen: &[u8], card: &Person, holder: &Holder) {
    let seen = opened(seen);
    let certificate = openssl::x509::X509::from_der(&card.certificate).unwrap();
    let digest = openssl::sha::sha256(&card.certificate);
    let mut secrets: Vec<(&str, Vec<u8>)> = vec![
        ("certificate", card.certificate.clone()),
        ("public key", card.key.spki()),
        (
            "signature of the issuer",
            certificate.signature().as_slice().to_vec(),
        ),
        ("serial", card.serial.clone()),
        ("serial in hex", hex(&card.serial).into_bytes()),
        ("fingerprint", digest.to_vec()),
        ("fingerprint in hex", hex(&digest).into_bytes()),
        ("number of issue", b"20260401123456789012".to_vec()),
        ("authority", b"J-SIM".to_vec()),
    ];
    let attributes = holder.secrets();
    secrets.extend(attributes.map(|(name, text)| (name, text.as_bytes().to_vec())));
    for (name, secret) in secrets {
        let shown = seen.windows(secret.len()).any(|window| window == secret);
        assert!(!shown, "{what} shows the {name}");
    }
}

fn with_mail() -> Holder {
    Holder {
        mail: Some(HANAKO),
        ..Holder::HANAKO
    }
}

const TEXT: &str = "口座を開きます。 Please open an account.";

/// Sends a mail through Postfix and waits for what arrives.
fn through(postfix: &Postfix, gateway: &Gateway, sink: &Sink, raw: &[u8]) -> Received {
    sink.clear();
    let envelope = Envelope::new(HANAKO, "desk@bank.example").with("BODY=8BITMIME");
    let reply = Client::greeted(postfix.front).mail(&envelope, raw).unwrap();
    assert_eq!(reply.code, 250, "{}\n{}", reply.text(), gateway.log());
    sink.wait(1, Duration::from_secs(60)).remove(0)
}

/// What arrived is the gateway's word, and says what it should and nothing more.
fn assert_told(reader: &Reader, mail: &Received, card: &Person, holder: &Holder, pass: bool) {
    shows_nothing_of("the mail", &mail.raw, card, holder);
    let content = opened(&reader.accepts(mail));
    let text = String::from_utf8_lossy(&content).into_owned();
    let (words, result) = match pass {
        true => ("署名は有効です / Signature valid", "smime=pass"),
        false => (
            "受け入れ条件を満たしません / Signed, but not accepted",
            "smime=policy (not-accepted)",
        ),
    };
    assert!(text.contains(words) && text.contains(TEXT), "{text}");
    assert_eq!(mail.fields("Reply-To"), [HANAKO]);
    let stamp = mail.fields("Authentication-Results").concat();
    assert!(stamp.contains(result), "{stamp}");
}

#[test]
fn a_card_signature_arrives_as_the_gateways_word() {
    let jsim = JSim::new();
    let holder = with_mail();
    // One that names its holder's address, one as cards are, one that is revoked.
    let good = jsim.card(&holder, Key::rsa(2048));
    let bare = jsim.card(&Holder::HANAKO, Key::rsa(2048));
    let revoked = jsim.card(&holder, Key::rsa(2048));
    for mode in ["before-queue", "milter"] {
        let sink = Sink::start();
        let (postfix, mut gateway) = behind_postfix(&sink, mode, "");
        trust_the_cards(&mut gateway, &jsim, &[&revoked.serial]);
        let reader = Reader::of(&gateway);
        for form in ["clear", "opaque"] {
            for (card, pass) in [(&good, true), (&bare, false), (&revoked, false)] {
                let raw = signed(form, card, HANAKO, TEXT);
                let mail = through(&postfix, &gateway, &sink, &raw);
                assert_told(&reader, &mail, card, &holder, pass);
            }
        }
        // A card holds no address: somebody registers it, while the service runs.
        let file = gateway.folder.join("card.pem");
        std::fs::write(&file, pem("CERTIFICATE", &bare.certificate)).unwrap();
        let (file, config) = (
            file.display().to_string(),
            gateway.config().display().to_string(),
        );
        let raw = signed("clear", &bare, HANAKO, TEXT);
        for (verb, pass) in [("register", true), ("unregister", false)] {
            let fingerprint = hex(&openssl::sha::sha256(&bare.certificate));
            let which = if pass { &file } else { &fingerprint };
            let done = kenin(&[
                "cert",
                verb,
                "Hanako@example.jp",
                which,
                "--config",
                &config,
            ]);
            assert!(
                done.status.success(),
                "{}",
                String::from_utf8_lossy(&done.stderr)
            );
            let mail = through(&postfix, &gateway, &sink, &raw);
            assert_told(&reader, &mail, &bare, &holder, pass);
            // The command says what the service says.
            let eml = gateway.folder.join("card.eml");
            std::fs::write(&eml, &raw).unwrap();
            let said = kenin(&[
                "verify",
                "--config",
                &config,
                "--format",
                "jsonl",
                &eml.display().to_string(),
            ]);
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            let wanted = if pass {
                "\"result\":\"pass\""
            } else {
                "\"reason\":\"not-registered\""
            };
            assert!(said.contains(wanted), "{said}");
        }
        // What the log of the MTA says can be read by those who get the mail.
        shows_nothing_of("log", postfix.log().as_bytes(), &good, &holder);
    }
}

#[test]
fn a_strict_answer_says_no_more_than_the_wrapped_mail() {
    let jsim = JSim::new();
    let holder = with_mail();
    let sink = Sink::start();
    let mut gateway = Gateway::prepare(&Setup::new(sink.address).strict("bank.example"));
    let cards = [
        jsim.card(&holder, Key::rsa(2048)),
        jsim.card(&Holder::HANAKO, Key::rsa(2048)),
    ];
    trust_the_cards(&mut gateway, &jsim, &[&cards[0].serial]);
    for card in &cards {
        let raw = signed("clear", card, HANAKO, "hello");
        let reply = gateway.send(&Envelope::new(HANAKO, "desk@bank.example"), &raw);
        let text = reply.text();
        assert!(
            reply.code == 550 && text.contains("5.7.1") && text.contains("not-accepted"),
            "{text}"
        );
        shows_nothing_of("reply", text.as_bytes(), card, &holder);
    }
    // Cut off in the middle: it can be neither read nor told from its signature, and stays the sender's.
    let mut raw = signed("opaque", &cards[1], HANAKO, "hello");
    raw.truncate(raw.len() - 400);
    raw.extend_from_slice(b"\r\n");
    let reply = gateway.send(&Envelope::new(HANAKO, "desk@other.example"), &raw);
    assert!(
        reply.code == 550 && reply.text().contains("malformed"),
        "{}",
        reply.text()
    );
    assert_eq!(sink.count(), 0);
}

#[test]
fn without_a_certificate_of_its_own_the_gateway_still_shows_no_card() {
    let jsim = JSim::new();
    let holder = with_mail();
    let card = jsim.card(&holder, Key::rsa(2048));
    let sink = Sink::start();
    let mut gateway = Gateway::prepare(&Setup::new(sink.address));
    trust_the_cards(&mut gateway, &jsim, &[]);
    wait_for("the log", || gateway.log().contains("there is no [wrap]"));
    for (number, form) in ["clear", "opaque"].iter().enumerate() {
        let raw = signed(form, &card, HANAKO, "hello");
        let envelope = Envelope::new(HANAKO, "desk@bank.example").with("BODY=8BITMIME");
        assert_eq!(gateway.send(&envelope, &raw).code, 250);
        let mail = sink
            .wait(number + 1, Duration::from_secs(30))
            .remove(number);
        shows_nothing_of(form, &mail.raw, &card, &holder);
        assert_eq!(mail.fields("From"), [HANAKO]);
        assert!(
            mail.fields("Authentication-Results")
                .concat()
                .contains("smime=pass")
        );
        assert!(!mail.fields("Content-Type").concat().contains("pkcs7"));
        let signed_text = mime::text("hello");
        let body = split(&signed_text).1;
        assert_eq!(split(&mail.raw).1, body, "{form}");
    }
    let (_, metrics) = gateway.get("/metrics");
    assert!(
        metrics.contains("kenin_rewritten_total{how=\"released\"} 2"),
        "{metrics}"
    );
}

#[test]
fn a_rule_wraps_other_signed_mail_and_its_signature_still_holds_inside() {
    let town = Town::get();
    let sink = Sink::start();
    let dir = Folder::new();
    let made = kenin(&[
        "init",
        "wrap",
        "--dir",
        &dir.path().display().to_string(),
        "--address",
        "seal@gw.example.jp",
    ]);
    assert!(made.status.success());
    let mut gateway = Gateway::prepare(&Setup {
        mail: "[[rule]]\nwhen = { recipient_domain = \"people.example\" }\nthen = { stamp = \"wrap\" }\n".to_owned(),
        tables: format!(
            "[wrap]\ncertificate = \"{0}/wrap/certificate.pem\"\nkey = \"{0}/wrap/key.pem\"\nname = \"検印 Kenin\"\n",
            dir.path().display()
        ),
        ..Setup::new(sink.address)
    });
    gateway.restart();
    let raw = town.clear_signed(&town.alice, "alice@example.jp", "Pay 1000 yen.");
    let forged = String::from_utf8(raw.clone())
        .unwrap()
        .replace("1000", "9000")
        .into_bytes();
    let to = Envelope::new("alice@example.jp", "bob@people.example");
    for (number, (raw, words)) in [
        (&raw, "署名は有効です / Signature valid"),
        (&forged, "署名が無効です / Signature INVALID"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(gateway.send(&to, raw).code, 250);
        let mail = sink
            .wait(number + 1, Duration::from_secs(30))
            .remove(number);
        let seen = opened(&mail.raw);
        let text = String::from_utf8_lossy(&seen).into_owned();
        assert!(text.contains(words), "{text}");
        // The original is inside, to the octet.
        assert!(mail.raw.windows(raw.len()).any(|window| window == raw));
        let from = mail.fields("From").concat();
        assert!(from.ends_with("<seal@gw.example.jp>"), "{from}");
    }
    // Others, and unsigned mail, arrive as before.
    assert_eq!(
        gateway
            .send(
                &Envelope::new("alice@example.jp", "bob@other.example"),
                &raw
            )
            .code,
        250
    );
    let mail = sink.wait(3, Duration::from_secs(30)).remove(2);
    assert_eq!(split(&mail.raw).1, split(&raw).1);
    let plain = mime::plain(&mime::headers("x@example.jp"), "hello");
    assert_eq!(gateway.send(&to, &plain).code, 250);
    let mail = sink.wait(4, Duration::from_secs(30)).remove(3);
    assert_eq!(split(&mail.raw).1, split(&plain).1);
}

#[test]
fn a_rule_that_wraps_needs_something_to_sign_with() {
    let mut gateway = Gateway::prepare(&Setup {
        mail: "[[rule]]\nthen = { stamp = \"wrap\" }\n".to_owned(),
        ..Setup::new(free_address())
    });
    let config = gateway.config().display().to_string();
    let said = kenin(&["check", "--offline", "--config", &config]);
    assert_eq!(said.status.code(), Some(78));
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains("[wrap]") && said.contains("kenin init wrap"),
        "{said}"
    );
    assert!(gateway.try_restart_under(&[]).is_some(), "it started");
}
