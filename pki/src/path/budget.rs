//! Work limits of one path search: signatures, building steps, name-constraint comparisons, length.
//!
//! A budget is counted in work, never in wall time, so that a verdict does not depend on the machine.
//! It never refills: share one between the searches of one message to bound the whole message.

/// What a search may still spend. Running out ends in [`super::PathErrorKind::Budget`].
#[derive(Clone, Debug)]
pub struct Budget {
    /// Signature verifications left, of certificates, CRLs and OCSP responses together.
    pub signatures: u32,
    /// Building and policy-graph steps left.
    pub steps: u32,
    /// Comparisons of a name with a name constraint left.
    pub comparisons: u32,
    /// Most certificates between the target and the anchor, self-issued ones included.
    pub depth: usize,
}

/// The budget is spent; says which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent(pub(super) &'static str);

impl Budget {
    /// The limits used for one message.
    pub const DEFAULT: Self = Self {
        signatures: 100,
        steps: 200_000,
        comparisons: 250_000,
        depth: 10,
    };

    pub(super) fn signature(&mut self) -> Result<(), Spent> {
        take(&mut self.signatures, 1, "signatures")
    }

    /// The signature of something long that is hashed for it: a step for 2 KiB beside.
    pub(super) fn long_signature(&mut self, octets: usize) -> Result<(), Spent> {
        let steps = u32::try_from(octets / 2048).unwrap_or(u32::MAX);
        take(&mut self.steps, steps, "steps")?;
        self.signature()
    }

    pub(super) fn step(&mut self) -> Result<(), Spent> {
        take(&mut self.steps, 1, "steps")
    }

    pub(super) fn compare(&mut self, n: usize) -> Result<(), Spent> {
        take(
            &mut self.comparisons,
            u32::try_from(n).unwrap_or(u32::MAX),
            "name comparisons",
        )
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::DEFAULT
    }
}

fn take(from: &mut u32, n: u32, what: &'static str) -> Result<(), Spent> {
    match from.checked_sub(n) {
        Some(left) => {
            *from = left;
            Ok(())
        }
        None => {
            *from = 0;
            Err(Spent(what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_runs_out_and_stays_out() {
        let mut budget = Budget {
            signatures: 2,
            ..Budget::DEFAULT
        };
        assert!(budget.signature().is_ok());
        assert!(budget.signature().is_ok());
        assert_eq!(budget.signature(), Err(Spent("signatures")));
        assert_eq!(budget.signature(), Err(Spent("signatures")));
        let mut budget = Budget {
            comparisons: 10,
            ..Budget::DEFAULT
        };
        assert!(budget.compare(11).is_err());
        assert!(budget.compare(1).is_err());
    }
}
