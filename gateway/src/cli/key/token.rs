//! `kenin key import --token`: a key that lies in a token gets its file in the folder. The token is not asked here, and
//! its module is not loaded: "kenin key doctor" does that.

use std::io::Write;

use kenin_certstore::{DEFAULT_TENANT, read_certificates};
use kenin_keys::{KeyFacts, KeyId, Reference, SealedKey, State, TokenUri};
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{KeyError, KeyKind, PublicKey, RejectionSecret};

use super::import::{NOT_A_RECIPIENT, addresses, of_certificates, own, uses, warn, would_retire};
use super::show::kind;
use super::{Folder, configured, say};
use crate::cli::arguments::KeyImport;
use crate::cli::aside::answer;
use crate::cli::paint::harmless;
use crate::config::Config;
use crate::exit::{Exit, Failure};

/// Takes the key in; where it replaces an older one, that is retired when it is there.
pub(super) fn import(
    config: &Config,
    options: &KeyImport,
    token: &str,
    old: Option<&SealedKey>,
) -> Result<Exit, Failure> {
    let reference = reference(config, options, token)?;
    let mut certificates = Vec::new();
    for file in &options.certificate {
        let read = read_certificates(file);
        certificates.extend(read.map_err(|error| Failure::new(Exit::Data, error.to_string()))?);
    }
    let public = the_key(&certificates)?;
    fit(&public, options)?;
    let own = own(&public, &certificates);
    let mut addresses = addresses(options, old)?;
    if addresses.is_empty() {
        addresses = of_certificates(&own);
    }
    if addresses.is_empty() {
        let what = "no mail address in the certificates: say --for ADDRESS";
        return Err(Failure::new(Exit::Usage, what));
    }
    let uses = uses(&public, &own, options)?;
    warn(&own, &addresses)?;
    let facts = KeyFacts {
        id: KeyId::random().map_err(ours)?,
        tenant: DEFAULT_TENANT.to_owned(),
        version: 1,
        state: match options.retired {
            true => State::Retired,
            false => State::Active,
        },
        uses,
        addresses,
        public,
        certificates,
    };
    let words = words(&facts, &reference);
    let opens = facts.uses.decrypt && facts.state == State::Active;
    if options.dry_run {
        say(&format!("would import {words}"))?;
        would_retire(old)?;
        return Ok(Exit::Ok);
    }
    let folder = Folder::create(config)?;
    add(&folder, facts, &reference, &words)?;
    if let Some(old) = old {
        let id = old.facts().id;
        folder.rewrite(id, |facts| facts.state = State::Retired)?;
        say(&format!("retired {id}"))?;
    }
    say("\"kenin key doctor\" tries it; the service goes by it after a reload")?;
    if opens {
        say(NOT_A_RECIPIENT)?;
    }
    Ok(Exit::Ok)
}

/// Where the key is: a configured token, and one thing in it.
fn reference(config: &Config, options: &KeyImport, token: &str) -> Result<Reference, Failure> {
    let keys = configured(config)?;
    if !keys.tokens.iter().any(|one| one.name == token) {
        let what = format!("no [[keys.token]] has the name {token:?}");
        return Err(Failure::new(Exit::Configuration, what));
    }
    let text = options.file.to_string_lossy();
    let wrong = |what: &str| {
        let what = format!("{}: {what}", harmless(&text));
        Failure::new(Exit::Usage, what)
    };
    let object = TokenUri::parse(&text).map_err(|error| wrong(&error.to_string()))?;
    if object.names_token() || !object.names_object() {
        return Err(wrong(
            "with --token it says which key in the token: pkcs11:id=%01, or pkcs11:object=LABEL",
        ));
    }
    Ok(Reference {
        token: token.to_owned(),
        object,
    })
}

/// The key that the certificates are of, leaving out those of authorities.
fn the_key(certificates: &[Certificate]) -> Result<PublicKey, Failure> {
    let of_people = certificates.iter().filter(|one| {
        let constraints = one.basic_constraints().ok().flatten();
        constraints.is_none_or(|constraints| !constraints.ca)
    });
    let mut keys: Vec<&PublicKey> = Vec::new();
    for key in of_people.map(Certificate::public_key) {
        if !keys.iter().any(|known| known.id() == key.id()) {
            keys.push(key);
        }
    }
    match keys.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let what =
                "which key is in the token its certificate says: name it with --certificate FILE";
            Err(Failure::new(Exit::Usage, what))
        }
        _ => {
            let what = "the certificates are of several keys; name those of the one in the token";
            Err(Failure::new(Exit::Data, what))
        }
    }
}

/// As with keys in files; and tokens are asked for two kinds.
fn fit(public: &PublicKey, options: &KeyImport) -> Result<(), Failure> {
    if !matches!(public.kind(), KeyKind::Rsa { .. } | KeyKind::Ec(_)) {
        let what = format!(
            "a key in a token is one of RSA, P-256, P-384 or P-521, not {}",
            kind(public)
        );
        return Err(Failure::new(Exit::Data, what));
    }
    match public.weakness() {
        Some(weakness) if !options.retired => {
            let what = format!(
                "the key is too weak: {weakness}. For old mail alone it may be taken in with --retired"
            );
            Err(Failure::new(Exit::Data, what))
        }
        Some(weakness) => {
            say(&format!(
                "the key is weak and opens old mail only: {weakness}"
            ))?;
            Ok(())
        }
        None => Ok(()),
    }
}

fn add(
    folder: &Folder<'_>,
    facts: KeyFacts,
    reference: &Reference,
    words: &str,
) -> Result<(), Failure> {
    let all = folder.all()?;
    let same = |sealed: &&SealedKey| sealed.facts().public.id() == facts.public.id();
    if let Some(known) = all.iter().find(same) {
        let id = known.facts().id;
        let what = format!(
            "the key is there already, as {id}; to give it another place, \"kenin key remove {id} --force\" first"
        );
        return Err(Failure::new(Exit::Data, what));
    }
    let mut unlocker = folder.unlocker()?;
    let kek = folder.kek(&mut unlocker)?;
    let id = facts.id;
    let rejection = RejectionSecret::random().map_err(ours)?;
    let sealed = SealedKey::seal_reference(facts, reference, &rejection, &kek);
    let sealed = sealed.map_err(|error| {
        let what = format!("{error}; {}", error.advice());
        Failure::new(Exit::Data, what)
    })?;
    folder.add(&sealed)?;
    say(&format!("imported {id}: {words}"))?;
    writeln!(answer(), "{id}")?;
    Ok(())
}

fn words(facts: &KeyFacts, reference: &Reference) -> String {
    let addresses: Vec<String> = facts.addresses.iter().map(ToString::to_string).collect();
    format!(
        "{} in the token {}, {}, for {}",
        kind(&facts.public),
        harmless(&reference.token),
        reference.object,
        harmless(&addresses.join(", "))
    )
}

fn ours(error: KeyError) -> Failure {
    Failure::new(Exit::Io, error.to_string())
}
