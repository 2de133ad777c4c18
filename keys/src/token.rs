//! Keys that lie in tokens, and never leave them: what is asked of them is the one mathematical step, by PKCS#11
//! (<https://docs.oasis-open.org/pkcs11/pkcs11-spec/v3.1/pkcs11-spec-v3.1.html>). Paddings are read here, by the code
//! that reads them for keys in memory.
//!
//! Modules are loaded in the key process, in `kenin key doctor`, and where a token guards the key-encryption key in what
//! opens the folder of keys; nowhere else. A token may be away when the process starts and come later, or go and come back.

mod driver;
mod error;
mod key;
mod pkcs11;
mod pool;
#[cfg(test)]
mod softhsm;
mod uri;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kenin_pki::crypto::{PublicKey, RejectionSecret, Secret};

use crate::octets::{Malformed, Reader, Writer};

use pkcs11::Module;
use pool::{Place, Pool};
use uri::MAX_URI;

pub use driver::{KeyTraits, Mechanisms, PinFault, PinFlags};
pub use error::TokenError;
pub use key::{KeyFault, TokenKey};
pub use uri::{TokenUri, UriError};

/// A token as it is configured.
#[derive(Debug)]
pub struct TokenSettings {
    /// What key files call it.
    pub name: String,
    /// The PKCS#11 module that knows it.
    pub module: PathBuf,
    /// Which of the module's tokens it is.
    pub token: TokenUri,
    /// The user's PIN. Without it only what needs no login is done.
    pub pin: Option<Secret>,
    /// How many calls go on at one time: 1 to [`MAX_SESSIONS`].
    pub sessions: usize,
}

/// A token that is in a slot, and what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSeen {
    /// The slot's number, which may be another after the next start.
    pub slot: u64,
    /// Its label.
    pub label: String,
    /// Its serial number.
    pub serial: String,
    /// Its model.
    pub model: String,
    /// The state of the user's PIN.
    pub pin: PinFlags,
    /// What it can do.
    pub mechanisms: Mechanisms,
}

/// Where a key is, in place of the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The token's name in the configuration.
    pub token: String,
    /// Which key in it.
    pub object: TokenUri,
}

/// All configured tokens.
#[derive(Default)]
pub struct Tokens {
    by_name: BTreeMap<String, Result<InPool, TokenError>>,
}

/// A token among those of its module.
#[derive(Clone)]
struct InPool {
    pool: Arc<Pool>,
    token: usize,
}

impl Tokens {
    /// None at all.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Loads the modules, each once, and begins the threads that speak with them. What a module needs of the system it
    /// must get before the process gives that up, so this comes first. A module that does not load keeps no other from
    /// its work.
    #[must_use]
    pub fn start(settings: Vec<TokenSettings>) -> Self {
        let mut modules: BTreeMap<PathBuf, Vec<TokenSettings>> = BTreeMap::new();
        for one in settings {
            modules.entry(one.module.clone()).or_default().push(one);
        }
        let mut by_name = BTreeMap::new();
        for (module, tokens) in modules {
            let names: Vec<String> = tokens.iter().map(|one| one.name.clone()).collect();
            let pool = start(module, tokens);
            for (token, name) in names.into_iter().enumerate() {
                let pool = pool.clone();
                by_name.insert(name, pool.map(|pool| InPool { pool, token }));
            }
        }
        Self { by_name }
    }

    /// What is wrong with modules: none of their tokens will ever answer.
    pub fn troubles(&self) -> impl Iterator<Item = &TokenError> {
        self.by_name.values().filter_map(|one| one.as_ref().err())
    }

    /// A key in one of them. Whether it is there shows when it works.
    ///
    /// # Errors
    /// [`TokenError::Unknown`], and [`TokenError::Module`] where the module did not load.
    pub fn key(&self, reference: &Reference, public: PublicKey) -> Result<TokenKey, TokenError> {
        let InPool { pool, token } = self.in_pool(&reference.token)?;
        Ok(TokenKey::new(
            public,
            Arc::new(reference.object.clone()),
            (pool, token),
        ))
    }

    /// The public half of a key, as the token shows it.
    ///
    /// # Errors
    /// [`TokenError`], where it is not there or not shown.
    pub(crate) fn public(&self, reference: &Reference) -> Result<PublicKey, TokenError> {
        let InPool { pool, token } = self.in_pool(&reference.token)?;
        let object = Arc::new(reference.object.clone());
        let half = pool.call(token, &object, |session, key| session.public(key))?;
        half.key().ok_or_else(|| TokenError::Unsupported {
            token: reference.token.clone(),
            what: "the public half that it shows is of no kind that is known".to_owned(),
        })
    }

