//! A key-encryption key that a token guards: what stands in its file.
//!
//! The 32 octets are sealed by AES-256-GCM under a key of their own, and that one is wrapped for a key pair in a token as a
//! content-encryption key is for a reader of mail: by RSAES-OAEP with SHA-256
//! (<https://www.rfc-editor.org/rfc/rfc8017#section-7.1>), or by Diffie-Hellman with a key that is made for it, HKDF with
//! SHA-256 and AES-256 key wrap. The rest of the file is authenticated with it. So the file is worth nothing to who has not
//! got the token and its PIN; and nothing in it says which module is loaded, or which token is asked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use kenin_pki::crypto::{
    Aes, DigestAlgorithm, Kdf, KeyKind, KeyWrap, OaepParameters, PublicKey, Secret, Weakness,
    Wrapped, Wrapping, framed,
};

use crate::kek::{KEY_LEN, Unlock, sealer};
use crate::octets::{Malformed, Reader, Writer};
use crate::sealed::SealError;
use crate::token::{KeyFault, Reference, TokenError, Tokens};

/// A key-encryption key that only a token opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardedKey {
    /// Of the key pair in the token.
    public: PublicKey,
    /// The key that the key-encryption key is sealed under, wrapped.
    wrapped_key: Vec<u8>,
    /// The public key that was made for it, where that is how it is wrapped.
    peer: Vec<u8>,
    sealed: Vec<u8>,
}

impl GuardedKey {
    /// Makes a key-encryption key that nobody has seen, for a key pair in a token. The token is asked to open it before it
    /// is given away.
    ///
    /// # Errors
    /// [`GuardError`].
    pub fn make(tokens: &Tokens, at: &Reference) -> Result<Self, GuardError> {
        let public = tokens.public(at)?;
        let key = Secret::random(KEY_LEN).map_err(|_| GuardError::Failed)?;
        let made = Self::seal(&public, &key)?;
        match made.open(tokens, at)? {
            Unlock::Key(opened) if opened == key => Ok(made),
            _ => Err(GuardError::OtherKey),
        }
    }

    /// The key-encryption key.
    ///
    /// # Errors
    /// [`GuardError`].
    pub fn open(&self, tokens: &Tokens, at: &Reference) -> Result<Unlock, GuardError> {
        let shown = match tokens.public(at) {
            // What is made for one kind is not given to another: some modules do not bear that.
            Ok(shown) if shown.kind() != self.public.kind() => return Err(GuardError::OtherKey),
            Ok(shown) => Some(shown),
            // Not every token shows it.
            Err(TokenError::Unsupported { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let key = tokens.key(at, self.public.clone())?;
        let own = key.unwrap(&self.wrapped(), KEY_LEN);
        let opened = own
            .map_err(GuardError::from)
            .and_then(|own| self.unseal(&own));
        opened.map_err(|error| match shown {
            // What a token says to what was made for another key may be anything.
            Some(shown) if shown.id() != self.public.id() => GuardError::OtherKey,
            _ => error,
        })
    }

    /// Seals a key-encryption key for the holder of a public key.
    pub(crate) fn seal(public: &PublicKey, key: &Secret) -> Result<Self, GuardError> {
        let wrapping = wrapping(public).ok_or(GuardError::Kind)?;
        if let Some(weakness) = public.weakness() {
            return Err(GuardError::Weak(weakness));
        }
        let own = Secret::random(KEY_LEN).map_err(|_| GuardError::Failed)?;
        let wrapped = Wrapped::wrap(wrapping, public, &own).map_err(|_| GuardError::Failed)?;
        let mut made = Self {
            public: public.clone(),
            wrapped_key: wrapped.encrypted_key,
            peer: wrapped.peer,
            sealed: Vec::new(),
        };
        let sealer = sealer(&own).map_err(|_| GuardError::Failed)?;
        let sealed = sealer.seal(&made.aad(), key.expose());
        made.sealed = sealed.ok_or(GuardError::Failed)?;
        Ok(made)
    }

    /// With the key that was wrapped.
    fn unseal(&self, own: &Secret) -> Result<Unlock, GuardError> {
        let sealer = sealer(own).map_err(|_| GuardError::Changed)?;
        let key = sealer.open(&self.aad(), &self.sealed);
        let key = Secret::new(key.ok_or(GuardError::Changed)?);
        match key.len() {
            KEY_LEN => Ok(Unlock::Key(key)),
            _ => Err(GuardError::Changed),
        }
    }

    fn wrapped(&self) -> Wrapped {
        let oaep = || Wrapping::RsaOaep(OaepParameters::new(DigestAlgorithm::Sha256));
        Wrapped {
            wrapping: wrapping(&self.public).unwrap_or_else(oaep),
            encrypted_key: self.wrapped_key.clone(),
            peer: self.peer.clone(),
        }
    }

    /// All that stands beside the sealed octets.
    fn aad(&self) -> Vec<u8> {
        let public = self.public.spki();
        framed(&[MAGIC, &[FORMAT], public, &self.wrapped_key, &self.peer])
    }

    /// The file's content.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer
            .fixed(MAGIC)
            .u8(FORMAT)
            .octets(self.public.spki())
            .octets(&self.wrapped_key)
            .octets(&self.peer)
            .octets(&self.sealed);
        writer.finish()
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// [`SealError::Malformed`] where it is none, [`SealError::Format`] where a later version wrote it.
    pub fn from_octets(octets: &[u8]) -> Result<Self, SealError> {
        let mut reader = Reader::new(octets);
        if reader.fixed()? != *MAGIC {
            return Err(Malformed("no key-encryption key that a token guards").into());
        }
        match reader.u8()? {
            FORMAT => {}
            other => return Err(SealError::Format(other)),
        }
        let public = PublicKey::from_spki(reader.octets(MAX_PUBLIC)?);
        let read = Self {
            public: public.map_err(|_| NO_KEY)?,
            wrapped_key: reader.octets(MAX_WRAPPED)?.to_vec(),
            peer: reader.octets(MAX_PEER)?.to_vec(),
            sealed: reader.octets(MAX_SEALED)?.to_vec(),
        };
        reader.finish()?;
        match wrapping(&read.public) {
            Some(_) => Ok(read),
            None => Err(NO_KEY.into()),
        }
    }

    /// Writes it into a new file that is for its owner alone, and brings that to the disk. A file that is there stays as
    /// it is: what was sealed under the key in it would be lost.
    ///
    /// # Errors
    /// Where there is one already, and where it cannot be written.
    pub fn write_new(&self, path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(path)?;
        let written = file
            .write_all(&self.to_octets())
            .and_then(|()| file.sync_all())
            .and_then(|()| sync_folder(path));
        written.inspect_err(|_| {
            // Half a file would be in the way of the next try.
            let _ = fs::remove_file(path);
        })
    }
}

/// Why a token does not open a key-encryption key, or guards none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// The token says no, or nothing.
    #[error(transparent)]
    Token(TokenError),
    /// The token did its part, and what came out is not what was made.
    #[error("it was changed after it was made, or for another key than the one in the token")]
    Changed,
    /// The key in the token is another.
    #[error("it was made for another key than the one in the token")]
    OtherKey,
    /// A key of this kind guards nothing.
    #[error("a key of this kind guards nothing: RSA, P-256, P-384 and P-521 do")]
    Kind,
    /// The key in the token should not be used.
    #[error("the key in the token is too weak: {0}")]
    Weak(Weakness),
    /// The library failed, or there is no randomness.
    #[error("the cryptographic library failed")]
    Failed,
}

impl GuardError {
    /// Whether the token is away, or does not answer: another time it may go well. What it says to a PIN is not of that
    /// kind: who tries that again and again locks the token.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        matches!(
            self,
            Self::Token(TokenError::Absent { .. } | TokenError::Hangs(_) | TokenError::Busy(_))
        )
    }

