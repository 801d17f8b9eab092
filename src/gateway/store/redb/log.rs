//! The audit log: numbered entries, the oldest forgotten.

use redb::{ReadableTable, WriteTransaction};

use super::RedbStore;
use super::fault::{Fault, decode, encode};
use super::tables::AUDIT;
use crate::gateway::store::{AuditPage, AuditQuery, AuditRecord, StoreError};

/// Entries that are kept: at 500 bytes each some 50 MB. Whoever needs them for longer takes them from the log.
pub const MAX_AUDIT: u64 = 100_000;
/// Entries in one page: half a megabyte.
const MAX_PAGE: usize = 1_000;
/// Entries that one call looks at: 50 ms or so, also where a filter lets none of them through.
const LOOK_AT: usize = 20_000;
/// Entries forgotten beyond as many as were added, until a log that is too long is short enough.
const CATCH_UP: usize = 64;

impl RedbStore {
    pub(super) fn append(&self, records: &[AuditRecord]) -> Result<u64, StoreError> {
        self.write(|txn| append(txn, records))
    }

    pub(super) fn list_log(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        self.read(|txn| page(&txn.open_table(AUDIT)?, query))
    }
}

fn append(txn: &WriteTransaction, records: &[AuditRecord]) -> Result<u64, Fault> {
    let mut log = txn.open_table(AUDIT)?;
    let mut last = log.last()?.map_or(0, |(sequence, _)| sequence.value());
    for record in records {
        last += 1;
        let json = encode(
            &last.to_string(),
            &AuditRecord {
                sequence: last,
                ..record.clone()
            },
        )?;
        log.insert(last, json.as_slice())?;
    }
    for _ in 0..records.len() + CATCH_UP {
        let first = log.first()?.map(|(sequence, _)| sequence.value());
        match first {
            Some(first) if first + MAX_AUDIT <= last => log.remove(first)?,
            Some(_) | None => break,
        };
    }
    Ok(last)
}

fn page(
    log: &impl ReadableTable<u64, &'static [u8]>,
    query: &AuditQuery,
) -> Result<AuditPage, Fault> {
    let limit = query.limit.clamp(1, MAX_PAGE);
    let mut page = AuditPage::default();
    let rows = log.range(..query.before.unwrap_or(u64::MAX))?.rev();
    for (looked_at, row) in rows.enumerate() {
        if page.items.len() == limit || looked_at == LOOK_AT {
            return Ok(page);
        }
        let (sequence, json) = row?;
        let sequence = sequence.value();
        let record: AuditRecord = decode(&sequence.to_string(), json.value())?;
        page.next = Some(sequence);
        if query.wants(&record) {
            page.items.push(record);
        }
    }
    page.next = None;
    Ok(page)
}
