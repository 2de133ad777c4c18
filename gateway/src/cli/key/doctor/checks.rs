//! What is looked at, one thing after the other. What rests on something that is bad is not reached.

use kenin_keys::{
    KeyFacts, KeyFault, KeyFolder, KeyId, KeyTraits, SealError, SealedKey, State as Life,
    TokenError, TokenKey, Tokens,
};
use kenin_pki::address::AddressCase;
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{
    KeyKind, SoftKey, Weakness, opens_what_its_public_half_protects, signs_for_its_public_half,
};
use kenin_pki::path::mail_signing_usage;

use super::{Kind, Means, Part, UnixTime};
use crate::config::{Keys, KeysError, Token};

/// A token: its module, itself, what it can do, its PIN.
pub(super) fn token(tokens: &Tokens, token: &Token) -> Part {
    let mut part = Part::new(Kind::Token, &token.name);
    let module = token.module.display().to_string();
    let seen = match tokens.see(&token.name) {
        Ok(seen) => seen,
        Err(error) => {
            if matches!(error, TokenError::Module { .. }) {
                part.token_error("module", &error);
                part.skipped("token");
            } else {
                part.good("module", module);
                part.token_error("token", &error);
            }
            part.skipped("mechanisms");
            part.skipped("pin");
            return part;
        }
    };
    part.good("module", module);
    part.good(
        "token",
        format!(
            "{} ({}, serial {}) in slot {}",
            seen.label, seen.model, seen.serial, seen.slot
        ),
    );
    let can = seen.mechanisms;
    let names = [
        (can.rsa_raw, "CKM_RSA_X_509"),
        (can.ecdh, "CKM_ECDH1_DERIVE"),
        (can.rsa_pkcs1, "CKM_RSA_PKCS"),
        (can.rsa_pss, "CKM_RSA_PKCS_PSS"),
        (can.ecdsa, "CKM_ECDSA"),
    ];
    let names: Vec<&str> = names
        .iter()
        .filter_map(|(can, name)| can.then_some(*name))
        .collect();
    if can.rsa_raw || can.ecdh {
        part.good("mechanisms", names.join(", "));
    } else {
        part.warning(
            "mechanisms",
            format!("it opens no mail; of what is needed it has {}", listed(&names)),
            "use it for keys that only sign, or another token: bare RSA (CKM_RSA_X_509) or CKM_ECDH1_DERIVE is needed",
        );
    }
    if token.pin.is_none() {
        part.warning(
            "pin",
            "no PIN is configured, and nobody logs in",
            "write pin_file or pin_credential, unless its keys work without one",
        );
        return part;
    }
    match tokens.try_pin(&token.name) {
        Ok(()) if seen.pin.wrong_before => part.warning(
            "pin",
            "it is right; before, a wrong one was given",
            "find out who tried: it may be a service with an old PIN",
        ),
        Ok(()) => part.good("pin", "it is right"),
        Err(error) => part.token_error("pin", &error),
    }
    part
}

/// Whether a token opens the secrets that it guards.
pub(super) fn guarded(part: &mut Part, keys: &Keys, (tokens, token): (&Tokens, &Token)) {
    for at in keys.secrets() {
        if at.guard() != Some(&token.name) {
            continue;
        }
        match at.read(tokens) {
            Ok(_) => part.good("secret", "it opens the key-encryption key"),
            Err(KeysError::Guarded { file, error }) => {
                let text = format!("{}: {error}", file.display());
                part.bad("secret", text, error.advice());
            }
            Err(error) => {
                let advice = "\"kenin key seal-secret\" makes it; one that was lost is in a backup";
                part.bad("secret", error.to_string(), advice);
            }
        }
    }
}

