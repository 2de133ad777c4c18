//! What the tests of this crate share.

use kenin_pki::Address;
use kenin_pki::crypto::{KeyType, Secret, SigningKey, SoftKey};

use crate::kek::WorkFactor;
use crate::key::{KeyFacts, KeyId, State, Uses};

/// As little work as Argon2 can do.
pub(crate) const CHEAP: WorkFactor = WorkFactor {
    memory_kib: 8,
    passes: 1,
    lanes: 1,
};

pub(crate) fn secret(octets: &[u8]) -> Secret {
    Secret::new(octets.to_vec())
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A new key, and its PKCS#8.
pub(crate) fn generated() -> (SoftKey, Secret) {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let pkcs8 = Secret::new(key.to_pkcs8().unwrap());
    (key, pkcs8)
}

/// Facts of a key of alice@example.com's.
pub(crate) fn facts(key: &SoftKey) -> KeyFacts {
    KeyFacts {
        id: KeyId::random().unwrap(),
        tenant: "default".to_owned(),
        version: 1,
        state: State::Active,
        uses: Uses {
            decrypt: true,
            sign: true,
        },
        addresses: vec![address("alice@example.com")],
        public: key.public_key().clone(),
        certificates: Vec::new(),
    }
}

/// The same numbers each time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}
