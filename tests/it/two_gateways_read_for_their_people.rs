//! From gateway to gateway (RFC 3183): one encrypts for the certificate of the other's domain, and the other opens it for the
//! people of that domain to whom its key was granted. On the wire between them nothing can be read.

use kenin_tests::client::Envelope;
use kenin_tests::encryption::said;
use kenin_tests::forge::enveloped::{opens_to, reader, shows};
use kenin_tests::kenin::{Gateway, Setup, kenin};
use kenin_tests::opened::{import, keep, of, setup, traces, used, write_secrets};
use kenin_tests::proxy::Proxy;
use kenin_tests::sink::{Received, Sink};
use kenin_tests::world::wait_for;
use rustix::process::Signal;

const CANARY: &str = "the canary sings in the coal mine";
const SENDER: &str = "sender@own.example";
const EVE: &str = "eve@gateway.example";
const FRANK: &str = "frank@gateway.example";
const AUTHORITY: &str = "domain-confidentiality-authority@gateway.example";
/// Of the one that encrypts. The other says nowhere what it can read.
const RULES: &str = "[[rule]]\nwhen = { recipient_domain = \"gateway.example\" }\n\
    then = { encrypt = \"must\", certificates = \"domain\" }\n[protect]\nunknown = \"gcm\"\n";

fn mail(number: usize) -> Vec<u8> {
    format!(
        "From: Sender <{SENDER}>\r\nTo: {EVE}, {FRANK}\r\nSubject: {CANARY}\r\n\
         Date: Fri, 01 May 2026 12:00:00 +0000\r\nMessage-ID: <{number}@own.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nIt is said that {CANARY}.\r\n"
    )
    .into_bytes()
}

/// Sends a mail by way of both, and says what arrived.
fn arrived(first: &Gateway, sink: &Sink, to: &[&str], number: usize) -> Vec<Received> {
    sink.clear();
    let envelope = Envelope {
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        ..Envelope::new(SENDER, EVE)
    };
    let reply = first.send(&envelope, &mail(number));
    assert_eq!(reply.code, 250, "{}\n{}", reply.text(), first.log());
    sink.mails()
}

#[test]
fn what_one_encrypts_for_a_domain_the_other_opens_for_those_who_were_granted_its_key() {
    let sink = Sink::start();
    let authority = reader("Gateway", AUTHORITY);
    let mut second = Gateway::prepare(&setup(sink.address));
    write_secrets(&second);
    let id = import(&second, &authority, &[EVE]);
    second.restart();
    let wire = Proxy::listening(second.address);
    let mut first = Gateway::prepare(&Setup {
        mail: RULES.to_owned(),
        ..Setup::new(wire.address)
    });
    keep(&first, &authority);
    first.restart();

    let mails = arrived(&first, &sink, &[EVE, FRANK], 1);
    let eves = of(&mails, EVE);
    assert!(shows(&eves.raw, CANARY), "{}", second.log());
    assert_eq!(eves.fields("Subject"), [CANARY]);
    let stamp = ["opened; integrity=aead; sender=not-proven"];
    assert_eq!(eves.fields("X-Kenin-Decryption"), stamp);
    // Nobody has granted it to Frank, whatever his domain is: he has what came.
    let franks = of(&mails, FRANK);
    assert!(!shows(&franks.raw, CANARY));
    let inside = opens_to(&authority, &franks.raw).expect("it is for the domain's key");
    assert!(shows(&inside, CANARY));
    used(&second, 1);

    // From the next reload on he has it opened as well.
    let config = second.config().display().to_string();
    let granted = kenin(&["key", "addresses", "add", &id, FRANK, "--config", &config]);
    assert!(granted.status.success(), "{}", said(&granted));
    second.process().signal(Signal::HUP);
    let mut number = 1;
    wait_for("the key works for him", || {
        number += 1;
        let mails = arrived(&first, &sink, &[FRANK], number);
        shows(&of(&mails, FRANK).raw, CANARY)
    });

    let heard = wire.heard();
    let text = String::from_utf8_lossy(&heard);
    for recipient in [EVE, FRANK] {
        let line = format!("RCPT TO:<{recipient}>");
        assert!(text.contains(&line), "{text}");
    }
    assert!(text.contains("Subject: [...]\r\n"), "{text}");
    assert!(!shows(&heard, CANARY), "in clear on the wire");
    for gateway in [&first, &second] {
        assert_eq!(traces(gateway, CANARY), [""; 0]);
    }
}
