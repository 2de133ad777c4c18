//! What stands around the entries of a list, as octets: in its index file, and in the store beside its name, so that a
//! list is known where its index is not.

use kenin_pki::crl::AbridgedCrl;

/// All but the number of entries.
pub(crate) fn to_bytes(parts: &AbridgedCrl) -> Vec<u8> {
    let mut out = parts.sha256.to_vec();
    let mut blob = |bytes: &[u8]| {
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    blob(&parts.der);
    blob(&parts.tbs_digest);
    for list in [&parts.issuers, &parts.unknown_critical] {
        blob(&u32::try_from(list.len()).unwrap_or(u32::MAX).to_be_bytes());
        list.iter().for_each(|one| blob(one));
    }
    out
}

/// What [`to_bytes`] wrote; nothing where it is something else.
pub(crate) fn from_bytes(bytes: &[u8]) -> Option<AbridgedCrl> {
    let (sha256, mut rest) = bytes.split_first_chunk::<32>()?;
    let mut blob = || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (bytes, after) = after.split_at_checked(length)?;
        rest = after;
        Some(bytes.to_vec())
    };
    let list = |blob: &mut dyn FnMut() -> Option<Vec<u8>>| {
        let count: [u8; 4] = blob()?.try_into().ok()?;
        (0..u32::from_be_bytes(count))
            .map(|_| blob())
            .collect::<Option<Vec<_>>>()
    };
    let (der, tbs_digest) = (blob()?, blob()?);
    let (issuers, unknown_critical) = (list(&mut blob)?, list(&mut blob)?);
    Some(AbridgedCrl {
        der,
        sha256: *sha256,
        tbs_digest,
        issuers,
        unknown_critical,
        entries: 0,
    })
}
