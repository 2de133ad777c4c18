//! Files that hold certificates and CRLs: DER, PEM with any number of blocks, or a PKCS#7 that has only
//! certificates (RFC 5652 §5.1, in DER or BER).

use crate::ber::{Limits, Tag, Tape};
use crate::crl::{Crl, CrlError};
use crate::der::{OBJECT_IDENTIFIER, Reader, SEQUENCE};
use crate::oid;
use crate::pem;

use super::{Certificate, CertificateError};

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    /// Certificates in order.
    pub certificates: Vec<Certificate>,
    /// CRLs in order.
    pub crls: Vec<Crl>,
}

impl Bundle {
    /// Reads a file of certificates and CRLs. PEM blocks of other kinds are passed over; one that says it is
    /// a certificate or CRL and is not is an error.
    pub fn read(bytes: &[u8]) -> Result<Self, CertificateError> {
        let mut bundle = Self::default();
        let blocks = pem::decode(bytes)?;
        for block in &blocks {
            match block.label.as_str() {
                "CERTIFICATE" | "X509 CERTIFICATE" => {
                    bundle
                        .certificates
                        .push(Certificate::from_der(&block.bytes)?);
                }
                "X509 CRL" | "CRL" => bundle.crls.push(crl(&block.bytes)?),
                "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => bundle.signed_data(&block.bytes)?,
                _ => {}
            }
        }
        if blocks.is_empty() {
            bundle.binary(bytes)?;
        }
        Ok(bundle)
    }

    fn binary(&mut self, bytes: &[u8]) -> Result<(), CertificateError> {
        // A file of several certificates one after the other is read as such.
        let mut rest = Reader::new(bytes);
        let Ok(first) = rest.element(SEQUENCE) else {
            return self.signed_data(bytes);
        };
        if first.reader().peek() == Some(OBJECT_IDENTIFIER) {
            return self.signed_data(bytes);
        }
        let mut next = Some(first.raw);
        while let Some(raw) = next {
            match (Certificate::from_der(raw), Crl::from_der(raw)) {
                (Ok(certificate), _) => self.certificates.push(certificate),
                (Err(_), Ok(crl)) => self.crls.push(crl),
                (Err(error), Err(_)) => return Err(error),
            }
            next = match rest.is_empty() {
                true => None,
                false => Some(
                    rest.element(SEQUENCE)
                        .map_err(|e| CertificateError::Malformed(e.0))?
                        .raw,
                ),
            };
        }
        Ok(())
    }

    fn signed_data(&mut self, bytes: &[u8]) -> Result<(), CertificateError> {
        let bad = CertificateError::Malformed;
        let tape =
            Tape::parse(bytes, &Limits::default()).map_err(|_| bad("neither DER nor PEM"))?;
        let mut content_info = tape.root().children();
        if content_info.next().and_then(|node| node.oid()) != Some(oid::CMS_SIGNED_DATA) {
            return Err(bad("not a PKCS#7 with certificates"));
        }
        let signed_data = content_info
            .next()
            .filter(|node| node.is_context(0))
            .and_then(|node| node.only_child())
            .ok_or(bad("not a PKCS#7 with certificates"))?;
        for field in signed_data
            .children()
            .skip(3)
            .filter(|field| field.is_constructed())
        {
            for choice in field.children().filter(|choice| choice.is(Tag::SEQUENCE)) {
                if field.is_context(0) {
                    self.certificates.push(Certificate::from_der(choice.raw())?);
                } else if field.is_context(1) {
                    self.crls.push(crl(choice.raw())?);
                }
            }
        }
        Ok(())
    }
}

fn crl(bytes: &[u8]) -> Result<Crl, CertificateError> {
    Crl::from_der(bytes).map_err(|error| match error {
        CrlError::Malformed(what) => CertificateError::Malformed(what),
        CrlError::Pem(error) => CertificateError::Pem(error),
        CrlError::Empty => CertificateError::Empty,
    })
}
