//! The folder of held mail: one file a mail, `ID.mail`, and beside it an empty `ID.notice` as long as somebody has to be
//! told of it.
//!
//! A file is written whole under another name, brought to the disk, renamed, and the folder brought to the disk: a crash
//! leaves all of a mail or nothing. Where the system cannot say that something is on the disk, nothing is written any
//! more until the next start: asking again would get a better answer and no better disk. Nobody but its owner may look
//! into the folder. Who works with a mail locks its file; the service and commands beside it go by that.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use kenin_sys::free_space;

use super::id::Id;
use super::key::Keys;
use super::sealed::{OpenError, SealError, Sealed};

/// A folder of held mail.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The folder itself, to be brought to the disk: one handle, which hears of every failure.
    handle: File,
    /// One at a time, so that nobody takes the failure that is another's.
    commit: Mutex<()>,
    /// Why nothing is written any more.
    broken: OnceLock<String>,
}

/// What lies in a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// The mails.
    pub(super) mails: BTreeSet<Id>,
    /// Those of which somebody has to be told.
    pub(super) notices: BTreeSet<Id>,
}

impl Folder {
    /// The folder at this path.
    ///
    /// # Errors
    /// Where it cannot be opened, and where others may look into it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let handle = File::open(path)?;
        let metadata = handle.metadata()?;
        if !metadata.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        if metadata.mode() & 0o077 != 0 {
            let what = "others may look into it; chmod 700";
            return Err(io::Error::new(ErrorKind::PermissionDenied, what));
        }
        Ok(Self {
            path: path.to_owned(),
            handle,
            commit: Mutex::default(),
            broken: OnceLock::new(),
        })
    }

    /// Makes the folder, with mode 0700, if it is not there.
    ///
    /// # Errors
    /// As [`Folder::open`].
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            Err(_) => {}
            Ok(()) => {
                if let Some(parent) = path.parent() {
                    File::open(parent)?.sync_all()?;
                }
            }
        }
        Self::open(path)
    }

    /// Why nothing is written any more, if so.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }

    /// Octets that there is room for on its disk. An error where it is not there, or nothing can be written.
    pub(super) fn free(&self) -> io::Result<u64> {
        free_space(&self.path)
    }

    /// The mails that lie there, in the order in which they came.
    pub(crate) fn ids(&self) -> io::Result<Vec<Id>> {
        Ok(self.listing()?.mails.into_iter().collect())
    }

    /// What lies there. Other files are passed over.
    pub(super) fn listing(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let Some((stem, kind)) = name.to_str().and_then(|name| name.split_once('.')) else {
                continue;
            };
            let set = match kind {
                MAIL => &mut listing.mails,
                NOTICE => &mut listing.notices,
                _ => continue,
            };
            set.extend(Id::parse(stem));
        }
        Ok(listing)
    }

    /// Removes what a crash left half written, and notices of mail that is not there; how many files. Nobody may write
    /// meanwhile but other processes, whose files are locked.
    pub(super) fn sweep(&self) -> io::Result<usize> {
        let mut count = 0;
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let stem = name.to_str().and_then(|name| {
                let stem = name.strip_prefix('.')?.strip_suffix(TEMPORARY)?;
                Id::parse(stem)
            });
            if stem.is_none() {
                continue;
            }
            match File::open(entry.path())?.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error),
            }
            fs::remove_file(entry.path())?;
            count += 1;
        }
        let Listing { mails, notices } = self.listing()?;
        for id in notices.difference(&mails) {
            fs::remove_file(self.file(id, NOTICE))?;
            count += 1;
        }
        if count > 0 {
            self.handle.sync_all()?;
        }
        Ok(count)
    }

    /// Puts a mail in, as `write` writes it, with a notice to be given if so.
    pub(super) fn put(
        &self,
        id: &Id,
        notice: bool,
        write: impl FnOnce(&mut File) -> Result<(), SealError>,
    ) -> Result<(), PutError> {
        if self.broken().is_some() {
            return Err(PutError::ReadOnly);
        }
        let temporary = self.path.join(format!(".{id}{TEMPORARY}"));
        let put = self.try_put(id, &temporary, notice, write);
        if let Err(error) = &put {
            // Of what is left nobody knows what it holds; it would be removed at the next start.
            let _ = fs::remove_file(&temporary);
            if let PutError::Unsure(error) = error {
                let _ = self.broken.set(error.to_string());
            }
        }
        put
    }

    fn try_put(
        &self,
        id: &Id,
        temporary: &Path,
        notice: bool,
        write: impl FnOnce(&mut File) -> Result<(), SealError>,
    ) -> Result<(), PutError> {
        let mut file = private().write(true).create_new(true).open(temporary)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::from(ErrorKind::WouldBlock),
            TryLockError::Error(error) => error,
        })?;
        write(&mut file)?;
        file.sync_all().map_err(PutError::unsure)?;
        let _one = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
        if self.broken().is_some() {
            return Err(PutError::ReadOnly);
        }
        let (path, told) = (self.file(id, MAIL), self.file(id, NOTICE));
        if path.exists() {
            return Err(io::Error::from(ErrorKind::AlreadyExists).into());
        }
        if notice {
            private().write(true).create_new(true).open(&told)?;
        }
        let named = fs::rename(temporary, &path).map_err(PutError::from);
        let named = named.and_then(|()| self.handle.sync_all().map_err(PutError::unsure));
        if named.is_err() {
            // It would be released beside the sender's next try.
            let _ = fs::remove_file(&path);
            let _ = fs::remove_file(&told);
        }
        named
    }

    /// Opens a mail, to read its facts.
    pub(crate) fn read(&self, id: &Id, keys: &Keys) -> Result<Sealed<BufReader<File>>, OpenError> {
        let file = File::open(self.file(id, MAIL))?;
        let length = file.metadata()?.len();
        Sealed::open(BufReader::new(file), length, keys, id)
    }

    /// Octets of the file of a mail.
    pub(super) fn length(&self, id: &Id) -> io::Result<u64> {
        Ok(fs::metadata(self.file(id, MAIL))?.len())
    }

    /// Takes a mail, which one at a time has: to send it on, or to remove it.
    pub(crate) fn claim(&self, id: &Id) -> io::Result<Claimed<'_>> {
        let path = self.file(id, MAIL);
        // Where the lock is one of the network, only who may write gets it.
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Claimed::Absent),
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Claimed::Busy),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever had it before may have removed it.
        let there = match fs::metadata(&path) {
            Ok(there) => there,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Claimed::Absent),
            Err(error) => return Err(error),
        };
        let ours = file.metadata()?;
        if (there.dev(), there.ino()) != (ours.dev(), ours.ino()) {
            return Ok(Claimed::Absent);
        }
        Ok(Claimed::Ours(Claim {
            folder: self,
            id: id.clone(),
            file,
            length: ours.len(),
        }))
    }

    /// Whoever has to know of a mail does.
    pub(super) fn told(&self, id: &Id) -> io::Result<()> {
        absent_is_well(fs::remove_file(self.file(id, NOTICE)))
    }

    fn file(&self, id: &Id, kind: &str) -> PathBuf {
        self.path.join(format!("{id}.{kind}"))
    }
}

