//! `kenin key`: the private keys in the folder of `[keys]`. They go in and are worked with; nothing here gives one away,
//! and there is no verb that could.

use std::cell::OnceCell;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kenin_keys::{
    Changes, FolderCause, FolderError, Kek, KeyFacts, KeyFolder, KeyId, SealError, SealedKey,
    State, Tokens, Unlocker, WorkFactor,
};
use kenin_pki::address::{Address, AddressCase};

use super::arguments::{AddressesCommand, KeyAddresses, KeyCommand};
use super::aside::aside;
use super::decrypt::address;
use super::private::Holder;
use crate::config::{Config, Keys, KeysError};
use crate::exit::{Exit, Failure};

mod doctor;
mod guard;
mod import;
mod show;
mod token;

/// Runs the verb.
pub(super) fn command(config: &[PathBuf], verb: &KeyCommand) -> Result<Exit, Failure> {
    let config = super::load_config(config)?;
    match verb {
        KeyCommand::Import(options) => import::command(&config, options, None),
        KeyCommand::Rotate { new, .. } if new.retired => {
            let what = "--retired: the new key would sign nothing, as the older one; leave it out";
            Err(Failure::new(Exit::Usage, what))
        }
        KeyCommand::Rotate { old, new } => {
            let old = Folder::open(&config)?.one(old)?;
            import::command(&config, new, Some(&old))
        }
        KeyCommand::List {
            address: of,
            format,
        } => {
            let of = of.as_deref().map(address).transpose()?;
            let (mut all, mut unread) = (Vec::new(), None);
            for one in Folder::open(&config)?.each()? {
                match one {
                    Ok(sealed) => all.push(sealed),
                    Err(failure) => {
                        // The last one is told at the end, with the exit code.
                        if let Some(before) = unread.replace(failure) {
                            say(&format!("kenin: {before}"))?;
                        }
                    }
                }
            }
            if let Some(of) = &of {
                all.retain(|sealed| works_for(sealed.facts(), of));
            }
            show::list(&all, *format)?;
            if let Some(failure) = unread {
                return Err(failure);
            }
            Ok(match of.is_some() && all.is_empty() {
                true => Exit::Negative,
                false => Exit::Ok,
            })
        }
        KeyCommand::Show { id, format } => {
            let folder = Folder::open(&config)?;
            let sealed = folder.one(id)?;
            let trouble = folder.trouble(&sealed);
            show::one(&sealed, trouble.as_deref(), *format)?;
            Ok(match trouble {
                None => Exit::Ok,
                Some(_) => Exit::Negative,
            })
        }
        KeyCommand::Retire { id, dry_run } => {
            let folder = Folder::to_change(&config)?;
            let sealed = folder.one(id)?;
            if sealed.facts().state == State::Retired {
                say(&format!("{} is retired already", sealed.facts().id))?;
                return Ok(Exit::Ok);
            }
            let id = sealed.facts().id;
            if !dry_run {
                folder.rewrite(id, |facts| facts.state = State::Retired)?;
            }
            done("retired", "retire", *dry_run, &id.to_string())
        }
        KeyCommand::Doctor { ids, format } => doctor::command(&config, ids, *format),
        KeyCommand::Rekey { dry_run } => rekey(&config, *dry_run),
        KeyCommand::SealSecret { dry_run } => guard::command(&config, *dry_run),
        KeyCommand::Addresses { command } => addresses(&config, command),
        KeyCommand::Remove { id, force, dry_run } => remove(&config, id, *force, *dry_run),
    }
}

/// The folder of keys. The secrets that open them are read when one has to be opened.
pub(super) struct Folder<'a> {
    config: &'a Config,
    keys: &'a Keys,
    folder: KeyFolder,
    /// What guards the secrets, from when it was first asked: a PIN is tried once.
    guards: OnceCell<Tokens>,
}

