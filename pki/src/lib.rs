//! DER and BER, certificates, names, CRLs, crypto primitives and path validation, without I/O, clock or opinions.
//!
//! Everything that arrives here is hostile: readers do not recurse, never allocate what a length field
//! merely claims, and answer with an error, never with a panic.

#![warn(clippy::as_conversions)]

pub mod address;
pub mod algorithm;
pub mod ber;
pub mod certificate;
pub mod crl;
pub mod crypto;
pub mod der;
pub mod extension;
pub mod issue;
pub mod name;
pub mod ocsp;
pub mod oid;
pub mod path;
pub mod pem;
mod signed;
pub mod time;
pub mod tst_info;

#[cfg(test)]
mod testing;

pub use address::Address;
pub use certificate::Certificate;
pub use crl::Crl;
pub use name::Name;
pub use time::UnixTime;
pub use tst_info::TstInfo;