/// A key: its file, where it is, what it does, its certificates, for whom it works.
pub(super) fn key(
    folder: &KeyFolder,
    id: KeyId,
    (unlocker, tokens): Means<'_>,
    now: UnixTime,
) -> Part {
    let mut part = Part::new(Kind::Key, id.to_string());
    let sealed = match folder.read(id) {
        Ok(sealed) => sealed,
        Err(error) => {
            part.bad("file", error.to_string(), error.cause.advice());
            for name in PRIVATE.into_iter().chain(IN_CLEAR) {
                part.skipped(name);
            }
            return part;
        }
    };
    let facts = sealed.facts();
    part.addresses = facts.addresses.iter().map(ToString::to_string).collect();
    match sealed.check(unlocker) {
        Ok(()) => {
            part.good("file", format!("it opens, version {}", facts.version));
            private(&mut part, &sealed, (unlocker, tokens));
        }
        Err(error) => {
            part.bad("file", error.to_string(), error.advice());
            for name in PRIVATE {
                part.skipped(name);
            }
            // What it says of itself is nobody's word then.
            if matches!(error, SealError::Changed) {
                for name in IN_CLEAR {
                    part.skipped(name);
                }
                return part;
            }
        }
    }
    strength(&mut part, facts, facts.public.weakness());
    certificates(&mut part, facts, now);
    addresses(&mut part, facts);
    part
}

fn private(part: &mut Part, sealed: &SealedKey, (unlocker, tokens): Means<'_>) {
    let facts = sealed.facts();
    if !sealed.is_reference() {
        match sealed.open(unlocker) {
            Ok(key) => {
                part.good("place", "in its file");
                soft(part, facts, &key);
            }
            Err(error) => part.bad("place", error.to_string(), error.advice()),
        }
        return;
    }
    let found = match sealed.open_reference(unlocker) {
        Ok((reference, _)) => {
            let name = format!("{} in the token {:?}", reference.object, reference.token);
            let key = tokens.key(&reference, facts.public.clone());
            key.and_then(|key| Ok((key.traits()?, key, name)))
        }
        Err(error) => {
            part.bad("place", error.to_string(), error.advice());
            return;
        }
    };
    match found {
        Ok((traits, key, name)) => {
            place(part, facts, traits, &name);
            in_token(part, facts, &key);
        }
        Err(error) => {
            part.token_error("place", &error);
            part.skipped("signature");
            part.skipped("unwrap");
        }
    }
}

/// What the token says of a key. Where it does not say, the trial does.
fn place(part: &mut Part, facts: &KeyFacts, traits: KeyTraits, name: &str) {
    let opens = match facts.public.kind() {
        KeyKind::Rsa { .. } => ("CKA_DECRYPT", traits.decrypt),
        _ => ("CKA_DERIVE", traits.derive),
    };
    let needed = [
        (facts.uses.decrypt, opens),
        (facts.uses.sign, ("CKA_SIGN", traits.sign)),
    ];
    let missing = needed
        .iter()
        .find(|(needed, (_, may))| *needed && *may == Some(false));
    if traits.always_authenticate == Some(true) {
        part.bad(
            "place",
            format!("{name} wants its PIN before each use"),
            "use a key without CKA_ALWAYS_AUTHENTICATE: nobody is there to type the PIN",
        );
    } else if let Some((_, (attribute, _))) = missing {
        part.bad(
            "place",
            format!("{name} has no {attribute}"),
            "set the attribute with the token's tool, or make another key",
        );
    } else if traits.extractable == Some(true) {
        part.warning(
            "place",
            format!("{name} can be taken out of the token (CKA_EXTRACTABLE)"),
            "make the key in the token, so that it never was outside",
        );
    } else {
        part.good("place", name);
    }
}

fn in_token(part: &mut Part, facts: &KeyFacts, key: &TokenKey) {
    let tried =
        |part: &mut Part, name: &'static str, done: Result<(), KeyFault>, text: &str| match done {
            Ok(()) => part.good(name, text),
            Err(fault) => part.bad(name, fault.to_string(), fault.advice()),
        };
    if facts.may_sign() {
        tried(part, "signature", key.prove_signing(), SIGNED);
    }
    if facts.uses.decrypt {
        tried(part, "unwrap", key.prove_opening(), OPENED);
    }
}

fn soft(part: &mut Part, facts: &KeyFacts, key: &SoftKey) {
    let tried = |part: &mut Part, name: &'static str, done: bool, text: &str| match done {
        true => part.good(name, text),
        false => part.bad(
            name,
            "the halves of the key do not belong together",
            RESTORE,
        ),
    };
    if facts.may_sign() {
        tried(part, "signature", signs_for_its_public_half(key), SIGNED);
    }
    if facts.uses.decrypt {
        let opens = opens_what_its_public_half_protects(key);
        tried(part, "unwrap", opens, OPENED);
    }
}

