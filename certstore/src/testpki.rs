//! Certificates and revocation lists for the tests of this crate.

use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};
use kenin_pki::extension::BasicConstraints;
use kenin_pki::issue::{CertificateBuilder, CrlBuilder};
use kenin_pki::name::{Name, NameBuilder};
use kenin_pki::oid;
use kenin_pki::pem;
use kenin_pki::time::UnixTime;

/// An authority of the tests.
pub(crate) struct Ca {
    pub(crate) certificate: Certificate,
    key: SoftKey,
}

pub(crate) fn name(text: &str) -> Name {
    NameBuilder::default()
        .with(oid::COMMON_NAME, text)
        .build()
        .unwrap()
}

pub(crate) fn ca(common_name: &str) -> Ca {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let certificate = CertificateBuilder::new(name(common_name), key.public_key())
        .serial(&[1])
        .basic_constraints(BasicConstraints {
            ca: true,
            path_len: None,
        })
        .self_signed(&key)
        .unwrap();
    Ca { certificate, key }
}

impl Ca {
    /// A list with this number (none: without one) at this time.
    pub(crate) fn crl(&self, number: Option<u64>, this_update: i64) -> Crl {
        let next = UnixTime(this_update + 1000);
        let mut builder = CrlBuilder::new(UnixTime(this_update), Some(next));
        if let Some(number) = number {
            builder = builder.number(number);
        }
        builder.issued_by(&self.certificate, &self.key).unwrap()
    }

    /// A list by this authority's key that names another's as its own.
    pub(crate) fn crl_naming(&self, other: &Self, number: u64, this_update: i64) -> Crl {
        let next = UnixTime(this_update + 1000);
        CrlBuilder::new(UnixTime(this_update), Some(next))
            .number(number)
            .issued_by(&other.certificate, &self.key)
            .unwrap()
    }

    pub(crate) fn leaf_until(&self, common_name: &str, end: i64) -> Certificate {
        CertificateBuilder::new(name(common_name), self.key.public_key())
            .validity(UnixTime(0), UnixTime(end))
            .issued_by(&self.certificate, &self.key)
            .unwrap()
    }

    /// One with these addresses until then.
    pub(crate) fn leaf_for(&self, common_name: &str, addresses: &[&str], end: i64) -> Certificate {
        let mut builder = CertificateBuilder::new(name(common_name), self.key.public_key())
            .validity(UnixTime(0), UnixTime(end));
        if !addresses.is_empty() {
            builder = builder.mail(addresses);
        }
        builder.issued_by(&self.certificate, &self.key).unwrap()
    }

    pub(crate) fn leaf(&self, common_name: &str, address: &str) -> Certificate {
        CertificateBuilder::new(name(common_name), self.key.public_key())
            .serial(&[2])
            .mail(&[address])
            .issued_by(&self.certificate, &self.key)
            .unwrap()
    }
}

pub(crate) fn pem(certificate: &Certificate) -> String {
    pem::encode("CERTIFICATE", certificate.der())
}

pub(crate) fn pem_crl(crl: &Crl) -> String {
    pem::encode("X509 CRL", crl.der())
}
