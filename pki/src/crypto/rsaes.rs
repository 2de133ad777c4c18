//! RSA encryption: the parameters of OAEP, and both paddings read without a branch on what they hold.
//! <https://www.rfc-editor.org/rfc/rfc8017#section-7>, <https://www.rfc-editor.org/rfc/rfc4055#section-4.1>.

use zeroize::Zeroizing;

use crate::algorithm::AlgorithmIdentifier;
use crate::der::{Reader, context_constructed, write};
use crate::oid;

use super::branchless::{is_equal, is_zero, select};
use super::{AlgorithmError, DigestAlgorithm, Digester, KeyError, Secret, random};

/// RSAES-OAEP-params.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OaepParameters {
    /// Of the label.
    pub digest: DigestAlgorithm,
    /// Of the mask generation function MGF1; may be another.
    pub mgf: DigestAlgorithm,
    /// The octets of pSpecified, mostly none.
    pub label: Vec<u8>,
}

impl OaepParameters {
    /// One digest for both, and no label.
    #[must_use]
    pub const fn new(digest: DigestAlgorithm) -> Self {
        Self {
            digest,
            mgf: digest,
            label: Vec::new(),
        }
    }

    /// Reads the SEQUENCE. A field that is absent has its default, with SHA-1 (RFC 4055 §4.1). A digest, mask generation
    /// function or source of the label that is not known here is named in the error.
    pub fn from_der(bytes: &[u8]) -> Result<Self, AlgorithmError> {
        let bad = || AlgorithmError::Parameters(oid::RSAES_OAEP.to_buf());
        let mut outer = Reader::new(bytes);
        let mut reader = outer.sequence().map_err(|_| bad())?;
        outer.finish().map_err(|_| bad())?;
        let mut read = Self::new(DigestAlgorithm::Sha1);
        let mut field = |number: u8| {
            let field = reader.optional(context_constructed(number));
            field
                .and_then(|field| {
                    field
                        .map(|field| AlgorithmIdentifier::from_der(field.content))
                        .transpose()
                })
                .map_err(|_| bad())
        };
        let (hash, mask, source) = (field(0)?, field(1)?, field(2)?);
        reader.finish().map_err(|_| bad())?;
        if let Some(hash) = hash {
            read.digest = digest_of(&hash)?;
        }
        if let Some(mask) = mask {
            if mask.oid() != oid::MGF1 {
                return Err(AlgorithmError::Unsupported(mask.oid().to_buf()));
            }
            let hash = mask.parameters().ok_or_else(bad)?;
            read.mgf = digest_of(&AlgorithmIdentifier::from_der(hash).map_err(|_| bad())?)?;
        }
        if let Some(source) = source {
            if source.oid() != oid::P_SPECIFIED {
                return Err(AlgorithmError::Unsupported(source.oid().to_buf()));
            }
            let mut label = Reader::new(source.parameters().ok_or_else(bad)?);
            read.label = label.octet_string().map_err(|_| bad())?.to_vec();
            label.finish().map_err(|_| bad())?;
        }
        Ok(read)
    }

    /// Writes the SEQUENCE.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let identifier = |digest: DigestAlgorithm| {
            AlgorithmIdentifier::new(digest.oid(), Some(&write::null())).to_der()
        };
        let mut fields = Vec::new();
        // DER leaves defaults out.
        if self.digest != DigestAlgorithm::Sha1 {
            fields.push(write::explicit(0, &identifier(self.digest)));
        }
        if self.mgf != DigestAlgorithm::Sha1 {
            let function = AlgorithmIdentifier::new(oid::MGF1, Some(&identifier(self.mgf)));
            fields.push(write::explicit(1, &function.to_der()));
        }
        if !self.label.is_empty() {
            let label = write::octet_string(&self.label);
            let source = AlgorithmIdentifier::new(oid::P_SPECIFIED, Some(&label));
            fields.push(write::explicit(2, &source.to_der()));
        }
        write::seq(&fields)
    }

    /// Whether both digests are such as anything is computed with.
    pub(super) fn is_supported(&self) -> bool {
        self.digest != DigestAlgorithm::Md5 && self.mgf != DigestAlgorithm::Md5
    }
}

/// The digest of an identifier; MD5 is named so that it can be refused.
fn digest_of(identifier: &AlgorithmIdentifier) -> Result<DigestAlgorithm, AlgorithmError> {
    let named = identifier.oid();
    match DigestAlgorithm::from_oid(named) {
        None | Some(DigestAlgorithm::Md5) => Err(AlgorithmError::Unsupported(named.to_buf())),
        Some(_) if !identifier.has_no_parameters() => {
            Err(AlgorithmError::Parameters(named.to_buf()))
        }
        Some(digest) => Ok(digest),
    }
}