/// A retired key opens old mail, also one that nobody should use any more.
fn strength(part: &mut Part, facts: &KeyFacts, weakness: Option<Weakness>) {
    let advice = "make a new key and have a certificate made for it";
    match (weakness, facts.state) {
        (None, _) => part.good("strength", "nothing known against it"),
        (Some(weakness), Life::Active) => part.bad("strength", weakness.to_string(), advice),
        (Some(weakness), Life::Retired) => {
            part.warning(
                "strength",
                weakness.to_string(),
                "keep it for old mail only",
            );
        }
    }
}

/// Whether one of its certificates is the key's own and counts now. One who opens old mail needs none that counts.
fn certificates(part: &mut Part, facts: &KeyFacts, now: UnixTime) {
    let mut own: Vec<&Certificate> = own(facts).collect();
    own.sort_by_key(|one| std::cmp::Reverse(one.not_after().ok()));
    let Some(newest) = own.first() else {
        let advice = "import the key again with its certificate";
        if facts.state == Life::Retired {
            part.warning("certificate", "it has none", advice);
        } else {
            part.bad(
                "certificate",
                "none of its certificates is of this key",
                advice,
            );
        }
        part.skipped("dates");
        return;
    };
    let signs = |one: &&Certificate| mail_signing_usage(one).is_ok();
    match facts.may_sign() && !own.iter().any(signs) {
        true => part.bad(
            "certificate",
            "none of its certificates is for signing mail: it signs nothing",
            "have a certificate made for signing mail and import it",
        ),
        false => part.good("certificate", newest.subject().to_string()),
    }
    let (Ok(begins), Ok(ends)) = (newest.not_before(), newest.not_after()) else {
        part.bad("dates", "they do not read", "have a new certificate made");
        return;
    };
    let text = format!("{begins} to {ends}");
    let left = ends.0.saturating_sub(now.0);
    if facts.state == Life::Retired {
        part.good(
            "dates",
            format!("{text}; it opens old mail, whatever the date"),
        );
    } else if now > ends {
        part.bad(
            "dates",
            format!("its certificate has ended ({text}): nobody encrypts for it, and what it signs is not believed"),
            "have a new certificate made and import it",
        );
    } else if now < begins {
        part.bad(
            "dates",
            format!("its certificate has not begun ({text})"),
            "wait, or see whether the clock is right",
        );
    } else if left < SOON {
        part.warning(
            "dates",
            format!("its certificate ends soon ({text})"),
            "have a new certificate made and import it",
        );
    } else {
        part.good("dates", text);
    }
}

/// Whether it works for somebody, and whether its certificates say so too.
fn addresses(part: &mut Part, facts: &KeyFacts) {
    if facts.addresses.is_empty() {
        part.bad(
            "addresses",
            "it works for nobody",
            "kenin key addresses add ID ADDRESS",
        );
        return;
    }
    let certified: Vec<_> = own(facts)
        .filter_map(|one| one.addresses().ok())
        .flatten()
        .collect();
    let others = facts.addresses.iter().filter(|address| {
        let same = |other| address.matches(other, AddressCase::Insensitive);
        !certified.iter().any(same)
    });
    let others: Vec<String> = others.map(ToString::to_string).collect();
    if others.is_empty() {
        let count = facts.addresses.len();
        part.good("addresses", format!("{count}, all in its certificates"));
        return;
    }
    part.warning(
        "addresses",
        format!("not in its certificates: {}", others.join(", ")),
        "see that they are the same person's: what is sent to them is opened with this key, and nothing is signed for them",
    );
}

/// The certificates of the key itself.
fn own(facts: &KeyFacts) -> impl Iterator<Item = &Certificate> {
    let certificates = facts.certificates.iter();
    certificates.filter(|one| one.public_key().bits() == facts.public.bits())
}

fn listed(names: &[&str]) -> String {
    match names.is_empty() {
        true => "nothing".to_owned(),
        false => names.join(", "),
    }
}

/// What is looked at with the private key.
const PRIVATE: [&str; 3] = ["place", "signature", "unwrap"];
/// What stands beside it.
const IN_CLEAR: [&str; 4] = ["strength", "certificate", "dates", "addresses"];
/// Seconds in which a certificate ends soon: 30 days.
const SOON: i64 = 30 * 86_400;
const SIGNED: &str = "made, and verified";
const OPENED: &str = "what was protected for it opens";
const RESTORE: &str = "restore the file from a backup";
