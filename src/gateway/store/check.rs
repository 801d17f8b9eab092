//! Whether a store is sound: the file, every record, every reference.

use std::path::Path;

use super::{Counts, RedbStore, StoreError};

/// Problems that are told; of more, only the number. Where one kind of record is wrong, all of them may be.
const MAX_TOLD: usize = 50;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The version of the layout.
    pub schema: u64,
    /// What is in it.
    pub counts: Counts,
    /// redb found the file at odds with itself and put it right.
    pub repaired: bool,
    /// What is wrong, each in a sentence; the first fifty.
    pub problems: Vec<String>,
    /// How many more there are.
    pub more: usize,
}

impl Report {
    pub(super) fn problem(&mut self, text: String) {
        if self.problems.len() < MAX_TOLD {
            self.problems.push(text);
        } else {
            self.more += 1;
        }
    }
}

impl RedbStore {
    /// Checks the store in `state_dir`, and changes nothing but what redb repairs. No gateway may have it open.
    ///
    /// # Errors
    /// [`StoreError`], also when there is none, or it is so damaged that it can't be opened.
    pub fn check(state_dir: &Path) -> Result<Report, StoreError> {
        Self::open_existing(state_dir)?.inspect()
    }
}