impl<'a> Folder<'a> {
    /// The folder of `[keys]`, which must be there.
    pub(super) fn open(config: &'a Config) -> Result<Self, Failure> {
        let keys = configured(config)?;
        let folder = keys.open_folder().map_err(|error| match &error.cause {
            FolderCause::Io(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let folder = keys.folder.display();
                let what = format!("{folder}: is not there: no key was imported yet");
                Failure::new(Exit::NoInput, what)
            }
            _ => failed(&error),
        })?;
        Ok(Self {
            config,
            keys,
            folder,
            guards: OnceCell::new(),
        })
    }

    /// The same for who changes something, who must be the one whose keys they are.
    fn to_change(config: &'a Config) -> Result<Self, Failure> {
        let opened = Self::open(config)?;
        let metadata = std::fs::metadata(&opened.keys.folder);
        let owner = metadata
            .map_err(|error| Failure::file(&opened.keys.folder, &error))?
            .uid();
        // What another writes the service could not read any more.
        if is_not_ours(owner) {
            return Err(not_theirs(&opened.keys.folder, owner));
        }
        Ok(opened)
    }

    /// Makes the folder where it is not there.
    fn create(config: &'a Config) -> Result<Self, Failure> {
        let keys = configured(config)?;
        // The service could not look into what root makes for it.
        if !keys.folder.exists()
            && let Some(around) = keys.folder.parent()
            && let Ok(metadata) = std::fs::metadata(around)
            && metadata.uid() != 0
            && is_not_ours(metadata.uid())
        {
            return Err(not_theirs(around, metadata.uid()));
        }
        crate::snapshot::make_folders(config).map_err(|text| Failure::new(Exit::Io, text))?;
        KeyFolder::create(&keys.folder).map_err(|error| failed(&error))?;
        Self::to_change(config)
    }

    /// What opens the keys.
    fn unlocker(&self) -> Result<Unlocker, Failure> {
        let unlocker = self.guards().and_then(|guards| self.keys.unlocker(guards));
        unlocker.map_err(|error| mistaken(self.config, self.keys, &error))
    }

    fn guards(&self) -> Result<&Tokens, KeysError> {
        if let Some(guards) = self.guards.get() {
            return Ok(guards);
        }
        let started = self.keys.guards()?;
        Ok(self.guards.get_or_init(|| started))
    }

    /// Why a key does not open.
    fn trouble(&self, sealed: &SealedKey) -> Option<String> {
        match self.unlocker() {
            Ok(mut unlocker) => {
                let error = sealed.check(&mut unlocker).err()?;
                Some(format!("{error}; {}", error.advice()))
            }
            // Its first line says it; the others show the place in the file.
            Err(failure) => failure.message.lines().next().map(str::to_owned),
        }
    }

    /// All keys, sealed.
    fn all(&self) -> Result<Vec<SealedKey>, Failure> {
        self.each()?.into_iter().collect()
    }

    /// The same, with what is wrong with those that cannot be read.
    fn each(&self) -> Result<Vec<Result<SealedKey, Failure>>, Failure> {
        let ids = self.folder.ids().map_err(|error| failed(&error))?;
        let read = |id| self.folder.read(id).map_err(|error| failed(&error));
        Ok(ids.into_iter().map(read).collect())
    }

    /// The one key whose id begins like this.
    fn one(&self, beginning: &str) -> Result<SealedKey, Failure> {
        let id = self.id(beginning)?;
        self.folder.read(id).map_err(|error| failed(&error))
    }

