//! The folder of sealed keys: one file a key, `ID.key`.
//!
//! A file is written whole under another name, brought to the disk and then renamed, so that a crash leaves the old one
//! or the new one. Nobody but its owner may look into the folder.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kenin_pki::crypto::SoftKey;
use rustix::fs::{Mode, OFlags};

use crate::keeper::HeldKey;
use crate::kek::{Kek, MAX_DERIVATIONS, Unlock, Unlocker, WorkFactor};
use crate::key::{KeyFacts, KeyId};
use crate::sealed::{MAX_FILE, SealError, SealedKey};
use crate::token::{TokenError, Tokens};

/// A folder of sealed keys.
#[derive(Debug)]
pub struct KeyFolder {
    path: PathBuf,
}

impl KeyFolder {
    /// The folder at `path`.
    ///
    /// # Errors
    /// [`FolderCause::Open`] where others may look into it.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let at = |cause| FolderError::new(path, cause);
        let metadata = fs::metadata(path).map_err(|error| at(error.into()))?;
        if !metadata.is_dir() {
            return Err(at(io::Error::from(io::ErrorKind::NotADirectory).into()));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(at(FolderCause::Open { folder: true }));
        }
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Makes the folder, with mode 0700, if it is not there.
    ///
    /// # Errors
    /// As [`KeyFolder::open`].
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(FolderError::new(path, error.into()))
            }
            _ => Self::open(path),
        }
    }

    /// The ids of all keys, in their order. Files that are no keys by their name are passed over.
    ///
    /// # Errors
    /// Where the folder cannot be read, and [`FolderCause::Name`] for a key file whose name is no id.
    pub fn ids(&self) -> Result<Vec<KeyId>, FolderError> {
        let failed = |error: io::Error| FolderError::new(&self.path, error.into());
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') {
                continue;
            }
            let Some(stem) = name.strip_suffix(SUFFIX) else {
                continue;
            };
            let wrong = || FolderError::new(&self.path.join(&*name), FolderCause::Name);
            ids.push(KeyId::parse(stem).ok_or_else(wrong)?);
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// One sealed key.
    ///
    /// # Errors
    /// Where it cannot be read, others may read it, it is none, or its name is that of another.
    pub fn read(&self, id: KeyId) -> Result<SealedKey, FolderError> {
        let path = self.file(id);
        read(&path, id).map_err(|cause| FolderError { path, cause })
    }

    /// All keys, opened, or why one does not open. One that does not keeps no other from its work.
    ///
    /// # Errors
    /// As [`KeyFolder::ids`].
    pub fn open_all(&self, unlocker: &mut Unlocker) -> Result<Vec<Opened>, FolderError> {
        let open = |id| {
            let sealed = self.read(id)?;
            let key = sealed.open(unlocker);
            let key = key.map_err(|error| FolderError::new(&self.file(id), error.into()))?;
            Ok((sealed.facts().clone(), key))
        };
        Ok(self.ids()?.into_iter().map(open).collect())
    }

    /// All keys, ready for work, or why one is not: those in the files, and those in tokens, which need not be there yet.
    ///
    /// # Errors
    /// As [`KeyFolder::ids`].
    pub fn held(
        &self,
        unlocker: &mut Unlocker,
        tokens: &Tokens,
    ) -> Result<Vec<Result<HeldKey, FolderError>>, FolderError> {
        let one = |id| {
            let sealed = self.read(id)?;
            hold(&sealed, unlocker, tokens).map_err(|cause| FolderError::new(&self.file(id), cause))
        };
        Ok(self.ids()?.into_iter().map(one).collect())
    }

    /// What new keys are sealed under: with a passphrase the key that it makes for those which are there already, so that
    /// all of them open with one derivation; a new one with this work factor where there is none.
    ///
    /// # Errors
    /// Where a key cannot be read, or the secret is none that can be used.
    pub fn kek(&self, secret: &Unlock, work: WorkFactor) -> Result<Kek, FolderError> {
        let mut tried = Vec::new();
        for id in self.ids()? {
            let sealed = self.read(id)?;
            if tried.len() >= MAX_DERIVATIONS || tried.contains(&sealed.kek()) {
                continue;
            }
            match Kek::of(&sealed, secret) {
                Err(SealError::UnknownKek(_)) => {}
                Err(SealError::WrongPassphrase(kek)) => tried.push(kek),
                Ok(kek) => return Ok(kek),
                Err(error) => return Err(FolderError::new(&self.file(id), error.into())),
            }
        }
        let made = match secret {
            Unlock::Key(key) => Kek::from_key(key),
            Unlock::Passphrase(passphrase) => Kek::from_passphrase(passphrase, work),
        };
        made.map_err(|error| FolderError::new(&self.path, error.into()))
    }

    /// Takes the right to change the folder, which one at a time has. Who reads needs none.
    ///
    /// # Errors
    /// [`FolderCause::Busy`] where another has it.
    pub fn change(&self) -> Result<Changes<'_>, FolderError> {
        let lock = File::open(&self.path).map_err(|error| self.failed(error))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => FolderError::new(&self.path, FolderCause::Busy),
            TryLockError::Error(error) => self.failed(error),
        })?;
        let changes = Changes { folder: self, lock };
        changes.remove_leftovers()?;
        Ok(changes)
    }

    fn file(&self, id: KeyId) -> PathBuf {
        self.path.join(format!("{id}{SUFFIX}"))
    }

    fn failed(&self, error: io::Error) -> FolderError {
        FolderError::new(&self.path, error.into())
    }
}

