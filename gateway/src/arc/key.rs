//! The RSA key of our seals, and its public half as the domain name system has it (RFC 6376 §3.6.1).

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kenin_pki::crypto::{KeyKind, KeyType, SigningKey as _, SoftKey};
use kenin_pki::pem;
use mail_auth::common::crypto::{Algorithm, RsaKey, Sha256, SigningKey};
use mail_auth::common::headers::Writable;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::config::{Config, ConfigError};
use crate::keyfile;

/// One key, for as many seals as are made at once.
#[derive(Clone)]
pub(super) struct Key {
    rsa: Arc<RsaKey<Sha256>>,
    /// Base64 of its SubjectPublicKeyInfo.
    public: Arc<str>,
}

impl Key {
    /// Reads `[arc] key`.
    pub(super) fn read(config: &Config, path: &Path) -> Result<Self, ConfigError> {
        let wrong = |text: &str| config.mistake("arc.key", format!("{}: {text}", path.display()));
        let hint = "\"kenin init arc\" makes one";
        let bytes = keyfile::read(config, "arc.key", path, hint)?;
        let soft = SoftKey::from_pem_or_der(&bytes)
            .map_err(|error| wrong(&error.to_string()).hint(hint))?;
        if !matches!(soft.public_key().kind(), KeyKind::Rsa { .. }) {
            // RFC 8463 has another; RSA is what every verifier has to know.
            return Err(wrong("is no RSA key").hint(hint));
        }
        Self::new(&soft)
            .ok_or_else(|| wrong("cannot be used; RSA of 2048 to 8192 bits can").hint(hint))
    }

    fn new(soft: &SoftKey) -> Option<Self> {
        let der = soft.to_pkcs8().ok()?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der));
        Some(Self {
            rsa: Arc::new(RsaKey::from_key_der(der).ok()?),
            public: STANDARD.encode(soft.public_key().spki()).into(),
        })
    }

    /// The TXT record.
    pub(super) fn record(&self) -> String {
        record(&self.public)
    }

    /// Whether a TXT record holds its public half.
    pub(super) fn is_in(&self, record: &[u8]) -> bool {
        let text = String::from_utf8_lossy(record);
        text.split(';').any(|tag| {
            let (name, value) = tag.split_once('=').unwrap_or((tag, ""));
            let value: String = value.split_ascii_whitespace().collect();
            name.trim() == "p" && value == *self.public
        })
    }
}

impl SigningKey for Key {
    type Hasher = Sha256;

    fn sign(&self, input: impl Writable) -> mail_auth::Result<Vec<u8>> {
        self.rsa.sign(input)
    }

    fn algorithm(&self) -> Algorithm {
        self.rsa.algorithm()
    }
}

/// The TXT record for the key in this file.
pub(crate) fn record_of(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let soft = SoftKey::from_pem_or_der(&bytes).map_err(|error| error.to_string())?;
    let key = Key::new(&soft).ok_or("is no RSA key of 2048 bits or more")?;
    Ok(key.record())
}

/// Makes a key: its PKCS#8 in PEM and the TXT record of its public half.
pub(crate) fn generate() -> Result<(String, String), String> {
    let told = |error: kenin_pki::crypto::KeyError| error.to_string();
    let key = SoftKey::generate(KeyType::Rsa(2048)).map_err(told)?;
    let text = pem::encode("PRIVATE KEY", &key.to_pkcs8().map_err(told)?);
    Ok((text, record(&STANDARD.encode(key.public_key().spki()))))
}

fn record(public: &str) -> String {
    format!("v=DKIM1; k=rsa; p={public}")
}