    /// The one id that begins like this, whether its file can be read or not.
    fn id(&self, beginning: &str) -> Result<KeyId, Failure> {
        let beginning = beginning.to_ascii_lowercase();
        let digits = beginning.bytes().all(|byte| byte.is_ascii_hexdigit());
        if beginning.len() < SHORTEST || !digits {
            let what = format!(
                "\"{beginning}\" is no id of a key: {SHORTEST} or more hexadecimal digits from its \
                 beginning, as \"kenin key list\" shows it"
            );
            return Err(Failure::new(Exit::Usage, what));
        }
        let ids = self.folder.ids().map_err(|error| failed(&error))?;
        let mut found = ids
            .into_iter()
            .filter(|id| id.to_string().starts_with(&beginning));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id),
            (None, _) => {
                let what = format!("no key in the folder begins with {beginning}");
                Err(Failure::new(Exit::Data, what))
            }
            _ => {
                let what = format!("several keys begin with {beginning}; write more of it");
                Err(Failure::new(Exit::Data, what))
            }
        }
    }

    /// Whether there is a key that is wanted. None is opened for it.
    pub(super) fn has(&self, wanted: impl Fn(&KeyFacts) -> bool) -> Result<bool, Failure> {
        let all = self.each()?;
        Ok(all.iter().flatten().any(|sealed| wanted(sealed.facts())))
    }

    /// Whether one that is wanted lies in a token, where the service alone works with it.
    pub(super) fn has_in_token(&self, wanted: impl Fn(&KeyFacts) -> bool) -> Result<bool, Failure> {
        let mut all = self.each()?.into_iter().flatten();
        Ok(all.any(|sealed| sealed.is_reference() && wanted(sealed.facts())))
    }

    /// The keys that are wanted, opened, with their certificates. One without a certificate is nobody's recipient. What is
    /// wrong with a file is said: it keeps nobody from what the others do.
    pub(super) fn holders(
        &self,
        wanted: impl Fn(&KeyFacts) -> bool,
    ) -> Result<Vec<Holder>, Failure> {
        let mut unlocker = self.unlocker()?;
        let mut holders = Vec::new();
        for one in self.each()? {
            let sealed = match one {
                Ok(sealed) => sealed,
                Err(failure) => {
                    say(&format!("kenin: passed over: {failure}"))?;
                    continue;
                }
            };
            let facts = sealed.facts();
            // Keys in tokens work for the service alone, and for the doctor.
            if !wanted(facts) || sealed.is_reference() {
                continue;
            }
            let wrong = |error: SealError| {
                let what = format!("key {}: {error}; {}", facts.id, error.advice());
                Failure::new(exit_of(&error), what)
            };
            let key = match sealed.open(&mut unlocker).map_err(wrong) {
                Err(failure) if failure.exit == Exit::Data => {
                    say(&format!("kenin: passed over: {failure}"))?;
                    continue;
                }
                opened => opened?,
            };
            let holder = Holder::new(key, &facts.certificates);
            holders.extend(holder.map_err(|error| Failure::new(Exit::Data, error.to_string()))?);
        }
        Ok(holders)
    }

    /// What new keys are sealed under. Where it does not open those that are there, somebody has the wrong secret, and
    /// the folder would be sealed under two.
    fn kek(&self, unlocker: &mut Unlocker) -> Result<Kek, Failure> {
        let mut seen = Vec::new();
        for sealed in self.all()? {
            if seen.contains(&sealed.kek()) {
                continue;
            }
            seen.push(sealed.kek());
            let opened = sealed.check(unlocker);
            if let Err(error @ (SealError::WrongPassphrase(_) | SealError::UnknownKek(_))) = opened
            {
                let id = sealed.facts().id;
                let what = format!(
                    "key {id}, which is there already: {error}; is it the right {} in [keys]? The old one may stand under \
                     `previous`",
                    self.keys.seal.key()
                );
                return Err(Failure::new(Exit::Configuration, what));
            }
        }
        let secret = self.guards().and_then(|guards| self.keys.seal.read(guards));
        let secret = secret.map_err(|error| mistaken(self.config, self.keys, &error))?;
        let kek = self.folder.kek(&secret, WorkFactor::RECOMMENDED);
        kek.map_err(|error| failed(&error))
    }

    fn changes(&self) -> Result<Changes<'_>, Failure> {
        self.folder.change().map_err(|error| failed(&error))
    }

    /// Puts a new key in. Another command may have put the same one in since the folder was looked at, while a passphrase was
    /// made into a key: there would be two files of it, and to retire or remove one would change nothing.
    fn add(&self, sealed: &SealedKey) -> Result<(), Failure> {
        let changes = self.changes()?;
        let public = sealed.facts().public.id();
        let is_it = |one: &SealedKey| one.facts().public.id() == public;
        if self.all()?.iter().any(is_it) {
            let what = "another command has just imported the same key; try again";
            return Err(Failure::new(Exit::Temporary, what));
        }
        changes.add(sealed).map_err(|error| failed(&error))
    }

    /// Changes what is said of a key.
    fn rewrite(&self, id: KeyId, change: impl FnOnce(&mut KeyFacts)) -> Result<(), Failure> {
        let mut unlocker = self.unlocker()?;
        let kek = self.kek(&mut unlocker)?;
        let written = self.changes()?.rewrite(id, (&mut unlocker, &kek), change);
        written.map_err(|error| failed(&error))
    }
}

