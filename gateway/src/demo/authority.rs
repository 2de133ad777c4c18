//! J-SIM, a simulated authority: a root, an intermediate, their revocation lists, and people with keys.
//! For demonstrations and tests only; every key lives in memory and is worth nothing.

use std::io;
use std::path::Path;

use kenin_pki::certificate::Certificate;
use kenin_pki::crl::{Crl, RevocationReason};
use kenin_pki::crypto::{KeyError, KeyType, SigningKey, SoftKey};
use kenin_pki::der::DerError;
use kenin_pki::extension::{BasicConstraints, KeyUsage};
use kenin_pki::issue::{CertificateBuilder, CrlBuilder};
use kenin_pki::name::{Name, NameBuilder};
use kenin_pki::time::UnixTime;
use kenin_pki::{oid, pem};

/// Why nothing could be issued.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// No key could be made or used.
    #[error("cannot issue: {0}")]
    Key(#[from] KeyError),
    /// A name cannot be written.
    #[error("cannot write a name: {0}")]
    Name(#[from] DerError),
}

/// Somebody with a key and a certificate of it.
pub struct Holder {
    /// The private key.
    pub key: SoftKey,
    /// The certificate.
    pub certificate: Certificate,
}

/// An authority of two levels.
pub struct Authority {
    /// The root: the trust anchor, where it is trusted.
    pub root: Holder,
    /// The intermediate: it issues people's certificates.
    pub intermediate: Holder,
    now: UnixTime,
    serial: u64,
    revoked: Vec<Vec<u8>>,
}

/// What is special about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Term {
    /// Valid from a month ago for a year.
    #[default]
    Valid,
    /// Ended a week ago.
    Expired,
    /// Begins in a week.
    Future,
}

impl Authority {
    /// A new authority with the organisation's name in its certificates.
    pub fn new(organization: &str, kind: KeyType, now: UnixTime) -> Result<Self, AuthorityError> {
        let root_key = SoftKey::generate(kind)?;
        let intermediate_key = SoftKey::generate(kind)?;
        let ca = |name: Name, key: &SoftKey, serial: u64, path_len| {
            CertificateBuilder::new(name, key.public_key())
                .serial(&serial.to_be_bytes())
                .validity(ago(now, 365), ago(now, -3650))
                .basic_constraints(BasicConstraints { ca: true, path_len })
                .key_usage(KeyUsage::KEY_CERT_SIGN | KeyUsage::CRL_SIGN)
        };
        let root_name = name(organization, &format!("{organization} Root CA"))?;
        let root = ca(root_name, &root_key, 1, None).self_signed(&root_key)?;
        let intermediate_name = name(organization, &format!("{organization} Mail CA"))?;
        let intermediate =
            ca(intermediate_name, &intermediate_key, 2, Some(0)).issued_by(&root, &root_key)?;
        Ok(Self {
            root: Holder {
                key: root_key,
                certificate: root,
            },
            intermediate: Holder {
                key: intermediate_key,
                certificate: intermediate,
            },
            now,
            serial: 0x1000,
            revoked: Vec::new(),
        })
    }

    /// A new key and its certificate for a mail address.
    pub fn issue(
        &mut self,
        common_name: &str,
        address: &str,
        kind: KeyType,
        term: Term,
    ) -> Result<Holder, AuthorityError> {
        let key = SoftKey::generate(kind)?;
        let certificate = self.certify(common_name, address, &key, term)?;
        Ok(Holder { key, certificate })
    }

    /// A certificate of an existing key for a mail address.
    pub fn certify(
        &mut self,
        common_name: &str,
        address: &str,
        key: &SoftKey,
        term: Term,
    ) -> Result<Certificate, AuthorityError> {
        let signs = KeyUsage::DIGITAL_SIGNATURE | KeyUsage::NON_REPUDIATION;
        self.certify_for(common_name, address, key, term, signs)
    }