/// What comes of taking a mail.
#[derive(Debug)]
pub(crate) enum Claimed<'a> {
    /// Nobody else has it now.
    Ours(Claim<'a>),
    /// Somebody else has it.
    Busy,
    /// There is none.
    Absent,
}

/// A mail that nobody else may send on or remove, as long as this is there.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    folder: &'a Folder,
    id: Id,
    file: File,
    length: u64,
}

impl Claim<'_> {
    /// Opens it.
    pub(crate) fn read(&self, keys: &Keys) -> Result<Sealed<BufReader<&File>>, OpenError> {
        Sealed::open(BufReader::new(&self.file), self.length, keys, &self.id)
    }

    /// Removes it, for good.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_file(self.folder.file(&self.id, MAIL))?;
        absent_is_well(fs::remove_file(self.folder.file(&self.id, NOTICE)))?;
        self.folder.handle.sync_all()
    }
}

/// Why a mail could not be put in.
#[derive(Debug, thiserror::Error)]
pub(super) enum PutError {
    /// Nothing is written any more.
    #[error("it is read-only since something could not be brought to the disk")]
    ReadOnly,
    /// It cannot be brought to the disk, or nobody can say whether it is there.
    #[error("it cannot be brought to the disk: {0}")]
    Unsure(#[source] io::Error),
    /// The system says no.
    #[error(transparent)]
    Io(io::Error),
    /// It cannot be sealed.
    #[error(transparent)]
    Seal(SealError),
}

impl PutError {
    /// What could not be brought to the disk for want of room is known not to be there.
    fn unsure(error: io::Error) -> Self {
        match is_full(&error) {
            true => Self::Io(error),
            false => Self::Unsure(error),
        }
    }

    /// Whether there is no room.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Io(error) if is_full(error))
    }
}

impl From<io::Error> for PutError {
    fn from(error: io::Error) -> Self {
        // A disk that fails to write is no better at the next try.
        match error.raw_os_error() {
            Some(EIO) => Self::Unsure(error),
            _ => Self::Io(error),
        }
    }
}

impl From<SealError> for PutError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Io(error) => error.into(),
            other => Self::Seal(other),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

fn absent_is_well(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Files for nobody but us.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

const MAIL: &str = "mail";
const NOTICE: &str = "notice";
const TEMPORARY: &str = ".new";
/// The disk fails (errno(3)), which std has no name for.
const EIO: i32 = 5;

#[cfg(test)]
mod tests;
