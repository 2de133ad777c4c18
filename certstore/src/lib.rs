//! Where certificates and revocation data are kept and found: files in folders, and a
//! store in SQLite or PostgreSQL; looked up in directories (LDAP), with a cache for what may vanish (Redis); and
//! fetched from where authorities publish them. It never sees mail, never holds a private key,
//! and never decides what is trusted.

mod breaker;
mod cache;
mod clock;
mod database;
mod delivered;
pub mod directory;
mod embedded;
mod encrypted;
mod error;
pub mod fetch;
mod fetched;
mod files;
mod harvest;
mod holders;
mod index;
mod migrations;
mod protection;
mod recipients;
mod rows;
mod scope;
mod server;
mod store;
mod swept;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod testpki;
#[cfg(test)]
mod testplace;
mod together;
mod view;

pub use breaker::{Breaker, Resting};
pub use cache::{
    AnswerCache, Cache, CacheCounts, CacheError, CacheServer, CacheSettings, Clock, Keeping,
    ParseCacheError, TenantCache,
};
pub use clock::ClockMark;
pub use encrypted::{EncryptedMail, FirstSeen};
pub use error::StoreError;
pub use fetched::FetchedList;
pub use files::{
    FileSet, FileState, Fingerprint, Loaded, read_certificates, read_crls, read_limited, read_ocsp,
};
pub use holders::{Kept, MAX_FOUND, Origin, address_key};
pub use index::{IndexBuilder, IndexError, RevocationIndex};
pub use protection::KeptCapabilities;
pub use recipients::KeptRecipient;
pub use server::Server;
pub use store::{DEFAULT_TENANT, Store};
pub use view::CertStore;
