//! Making time stamp tokens (RFC 3161 §2.4.2), right and wrong ones.

use crate::certificate::Certificate;
use crate::crl::Crl;
use crate::crypto::{DigestAlgorithm, KeyError, SigningKey};
use crate::der::{GENERALIZED_TIME, INTEGER, write};
use crate::oid;
use crate::time::UnixTime;

/// Makes a TimeStampToken: a ContentInfo with a SignedData around a TSTInfo. Without further words its accuracy
/// is a second, it brings the certificate of its authority, and names it in signing-certificate-v2.
#[derive(Clone, Debug)]
pub struct TimeStampBuilder {
    info: Vec<u8>,
    content_type: String,
    names: Named,
    certificates: Vec<Certificate>,
    crls: Vec<Crl>,
    signers: usize,
}

/// What the ESS attribute names.
#[derive(Clone, Debug)]
enum Named {
    Signer,
    Other(Certificate),
    Nobody,
}

impl TimeStampBuilder {
    /// A token that says: these octets were there at `time`.
    #[must_use]
    pub fn new(octets: &[u8], time: UnixTime) -> Self {
        let digest = DigestAlgorithm::Sha256;
        let imprint = write::seq(&[
            write::seq(&[write::oid(digest.oid())]),
            write::octet_string(digest.digest(octets).as_ref()),
        ]);
        let (year, month, day, hour, minute, second) = time.civil();
        let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
        let info = write::seq(&[
            write::integer(1),
            write::oid("1.3.6.1.4.1.99999.1"),
            imprint,
            write::integer(1),
            write::element(GENERALIZED_TIME, text.as_bytes()),
            write::seq(&[write::integer(1)]),
        ]);
        Self::around(info)
    }

    /// A token around any content.
    #[must_use]
    pub fn around(info: Vec<u8>) -> Self {
        Self {
            info,
            content_type: TST_INFO.to_owned(),
            names: Named::Signer,
            certificates: Vec::new(),
            crls: Vec::new(),
            signers: 1,
        }
    }

    /// Another eContentType, also in the content-type attribute.
    #[must_use]
    pub fn content_type(mut self, oid: &str) -> Self {
        oid.clone_into(&mut self.content_type);
        self
    }

    /// The ESS attribute names another certificate, or there is none.
    #[must_use]
    pub fn naming(mut self, certificate: Option<&Certificate>) -> Self {
        self.names = certificate.map_or(Named::Nobody, |other| Named::Other(other.clone()));
        self
    }

    /// A further certificate that comes along.
    #[must_use]
    pub fn certificate(mut self, certificate: &Certificate) -> Self {
        self.certificates.push(certificate.clone());
        self
    }

    /// A list that comes along.
    #[must_use]
    pub fn crl(mut self, crl: &Crl) -> Self {
        self.crls.push(crl.clone());
        self
    }

    /// So many SignerInfos, all alike.
    #[must_use]
    pub const fn signers(mut self, signers: usize) -> Self {
        self.signers = signers;
        self
    }

    /// Signs as the authority that the certificate is of.
    ///
    /// # Errors
    /// What the key could not do.
    pub fn signed_by(
        self,
        certificate: &Certificate,
        key: &dyn SigningKey,
    ) -> Result<Vec<u8>, KeyError> {
        let algorithm = key.default_algorithm();
        let digest = algorithm.digest();
        let identifier = write::seq(&[write::oid(digest.oid())]);
        let attribute =
            |oid: &str, value: Vec<u8>| write::seq(&[write::oid(oid), write::set_of(&[value])]);
        let mut attributes = vec![
            attribute(CONTENT_TYPE, write::oid(self.content_type.as_str())),
            attribute(
                MESSAGE_DIGEST,
                write::octet_string(digest.digest(&self.info).as_ref()),
            ),
        ];
        let named = match &self.names {
            Named::Signer => Some(certificate),
            Named::Other(other) => Some(other),
            Named::Nobody => None,
        };
        if let Some(named) = named {
            // SHA-256 is the default hash of an ESSCertIDv2 and is left out.
            let id = write::seq(&[write::octet_string(named.sha256())]);
            let value = write::seq(&[write::seq(&[id])]);
            attributes.push(attribute(SIGNING_CERTIFICATE_V2, value));
        }
        let signature = key.sign(algorithm, &write::set_of(&attributes))?;
        let signer = write::seq(&[
            write::integer(1),
            write::seq(&[
                certificate.issuer().der().to_vec(),
                write::element(INTEGER, certificate.serial()),
            ]),
            identifier.clone(),
            write::element(0xa0, &write::set_of_content(&attributes)),
            algorithm.to_identifier().to_der(),
            write::octet_string(&signature),
        ]);
        let mut bag = vec![certificate.der()];
        bag.extend(self.certificates.iter().map(Certificate::der));
        let mut fields = vec![
            write::integer(3),
            write::set_of(&[identifier]),
            write::seq(&[
                write::oid(self.content_type.as_str()),
                write::explicit(0, &write::octet_string(&self.info)),
            ]),
            write::element(0xa0, &write::set_of_content(&bag)),
        ];
        if !self.crls.is_empty() {
            let lists: Vec<&[u8]> = self.crls.iter().map(Crl::der).collect();
            fields.push(write::element(0xa1, &write::set_of_content(&lists)));
        }
        fields.push(write::set_of(&vec![signer; self.signers]));
        Ok(write::seq(&[
            write::oid(oid::CMS_SIGNED_DATA),
            write::explicit(0, &write::seq(&fields)),
        ]))
    }
}

/// id-ct-TSTInfo.
const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";
const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
const SIGNING_CERTIFICATE_V2: &str = "1.2.840.113549.1.9.16.2.47";