    /// A certificate of an existing key for a mail address, with the bits of KeyUsage that say what the key is for.
    pub fn certify_for(
        &mut self,
        common_name: &str,
        address: &str,
        key: &SoftKey,
        term: Term,
        usage: u16,
    ) -> Result<Certificate, AuthorityError> {
        self.serial = self.serial.saturating_add(1);
        let (begin, end) = match term {
            Term::Valid => (ago(self.now, 30), ago(self.now, -335)),
            Term::Expired => (ago(self.now, 372), ago(self.now, 7)),
            Term::Future => (ago(self.now, -7), ago(self.now, -372)),
        };
        Ok(
            CertificateBuilder::new(name("Demo", common_name)?, key.public_key())
                .serial(&self.serial.to_be_bytes())
                .validity(begin, end)
                .basic_constraints(BasicConstraints::default())
                .key_usage(usage)
                .ext_key_usage(&[oid::EMAIL_PROTECTION])
                .mail(&[address])
                .issued_by(&self.intermediate.certificate, &self.intermediate.key)?,
        )
    }

    /// Puts a certificate on the next revocation list.
    pub fn revoke(&mut self, certificate: &Certificate) {
        self.revoked.push(certificate.serial().to_vec());
    }

    /// The present revocation lists: of the root and of the intermediate.
    pub fn crls(&self) -> Result<[Crl; 2], AuthorityError> {
        let list = || CrlBuilder::new(ago(self.now, 1), Some(ago(self.now, -30))).number(1);
        let root = list().issued_by(&self.root.certificate, &self.root.key)?;
        let revoked = self.revoked.iter().fold(list(), |list, serial| {
            list.revoke(serial, ago(self.now, 2), RevocationReason::KeyCompromise)
        });
        Ok([
            root,
            revoked.issued_by(&self.intermediate.certificate, &self.intermediate.key)?,
        ])
    }

    /// The certificates a signer sends along with its own.
    pub fn chain(&self) -> Vec<Certificate> {
        vec![self.intermediate.certificate.clone()]
    }

    /// Writes `anchors/root.pem`, `intermediates/intermediate.pem` and both lists in `crls/`.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let certificate = |c: &Certificate| pem::encode("CERTIFICATE", c.der());
        write(
            folder,
            "anchors/root.pem",
            &certificate(&self.root.certificate),
        )?;
        write(
            folder,
            "intermediates/intermediate.pem",
            &certificate(&self.intermediate.certificate),
        )?;
        let crls = self.crls().map_err(io::Error::other)?;
        for (name, crl) in ["root", "intermediate"].iter().zip(&crls) {
            write(
                folder,
                &format!("crls/{name}.pem"),
                &pem::encode("X509 CRL", crl.der()),
            )?;
        }
        Ok(())
    }
}

fn write(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, text)
}

fn name(organization: &str, common_name: &str) -> Result<Name, DerError> {
    NameBuilder::default()
        .with(oid::COUNTRY, "JP")
        .with(oid::ORGANIZATION, organization)
        .with(oid::COMMON_NAME, common_name)
        .build()
}

/// So many days before `now`; after it, if negative.
fn ago(now: UnixTime, days: i64) -> UnixTime {
    UnixTime(now.0.saturating_sub(days.saturating_mul(86_400)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenin_pki::path::{
        Budget, PathErrorKind, PathRules, StatusSources, TrustAnchor, find_path,
    };

    #[test]
    fn people_have_paths_unless_revoked_or_expired() {
        let now = UnixTime(1_790_000_000);
        let mut authority = Authority::new("J-SIM", KeyType::P256, now).unwrap();
        let good = authority
            .issue("Good", "good@example.jp", KeyType::P256, Term::Valid)
            .unwrap();
        let bad = authority
            .issue("Bad", "bad@example.jp", KeyType::P256, Term::Valid)
            .unwrap();
        let old = authority
            .certify("Old", "old@example.jp", &good.key, Term::Expired)
            .unwrap();
        authority.revoke(&bad.certificate);
        let anchors = [TrustAnchor::from_certificate(
            authority.root.certificate.clone(),
        )];
        let find = |certificate: &Certificate| {
            let mut budget = Budget::default();
            let crls = authority.crls().unwrap();
            let rules = PathRules::new(now);
            find_path(
                certificate,
                &authority.chain(),
                &anchors,
                StatusSources::lists(&crls),
                &rules,
                &mut budget,
            )
        };
        assert!(find(&good.certificate).is_ok());
        assert!(matches!(
            find(&bad.certificate).unwrap_err().kind(),
            PathErrorKind::Revoked { .. }
        ));
        assert!(matches!(
            find(&old).unwrap_err().kind(),
            PathErrorKind::Expired
        ));
        let addresses = good.certificate.addresses().unwrap();
        assert_eq!(addresses[0].to_string(), "good@example.jp");
    }
}