fn rekey(config: &Config, dry_run: bool) -> Result<Exit, Failure> {
    let folder = Folder::to_change(config)?;
    let mut unlocker = folder.unlocker()?;
    let kek = folder.kek(&mut unlocker)?;
    let all = folder.all()?;
    let old = all.iter().filter(|sealed| sealed.kek() != kek.id()).count();
    if old == 0 {
        say("every key is sealed under it already")?;
        return Ok(Exit::Ok);
    }
    if !dry_run {
        let sealed = folder.changes()?.reseal(&mut unlocker, &kek);
        sealed.map_err(|error| failed(&error))?;
    }
    let verb = match dry_run {
        true => "would seal",
        false => "sealed",
    };
    say(&format!("{verb} {old} key(s) anew"))?;
    if !dry_run && folder.keys.previous.is_some() {
        say("`previous` may be taken out of [keys] now; copies of the folder still need it")?;
    }
    Ok(Exit::Ok)
}

fn addresses(config: &Config, command: &AddressesCommand) -> Result<Exit, Failure> {
    let (options, add) = match command {
        AddressesCommand::Add(options) => (options, true),
        AddressesCommand::Remove(options) => (options, false),
    };
    let KeyAddresses {
        id,
        addresses,
        dry_run,
    } = options;
    let named: Vec<Address> = addresses
        .iter()
        .map(|text| address(text))
        .collect::<Result<_, _>>()?;
    let folder = Folder::to_change(config)?;
    let sealed = folder.one(id)?;
    let facts = sealed.facts();
    let change = |of: &[Address]| changed(of, &named, add);
    let wanted = change(&facts.addresses);
    let id = facts.id;
    let count = wanted.len().abs_diff(facts.addresses.len());
    if count == 0 {
        say(&format!("nothing to change at {id}"))?;
        return Ok(Exit::Ok);
    }
    if wanted.is_empty() {
        say(&format!("{id} works for nobody then"))?;
    }
    if !dry_run {
        // Another command may have changed them since they were read: what is written is made of what is there then.
        folder.rewrite(id, |facts| facts.addresses = change(&facts.addresses))?;
    }
    let what = format!("{count} address(es) of {id}");
    match add {
        true => done("added", "add", *dry_run, &what),
        false => done("removed", "remove", *dry_run, &what),
    }
}

/// The addresses with those that are named, or without them.
fn changed(addresses: &[Address], named: &[Address], add: bool) -> Vec<Address> {
    let mut wanted = addresses.to_vec();
    for one in named {
        let is_it = |own: &Address| own.matches(one, AddressCase::Insensitive);
        if !add {
            wanted.retain(|own| !is_it(own));
        } else if !wanted.iter().any(is_it) {
            wanted.push(one.clone());
        }
    }
    wanted
}

