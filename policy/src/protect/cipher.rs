//! Which cipher all readers of one copy understand (RFC 8551 §2.7.1).
//!
//! What a reader says is a wish; of one who said nothing the settings decide.

use kenin_pki::crypto::{Aes, ContentKind};
use kenin_smime::Capabilities;

use crate::mail::Unknown;

/// The best cipher that all of them read. Where there is none, the one that every program reads.
#[must_use]
pub fn choose<'c>(
    readers: impl Iterator<Item = Option<&'c Capabilities>> + Clone,
    unknown: Unknown,
) -> ContentKind {
    let fits = |kind: &ContentKind| readers.clone().all(|reader| reads(reader, *kind, unknown));
    BEST_FIRST.into_iter().find(fits).unwrap_or(EVERYBODY)
}

/// Whether a cipher tells that nobody changed what it encrypts.
pub(super) const fn has_integrity(kind: ContentKind) -> bool {
    match kind {
        ContentKind::AesGcm(_) | ContentKind::ChaCha20Poly1305 => true,
        ContentKind::AesCbc(_) => false,
    }
}

fn reads(reader: Option<&Capabilities>, kind: ContentKind, unknown: Unknown) -> bool {
    match reader.filter(|said| !said.ciphers.is_empty()) {
        Some(said) => said.ciphers.contains(&kind),
        None => match kind {
            ContentKind::AesCbc(Aes::Bits128 | Aes::Bits256) => true,
            ContentKind::AesGcm(Aes::Bits128 | Aes::Bits256) => unknown == Unknown::Gcm,
            _ => false,
        },
    }
}

const BEST_FIRST: [ContentKind; 7] = [
    ContentKind::AesGcm(Aes::Bits256),
    ContentKind::ChaCha20Poly1305,
    ContentKind::AesGcm(Aes::Bits192),
    ContentKind::AesGcm(Aes::Bits128),
    ContentKind::AesCbc(Aes::Bits256),
    ContentKind::AesCbc(Aes::Bits192),
    ContentKind::AesCbc(Aes::Bits128),
];
const EVERYBODY: ContentKind = ContentKind::AesCbc(Aes::Bits256);

#[cfg(test)]
mod tests {
    use super::*;

    const GCM: ContentKind = ContentKind::AesGcm(Aes::Bits256);
    const GCM_128: ContentKind = ContentKind::AesGcm(Aes::Bits128);
    const CBC: ContentKind = ContentKind::AesCbc(Aes::Bits256);
    const CBC_128: ContentKind = ContentKind::AesCbc(Aes::Bits128);

    fn says(ciphers: &[ContentKind]) -> Option<Capabilities> {
        Some(Capabilities {
            ciphers: ciphers.to_vec(),
            oaep: false,
        })
    }

    #[test]
    fn the_best_that_all_read_is_chosen() {
        for (readers, unknown, expected) in [
            (vec![None], Unknown::Cbc, CBC),
            (vec![None], Unknown::Gcm, GCM),
            (vec![says(&[])], Unknown::Cbc, CBC),
            (vec![says(&[CBC, GCM])], Unknown::Cbc, GCM),
            (vec![says(&[CBC, GCM_128])], Unknown::Cbc, GCM_128),
            (vec![says(&[CBC_128])], Unknown::Gcm, CBC_128),
            (vec![says(&[GCM]), says(&[GCM, CBC])], Unknown::Cbc, GCM),
            (vec![says(&[GCM, CBC]), None], Unknown::Cbc, CBC),
            (vec![says(&[GCM, CBC]), None], Unknown::Gcm, GCM),
            (vec![says(&[CBC_128]), None], Unknown::Cbc, CBC_128),
            // Nothing in common: what every program reads, whatever it says of itself.
            (vec![says(&[GCM]), says(&[CBC_128])], Unknown::Cbc, CBC),
            (vec![says(&[GCM]), None], Unknown::Cbc, CBC),
            (vec![], Unknown::Cbc, GCM),
        ] {
            let chosen = choose(readers.iter().map(Option::as_ref), unknown);
            assert_eq!(chosen, expected, "{readers:?}");
        }
    }

    #[test]
    fn a_tag_is_integrity() {
        assert!(has_integrity(GCM) && has_integrity(ContentKind::ChaCha20Poly1305));
        assert!(!has_integrity(CBC));
    }
}
