//! `kenin key import` and `rotate`: private keys of a file into the folder. What is wrong with a key or its certificates is
//! told before anything is written; the file that they come from stays as it is.

use std::io::{self, Write};
use std::path::Path;

use kenin_certstore::{DEFAULT_TENANT, read_certificates};
use kenin_keys::{Imported, KeyFacts, KeyId, SealedKey, State, Uses, belonging};
use kenin_pki::address::{Address, AddressCase};
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{KeyError, KeyKind, PublicKey, Weakness};
use kenin_pki::extension::KeyUsage;
use kenin_pki::oid;
use kenin_pki::path::mail_signing_usage;

use super::show::kind;
use super::{Folder, configured, say, token};
use crate::cli::arguments::{KeyImport, KeyUse};
use crate::cli::aside::answer;
use crate::cli::decrypt::address;
use crate::cli::engine::{failure, now};
use crate::cli::paint::harmless;
use crate::cli::private::private_keys;
use crate::config::Config;
use crate::exit::{Exit, Failure};

/// Takes the keys of the file in; where they replace an older one, that is retired when they are there.
pub(super) fn command(
    config: &Config,
    options: &KeyImport,
    old: Option<&SealedKey>,
) -> Result<Exit, Failure> {
    if let Some(token) = &options.token {
        return token::import(config, options, token, old);
    }
    configured(config)?;
    let found = private_keys(&options.file, options.password_file.as_deref())?;
    let mut beside = Vec::new();
    for file in &options.certificate {
        let read = read_certificates(file);
        beside.extend(read.map_err(|error| failure(&error))?);
    }
    let addresses = addresses(options, old)?;
    let mut news = Vec::new();
    for one in found {
        news.push(New::read(one, &beside, &addresses, options)?);
    }
    let is_old = |new: &New| old.is_some_and(|old| old.facts().public.id() == new.public.id());
    if news.iter().any(is_old) {
        let what =
            "it is the very key that is to be replaced; \"kenin key import\" adds certificates";
        return Err(told(&options.file, Exit::Data, what));
    }
    if old.is_some() {
        in_use(config, &news, &options.file)?;
    }
    if options.dry_run {
        for new in &news {
            say(&format!("would import {}", new.words()))?;
        }
        would_retire(old)?;
        return Ok(Exit::Ok);
    }
    let folder = Folder::create(config)?;
    for new in &news {
        take_in(&folder, new)?;
    }
    if let Some(old) = old {
        let id = old.facts().id;
        if news
            .iter()
            .any(|new| new.public.id() == old.facts().public.id())
        {
            let what = format!("{id} is this very key: it stays in use");
            return Err(Failure::new(Exit::Data, what));
        }
        folder.rewrite(id, |facts| facts.state = State::Retired)?;
        say(&format!("retired {id}"))?;
    }
    say("the service goes by it after a reload")?;
    let opens = |new: &New| new.uses.decrypt && new.state == State::Active;
    if news.iter().any(opens) {
        say(NOT_A_RECIPIENT)?;
    }
    if options.file.as_os_str() != "-" {
        let file = options.file.display();
        say(&format!(
            "{file} still holds the key: remove it, or keep it where nobody else comes to"
        ))?;
    }
    Ok(Exit::Ok)
}

/// What is said of a key that opens new mail: whom mail is encrypted for is looked up in store and directories, not here.
pub(super) const NOT_A_RECIPIENT: &str = "mail is encrypted for it (reencrypt, encrypt) only where its certificate \
                                          is in the store, too: \"kenin cert import\"";

/// What is said of a key that is to sign, and that nobody would believe.
const NOT_FOR_SIGNING: &str =
    "no certificate of it is for signing mail: it signs nothing until one is imported that is";

/// Says what would become of a key that is replaced.
pub(super) fn would_retire(old: Option<&SealedKey>) -> io::Result<()> {
    old.map_or(Ok(()), |old| {
        say(&format!("would retire {}", old.facts().id))
    })
}

/// The mail addresses that were said, or else those of the key that is replaced.
pub(super) fn addresses(
    options: &KeyImport,
    old: Option<&SealedKey>,
) -> Result<Vec<Address>, Failure> {
    let said = options.addresses.iter().map(|text| address(text));
    let said: Vec<Address> = said.collect::<Result<_, _>>()?;
    Ok(match old {
        Some(old) if said.is_empty() => old.facts().addresses.clone(),
        _ => said,
    })
}

/// A key that replaces another must not be one that was retired: nothing would sign any more.
fn in_use(config: &Config, news: &[New], file: &Path) -> Result<(), Failure> {
    for sealed in Folder::open(config)?.all()? {
        let facts = sealed.facts();
        let is_it = |new: &New| new.public.id() == facts.public.id();
        if facts.state == State::Retired && news.iter().any(is_it) {
            let id = facts.id;
            let what = format!(
                "it is the key {id}, which is retired and would sign nothing; to have it in use again, \"kenin key \
                 remove {id} --force\" first"
            );
            return Err(told(file, Exit::Data, &what));
        }
    }
    Ok(())
}

