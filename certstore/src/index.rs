//! Revocation lists of any length as sorted, memory-mapped files: read as they come, found by binary search,
//! there again after a restart. A file is written whole under another name and put in its place by renaming; who
//! has the one before mapped keeps it.
//!
//! Whose word a list is, nobody knows here: its signature is checked by whoever uses it, over the digest of what
//! was read.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kenin_pki::crl::{Crl, StreamError};
use kenin_pki::crypto::{DigestAlgorithm, Digester};

use crate::StoreError;

mod build;
mod file;
mod merge;
pub(crate) mod parts;
mod record;

pub use build::IndexBuilder;

/// A folder of indexes.
#[derive(Debug)]
pub struct RevocationIndex {
    folder: PathBuf,
    /// Goes with its owner, and is made when it is first needed.
    passing: bool,
    made: OnceLock<()>,
    /// Lists that are open already.
    held: HashMap<[u8; 32], Crl>,
}

impl RevocationIndex {
    /// The one in this folder, which is made where it is not there.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder);
        made.map_err(|error| StoreError::read(folder, error))?;
        let index = Self {
            folder: folder.to_owned(),
            passing: false,
            made: OnceLock::from(()),
            held: HashMap::new(),
        };
        // What an earlier process was about to write. What is young somebody may be writing now: the service
        // opens its folder again with every snapshot, and commands beside it receive lists as well.
        for file in index.files()? {
            if file.extension().is_some_and(|end| end == PART) && is_older(&file, ABANDONED) {
                let _ = fs::remove_file(&file);
            }
        }
        Ok(index)
    }

    /// The one in this folder, to look into it: nothing in it is changed.
    #[must_use]
    pub fn open_to_read(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            passing: false,
            made: OnceLock::from(()),
            held: HashMap::new(),
        }
    }

    /// One that goes with its owner, for commands that have no folder of their own.
    #[must_use]
    pub fn passing() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("kenin-lists-{}-{number}", std::process::id());
        Self {
            folder: std::env::temp_dir().join(name),
            passing: true,
            made: OnceLock::new(),
            held: HashMap::new(),
        }
    }

    /// The same, in which these lists are open already: they are looked through once, not with every snapshot.
    #[must_use]
    pub fn holding(mut self, lists: &[Crl]) -> Self {
        let lists = lists.iter().filter(|list| list.is_indexed());
        self.held = lists.map(|list| (*list.sha256(), list.clone())).collect();
        self
    }

    /// Whether a file of this size goes here rather than into memory.
    #[must_use]
    pub fn is_for(size: u64) -> bool {
        size > LARGE
    }

    /// The list in a DER file, read anew only where the file has changed since.
    ///
    /// # Errors
    /// When it is no list, or cannot be read or indexed.
    pub fn of_file(&self, path: &Path) -> Result<Crl, StoreError> {
        let failed = |error| StoreError::read(path, error);
        let mut file = File::open(path).map_err(failed)?;
        let state = file.metadata().map_err(failed)?;
        let source = self
            .folder
            .join(format!("{}.{SOURCE}", fingerprint(path, &state)));
        let known = fs::read_to_string(&source).ok();
        if let Some(list) = known.and_then(|name| self.open_list_named(name.trim()).ok()) {
            return Ok(list);
        }
        let mut builder = self.builder(false)?;
        let mut piece = vec![0; PIECE];
        loop {
            let count = file.read(&mut piece).map_err(failed)?;
            let Some(bytes) = piece.get(..count).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            builder
                .push(bytes)
                .map_err(|error| error.into_store_error(path))?;
        }
        let list = builder
            .finish()
            .map_err(|error| error.into_store_error(path))?;
        // A hint only: where it cannot be kept, the file is read again next time.
        let _ = fs::write(&source, hex(list.sha256()));
        Ok(list)
    }

    /// A list that is about to come.
    ///
    /// # Errors
    /// When no file can be made.
    pub fn receive(&self) -> Result<IndexBuilder, StoreError> {
        self.builder(true)
    }

    fn builder(&self, received: bool) -> Result<IndexBuilder, StoreError> {
        if self.made.get().is_none() {
            // Somebody else's folder of this name is not ours to write into.
            let made = fs::DirBuilder::new().mode(0o700).create(&self.folder);
            made.map_err(|error| StoreError::read(&self.folder, error))?;
            self.made.get_or_init(|| ());
        }
        IndexBuilder::new(&self.folder, received)
    }

    /// The list with this SHA-256.
    ///
    /// # Errors
    /// When it is not here, or not whole.
    pub fn open_list(&self, sha256: &[u8; 32]) -> Result<Crl, StoreError> {
        self.open_list_named(&hex(sha256))
    }

    /// Where the index of the list with this SHA-256 lies, or would.
    #[must_use]
    pub fn path_of(&self, sha256: &[u8; 32]) -> PathBuf {
        self.folder.join(format!("{}.{INDEX}", hex(sha256)))
    }

    fn open_list_named(&self, name: &str) -> Result<Crl, StoreError> {
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let path = self.folder.join(format!("{name}.{INDEX}"));
        if name.len() != 64 || !name.bytes().all(hexadecimal) {
            return Err(StoreError::content(&path, "no name of an index".to_owned()));
        }
        let mut held = self.held.values();
        if let Some(list) = held.find(|list| hex(list.sha256()) == name) {
            return Ok(list.clone());
        }
        let (parts, entries) = file::open(&path)?;
        let list = Crl::indexed(&parts, Arc::new(entries));
        list.map_err(|error| StoreError::content(&path, error.to_string()))
    }

    /// Removes every index but those of these lists, and those that were received a short time ago: somebody may be
    /// about to say that such a list is in use.
    pub fn keep_only(&self, lists: &HashSet<[u8; 32]>) {
        let wanted: HashSet<String> = lists.iter().map(|sha256| hex(sha256)).collect();
        let files = self.files().unwrap_or_default();
        let stem = |path: &Path| {
            let stem = path.file_stem();
            stem.map(|stem| stem.to_string_lossy().into_owned())
        };
        let ends = |path: &Path, end: &str| path.extension().is_some_and(|own| own == end);
        let mut coming = HashSet::new();
        for path in files.iter().filter(|path| ends(path, NEW)) {
            match stem(path).filter(|name| !wanted.contains(name) && !is_older(path, ABANDONED)) {
                Some(name) => {
                    coming.insert(name);
                }
                None => {
                    let _ = fs::remove_file(path);
                }
            }
        }
        for path in files {
            let name = match path.extension().and_then(|end| end.to_str()) {
                Some(INDEX) => stem(&path),
                Some(SOURCE) => fs::read_to_string(&path).ok(),
                _ => continue,
            };
            let kept = |name: &str| wanted.contains(name) || coming.contains(name);
            if name.is_none_or(|name| !kept(name.trim())) {
                // Whoever still uses it has it mapped.
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// Removes the index of a list that was received and turned out to be nobody's.
    pub fn forget(&self, sha256: &[u8; 32]) {
        for end in [NEW, INDEX] {
            let _ = fs::remove_file(self.folder.join(format!("{}.{end}", hex(sha256))));
        }
    }

    fn files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let failed = |error| StoreError::read(&self.folder, error);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            files.push(entry.map_err(failed)?.path());
        }
        Ok(files)
    }
}

