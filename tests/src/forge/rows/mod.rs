//! The rows of the threat model about signatures, each as a list of forged mails.

mod addresses;
mod algorithms;
mod attributes;
mod claims;
mod contents;
mod identity;
mod mathematics;
mod protection;
mod signers;
mod structure;
mod trust;

use super::Shape;
use super::town::Town;

pub use addresses::sig18;
pub use algorithms::sig09;
pub use attributes::{sig02, sig07, sig08};
pub use claims::{sig11, sig12, sig20};
pub use contents::{sig01, sig05, sig06, sig21, sig22};
pub use identity::{sig15, sig16, sig17};
pub use mathematics::sig10;
pub use protection::sig19;
pub use signers::sig04;
pub use structure::{sig13, sig14};
pub use trust::sig23;

/// Every row that Kenin meets today, by its id.
#[allow(clippy::type_complexity)]
pub const ROWS: &[(&str, fn(&Town) -> Vec<Shape>)] = &[
    ("SIG-01", sig01),
    ("SIG-02", sig02),
    ("SIG-04", sig04),
    ("SIG-05", sig05),
    ("SIG-06", sig06),
    ("SIG-07", sig07),
    ("SIG-08", sig08),
    ("SIG-09", sig09),
    ("SIG-10", sig10),
    ("SIG-11", sig11),
    ("SIG-12", sig12),
    ("SIG-13", sig13),
    ("SIG-14", sig14),
    ("SIG-15", sig15),
    ("SIG-16", sig16),
    ("SIG-17", sig17),
    ("SIG-18", sig18),
    ("SIG-19", sig19),
    ("SIG-20", sig20),
    ("SIG-21", sig21),
    ("SIG-22", sig22),
    ("SIG-23", sig23),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_made_and_named_once() {
        let town = Town::get();
        for (row, make) in ROWS {
            let shapes = make(town);
            let names: std::collections::BTreeSet<_> = shapes.iter().map(|s| &s.name).collect();
            assert_eq!(
                names.len(),
                shapes.len(),
                "{row} has two shapes of one name"
            );
            assert!(shapes.iter().all(|s| s.row == *row && s.raw.len() > 200));
            println!("{row}: {}", shapes.len());
        }
    }
}
