//! Object identifiers of CMS that pki does not need (RFC 5652, 3161, 3274, 5083, 5035, 5940, 6211, 9629).

use kenin_pki::oid::Oid;

/// An identifier as the content octets of its encoding; compares with [`Oid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known(&'static [u8]);

impl Known {
    /// The content octets.
    pub(crate) const fn content(self) -> &'static [u8] {
        self.0
    }
}

impl PartialEq<Oid<'_>> for Known {
    fn eq(&self, other: &Oid<'_>) -> bool {
        self.0 == other.content()
    }
}

/// 1.3.6.1.5.5.7.16.2: an OCSP response beside the CRLs (RFC 5940 §2.1)
pub(crate) const OCSP_RESPONSE: Known = Known(&[0x2b, 6, 1, 5, 5, 7, 16, 2]);
/// 1.2.840.113549.1.7.1
pub(crate) const DATA: Known = Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1]);
/// 1.2.840.113549.1.7.2
pub(crate) const SIGNED_DATA: Known = Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2]);
/// 1.2.840.113549.1.7.3
pub(crate) const ENVELOPED_DATA: Known = Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 3]);
/// 1.2.840.113549.1.7.4 (PKCS #7 only)
pub(crate) const SIGNED_AND_ENVELOPED_DATA: Known =
    Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 4]);
/// 1.2.840.113549.1.7.5
pub(crate) const DIGESTED_DATA: Known = Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 5]);
/// 1.2.840.113549.1.7.6
pub(crate) const ENCRYPTED_DATA: Known = Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6]);
/// 1.2.840.113549.1.9.16.1.2
pub(crate) const AUTHENTICATED_DATA: Known =
    Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 2]);
/// 1.2.840.113549.1.9.16.1.4 (RFC 3161)
pub(crate) const TST_INFO: Known = Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 4]);
/// 1.2.840.113549.1.9.16.1.9
pub(crate) const COMPRESSED_DATA: Known =
    Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 9]);
/// 1.2.840.113549.1.9.16.1.23
pub(crate) const AUTH_ENVELOPED_DATA: Known =
    Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 23]);
/// 1.2.840.113549.1.9.3
pub(crate) const CONTENT_TYPE: Known = Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3]);
/// 1.2.840.113549.1.9.4
pub(crate) const MESSAGE_DIGEST: Known = Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4]);
/// 1.2.840.113549.1.9.5
pub(crate) const SIGNING_TIME: Known = Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 5]);
/// 1.2.840.113549.1.9.15 (RFC 8551 §2.5.2)
pub(crate) const SMIME_CAPABILITIES: Known = Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 15]);
/// 1.2.840.113549.1.9.52 (RFC 6211)
pub(crate) const ALGORITHM_PROTECTION: Known =
    Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 52]);
/// 1.2.840.113549.1.9.16.2.12 (RFC 2634)
pub(crate) const SIGNING_CERTIFICATE: Known =
    Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 12]);
/// 1.2.840.113549.1.9.16.2.14 (RFC 3161)
pub(crate) const TIME_STAMP_TOKEN: Known =
    Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 14]);
/// 1.2.840.113549.1.9.16.2.47 (RFC 5035)
pub(crate) const SIGNING_CERTIFICATE_V2: Known =
    Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 47]);
/// 1.2.840.113549.1.9.16.3.8: zlib (RFC 3274 §2)
pub(crate) const ZLIB: Known = Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 3, 8]);
/// 1.2.840.113549.1.9.16.13.3: a recipient whose key encapsulates (RFC 9629 §3)
pub(crate) const ORI_KEM: Known = Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 13, 3]);
/// 1.2.840.113549.2.2
pub(crate) const MD2: Known = Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 2]);
/// 1.2.840.113549.2.4
pub(crate) const MD4: Known = Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 4]);
/// 1.2.840.113549.2.5
pub(crate) const MD5: Known = Known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 5]);