impl Default for RevocationIndex {
    fn default() -> Self {
        Self::passing()
    }
}

impl Drop for RevocationIndex {
    fn drop(&mut self) {
        if self.passing && self.made.get().is_some() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Why a list was not indexed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// What came is no list that can be used.
    #[error("{0}")]
    List(String),
    /// The index could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IndexError {
    fn into_store_error(self, path: &Path) -> StoreError {
        match self {
            Self::List(text) => StoreError::content(path, text),
            Self::Store(error) => error,
        }
    }
}

impl From<StreamError<Self>> for IndexError {
    fn from(error: StreamError<Self>) -> Self {
        match error {
            StreamError::Caller(own) => own,
            StreamError::Malformed(_) => Self::List(error.to_string()),
        }
    }
}

/// A name for a file as it is now.
fn fingerprint(path: &Path, state: &fs::Metadata) -> String {
    let mut digester = Digester::new(DigestAlgorithm::Sha256);
    digester.update(path.as_os_str().as_encoded_bytes());
    for number in [
        i64::try_from(state.size()).unwrap_or(i64::MAX),
        state.mtime(),
        state.mtime_nsec(),
        state.ctime(),
        state.ctime_nsec(),
        i64::try_from(state.ino()).unwrap_or(i64::MAX),
    ] {
        digester.update(&number.to_be_bytes());
    }
    hex(digester.finish().as_ref())
}

/// Whether nobody has written to a file for so long, as far as can be told.
fn is_older(path: &Path, age: Duration) -> bool {
    let written = fs::metadata(path).and_then(|state| state.modified());
    written.is_ok_and(|time| time.elapsed().is_ok_and(|passed| passed >= age))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lists above this go here: below it they cost less in memory than the trouble is worth.
const LARGE: u64 = 8 << 20;
/// What nobody has written to for so long is not being written any more.
const ABANDONED: Duration = Duration::from_secs(3600);
/// Read from a file at once.
const PIECE: usize = 1 << 20;
/// How files here end.
const INDEX: &str = "kri";
const SOURCE: &str = "src";
const PART: &str = "part";
/// Beside an index that was received and that nobody has said to be in use.
const NEW: &str = "new";

#[cfg(test)]
mod tests;