/// EME-PKCS1-v1_5 encoding (RFC 8017 §7.2.1, step 2) of a message, for a modulus of so many octets.
///
/// # Errors
/// [`KeyError::Failed`] where the message is too long for it, or there is no randomness.
pub(super) fn pkcs1(message: &Secret, size: usize) -> Result<Secret, KeyError> {
    let padding = size.checked_sub(message.len().saturating_add(3));
    let padding = padding.filter(|padding| *padding >= MIN_PADDING);
    let padding = padding.ok_or(KeyError::Failed)?;
    // By one call: the library would draw an octet for each that is 0, which takes as long as all of them.
    let drawn = Secret::random(padding.saturating_add(SPARE))?;
    let drawn = drawn.expose().split_at_checked(padding);
    let (drawn, others) = drawn.ok_or(KeyError::Failed)?;
    let mut others = others.iter().copied();
    let mut block = Vec::with_capacity(size);
    block.extend_from_slice(&[0, 2]);
    block.extend_from_slice(drawn);
    for octet in block.iter_mut().skip(2) {
        while *octet == 0 {
            *octet = match others.next() {
                Some(other) => other,
                None => {
                    let [other] = random::array()?;
                    other
                }
            };
        }
    }
    block.push(0);
    block.extend_from_slice(message.expose());
    Ok(Secret::new(block))
}

/// EME-PKCS1-v1_5 decoding (RFC 8017 §7.2.2, step 3) of a message whose length is known: the message, or `instead` of
/// it, which has that length, where the block does not have the form or `usable` says no. Takes the same steps for
/// every block of one size: nothing tells which of the two it was.
pub(super) fn pkcs1_or(block: &Secret, usable: bool, instead: &Secret) -> Secret {
    let other = || Secret::new(instead.expose().to_vec());
    // EM = 00 02 PS 00 M. With the length of M known, each octet has its place.
    let split = block.len().checked_sub(instead.len());
    let Some((head, message)) = split.and_then(|at| block.expose().split_at_checked(at)) else {
        return other();
    };
    let [first, second, padding @ .., last] = head else {
        return other();
    };
    if padding.len() < MIN_PADDING {
        return other();
    }
    let mut good = if usable { 0xff } else { 0 };
    good &= is_zero(*first) & is_equal(*second, 2) & is_zero(*last);
    for octet in padding {
        good &= !is_zero(*octet);
    }
    let chosen = message
        .iter()
        .zip(instead.expose())
        .map(|(message, instead)| select(good, *message, *instead));
    Secret::new(chosen.collect())
}

/// EME-OAEP decoding (RFC 8017 §7.1.2, step 3) of a message whose length is known. `None` where anything is not as it
/// should be; what it was cannot be told from the time.
pub(super) fn oaep(block: &Secret, parameters: &OaepParameters, length: usize) -> Option<Secret> {
    if !parameters.is_supported() {
        return None;
    }
    let size = parameters.digest.size();
    let (first, rest) = block.expose().split_first()?;
    let (masked_seed, masked) = rest.split_at_checked(size)?;
    let mut seed = mask(parameters.mgf, masked, size);
    apply(&mut seed, masked_seed);
    let mut data = mask(parameters.mgf, &seed, masked.len());
    apply(&mut data, masked);
    // DB = lHash PS 01 M.
    let (hash, data) = data.split_at_checked(size)?;
    let (padding, message) = data.split_at_checked(data.len().checked_sub(length)?)?;
    let (one, padding) = padding.split_last()?;
    let mut good = is_zero(*first) & is_equal(*one, 1);
    let expected = parameters.digest.digest(&parameters.label);
    for (octet, expected) in hash.iter().zip(expected.as_ref()) {
        good &= is_equal(*octet, *expected);
    }
    for octet in padding {
        good &= is_zero(*octet);
    }
    (good != 0).then(|| Secret::new(message.to_vec()))
}

/// MGF1 (RFC 8017 §B.2.1).
fn mask(digest: DigestAlgorithm, seed: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    // Made with its room, so that it never moves.
    let room = length.saturating_add(digest.size());
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    for counter in 0..=u32::MAX {
        if out.len() >= length {
            break;
        }
        let mut digester = Digester::new(digest);
        digester.update(seed);
        digester.update(&counter.to_be_bytes());
        let mut block = digester.finish();
        out.extend_from_slice(block.as_ref());
        block.wipe();
    }
    out.truncate(length);
    out
}

fn apply(mask: &mut [u8], masked: &[u8]) {
    for (octet, masked) in mask.iter_mut().zip(masked) {
        *octet ^= masked;
    }
}

/// Octets of PS at least (RFC 8017 §7.2).
const MIN_PADDING: usize = 8;
/// Octets that are drawn in place of those that are 0, one in 256.
const SPARE: usize = 16;

#[cfg(test)]
mod tests;
