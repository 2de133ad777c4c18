//! From bytes to protected mail: MIME entities, CMS, verification.
//!
//! [`examine`] reads one message once and answers with owned facts: which layers there are, what each
//! signature covers, whether digests and signatures are mathematically right. Whether any of it is
//! *accepted* is policy's business. [`sign`] makes honest signed mail, [`release`] takes a content out of its signature;
//! [`open`] and [`encrypt`] do the same for encrypted mail, by keys that others hold.
//!
//! This crate never does I/O, never reads a clock, has no trust anchors and no opinions. It never
//! recurses on input, never re-builds a signed byte, and lets no unsigned attribute influence a fact; what
//! a time stamp beside a signature says is a fact of its own.
//! RFC 8551 (S/MIME 4.0), RFC 5652 (CMS), RFC 2045–2049 and 1847 (MIME).

mod base64_lines;
pub mod canonical;
mod cms;
mod defect;
pub mod encrypt;
mod examine;
mod facts;
pub mod header_protection;
mod layer;
mod limits;
pub mod mime;
pub mod open;
mod release;
mod seven_bit;
mod shape;
pub mod sign;
#[cfg(test)]
mod testing;

pub use base64_lines::push_base64;
pub use defect::{Check, Defect};
pub use examine::{examine, examine_cms, examine_with};
pub use facts::{
    Candidate, Capabilities, EncryptionFacts, Ess, Examined, FieldSpan, LayerFacts, LayerKind,
    Note, ProtectedHeader, SignatureFacts, SignerFacts, SignerId, TimeStampFacts,
};
pub use limits::Limits;
pub use release::release;
pub use seven_bit::{fits_relays, is_called_seven_bit, is_seven_bit, relayable, signable};
pub use shape::{Shape, attached};