/// A key that was opened, with its facts, or why it was not.
pub type Opened = Result<(KeyFacts, SoftKey), FolderError>;

/// The right to change a folder.
#[derive(Debug)]
pub struct Changes<'a> {
    folder: &'a KeyFolder,
    /// The folder itself, locked as long as it is open.
    lock: File,
}

impl Changes<'_> {
    /// Puts a new key in.
    ///
    /// # Errors
    /// Where there is one of its id, and where it cannot be written.
    pub fn add(&self, sealed: &SealedKey) -> Result<(), FolderError> {
        let path = self.folder.file(sealed.facts().id);
        if path.exists() {
            let error = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(FolderError::new(&path, error.into()));
        }
        self.write(sealed)
    }

    /// Changes what is said of a key: its state, its addresses, its certificates. The key is sealed anew under `kek`, and
    /// its version is one more. Id, tenant and public key stay as they are, whatever `change` does with them.
    ///
    /// # Errors
    /// Where the key does not open, cannot be sealed or cannot be written; the old file is then still there.
    pub fn rewrite(
        &self,
        id: KeyId,
        (unlocker, kek): (&mut Unlocker, &Kek),
        change: impl FnOnce(&mut KeyFacts),
    ) -> Result<(), FolderError> {
        let old = self.folder.read(id)?;
        let at = |error: SealError| FolderError::new(&self.folder.file(id), error.into());
        let mut facts = old.facts().clone();
        change(&mut facts);
        facts.id = id;
        facts.tenant.clone_from(&old.facts().tenant);
        facts.public = old.facts().public.clone();
        facts.version = old.facts().version.saturating_add(1);
        self.write(&old.again(facts, (unlocker, kek)).map_err(at)?)
    }

    /// Removes a key for good, whether it opens or not. Copies of the file elsewhere stay where they are.
    ///
    /// # Errors
    /// Where there is none, and where it cannot be removed.
    pub fn remove(&self, id: KeyId) -> Result<(), FolderError> {
        let path = self.folder.file(id);
        let removed = fs::remove_file(&path).and_then(|()| self.lock.sync_all());
        removed.map_err(|error| FolderError::new(&path, error.into()))
    }

    /// Seals all keys anew that are not sealed under `kek`, one after the other; how many. Where it ends early the rest is
    /// as before, and it may be begun again. Who reads meanwhile needs the secrets of both.
    ///
    /// # Errors
    /// As [`Changes::rewrite`].
    pub fn reseal(&self, unlocker: &mut Unlocker, kek: &Kek) -> Result<usize, FolderError> {
        let mut count = 0;
        for id in self.folder.ids()? {
            if self.folder.read(id)?.kek() != kek.id() {
                self.rewrite(id, (unlocker, kek), |_| {})?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn write(&self, sealed: &SealedKey) -> Result<(), FolderError> {
        let id = sealed.facts().id;
        let path = self.folder.file(id);
        let temporary = self.folder.path.join(format!(".{id}{TEMPORARY}"));
        let written = write(&temporary, &sealed.to_octets())
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| self.lock.sync_all());
        written.map_err(|error| {
            // What is left of it would be removed with the next change.
            let _ = fs::remove_file(&temporary);
            FolderError::new(&path, error.into())
        })
    }

    /// What a crash left half written. Nobody else writes now.
    fn remove_leftovers(&self) -> Result<(), FolderError> {
        let failed = |error| self.folder.failed(error);
        for entry in fs::read_dir(&self.folder.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(TEMPORARY) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// What is wrong with a file or the folder, and with which.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}; {}", path.display(), cause.advice())]
pub struct FolderError {
    /// Which file or folder.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub cause: FolderCause,
}

impl FolderError {
    fn new(path: &Path, cause: FolderCause) -> Self {
        Self {
            path: path.to_owned(),
            cause,
        }
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum FolderCause {
    /// The system says no.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The key cannot be sealed or opened.
    #[error("{0}")]
    Seal(#[from] SealError),
    /// Others may read it.
    #[error("it can be read or changed by others")]
    Open {
        /// Whether it is the folder.
        folder: bool,
    },
    /// It is no plain file, or larger than any key.
    #[error("it is no file of a sealed key")]
    NoKey,
    /// A key file is named after the id of its key.
    #[error("its name is not the id of the key in it")]
    Name,
    /// The token that the key lies in cannot be used.
    #[error("{0}")]
    Token(#[from] TokenError),
    /// Somebody else changes the folder at this moment.
    #[error("another command is changing the keys")]
    Busy,
}

impl FolderCause {
    /// What the one who runs the gateway can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Io(_) => "see that the file system is well and the owner is right",
            Self::Seal(error) => error.advice(),
            Self::Token(error) => error.advice(),
            Self::Open { folder: true } => "chmod 700",
            Self::Open { folder: false } => "chmod 600",
            Self::NoKey => "take it out of the folder, or restore it from a backup",
            Self::Name => "give it back the name that it had",
            Self::Busy => "try again when that has ended",
        }
    }
}

fn hold(
    sealed: &SealedKey,
    unlocker: &mut Unlocker,
    tokens: &Tokens,
) -> Result<HeldKey, FolderCause> {
    let facts = sealed.facts().clone();
    if sealed.is_reference() {
        let (reference, rejection) = sealed.open_reference(unlocker)?;
        let key = tokens.key(&reference, facts.public.clone())?;
        return Ok(HeldKey::new(facts, Box::new(key), rejection));
    }
    let key = sealed.open(unlocker)?;
    HeldKey::soft(facts, key).map_err(|_| SealError::Failed.into())
}

fn read(path: &Path, id: KeyId) -> Result<SealedKey, FolderCause> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
    let file = File::from(file);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(FolderCause::NoKey);
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(FolderCause::Open { folder: false });
    }
    let most = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
    if metadata.len() > most {
        return Err(FolderCause::NoKey);
    }
    let mut octets = Vec::new();
    file.take(most).read_to_end(&mut octets)?;
    let sealed = SealedKey::from_octets(&octets)?;
    if sealed.facts().id == id {
        Ok(sealed)
    } else {
        Err(FolderCause::Name)
    }
}

fn write(path: &Path, octets: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(octets)?;
    file.sync_all()
}

const SUFFIX: &str = ".key";
const TEMPORARY: &str = ".new";

#[cfg(test)]
mod tests;
