//! Several rows in one statement. A connection keeps what it has prepared, so there are few texts: the rows are filled up,
//! with such as are left out again (`WHERE … IS NOT NULL`), to one of a few numbers.

use std::fmt::Write;

/// Rows of one statement at most.
pub(crate) const MOST: usize = 64;

/// These rows, filled up to a power of two.
pub(crate) fn filled<T>(some: &[T]) -> Vec<Option<&T>> {
    let many = some.len().next_power_of_two();
    let rows = some.iter().map(Some);
    rows.chain(std::iter::repeat(None)).take(many).collect()
}

/// The places of their values behind the first one of a statement: `($2, $3), ($4, $5)`.
pub(crate) fn places(rows: usize, columns: usize) -> String {
    let mut text = String::new();
    for value in 0..rows * columns {
        let before = match (value, value % columns) {
            (0, _) => "($",
            (_, 0) => "), ($",
            _ => ", $",
        };
        // A string takes everything.
        let _ = write!(text, "{before}{}", value + 2);
    }
    text.push(')');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_filled_up_to_few_numbers() {
        for (some, many) in [(1, 1), (2, 2), (3, 4), (5, 8), (33, 64), (MOST, MOST)] {
            let rows: Vec<usize> = (0..some).collect();
            let filled = filled(&rows);
            assert_eq!(filled.len(), many, "{some}");
            assert!(filled.iter().flatten().copied().eq(&rows), "{some}");
        }
    }

    #[test]
    fn each_value_has_its_place() {
        assert_eq!(places(1, 1), "($2)");
        assert_eq!(places(1, 3), "($2, $3, $4)");
        assert_eq!(places(3, 2), "($2, $3), ($4, $5), ($6, $7)");
    }
}
