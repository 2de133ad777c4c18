//! Comparisons whose time tells nothing of what is compared. A truth is an octet: all ones or all zeros.
//!
//! Values and truths go through `black_box`: the compiler does not see what they can be, and makes neither a branch nor a
//! conditional move of them.

use std::hint::black_box;

/// Whether `octet` is zero.
pub(super) fn is_zero(octet: u8) -> u8 {
    let octet = black_box(octet);
    // Only zero borrows into a highest bit that was not set before.
    black_box((black_box(!octet & octet.wrapping_sub(1)) >> 7).wrapping_neg())
}

/// Whether the two are the same.
pub(super) fn is_equal(a: u8, b: u8) -> u8 {
    is_zero(a ^ b)
}

/// Whether `a` is not above `b`.
pub(super) fn is_at_most(a: u8, b: u8) -> u8 {
    // The subtraction borrows where it is.
    let [borrowed, _] = u16::from(black_box(b))
        .wrapping_sub(u16::from(black_box(a)))
        .to_be_bytes();
    black_box(!borrowed)
}

/// `yes` where `truth`, else `no`.
pub(super) fn select(truth: u8, yes: u8, no: u8) -> u8 {
    no ^ (black_box(truth) & (yes ^ no))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_octets_compares_as_it_should() {
        let truth = |is: bool| if is { 0xff } else { 0 };
        for a in 0..=u8::MAX {
            assert_eq!(is_zero(a), truth(a == 0), "{a}");
            for b in 0..=u8::MAX {
                assert_eq!(is_equal(a, b), truth(a == b), "{a} {b}");
                assert_eq!(is_at_most(a, b), truth(a <= b), "{a} {b}");
                assert_eq!(select(0xff, a, b), a);
                assert_eq!(select(0, a, b), b);
            }
        }
    }
}
