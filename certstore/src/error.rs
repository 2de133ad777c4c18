//! What can go wrong between us and the stored data. Every message names the file, or the address of the database.

use std::path::{Path, PathBuf};

/// Why certificates or revocation lists could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or folder could not be read.
    #[error("{path}: {error}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file was read but is not what it should be.
    #[error("{path}: {message}", path = path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A file, or the number of files in a folder, is over the limit.
    #[error("{path}: more than {limit} {unit}", path = path.display())]
    TooMuch {
        /// Which.
        path: PathBuf,
        /// The limit.
        limit: u64,
        /// Of what.
        unit: &'static str,
    },
    /// The database was written by a newer Kenin.
    #[error(
        "{path}: written by a newer Kenin (schema {found}, this program knows {known}); \
         install that version again or restore a backup made before the upgrade",
        path = path.display()
    )]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema of this program.
        known: i64,
    },
    /// There is no store yet: no file, or nothing of ours in the database.
    #[error("{path}: there is no store yet", path = path.display())]
    Absent {
        /// The database.
        path: PathBuf,
    },
    /// The database does not answer or holds something impossible.
    #[error("{path}: {message}", path = path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What it said.
        message: String,
    },
}

impl StoreError {
    pub(crate) fn read(path: &Path, error: std::io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            error,
        }
    }

    pub(crate) fn content(path: &Path, message: impl Into<String>) -> Self {
        Self::Content {
            path: path.to_owned(),
            message: message.into(),
        }
    }

    pub(crate) fn absent(path: &Path) -> Self {
        Self::Absent {
            path: path.to_owned(),
        }
    }

    /// The file that is to blame, or the address of the database.
    pub fn path(&self) -> &Path {
        match self {
            Self::Read { path, .. }
            | Self::Content { path, .. }
            | Self::TooMuch { path, .. }
            | Self::NewerSchema { path, .. }
            | Self::Absent { path }
            | Self::Database { path, .. } => path,
        }
    }
}
