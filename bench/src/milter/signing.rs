//! `milter sign`: Kenin signs mail of somebody who has logged in, by S/MIME, beside a filter that does nothing but send
//! the body back. No program that is measured here does the same: what opendkim signs with is no S/MIME, and leaves the
//! body as it is.

use std::process::Command;
use std::sync::Arc;

use kenin_tests::forge::Town;
use kenin_tests::forge::certificates::pem;
use kenin_tests::kenin::Gateway;
use kenin_tests::openssl_mail::Workshop;
use kenin_tests::parts;
use kenin_tests::world::{Folder, run, write_secret};
use serde_json::{Value, json};

use super::client::{Address, Client, Expect, Parts, Said};
use crate::kenin::{Kenin, introduce};
use crate::load::{Open, Trouble};
use crate::process::Program;
use crate::{direct, mails};

/// Runs the measurement, prints the table and returns what `results/` keeps.
pub(crate) fn measure() -> Result<Value, Trouble> {
    introduce();
    let mail = mails::unsigned(10_000);
    println!(
        "one mail of {} bytes, to be signed in clear (RSA-2048, with an intermediate) for who wrote it and has logged in\n\
         every answer has a new Content-Type and a new body; before, openssl has verified one, and mail of somebody \
         else's login and of nobody's is not signed",
        mail.len()
    );
    let parts = Arc::new(Parts::of(&mail)?.of_login(LOGIN));
    let (folder, workshop) = (Folder::new(), Workshop::new(Town::get()));
    let workers = Kenin::signing(TABLES, take_in)?;
    let threads = Kenin::signing(&format!("{TABLES}[workers]\nisolate = false\n"), take_in)?;
    for kenin in [&workers, &threads] {
        for address in [kenin.unix(), kenin.tcp()] {
            check(&address, &mail, &workshop)?;
        }
    }
    let (noop, place) = noop(&folder)?;
    let mut lanes = [
        (KENIN, workers.tree(), workers.unix(), SIGNED),
        ("Kenin, TCP", workers.tree(), workers.tcp(), SIGNED),
        ("Kenin, threads", threads.tree(), threads.unix(), SIGNED),
        ("no-op, new body", noop.tree(), place, SENT_BACK),
    ]
    .map(|(name, tree, address, expect)| {
        direct::Lane::new(name, tree, opener(address, &parts, expect))
    });
    let alone = direct::measure(&mut lanes)?;
    println!();
    let kenin = lanes.iter().find(|lane| lane.name == KENIN);
    let cpu = kenin.map_or(f64::NAN, |lane| lane.cpu.median() * 1e3);
    let bars = [direct::bar(
        "milter sign, CPU a message",
        cpu,
        "ms",
        0.8,
        true,
    )];
    Ok(json!({ "bench": "milter sign", "bytes": mail.len(), "alone": alone, "bars": bars }))
}

/// Nobody's time counts before the gateway signs what it should, and nothing else.
fn check(address: &Address, mail: &[u8], workshop: &Workshop) -> Result<(), Trouble> {
    let parts = Arc::new(Parts::of(mail)?.of_login(LOGIN));
    let mut client = Client::open(address, parts, SIGNED)?;
    let said = client.show()?;
    // A milter's lines end in LF.
    let kind = said.value("Content-Type").unwrap_or_default();
    let kind = kind.replace('\n', "\r\n");
    let mut signed = format!("MIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n").into_bytes();
    signed.extend_from_slice(client.new_body());
    let content = workshop.verify(&signed, "signed");
    let content = content.map_err(|error| format!("{said:?}: openssl says {error}"))?;
    let (_, body) = kenin_tests::sink::split(mail);
    let (content, body) = (without_space(&content), without_space(body));
    if !is_signed(&said) || !content.windows(body.len()).any(|window| window == body) {
        return Err(format!("not what was to be signed: {said:?}").into());
    }
    let plain = Parts::of(mail)?;
    for parts in [Parts::of(mail)?.of_login("mallory"), plain] {
        let said = Client::open(address, Arc::new(parts), SIGNED)?.show()?;
        if is_signed(&said) || said.body > 0 || said.value("Content-Type").is_some() {
            return Err(format!("signed for who did not write it: {said:?}").into());
        }
    }
    Ok(())
}

/// The ends of lines are not openssl's to keep.
fn without_space(octets: &[u8]) -> Vec<u8> {
    let seen = octets.iter().filter(|octet| !octet.is_ascii_whitespace());
    seen.copied().collect()
}

/// Has the gateway sign for Alice, once it starts.
fn take_in(gateway: &Gateway) -> Result<(), Trouble> {
    let town = Town::get();
    write_secret(&gateway.folder.join("kek"), &[7; 32]);
    std::fs::write(gateway.folder.join("mail.toml"), RULES)?;
    let (key, own, chain) = (
        gateway.folder.join("alice.key"),
        gateway.folder.join("alice.pem"),
        gateway.folder.join("issuer.pem"),
    );
    write_secret(&key, &town.alice.key.pem());
    std::fs::write(&own, pem("CERTIFICATE", &town.alice.certificate))?;
    std::fs::write(&chain, pem("CERTIFICATE", &town.issuer.certificate))?;
    let mut command = Command::new(parts::kenin());
    command.args(["key", "import"]).arg(&key);
    for file in [&own, &chain] {
        command.arg("--certificate").arg(file);
    }
    command.arg("--config").arg(gateway.config());
    run(command.env_remove("KENIN_CONFIG"));
    Ok(())
}

fn noop(folder: &Folder) -> Result<(Program, Address), Trouble> {
    let place = folder.join("replace");
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["noop-milter", "replace"]).arg(&place);
    let address = Address::Unix(place);
    let mut program = Program::start(command, &folder.join("noop.log"));
    program.wait_until(|| address.answers())?;
    Ok((program, address))
}

fn opener(address: Address, parts: &Arc<Parts>, expect: Expect) -> Box<Open<'static>> {
    let parts = Arc::clone(parts);
    Box::new(move || {
        let parts = Arc::clone(&parts);
        Ok(Box::new(Client::open(&address, parts, expect)?))
    })
}

fn is_signed(said: &Said) -> bool {
    said.has("Content-Type:", "multipart/signed") && said.body > 10_000
}

fn is_sent_back(said: &Said) -> bool {
    said.has("X-Noop:", "seen") && said.body > 10_000
}

const SIGNED: Expect = is_signed;
const SENT_BACK: Expect = is_sent_back;
const KENIN: &str = "Kenin";
/// Alice's, in the domain of TABLES.
const LOGIN: &str = "alice";
const TABLES: &str = "[keys]\nkey_file = \"kek\"\n[senders]\nlogin_domain = \"example.jp\"\n";
const RULES: &str =
    "[[rule]]\nwhen = { sender_domain = \"example.jp\" }\nthen = { sign = \"clear\" }\n";
