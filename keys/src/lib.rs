//! Private keys: sealed at rest, imported, and the process that alone works with them.
//!
//! It never sees mail, uses no network and no SQL, and gives no private key away. What other processes may ask of a
//! key is bound to the transaction that the edge has announced.

#![warn(clippy::as_conversions)]

mod client;
mod folder;
mod frame;
mod granted;
mod guarded;
mod import;
mod keeper;
mod kek;
mod key;
pub mod octets;
pub mod protocol;
mod sealed;
mod secret_file;
mod serve;
#[cfg(test)]
mod testing;
mod threads;
mod token;

pub use client::{ClientError, EdgeClient, WorkerClient};
pub use folder::{Changes, FolderCause, FolderError, KeyFolder, Opened};
pub use granted::{Granted, Hand, NoKey, SenderKey};
pub use guarded::{GuardError, GuardedKey};
pub use import::{ImportError, Imported, belonging, import};
pub use keeper::{
    Alert, Counts, DELAY, Decision, Event, HeldKey, Job, Keeper, Log, MAX_GRANTS, MAX_LIFETIME,
    MAX_SIGNATURES, MAX_USES, MAX_USES_OF_KEY, Moment, Network, Outcome, PrivateKey, Why,
    are_of_mail,
};
pub use kek::{Kek, KekId, MAX_DERIVATIONS, Passphrase, Unlock, Unlocker, WorkFactor};
pub use key::{KeyFacts, KeyId, MAX_FACTS, State, Uses, mailbox};
pub use octets::Malformed;
pub use sealed::{SealError, SealedKey};
pub use secret_file::{
    SecretFileError, read_guarded_file, read_key_file, read_passphrase_file, read_password_file,
    read_pin_file,
};
pub use serve::{Server, Time, abort_on_panic};
pub use token::{
    KeyFault, KeyTraits, MAX_SESSIONS, Mechanisms, PinFault, PinFlags, Reference, TokenError,
    TokenKey, TokenSeen, TokenSettings, TokenUri, Tokens, UriError,
};
