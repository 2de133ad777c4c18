//! `[store]`: a file of our own, or a database that several nodes share. Never reads a password.

use std::path::{Path, PathBuf};

use kenin_certstore::Server;

use super::raw::RawStore;

/// Where certificates, revocation lists and registrations are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAt {
    /// `path`, below `state_dir`. Default `kenin.sqlite`.
    File(PathBuf),
    /// A PostgreSQL database.
    Server(StoreServer),
}

/// A PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreServer {
    /// `url`, without a password.
    pub url: String,
    /// `password_file`: holds the password on one line. Without it, none is needed.
    pub password_file: Option<PathBuf>,
    /// `connections`: how many at once. Default 4.
    pub connections: u32,
    /// What it is called in messages.
    pub name: PathBuf,
    /// Whether nobody on the way can take its place.
    pub verified: bool,
}

impl StoreAt {
    /// From what was written; an error comes with the key that is to blame.
    pub(super) fn read(
        raw: RawStore,
        state_dir: &Path,
        dir: &Path,
    ) -> Result<Self, (&'static str, String)> {
        let Some(url) = raw.url else {
            for (key, there) in [
                ("store.password_file", raw.password_file.is_some()),
                ("store.connections", raw.connections.is_some()),
            ] {
                if there {
                    return Err((key, "is for a database, and there is no url".to_owned()));
                }
            }
            let path = raw.path.unwrap_or_else(|| "kenin.sqlite".to_owned());
            return Ok(Self::File(state_dir.join(path)));
        };
        if raw.path.is_some() {
            let text = "there is a path as well: a store is a file or a database";
            return Err(("store.url", text.to_owned()));
        }
        let connections = raw.connections.unwrap_or(4);
        if !(1..=MAX_CONNECTIONS).contains(&connections) {
            let text = format!("{connections} connections: write 1 to {MAX_CONNECTIONS}");
            return Err(("store.connections", text));
        }
        let server = Server::new(&url).map_err(|text| ("store.url", text))?;
        Ok(Self::Server(StoreServer {
            name: server.name().to_owned(),
            verified: server.is_verified(),
            password_file: raw.password_file.map(|file| dir.join(file)),
            connections,
            url,
        }))
    }

    /// What it is called in messages: its file, or the address of its database.
    pub fn name(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Server(server) => &server.name,
        }
    }

    /// The key that names it.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Self::File(_) => "store.path",
            Self::Server(_) => "store.url",
        }
    }
}

/// No node needs more, and a database has about a hundred for all.
const MAX_CONNECTIONS: u32 = 100;
