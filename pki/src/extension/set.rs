//! The extensions of a certificate or CRL as a list: no two alike, unknown critical ones told apart.

use std::collections::BTreeSet;

use crate::der::{BOOLEAN, DerError, Reader};
use crate::oid::{Oid, OidBuf};

use super::{Extension, FieldError};

/// Extensions in order of the encoding.
pub(crate) struct ExtensionSet(Vec<Extension>);

impl ExtensionSet {
    pub(crate) const fn empty() -> Self {
        Self(Vec::new())
    }

    /// Reads the SEQUENCE OF Extension; two of one kind are an error (RFC 5280 §4.2).
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DerError> {
        let mut list = reader.sequence()?;
        let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
        while !list.is_empty() {
            let (oid, critical, value) = Self::read_one(&mut list)?;
            if !seen.insert(oid) {
                return Err(DerError("the same extension twice"));
            }
            if all.len() >= MAX_EXTENSIONS {
                return Err(DerError("too many extensions"));
            }
            all.push(Extension {
                oid: oid.to_buf(),
                critical,
                value: value.into(),
            });
        }
        Ok(Self(all))
    }

    /// Reads one Extension. An explicit FALSE is not DER and common, and harmless; of other octets than FF,
    /// all but 00 are TRUE, as in BER: who does not know the extension gives up.
    pub(crate) fn read_one<'a>(
        list: &mut Reader<'a>,
    ) -> Result<(Oid<'a>, bool, &'a [u8]), DerError> {
        let mut inner = list.sequence()?;
        let oid = inner.oid()?;
        let critical = match inner.optional(BOOLEAN)? {
            Some(element) => match element.content {
                [octet] => *octet != 0,
                _ => return Err(DerError("BOOLEAN has a bad form")),
            },
            None => false,
        };
        let value = inner.octet_string()?;
        inner.finish()?;
        Ok((oid, critical, value))
    }

    pub(crate) fn all(&self) -> &[Extension] {
        &self.0
    }

    /// Critical ones that are not among `known`.
    pub(crate) fn unknown_critical(&self, known: &[Oid<'_>]) -> Vec<OidBuf> {
        self.0
            .iter()
            .filter(|extension| extension.critical && !known.contains(&extension.oid.as_oid()))
            .map(|extension| extension.oid.clone())
            .collect()
    }

    /// Reads the value of one extension, if it is there.
    pub(crate) fn field<T>(
        &self,
        oid: Oid<'_>,
        field: &'static str,
        read: impl FnOnce(&[u8]) -> Result<T, DerError>,
    ) -> Result<Option<T>, FieldError> {
        self.0
            .iter()
            .find(|extension| extension.oid == oid)
            .map(|extension| {
                read(&extension.value).map_err(|DerError(what)| FieldError { field, what })
            })
            .transpose()
    }
}

const MAX_EXTENSIONS: usize = 1000;
