//! Why a key in a token does nothing, and what to do about it.

use std::path::PathBuf;

use kenin_pki::crypto::KeyError;

use super::driver::{Fault, PinFault};

/// Why a key in a token does nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The module cannot be loaded.
    #[error("the module {} cannot be loaded: {what}", module.display())]
    Module {
        /// Which file.
        module: PathBuf,
        /// What the system says.
        what: String,
    },
    /// No token of this name is configured.
    #[error("no token {0:?} is configured")]
    Unknown(String),
    /// The token is not in any slot, or does not work.
    #[error("the token {token:?} is not at hand: {what}")]
    Absent {
        /// Its name in the configuration.
        token: String,
        /// What is wrong.
        what: String,
    },
    /// Several tokens are such as the configuration says.
    #[error("several tokens are such as is said of {0:?}")]
    SeveralTokens(String),
    /// The token does not let the user in.
    #[error("the token {token:?} does not let us in: {fault}")]
    Pin {
        /// Its name in the configuration.
        token: String,
        /// Why.
        fault: PinFault,
    },
    /// The key is not in the token.
    #[error("the key {object} is not in the token {token:?}")]
    NoKey {
        /// Its name in the configuration.
        token: String,
        /// Which key was looked for.
        object: String,
    },
    /// Several keys are such as the reference says.
    #[error("several keys in the token {token:?} are such as {object}")]
    SeveralKeys {
        /// Its name in the configuration.
        token: String,
        /// Which key was looked for.
        object: String,
    },
    /// The token, or this key in it, does not do that.
    #[error("the token {token:?} does not do that: {what}")]
    Unsupported {
        /// Its name in the configuration.
        token: String,
        /// What it says.
        what: String,
    },
    /// The token does not take what it was given.
    #[error("the token {token:?} refuses: {what}")]
    Refused {
        /// Its name in the configuration.
        token: String,
        /// What it says.
        what: String,
    },
    /// The token does not answer in time.
    #[error("the token {0:?} does not answer")]
    Hangs(String),
    /// More wait for the token than it can serve in time.
    #[error("too many wait for the token {0:?}")]
    Busy(String),
}

impl TokenError {
    /// What went wrong with this token and key.
    pub(crate) fn of(fault: Fault, token: &str) -> Self {
        let token = token.to_owned();
        match fault {
            Fault::Lost(what) => Self::Absent { token, what },
            Fault::Pin(fault) => Self::Pin { token, fault },
            Fault::Unsupported(what) => Self::Unsupported { token, what },
            Fault::Refused(what) => Self::Refused { token, what },
        }
    }

    /// Whether it says something of the token and not of what the token was given: later, or when somebody has seen to
    /// it, the same may go well.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        !matches!(self, Self::Unsupported { .. } | Self::Refused { .. })
    }

    /// What the one who runs the gateway can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Module { .. } => {
                "see that the file is there, is a PKCS#11 module for this machine, and can be read by the service's user"
            }
            Self::Unknown(_) => "write a [[keys.token]] of this name",
            Self::Absent { .. } => {
                "plug it in or start what serves it, and see what \"token\" says in its [[keys.token]]"
            }
            Self::SeveralTokens(_) => "name one by its serial in \"token\" of its [[keys.token]]",
            Self::Pin { fault, .. } => fault.advice(),
            Self::NoKey { .. } => {
                "see which keys it has (pkcs11-tool --login --module MODULE --list-objects), and import the reference anew"
            }
            Self::SeveralKeys { .. } => "name one by its id and import the reference anew",
            Self::Unsupported { .. } => {
                "a key here needs CKA_DECRYPT (RSA) or CKA_DERIVE (EC) to open and CKA_SIGN to sign, without CKA_ALWAYS_AUTHENTICATE, in a token with CKM_RSA_X_509, CKM_ECDH1_DERIVE, CKM_RSA_PKCS or CKM_ECDSA"
            }
            Self::Refused { .. } => {
                "if it stays so with all mail, the key is another than its certificate says"
            }
            Self::Hangs(_) => {
                "see whether its driver, reader or network works; it is tried again with each mail"
            }
            Self::Busy(_) => "raise \"sessions\" in its [[keys.token]], as far as the token can",
        }
    }
}

/// As those hear it who may not know more.
impl From<TokenError> for KeyError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Unsupported { .. } => Self::Unsupported,
            TokenError::Refused { .. } => Self::Failed,
            _ => Self::Unavailable,
        }
    }
}
