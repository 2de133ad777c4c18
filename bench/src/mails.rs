//! The mail that everybody is shown: clear-signed by S/MIME with an RSA-2048 key, and signed by DKIM
//! above that where opendkim is installed, so that all read the same bytes.

use kenin_tests::forge::{Town, cms, mime};
use kenin_tests::opendkim::OpenDkim;
use kenin_tests::world::Dice;

/// A clear-signed mail of about so many bytes.
pub(crate) fn signed(size: usize) -> Vec<u8> {
    let entity = signed_entity(size, size as u64);
    [mime::headers(AUTHOR), entity].concat()
}

/// What Alice has signed, without the header of a mail. Another number, another content.
pub(crate) fn signed_entity(size: usize, number: u64) -> Vec<u8> {
    let (town, part) = (Town::get(), part(size, number));
    let cms = cms::detached(&town.alice, &town.chain(), &part);
    mime::signed_entity(mime::BOUNDARY, &part, &cms)
}

/// The same without a signature, as a mail.
pub(crate) fn unsigned(size: usize) -> Vec<u8> {
    [mime::headers(AUTHOR), part(size, size as u64)].concat()
}

/// What is signed is an attachment, not text: rspamd would spend five times what DKIM takes on the language of ten
/// kilobytes of text.
pub(crate) fn part(size: usize, number: u64) -> Vec<u8> {
    let mut dice = Dice::new(number);
    let count = size * 3 / 4;
    let mut bytes: Vec<u8> = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        bytes.extend(dice.below(u64::MAX).to_le_bytes());
    }
    let mut part = ENTITY.to_vec();
    part.extend(mime::base64(&bytes));
    part
}

/// The same mail with one letter of what is signed changed.
pub(crate) fn tampered(raw: &[u8]) -> Vec<u8> {
    let mut out = raw.to_vec();
    let start = out.windows(ENTITY.len()).position(|w| w == ENTITY);
    let letter = start.map_or(0, |start| start + ENTITY.len() + 100);
    if let Some(byte) = out.get_mut(letter) {
        *byte = if *byte == b'A' { b'B' } else { b'A' };
    }
    out
}

/// opendkim with a key of its own, or `None` (said aloud) where it is not installed.
pub(crate) fn dkim() -> Option<OpenDkim> {
    if std::path::Path::new(OPENDKIM).exists() {
        // As most sign; rspamd's milter does not see the line ends that "simple" is about.
        return Some(OpenDkim::signing("relaxed/relaxed"));
    }
    println!(
        "{OPENDKIM} is not installed: opendkim and rspamd, which reads its signatures, are left out"
    );
    None
}

/// Debian's package `opendkim`.
const OPENDKIM: &str = "/usr/sbin/opendkim";
/// Who writes it.
pub(crate) const AUTHOR: &str = "Alice <alice@example.jp>";
const ENTITY: &[u8] =
    b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n";
