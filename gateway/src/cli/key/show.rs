//! What is shown of keys: all that stands beside the private half, and nothing of that.

use std::io::Write;

use kenin_keys::{KeyFacts, SealedKey, State};
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{Curve, KeyKind, MlKem, PublicKey};
use kenin_pki::time::UnixTime;
use serde_json::{Value, json};

use crate::cli::arguments::Format;
use crate::cli::aside::answer;
use crate::cli::paint::harmless;
use crate::exit::Failure;

/// All of them, shortly.
pub(super) fn list(all: &[SealedKey], format: Format) -> Result<(), Failure> {
    let mut out = answer();
    match format {
        Format::Text => {
            for sealed in all {
                out.write_all(text_of(sealed.facts()).as_bytes())?;
            }
        }
        Format::Json => {
            let all: Vec<Value> = all.iter().map(json_of).collect();
            writeln!(out, "{}", Value::Array(all))?;
        }
        Format::Jsonl => {
            for sealed in all {
                writeln!(out, "{}", json_of(sealed))?;
            }
        }
    }
    Ok(())
}

/// One of them, and why it does not open.
pub(super) fn one(
    sealed: &SealedKey,
    trouble: Option<&str>,
    format: Format,
) -> Result<(), Failure> {
    let mut out = answer();
    if format != Format::Text {
        let mut value = json_of(sealed);
        if let Some(fields) = value.as_object_mut() {
            fields.insert("opens".to_owned(), trouble.is_none().into());
            fields.insert("error".to_owned(), trouble.into());
        }
        writeln!(out, "{value}")?;
        return Ok(());
    }
    let facts = sealed.facts();
    let mut text = text_of(facts);
    text.push_str(&format!("  tenant       {}\n", harmless(&facts.tenant)));
    text.push_str(&format!("  version      {}\n", facts.version));
    text.push_str(&format!("  sealed under {}\n", sealed.kek()));
    if sealed.is_reference() {
        text.push_str("  place        in a token\n");
    }
    let opens = match trouble {
        None => "yes".to_owned(),
        Some(why) => format!("no: {}", harmless(why)),
    };
    text.push_str(&format!("  opens        {opens}\n"));
    out.write_all(text.as_bytes())?;
    Ok(())
}

fn text_of(facts: &KeyFacts) -> String {
    let mut text = format!(
        "{}\n  key          {}, {}\n  uses         {}\n",
        facts.id,
        kind(&facts.public),
        state(facts),
        uses(facts).join(", "),
    );
    for address in &facts.addresses {
        text.push_str(&format!(
            "  for          {}\n",
            harmless(&address.to_string())
        ));
    }
    for certificate in own(facts) {
        text.push_str(&format!(
            "  certificate  {}, {} to {}\n",
            harmless(&certificate.subject().to_string()),
            time(certificate.not_before().ok()),
            time(certificate.not_after().ok()),
        ));
    }
    text
}

fn json_of(sealed: &SealedKey) -> Value {
    let facts = sealed.facts();
    let certificates: Vec<Value> = own(facts)
        .map(|certificate| {
            json!({
                "sha256": hex(certificate.sha256()),
                "subject": certificate.subject().to_string(),
                "issuer": certificate.issuer().to_string(),
                "serial": certificate.serial_hex(),
                "not_before": certificate.not_before().ok().map(|time| time.to_string()),
                "not_after": certificate.not_after().ok().map(|time| time.to_string()),
            })
        })
        .collect();
    let addresses: Vec<String> = facts.addresses.iter().map(ToString::to_string).collect();
    json!({
        "id": facts.id.to_string(),
        "tenant": facts.tenant,
        "version": facts.version,
        "state": state(facts),
        "uses": uses(facts),
        "addresses": addresses,
        "key": kind(&facts.public),
        "public_key_sha256": hex(facts.public.id().as_ref()),
        "certificates": certificates,
        "sealed_under": sealed.kek().to_string(),
        "in_token": sealed.is_reference(),
    })
}

/// The certificates of the key itself.
fn own(facts: &KeyFacts) -> impl Iterator<Item = &Certificate> {
    let certificates = facts.certificates.iter();
    certificates.filter(move |one| one.public_key().bits() == facts.public.bits())
}

const fn state(facts: &KeyFacts) -> &'static str {
    match facts.state {
        State::Active => "active",
        State::Retired => "retired",
    }
}

/// What it does: a retired one signs nothing, whatever it was for.
fn uses(facts: &KeyFacts) -> Vec<&'static str> {
    let mut uses = Vec::new();
    if facts.uses.decrypt {
        uses.push("decrypt");
    }
    if facts.may_sign() {
        uses.push("sign");
    }
    uses
}

/// What kind of key it is: `rsa-2048`, `p256`.
pub(super) fn kind(public: &PublicKey) -> String {
    match public.kind() {
        KeyKind::Rsa { bits } => format!("rsa-{bits}"),
        KeyKind::Ec(Curve::P256) => "p256".to_owned(),
        KeyKind::Ec(Curve::P384) => "p384".to_owned(),
        KeyKind::Ec(Curve::P521) => "p521".to_owned(),
        KeyKind::Dsa { .. } => "dsa".to_owned(),
        KeyKind::Ed25519 => "ed25519".to_owned(),
        KeyKind::X25519 => "x25519".to_owned(),
        KeyKind::MlKem(MlKem::Kem512) => "ml-kem-512".to_owned(),
        KeyKind::MlKem(MlKem::Kem768) => "ml-kem-768".to_owned(),
        KeyKind::MlKem(MlKem::Kem1024) => "ml-kem-1024".to_owned(),
        KeyKind::MlDsa(set) => set.name().to_owned(),
        KeyKind::Unsupported(oid) => oid.to_string(),
    }
}

fn time(time: Option<UnixTime>) -> String {
    time.map_or_else(|| "?".to_owned(), |time| time.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