/// Seals a key into the folder; one that is there already gets what is new.
fn take_in(folder: &Folder<'_>, new: &New) -> Result<(), Failure> {
    let all = folder.all()?;
    let known = all
        .iter()
        .find(|sealed| sealed.facts().public.id() == new.public.id());
    let (id, verb, words) = match known {
        Some(sealed) => {
            let old = sealed.facts();
            let mut merged = old.clone();
            new.add_to(&mut merged);
            let verb = match merged == *old {
                true => "had already",
                false => {
                    folder.rewrite(old.id, |facts| new.add_to(facts))?;
                    "added to"
                }
            };
            stays(&merged, new.state)?;
            (old.id, verb, words(&merged))
        }
        None => {
            let mut unlocker = folder.unlocker()?;
            let kek = folder.kek(&mut unlocker)?;
            let mistake = |text: String| Failure::new(Exit::Data, text);
            let facts = new.facts().map_err(|error| mistake(error.to_string()))?;
            let (id, words) = (facts.id, words(&facts));
            let sealed = SealedKey::seal(facts, &new.imported.pkcs8, &kek);
            let sealed = sealed.map_err(|error| mistake(format!("{error}; {}", error.advice())))?;
            folder.add(&sealed)?;
            (id, "imported", words)
        }
    };
    say(&format!("{verb} {id}: {words}"))?;
    writeln!(answer(), "{id}")?;
    Ok(())
}

/// Says so where a key that is there already is another way retired, or in use, than it was imported.
fn stays(facts: &KeyFacts, wanted: State) -> io::Result<()> {
    let id = facts.id;
    match (facts.state, wanted) {
        (State::Retired, State::Active) => say(&format!(
            "{id} is retired and stays so: it opens old mail and signs nothing"
        )),
        (State::Active, State::Retired) => say(&format!(
            "{id} is in use and stays so: \"kenin key retire {id}\" changes that"
        )),
        _ => Ok(()),
    }
}

/// What a key is and does.
fn words(facts: &KeyFacts) -> String {
    in_words(&facts.public, facts.uses, facts.state, &facts.addresses)
}

fn in_words(public: &PublicKey, uses: Uses, state: State, addresses: &[Address]) -> String {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let mut does = Vec::new();
    if uses.decrypt {
        does.push("decrypts");
    }
    if uses.sign && state == State::Active {
        does.push("signs");
    }
    format!(
        "{}, {} for {}",
        kind(public),
        does.join(" and "),
        harmless(&addresses.join(", "))
    )
}

/// A key that is to be taken in.
struct New {
    imported: Imported,
    public: PublicKey,
    certificates: Vec<Certificate>,
    addresses: Vec<Address>,
    uses: Uses,
    state: State,
}

impl New {
    fn read(
        imported: Imported,
        beside: &[Certificate],
        addresses: &[Address],
        options: &KeyImport,
    ) -> Result<Self, Failure> {
        let file = &options.file;
        let public = imported.public.clone();
        fit(&imported, options)?;
        let certificates = match beside.is_empty() {
            true => imported.certificates.clone(),
            false => belonging(&public, beside),
        };
        let own = own(&public, &certificates);
        if own.is_empty() {
            let what = match beside.is_empty() {
                true => "it holds no certificate of the key; name it with --certificate FILE",
                false => "none of the certificates is of this key",
            };
            return Err(told(file, Exit::Data, what));
        }
        let addresses = match addresses.is_empty() {
            true => of_certificates(&own),
            false => addresses.to_vec(),
        };
        if addresses.is_empty() {
            let what = "no mail address in the certificates: say --for ADDRESS";
            return Err(told(file, Exit::Usage, what));
        }
        let uses = uses(&public, &own, options)?;
        warn(&own, &addresses)?;
        Ok(Self {
            imported,
            public,
            certificates,
            addresses,
            uses,
            state: match options.retired {
                true => State::Retired,
                false => State::Active,
            },
        })
    }

    fn facts(&self) -> Result<KeyFacts, KeyError> {
        Ok(KeyFacts {
            id: KeyId::random()?,
            tenant: DEFAULT_TENANT.to_owned(),
            version: 1,
            state: self.state,
            uses: self.uses,
            addresses: self.addresses.clone(),
            public: self.public.clone(),
            certificates: self.certificates.clone(),
        })
    }

    /// What a key that is there already did not have. Whether it is retired does not change by that.
    fn add_to(&self, facts: &mut KeyFacts) {
        for certificate in &self.certificates {
            if !facts.certificates.contains(certificate) {
                facts.certificates.push(certificate.clone());
            }
        }
        for one in &self.addresses {
            let is_it = |own: &Address| own.matches(one, AddressCase::Insensitive);
            if !facts.addresses.iter().any(is_it) {
                facts.addresses.push(one.clone());
            }
        }
        facts.uses.decrypt |= self.uses.decrypt;
        facts.uses.sign |= self.uses.sign;
    }