    /// Whether the token is there, and what it says of itself. No PIN is tried.
    ///
    /// # Errors
    /// [`TokenError`], where it is not.
    pub fn see(&self, name: &str) -> Result<TokenSeen, TokenError> {
        let InPool { pool, token } = self.in_pool(name)?;
        let seen = pool.see(token)?;
        let slot = seen.slot;
        Ok(TokenSeen {
            slot,
            label: seen.label,
            serial: seen.serial,
            model: seen.model,
            pin: seen.pin,
            mechanisms: pool.ask(token, move |driver| driver.mechanisms(slot))?,
        })
    }

    /// Whether the token lets us in with the configured PIN. A wrong one uses up a try, once.
    ///
    /// # Errors
    /// [`TokenError`], where it does not.
    pub fn try_pin(&self, name: &str) -> Result<(), TokenError> {
        let InPool { pool, token } = self.in_pool(name)?;
        let nothing = Arc::new(TokenUri::parse("pkcs11:object=").unwrap_or_default());
        // Who gets as far as to look for a key is in.
        match pool.call(token, &nothing, |_, _| Ok(())) {
            Err(TokenError::NoKey { .. } | TokenError::SeveralKeys { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn in_pool(&self, name: &str) -> Result<InPool, TokenError> {
        match self.by_name.get(name) {
            Some(found) => found.clone(),
            None => Err(TokenError::Unknown(name.to_owned())),
        }
    }
}

impl Reference {
    /// As it lies sealed, with the secret of implicit rejection, which for a key that nobody can read is kept beside
    /// it.
    pub(crate) fn to_secret(&self, rejection: &RejectionSecret) -> Secret {
        let mut writer = Writer::with_room(MAX_REFERENCE);
        writer
            .octets(self.token.as_bytes())
            .octets(self.object.to_string().as_bytes())
            .octets(rejection.secret().expose());
        Secret::new(writer.finish())
    }

    pub(crate) fn from_secret(secret: &Secret) -> Result<(Self, RejectionSecret), Malformed> {
        let mut reader = Reader::new(secret.expose());
        let token = reader.text(MAX_NAME)?;
        let object = TokenUri::parse(reader.text(MAX_URI)?)
            .map_err(|_| Malformed("no reference to a key in a token"))?;
        let rejection = Secret::new(reader.octets(MAX_REJECTION)?.to_vec());
        reader.finish()?;
        let read = Self {
            token: token.to_owned(),
            object,
        };
        read.check()?;
        let rejection = RejectionSecret::from_secret(rejection);
        Ok((read, rejection.map_err(|_| NO_SECRET)?))
    }

    /// Whether it names one token and something in it.
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        let plain = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
        if !plain(&self.token) || self.token.len() > MAX_NAME || !self.object.names_object() {
            return Err(Malformed("a reference that names no token or no key"));
        }
        Ok(())
    }
}

/// The pool of a module; an error is one for all of its tokens.
fn start(module: PathBuf, tokens: Vec<TokenSettings>) -> Result<Arc<Pool>, TokenError> {
    let failed = |what: String| TokenError::Module {
        module: module.clone(),
        what,
    };
    let driver = Module::load(&module).map_err(failed)?;
    let threads = tokens.iter().map(|one| one.sessions).sum::<usize>();
    let place = |one: TokenSettings| Place {
        name: one.name,
        token: one.token,
        pin: one.pin,
    };
    let places = tokens.into_iter().map(place).collect();
    let threads = threads.clamp(1, MAX_SESSIONS);
    let pool = Pool::start(Arc::new(driver), places, threads, PATIENCE);
    let pool = pool.map_err(|error| failed(error.to_string()))?;
    // What it opens when it is first asked it opens now; whether the token is there shows later.
    let _ = pool.see(0);
    Ok(Arc::new(pool))
}

/// How long anybody waits for a token.
const PATIENCE: Duration = Duration::from_secs(5);
/// Calls to one module at one time, at most.
pub const MAX_SESSIONS: usize = 32;
/// Octets of a token's name.
const MAX_NAME: usize = 255;
const MAX_REJECTION: usize = 64;
const MAX_REFERENCE: usize = MAX_NAME + MAX_URI + MAX_REJECTION + 16;
const NO_SECRET: Malformed = Malformed("no secret of implicit rejection");

#[cfg(test)]
mod tests;