fn remove(config: &Config, id: &str, force: bool, dry_run: bool) -> Result<Exit, Failure> {
    let folder = Folder::to_change(config)?;
    let id = folder.id(id)?;
    if !force {
        say(&format!(
            "would remove {id}: what was encrypted for it opens here no more"
        ))?;
        if dry_run {
            return Ok(Exit::Ok);
        }
        let what = "nothing was done; if you have a copy, or need none, say --force";
        return Err(Failure::new(Exit::Usage, what));
    }
    let removed = folder.changes()?.remove(id);
    removed.map_err(|error| failed(&error))?;
    done("removed", "remove", false, &id.to_string())
}

/// Says what was done, or would be.
fn done(did: &str, would: &str, dry_run: bool, what: &str) -> Result<Exit, Failure> {
    match dry_run {
        true => say(&format!("would {would} {what}"))?,
        false => say(&format!(
            "{did} {what}; the service goes by it after a reload"
        ))?,
    }
    Ok(Exit::Ok)
}

fn say(text: &str) -> io::Result<()> {
    writeln!(aside(), "{text}")
}

/// Whether a key works for an address.
pub(super) fn works_for(facts: &KeyFacts, address: &Address) -> bool {
    let mut own = facts.addresses.iter();
    own.any(|own| own.matches(address, AddressCase::Insensitive))
}

fn configured(config: &Config) -> Result<&Keys, Failure> {
    config.keys.as_ref().ok_or_else(|| {
        let example = "[keys]\npassphrase_file = \"keys.passphrase\"";
        let what = format!("no [keys] in the configuration; write for example\n\n{example}\n");
        Failure::new(Exit::Configuration, what)
    })
}

/// Whether this user is another one.
fn is_not_ours(owner: u32) -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() != owner)
}

fn not_theirs(folder: &Path, owner: u32) -> Failure {
    let folder = folder.display();
    let what = format!(
        "{folder}: belongs to the user with the number {owner}; run this as that user: \
         runuser -u NAME -- kenin key …"
    );
    Failure::new(Exit::NotPermitted, what)
}

/// Why the secrets are not at hand: the configuration is to blame, or a token that is away.
fn mistaken(config: &Config, keys: &Keys, error: &KeysError) -> Failure {
    if error.is_away() {
        return Failure::new(Exit::Unavailable, error.to_string());
    }
    let key = format!("keys.{}", keys.seal.key());
    let mistake = config.mistake(&key, error.to_string());
    Failure::new(Exit::Configuration, mistake.report())
}

/// What the folder says, with its exit code.
fn failed(error: &FolderError) -> Failure {
    let exit = match &error.cause {
        FolderCause::Io(_) => return Failure::new(io_exit(error), error.to_string()),
        FolderCause::Seal(error) => exit_of(error),
        FolderCause::Open { .. } => Exit::NotPermitted,
        FolderCause::NoKey | FolderCause::Name => Exit::Data,
        FolderCause::Token(_) => Exit::Configuration,
        FolderCause::Busy => Exit::Temporary,
    };
    Failure::new(exit, error.to_string())
}

fn io_exit(error: &FolderError) -> Exit {
    let FolderCause::Io(cause) = &error.cause else {
        return Exit::Io;
    };
    match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Exit::NoInput,
        io::ErrorKind::PermissionDenied => Exit::NotPermitted,
        _ => Exit::Io,
    }
}

const fn exit_of(error: &SealError) -> Exit {
    match error {
        SealError::UnknownKek(_)
        | SealError::WrongPassphrase(_)
        | SealError::KeyLength(_)
        | SealError::EmptyPassphrase
        | SealError::Work(_) => Exit::Configuration,
        SealError::Failed => Exit::Io,
        _ => Exit::Data,
    }
}

/// Digits of an id that are asked for at least.
const SHORTEST: usize = 4;