    fn words(&self) -> String {
        in_words(&self.public, self.uses, self.state, &self.addresses)
    }
}

/// Refuses what is too weak: nothing new is done with it, and some of it opens nothing either.
fn fit(imported: &Imported, options: &KeyImport) -> Result<(), Failure> {
    let Some(weakness) = imported.weakness else {
        return Ok(());
    };
    let useless = matches!(
        weakness,
        Weakness::Kind | Weakness::Halves | Weakness::Group | Weakness::Restriction
    );
    if useless {
        let what = format!("the key cannot be used: {weakness}");
        return Err(told(&options.file, Exit::Data, &what));
    }
    if !options.retired {
        let what = format!(
            "the key is too weak: {weakness}. For old mail alone it may be taken in with --retired"
        );
        return Err(told(&options.file, Exit::Data, &what));
    }
    say(&format!(
        "the key is weak and opens old mail only: {weakness}"
    ))?;
    Ok(())
}

/// The certificates of the key itself.
pub(super) fn own<'a>(public: &PublicKey, certificates: &'a [Certificate]) -> Vec<&'a Certificate> {
    let is_own = |one: &&Certificate| one.public_key().bits() == public.bits();
    certificates.iter().filter(is_own).collect()
}

/// The mail addresses in certificates, each once.
pub(super) fn of_certificates(own: &[&Certificate]) -> Vec<Address> {
    let mut found: Vec<Address> = Vec::new();
    for certificate in own {
        let mut named = certificate.addresses().unwrap_or_default();
        if named.is_empty() {
            named = certificate.subject_addresses();
        }
        for one in named {
            let is_it = |known: &Address| known.matches(&one, AddressCase::Insensitive);
            if !found.iter().any(is_it) {
                found.push(one);
            }
        }
    }
    found
}

/// What the key is for: what was said, or what its certificates allow.
pub(super) fn uses(
    public: &PublicKey,
    own: &[&Certificate],
    options: &KeyImport,
) -> Result<Uses, Failure> {
    let able = able(public);
    let opens = |one: &&Certificate| match one.key_usage() {
        Ok(Some(usage)) => usage.any(KeyUsage::KEY_ENCIPHERMENT | KeyUsage::KEY_AGREEMENT),
        Ok(None) => true,
        Err(_) => false,
    };
    let signs = own.iter().any(|one| mail_signing_usage(one).is_ok());
    let wanted = |one| options.uses.contains(&one);
    let uses = match options.uses.is_empty() {
        true => Uses {
            decrypt: able.decrypt && own.iter().any(opens),
            sign: able.sign && signs,
        },
        false => Uses {
            decrypt: wanted(KeyUse::Decrypt),
            sign: wanted(KeyUse::Sign),
        },
    };
    let what = match uses {
        Uses { decrypt: true, .. } if !able.decrypt => "a key of this kind decrypts nothing",
        Uses { sign: true, .. } if !able.sign => "a key of this kind signs nothing",
        Uses {
            decrypt: false,
            sign: false,
        } => "its certificates allow neither decryption nor signatures; say --use",
        _ => {
            if uses.sign && !signs {
                say(NOT_FOR_SIGNING)?;
            }
            return Ok(uses);
        }
    };
    Err(told(&options.file, Exit::Data, what))
}

/// What a key of its kind can do.
fn able(public: &PublicKey) -> Uses {
    let only = public.algorithm();
    match public.kind() {
        KeyKind::Rsa { .. } => Uses {
            decrypt: only != oid::RSASSA_PSS,
            sign: only != oid::RSAES_OAEP,
        },
        KeyKind::Ec(_) => Uses {
            decrypt: true,
            sign: true,
        },
        KeyKind::X25519 | KeyKind::MlKem(_) => Uses {
            decrypt: true,
            sign: false,
        },
        KeyKind::Ed25519 | KeyKind::MlDsa(_) => Uses {
            decrypt: false,
            sign: true,
        },
        KeyKind::Dsa { .. } | KeyKind::Unsupported(_) => Uses {
            decrypt: false,
            sign: false,
        },
    }
}

/// What may be meant, and may be a mistake.
pub(super) fn warn(own: &[&Certificate], addresses: &[Address]) -> Result<(), Failure> {
    let named = of_certificates(own);
    for one in addresses {
        let is_it = |known: &Address| known.matches(one, AddressCase::Insensitive);
        if !named.iter().any(is_it) {
            let who = harmless(&one.to_string());
            say(&format!(
                "{who} does not stand in the certificates: mail to it is opened all the same, and none is signed for it"
            ))?;
        }
    }
    let now = now();
    let lasts = |one: &&Certificate| one.not_after().is_ok_and(|end| end >= now);
    if !own.iter().any(lasts) {
        say("its certificates have ended: it is good for old mail (--retired)")?;
    }
    Ok(())
}

fn told(path: &Path, exit: Exit, what: &str) -> Failure {
    Failure::new(exit, format!("{}: {what}", path.display()))
}
