//! The audit log: who had what done, and what came of it. Each entry is an event of the log `audit`, and is kept in the store.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::store::{AuditRecord, History};

/// Entries that may wait for the disk; who makes another one waits with it.
const QUEUE: usize = 1024;

/// Entries that are written in one transaction, with one wait for the disk.
const BATCH: usize = 256;

/// Where entries are left.
#[derive(Debug, Clone)]
pub(super) struct AuditLog(mpsc::Sender<AuditRecord>);

/// Writes entries down.
#[derive(Debug)]
pub(super) struct Writer {
    history: Arc<dyn History>,
    entries: mpsc::Receiver<AuditRecord>,
}

impl AuditLog {
    /// A log that is kept in `history`, and who writes it.
    pub(super) fn new(history: Arc<dyn History>) -> (Self, Writer) {
        let (sender, entries) = mpsc::channel(QUEUE);
        (Self(sender), Writer { history, entries })
    }

    /// Logs an entry, and leaves it to be written down. Waits while the disk is behind.
    pub(super) async fn note(&self, entry: AuditRecord) {
        tracing::info!(
            target: "audit", action = entry.action, outcome = ?entry.outcome, status = entry.status,
            subject = entry.subject.as_ref().map(tracing::field::display),
            token_id = entry.token_id.as_ref().map(tracing::field::display), peer = entry.peer,
            request_id = entry.request_id, cluster = entry.cluster.as_ref().map(tracing::field::display),
            on = entry.target, details = %serde_json::Value::Object(entry.details.clone()), "audit"
        );
        if self.0.send(entry).await.is_err() {
            tracing::error!("the audit log is closed: an entry is in this log only");
        }
    }
}

impl Writer {
    /// Writes until it is dropped.
    pub(super) async fn run(mut self) -> Infallible {
        let mut batch = Vec::new();
        loop {
            if self.entries.recv_many(&mut batch, BATCH).await == 0 {
                // Nobody is left who could have something to write.
                return std::future::pending().await;
            }
            let (history, entries) = (Arc::clone(&self.history), std::mem::take(&mut batch));
            let count = entries.len();
            let written = spawn_blocking(move || history.append_audit(&entries)).await;
            if let Err(reason) = written
                .map_err(|e| e.to_string())
                .and_then(|done| done.map_err(|e| e.to_string()))
            {
                tracing::error!(
                    reason,
                    count,
                    "entries of the audit log are in this log only: the store does not take them"
                );
            }
        }
    }
}