    /// What the one who runs the gateway can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Token(TokenError::NoKey { .. } | TokenError::SeveralKeys { .. }) => {
                "see which keys the token has (pkcs11-tool --login --module MODULE --list-objects), and name one by its id in \"token_key\""
            }
            Self::Token(error) => error.advice(),
            Self::Changed => {
                "restore the file from a backup, and see which key \"token_key\" names"
            }
            Self::OtherKey => "see which token and which key in it \"token_key\" names",
            Self::Kind | Self::Weak(_) => "make another key pair in the token",
            Self::Failed => "try again; if it stays so, this is a mistake of ours",
        }
    }
}

impl From<TokenError> for GuardError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Refused { .. } => Self::Changed,
            _ => Self::Token(error),
        }
    }
}

impl From<KeyFault> for GuardError {
    fn from(fault: KeyFault) -> Self {
        match fault {
            KeyFault::Token(error) => error.into(),
            KeyFault::Kind => Self::Kind,
            // The peer's key stands in the file.
            KeyFault::Peer | KeyFault::NotItsHalf => Self::Changed,
        }
    }
}

/// How something is wrapped for a public key; nothing for keys that are not asked for.
fn wrapping(public: &PublicKey) -> Option<Wrapping> {
    let digest = DigestAlgorithm::Sha256;
    match public.kind() {
        KeyKind::Rsa { .. } => Some(Wrapping::RsaOaep(OaepParameters::new(digest))),
        KeyKind::Ec(_) => Some(Wrapping::Agreement {
            kdf: Kdf::Hkdf(digest),
            wrap: KeyWrap::Aes(Aes::Bits256),
            shared_info: framed(&[INFO, public.spki()]),
        }),
        _ => None,
    }
}

/// Brings the name of a new file to the disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|one| !one.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Octets of a SubjectPublicKeyInfo: those of RSA with 8192 bits are some 1,100.
const MAX_PUBLIC: usize = 1536;
const MAX_WRAPPED: usize = 1024;
/// Octets of a point of P-521, and more.
const MAX_PEER: usize = 256;
const MAX_SEALED: usize = 128;
const MAGIC: &[u8; 8] = b"kenin-G\n";
const FORMAT: u8 = 1;
const INFO: &[u8] = b"kenin: key-encryption key that a token guards";
const NO_KEY: Malformed = Malformed("no public key that a token guards with");

#[cfg(test)]
mod tests;
