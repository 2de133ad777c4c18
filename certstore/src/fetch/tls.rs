//! TLS settings of the fetcher: https is only ever spoken with a checked certificate.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// A client that wants a certificate for the name it asks for, under one of the authorities in `ca`
/// (PEM), or under the public ones that Mozilla knows.
///
/// # Errors
///
/// When `ca` cannot be read, or no certificate is usable.
pub fn tls_client(ca: Option<&[u8]>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.map_err(|_| TlsError::Certificate)?)?;
            }
        }
        // One that rustls cannot read is one authority fewer, and no reason to fetch nothing.
        None => {
            roots.add_parsable_certificates(TLS_SERVER_ROOT_CERTS.iter().cloned());
        }
    }
    if roots.is_empty() {
        return Err(TlsError::Certificate);
    }
    // Named explicitly: a process-wide default could be missing, or another.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// TLS settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate, or PEM that cannot be read.
    #[error("no readable certificate in the PEM file; name a file of the web server's authorities")]
    Certificate,
    /// rustls refuses them.
    #[error("unusable TLS settings: {0}; replace the certificate it names")]
    Refused(#[from] rustls::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_need_a_certificate() {
        assert!(tls_client(None).is_ok());
        let made = rcgen::generate_simple_self_signed(vec!["ca.example".to_owned()]).unwrap();
        assert!(tls_client(Some(made.cert.pem().as_bytes())).is_ok());
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        for text in ["", "hello", broken] {
            let error = tls_client(Some(text.as_bytes())).unwrap_err();
            assert!(matches!(error, TlsError::Certificate), "{text} {error}");
        }
        let empty = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let error = tls_client(Some(empty.as_bytes())).unwrap_err();
        assert!(matches!(error, TlsError::Refused(_)), "{error}");
    }
}
