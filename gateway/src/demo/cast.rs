//! The people of the demo: one authority the gateway trusts, one it does not, and who signs by which.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{DigestAlgorithm, KeyType, SignatureAlgorithm, SigningKey};
use kenin_pki::pem;
use kenin_pki::time::UnixTime;
use kenin_smime::sign::{Form, SignError, Signer};

use super::authority::{Authority, AuthorityError, Holder, Term};

/// Everybody who signs in the demo.
pub struct Cast {
    /// The authority that the gateway trusts.
    pub authority: Authority,
    /// Signs with RSA.
    pub alice: Holder,
    /// Signs with P-256.
    pub bob: Holder,
    /// Has a certificate that was revoked.
    pub mallory: Holder,
    /// Has a certificate that has expired.
    pub olga: Holder,
    /// Has a certificate by an authority that nobody knows.
    pub stranger: Holder,
    now: UnixTime,
    stranger_chain: Vec<Certificate>,
}

/// Alice's address.
pub const ALICE: &str = "alice@demo.example";
/// Bob's address.
pub const BOB: &str = "bob@demo.example";
/// The address on the revoked certificate.
pub const MALLORY: &str = "mallory@demo.example";
/// The address on the expired certificate.
pub const OLGA: &str = "olga@demo.example";
/// The address on the certificate by an unknown authority.
pub const STRANGER: &str = "stranger@demo.example";
/// Who gets the mail.
pub const CAROL: &str = "carol@recipient.example";
/// Who gets mail only if its signature is right.
pub const STRICT: &str = "dave@strict.example";
/// Gets signed mail wrapped.
pub const WRAPPED: &str = "erika@people.example";

/// RSA PKCS #1 v1.5 with SHA-256.
pub const RSA: SignatureAlgorithm = SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256);
/// RSA PKCS #1 v1.5 with SHA-512.
pub const RSA_512: SignatureAlgorithm = SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha512);
/// RSA-PSS with SHA-256.
pub const PSS: SignatureAlgorithm = SignatureAlgorithm::RsaPss {
    digest: DigestAlgorithm::Sha256,
    mgf: DigestAlgorithm::Sha256,
    salt_len: 32,
};
/// ECDSA with SHA-256.
pub const ECDSA: SignatureAlgorithm = SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256);

impl Cast {
    /// Makes all keys and certificates.
    pub fn new(now: UnixTime) -> Result<Self, AuthorityError> {
        // RSA keys take the time: only where the demo shows RSA.
        let mut authority = Authority::new("J-SIM", KeyType::Rsa(2048), now)?;
        let mut other = Authority::new("Unknown", KeyType::P256, now)?;
        let alice = authority.issue("Alice", ALICE, KeyType::Rsa(2048), Term::Valid)?;
        let bob = authority.issue("Bob", BOB, KeyType::P256, Term::Valid)?;
        let mallory = authority.issue("Mallory", MALLORY, KeyType::P256, Term::Valid)?;
        let olga = authority.issue("Olga", OLGA, KeyType::P256, Term::Expired)?;
        let stranger = other.issue("Stranger", STRANGER, KeyType::P256, Term::Valid)?;
        authority.revoke(&mallory.certificate);
        let stranger_chain = other.chain();
        Ok(Self {
            authority,
            alice,
            bob,
            mallory,
            olga,
            stranger,
            now,
            stranger_chain,
        })
    }

    /// A signed entity by an algorithm: its header from `MIME-Version` on, empty line, body.
    pub fn sign(
        &self,
        who: &Holder,
        algorithm: SignatureAlgorithm,
        entity: &[u8],
        form: Form,
    ) -> Result<Vec<u8>, SignError> {
        let chain = self.chain(who);
        self.signer(who, algorithm, &chain).sign(entity, form)
    }

    /// A bare SignedData with its content inside.
    pub fn sign_cms(
        &self,
        who: &Holder,
        algorithm: SignatureAlgorithm,
        content: &[u8],
    ) -> Result<Vec<u8>, SignError> {
        let chain = self.chain(who);
        self.signer(who, algorithm, &chain).sign_cms(content, false)
    }

    /// Writes everybody's certificate and key (readable by the owner only) to `folder`.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        for (name, who) in [
            ("alice", &self.alice),
            ("bob", &self.bob),
            ("mallory", &self.mallory),
        ] {
            let certificate = pem::encode("CERTIFICATE", who.certificate.der());
            std::fs::write(folder.join(format!("{name}.pem")), certificate)?;
            let key = who.key.to_pkcs8().map_err(io::Error::other)?;
            write_private(
                &folder.join(format!("{name}.key")),
                pem::encode("PRIVATE KEY", &key).as_bytes(),
            )?;
        }
        Ok(())
    }

    fn chain(&self, who: &Holder) -> Vec<Certificate> {
        if who.certificate == self.stranger.certificate {
            self.stranger_chain.clone()
        } else {
            self.authority.chain()
        }
    }

    fn signer<'a>(
        &self,
        who: &'a Holder,
        algorithm: SignatureAlgorithm,
        chain: &'a [Certificate],
    ) -> Signer<'a> {
        let key: &dyn SigningKey = &who.key;
        Signer {
            key,
            certificate: &who.certificate,
            chain,
            digest: algorithm.digest(),
            algorithm,
            signing_time: Some(self.now),
            capabilities: &[],
        }
    }
}

/// Writes a file that only its owner can read.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut open = std::fs::OpenOptions::new();
    open.write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?
        .write_all(bytes)
}
