//! Welch's t between the times of two classes: of all of them, and of those below one percentile after the other, since
//! what a machine does beside has long tails that hide small differences.
//!
//! The method is that of Reparaz, Balasch and Verbauwhede, "Dude, is my code constant time?" (2017),
//! <https://eprint.iacr.org/2016/1123>.

use serde_json::{Value, json};

/// What came of comparing two classes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compared {
    /// By all times.
    pub(super) whole: Test,
    /// By those times that tell the classes apart best.
    pub(super) most: Test,
    /// Which these are: this share of both classes, the fastest.
    pub(super) share: f64,
}

/// One comparison.
#[derive(Debug, Clone, Copy)]
pub(super) struct Test {
    /// Welch's.
    pub(super) t: f64,
    /// By how much the first class takes longer, in the unit of the times.
    pub(super) difference: f64,
}

impl Compared {
    /// Compares the times of two classes.
    pub(super) fn of(first: &[f64], second: &[f64]) -> Self {
        let mut all = [first, second].concat();
        all.sort_by(f64::total_cmp);
        let whole = Test::of(
            &Moments::of(first, f64::MAX),
            &Moments::of(second, f64::MAX),
        );
        let (mut most, mut share) = (whole, 1.0);
        for step in 1..=CROPS {
            let part = 1.0 - 0.5_f64.powf(10.0 * f64::from(step) / f64::from(CROPS));
            let place = (all.len() as f64 * part) as usize;
            let bound = all.get(place).copied().unwrap_or(f64::MAX);
            let (first, second) = (Moments::of(first, bound), Moments::of(second, bound));
            let test = Test::of(&first, &second);
            if first.count.min(second.count) >= LEAST && test.t.abs() > most.t.abs() {
                (most, share) = (test, part);
            }
        }
        Self { whole, most, share }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "t": self.whole.t, "difference": self.whole.difference,
            "most_t": self.most.t, "most_difference": self.most.difference, "most_share": self.share,
        })
    }
}

impl Test {
    fn of(first: &Moments, second: &Moments) -> Self {
        let difference = first.mean - second.mean;
        let error = (first.variance() / first.count + second.variance() / second.count).sqrt();
        let t = match difference == 0.0 {
            true => 0.0,
            false => difference / error,
        };
        Self { t, difference }
    }
}

/// Count, mean and sum of squares of the differences from it (Welford's).
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Of the times below a bound.
    fn of(times: &[f64], bound: f64) -> Self {
        let mut moments = Self {
            count: 0.0,
            mean: 0.0,
            squares: 0.0,
        };
        for time in times.iter().filter(|time| **time < bound) {
            moments.count += 1.0;
            let before = time - moments.mean;
            moments.mean += before / moments.count;
            moments.squares += before * (time - moments.mean);
        }
        moments
    }

    fn variance(&self) -> f64 {
        self.squares / (self.count - 1.0)
    }
}

/// How many percentiles are tried, closer together towards the slow end.
const CROPS: u32 = 100;
/// Fewer times of a class than this say nothing.
const LEAST: f64 = 200.0;

#[cfg(test)]
mod tests {
    use kenin_tests::world::Dice;

    use super::*;

    /// Times around 1000 with a long tail, each so much longer.
    fn times(dice: &mut Dice, longer: f64) -> Vec<f64> {
        let mut time = || {
            let tail = if dice.below(10) == 0 {
                dice.below(100_000)
            } else {
                0
            };
            1000.0 + longer + (dice.below(100) + tail) as f64
        };
        (0..20_000).map(|_| time()).collect()
    }

    #[test]
    fn what_differs_is_told_from_what_does_not() {
        let mut dice = Dice::new(7);
        let (one, other) = (times(&mut dice, 0.0), times(&mut dice, 0.0));
        let same = Compared::of(&one, &other);
        assert!(same.most.t.abs() < 4.5, "{same:?}");
        let slower = times(&mut dice, 3.0);
        let found = Compared::of(&slower, &one);
        // The tail hides it, and is cut off.
        assert!(found.whole.t.abs() < 4.5, "{found:?}");
        assert!(found.most.t > 4.5, "{found:?}");
        let difference = found.most.difference;
        assert!((0.5..4.0).contains(&difference), "{found:?}");
    }

    #[test]
    fn the_test_is_welchs() {
        let test = Test::of(
            &Moments::of(&[1.0, 2.0, 3.0, 4.0], f64::MAX),
            &Moments::of(&[4.0, 6.0, 8.0], f64::MAX),
        );
        // (2.5 - 6) / sqrt(5/3/4 + 4/3)
        assert!((test.t - -2.645_751_311).abs() < 1e-6, "{test:?}");
        assert!((test.difference - -3.5).abs() < 1e-12);
        let equal = Moments::of(&[1.0, 1.0, 9.0], 5.0);
        assert!(Test::of(&equal, &equal).t == 0.0);
    }
}
