//! What outlives the gateway, and the tasks that write it down.

use std::path::Path;
use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::audit::{AuditLog, Writer};
use super::deployments::{Clerk, Deployments, Inbox};
use super::directory::Directory;
use super::fleet::Fleet;
use super::metrics::MeteredStore;
use super::run::GatewayError;
use super::store::{History, RedbStore, Store};
use crate::metrics::Registry;

/// What is kept in the store, for whoever asks.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) directory: Arc<Directory>,
    pub(super) deployments: Arc<Deployments>,
    pub(super) audit: AuditLog,
    pub(super) history: Arc<dyn History>,
}

/// Those who write it, before they begin.
#[derive(Debug)]
pub(super) struct Writers {
    deployments: Arc<Deployments>,
    inbox: Inbox,
    audit: Writer,
}

impl Kept {
    /// Opens the store in this folder.
    ///
    /// # Errors
    /// [`GatewayError::Store`] and [`GatewayError::Metrics`].
    pub(super) fn open(
        state_dir: &Path,
        registry: &mut Registry,
    ) -> Result<(Self, Writers), GatewayError> {
        let store = Arc::new(MeteredStore::new(RedbStore::open(state_dir)?, registry)?);
        let history = Arc::clone(&store) as Arc<dyn History>;
        let (deployments, inbox) = Deployments::new(Arc::clone(&history));
        let (audit, writer) = AuditLog::new(Arc::clone(&history));
        let kept = Self {
            directory: Directory::open(store as Arc<dyn Store>)?,
            deployments: Arc::clone(&deployments),
            audit,
            history,
        };
        let writers = Writers {
            deployments,
            inbox,
            audit: writer,
        };
        Ok((kept, writers))
    }
}

impl Writers {
    /// Has them work until the handles are dropped. Needs a runtime.
    pub(super) fn start(self, fleet: Arc<Fleet>) -> [AbortOnDropHandle<()>; 2] {
        let clerk = Clerk::new(self.deployments, fleet);
        let (inbox, audit) = (self.inbox, self.audit);
        let tasks = [
            tokio::spawn(async { match clerk.run(inbox).await {} }),
            tokio::spawn(async { match audit.run().await {} }),
        ];
        tasks.map(AbortOnDropHandle::new)
    }
}
