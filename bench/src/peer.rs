//! The peer: libcrypto's CMS, in process, from the bytes of the mail to an accepted chain.
//!
//! Its store is built once and kept, as a program that uses it would do; it keeps no verdict.

use std::path::Path;

use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::error::ErrorStack;
use openssl::ssl::SslFiletype;
use openssl::x509::store::{X509Lookup, X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyFlags;

/// libcrypto with one anchor and the revocation lists of its chain.
pub(crate) struct Peer {
    store: X509Store,
}

impl Peer {
    /// Reads the anchor and the CRLs (PEM files) and switches CRL checking on for the whole chain.
    pub(crate) fn new(anchor: &Path, crls: &[std::path::PathBuf]) -> Result<Self, ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        let lookup = store.add_lookup(X509Lookup::file())?;
        lookup.load_cert_file(anchor, SslFiletype::PEM)?;
        for crl in crls {
            lookup.load_crl_file(crl, SslFiletype::PEM)?;
        }
        store.set_flags(X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL)?;
        Ok(Self {
            store: store.build(),
        })
    }

    /// Verifies a mail; `content` is the signed part of a clear-signed one, found beforehand.
    pub(crate) fn verify(&self, mail: &[u8], content: Option<&[u8]>) -> Result<(), ErrorStack> {
        let mut cms = CmsContentInfo::smime_read_cms(mail)?;
        let mut flags = CMSOptions::empty();
        flags.insert(CMSOptions::BINARY);
        let mut out = Vec::new();
        let sink = if content.is_some() {
            None
        } else {
            Some(&mut out)
        };
        cms.verify(None, Some(&self.store), content, sink, flags)
    }
}
