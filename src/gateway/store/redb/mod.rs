//! One file, `gateway.redb`, by [redb](https://docs.rs/redb): JSON values under their ids, every commit synced.
//!
//! `tables` is the layout and its versions, `file` what is around the database, `deployments` and `log` what
//! [`History`](super::History) asks for, `dump` and `load` the two directions of a backup, `inspect` a check of every
//! record.

mod deployments;
mod dump;
mod fault;
mod file;
mod inspect;
mod load;
mod log;
mod retention;
mod tables;

pub use deployments::MAX_DEPLOYMENT_PAGE;
pub(super) use load::LoadFault;
pub use log::MAX_AUDIT;
pub use retention::{KEEP_DEPLOYMENTS, KEEP_FINISHED, KEEP_KEYS};

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ClusterRecord, Contents, Store, StoreError, TokenRecord};
use crate::wire::token::ClusterId;
use fault::{Fault, decode, encode};
use file::open_database;
use tables::{CLUSTERS, SCHEMA, TOKENS};

/// The embedded store. One process at a time.
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    /// `None` only after a failure that closed it and until the next call opens it again. The lock is held shared
    /// while it is used, writes included: redb lets one of them in at a time.
    db: RwLock<Option<Database>>,
}

impl RedbStore {
    /// The name of the file in the state directory.
    pub const FILE_NAME: &'static str = "gateway.redb";

    /// Opens the store in `state_dir`; makes the directory (0700) and the file (0600) when they are missing, and
    /// brings an older layout up to date.
    ///
    /// # Errors
    /// [`StoreError`]: in use, no permission, disk full, damaged, or written by a newer gateway.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        file::create_private_dir(state_dir)?;
        Self::create(state_dir.join(Self::FILE_NAME))
    }

    /// [`RedbStore::open`] for this file in a directory that is there.
    pub(super) fn create(path: PathBuf) -> Result<Self, StoreError> {
        let store = Self::at(path)?;
        if store.readable_schema()? < SCHEMA {
            store.write(tables::migrate)?;
        }
        Ok(store)
    }

    /// Opens the store in `state_dir` as it is: nothing is made, and an older layout stays.
    ///
    /// # Errors
    /// [`StoreError`], as for [`RedbStore::open`]; also when there is none.
    pub fn open_existing(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join(Self::FILE_NAME);
        match path.metadata() {
            Ok(found) if found.len() > 0 => {}
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::from_io(path, source));
            }
            Ok(_) | Err(_) => return Err(StoreError::Missing { path }),
        }
        let store = Self::at(path)?;
        store.readable_schema()?;
        Ok(store)
    }

    fn at(path: PathBuf) -> Result<Self, StoreError> {
        let db = RwLock::new(Some(open_database(&path)?));
        Ok(Self { path, db })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The layout's version; a newer one is refused before anything is written.
    fn readable_schema(&self) -> Result<u64, StoreError> {
        let found = self.schema_version()?;
        if found > SCHEMA {
            return Err(StoreError::NewerSchema {
                path: self.path.clone(),
                found,
                supported: SCHEMA,
            });
        }
        Ok(found)
    }

    /// Reads from one state of the store, however long it takes; writes do not wait for it.
    fn read<T>(
        &self,
        run: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let slot = self.opened()?;
        let txn = slot.as_ref().map(ReadableDatabase::begin_read);
        drop(slot);
        let result = match txn {
            Some(txn) => txn.map_err(Fault::from).and_then(|txn| run(&txn)),
            None => Err(Fault::closed()),
        };
        result.map_err(|fault| self.failed(fault))
    }

    /// Changes everything or nothing, and is durable when it returns.
    fn write<T>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let slot = self.opened()?;
        let result = slot
            .as_ref()
            .ok_or_else(Fault::closed)
            .and_then(|db| commit(db, change));
        drop(slot);
        result.map_err(|fault| self.failed(fault))
    }

    /// Closes the file after an I/O error: redb refuses all work until it is opened anew, and a disk that was full for
    /// a minute must not cost a restart.
    fn failed(&self, fault: Fault) -> StoreError {
        if fault.breaks_the_file() {
            *self.exclusive() = None;
        }
        fault.at(&self.path)
    }

    fn opened(&self) -> Result<RwLockReadGuard<'_, Option<Database>>, StoreError> {
        let slot = self.db.read().unwrap_or_else(PoisonError::into_inner);
        if slot.is_some() {
            return Ok(slot);
        }
        drop(slot);
        let mut slot = self.exclusive();
        if slot.is_none() {
            *slot = Some(open_database(&self.path)?);
        }
        Ok(RwLockWriteGuard::downgrade(slot))
    }

    fn exclusive(&self) -> RwLockWriteGuard<'_, Option<Database>> {
        self.db.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(
        &self,
        table: TableDefinition<'_, &str, &[u8]>,
        key: &str,
        record: &impl Serialize,
    ) -> Result<(), StoreError> {
        self.write(|txn| {
            let json = encode(key, record)?;
            txn.open_table(table)?.insert(key, json.as_slice())?;
            Ok(())
        })
    }
}

fn commit<T>(
    db: &Database,
    change: impl FnOnce(&WriteTransaction) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut txn = db.begin_write()?;
    txn.set_durability(Durability::Immediate)?;
    let done = change(&txn)?;
    txn.commit()?;
    Ok(done)
}

fn all<T: DeserializeOwned>(
    txn: &ReadTransaction,
    table: TableDefinition<'_, &str, &[u8]>,
) -> Result<Vec<T>, Fault> {
    let mut records = Vec::new();
    for row in txn.open_table(table)?.iter()? {
        let (key, json) = row?;
        records.push(decode(key.value(), json.value())?);
    }
    Ok(records)
}

impl Store for RedbStore {
    fn load(&self) -> Result<Contents, StoreError> {
        self.read(|txn| {
            Ok(Contents {
                clusters: all(txn, CLUSTERS)?,
                tokens: all(txn, TOKENS)?,
            })
        })
    }

    fn put_cluster(&self, cluster: &ClusterRecord) -> Result<(), StoreError> {
        self.put(CLUSTERS, cluster.id.as_str(), cluster)
    }

    fn remove_cluster(&self, id: &ClusterId) -> Result<(), StoreError> {
        while !self.write(|txn| retention::remove_cluster(txn, id))? {}
        Ok(())
    }

    fn put_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        self.put(TOKENS, token.id.as_str(), token)
    }

    /// Zero for a file that was just made.
    fn schema_version(&self) -> Result<u64, StoreError> {
        self.read(tables::schema_version)
    }
}

#[cfg(test)]
pub(super) mod samples;
#[cfg(test)]
mod tests;
