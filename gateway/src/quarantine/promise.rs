//! Room that is promised to a mail before anybody looks into it. Whether a mail can be held must not depend on what is inside, or
//! its client would hear of that from a full quarantine.

use std::collections::BTreeMap;

use super::{Quarantine, QuarantineError, sealed};

/// Octets that are promised, by the transaction.
#[derive(Debug, Default)]
pub(super) struct Promises(BTreeMap<String, u64>);

impl Promises {
    pub(super) fn has(&self, transaction: &str) -> bool {
        self.0.contains_key(transaction)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn octets(&self) -> u64 {
        self.0.values().copied().fold(0, u64::saturating_add)
    }

    fn make(&mut self, transaction: &str, octets: u64) {
        // A session that vanished never ends its transaction. The oldest id is the first.
        if self.0.len() >= MOST {
            self.0.pop_first();
        }
        self.0.insert(transaction.to_owned(), octets);
    }
}

impl Quarantine {
    /// Promises that the mail of this transaction, which has so many octets as it came, is held if it has to be: also where it
    /// is more than that by then, since it was expanded, or is held once for each of several recipients.
    ///
    /// # Errors
    /// Where it could not be held now.
    pub(crate) fn promise(&self, transaction: &str, size: u64) -> Result<(), QuarantineError> {
        // It stands by it.
        if self.index().promises.has(transaction) {
            return Ok(());
        }
        if self.folder.broken().is_some() {
            return Err(QuarantineError::ReadOnly);
        }
        let octets = size.saturating_add(sealed::overhead(size));
        let free = self.folder.free();
        let free = free.map_err(|error| QuarantineError::Storage(error.to_string()))?;
        let mut index = self.index();
        let all = index.promises.octets().saturating_add(octets);
        if index.is_full(octets, &self.settings) || all > free {
            return Err(QuarantineError::Full);
        }
        index.promises.make(transaction, octets);
        Ok(())
    }

    /// The transaction has ended.
    pub(crate) fn forget(&self, transaction: &str) {
        self.index().promises.0.remove(transaction);
    }
}

/// More transactions than there are at once.
const MOST: usize = 10_000;
