//! What every cache of watched objects has in common: marks, and a sweep after each list.
//!
//! A list that is read again marks what it shows in place and lets go of the rest at its end: it never needs the memory
//! for the objects twice.

use std::collections::HashMap;

use serde::de::DeserializeOwned;

use super::happening::Found;
use super::meters::Watched;

/// Records that are let go of at once: what is to be told of each takes more room than the record.
const SWEEP: usize = 2_000;

/// Objects of one kind, as they are watched.
pub(super) trait Cache {
    /// As they are read.
    type Object: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static;

    /// Which kind.
    const WATCHED: Watched;

    /// Which of them, by the server's fields; all, where there is none.
    const SELECTOR: Option<&'static str> = None;

    /// A list begins; whoever is not seen until it is complete is gone.
    fn begin(&mut self);

    /// An object is there, in a list or because it changed.
    fn see(&mut self, object: &Self::Object, found: &mut Vec<Found>);

    /// An object is gone.
    fn gone(&mut self, object: &Self::Object, found: &mut Vec<Found>);

    /// The list is complete: lets go of some that it did not show. Whether there may be more of them.
    fn sweep(&mut self, found: &mut Vec<Found>) -> bool;

    /// Whether a list was ever complete.
    fn is_listed(&self) -> bool;

    /// How many there are.
    fn count(&self) -> usize;
}

/// Records by uid.
#[derive(Debug)]
pub(super) struct Marked<R> {
    records: HashMap<u128, (u32, R)>,
    /// Counts the lists.
    list: u32,
    /// What is there before the first list is complete is no news.
    listed: bool,
}

impl<R> Default for Marked<R> {
    fn default() -> Self {
        Self {
            records: HashMap::new(),
            list: 0,
            listed: false,
        }
    }
}

impl<R> Marked<R> {
    pub(super) fn begin(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// Whether what is new is news.
    pub(super) fn is_listed(&self) -> bool {
        self.listed
    }

    /// Keeps a record, and gives the one that was there before.
    pub(super) fn put(&mut self, uid: u128, record: R) -> Option<R> {
        let before = self.records.insert(uid, (self.list, record))?;
        Some(before.1)
    }

    pub(super) fn get(&self, uid: u128) -> Option<&R> {
        self.records.get(&uid).map(|(_, record)| record)
    }

    pub(super) fn remove(&mut self, uid: u128) -> Option<R> {
        Some(self.records.remove(&uid)?.1)
    }

    /// Gives some that the list did not show, and forgets them; not one when all are gone.
    pub(super) fn sweep(&mut self) -> Vec<R> {
        let list = self.list;
        let swept = self.records.extract_if(|_, (seen, _)| *seen != list);
        let swept: Vec<_> = swept.take(SWEEP).map(|(_, (_, record))| record).collect();
        if swept.is_empty() {
            self.listed = true;
            if self.records.len() < self.records.capacity() / 3 {
                self.records.shrink_to_fit();
            }
        }
        swept
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &R> {
        self.records.values().map(|(_, record)| record)
    }
}
