//! Deployments: asked for through the platform's API, carried out by agents, kept in the store.
//!
//! One task, the [`Clerk`], owns what is under way and is the only one that changes a record; it runs beside the main
//! thread's other tasks. Requests and control channels leave notes for it in a bounded queue. A command is given to one
//! process of an agent and to no other (`instance`), which carries it out once however often it is given: so it is given
//! again whenever that process connects, until its result is in the store.

mod clerk;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::control::Post;
use super::store::{Added, DeploymentId, DeploymentRecord, History, StoreError};
use crate::wire::control::Message;
use crate::wire::token::ClusterId;
pub(super) use clerk::{Clerk, Inbox};

/// Notes that may wait; who leaves another one waits, and with it the agent that it is of.
const NOTES: usize = 1024;

/// Deployments of one cluster that may be under way: more than people start by hand, and as many manifests as a
/// control channel's queue holds.
pub(super) const MOST_UNDER_WAY: usize = 64;

/// What follows a deployment's id in the id of the command that deletes its objects.
const PRUNE: &str = "-prune";

/// What the clerk is told.
#[derive(Debug)]
enum Note {
    /// A deployment is in the store and is to be carried out; or one that has ended, and is to be deleted.
    Begin(Box<DeploymentRecord>),
    /// One that is under way is to be given up.
    Cancel(DeploymentId),
    /// An agent has connected.
    Connected(String),
    /// An agent has something to say about a command.
    Said {
        /// Its cluster's id.
        cluster: String,
        message: Box<Message>,
        /// Its control channel.
        reply: mpsc::Sender<Post>,
    },
}

/// Where deployments are asked for and looked at.
#[derive(Debug)]
pub(super) struct Deployments {
    history: Arc<dyn History>,
    under_way: Mutex<HashMap<DeploymentId, watch::Sender<Arc<DeploymentRecord>>>>,
    notes: mpsc::Sender<Note>,
}

/// Why a deployment is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeploymentError {
    /// The store failed; nothing was begun.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cluster has too much to do.
    #[error(
        "{MOST_UNDER_WAY} deployments of this cluster are under way: wait until some have ended"
    )]
    TooMany,
    /// The gateway stops.
    #[error("the gateway is stopping: try again in a moment")]
    Stopping,
}

impl Deployments {
    /// Deployments kept in `history`, and what the clerk reads.
    pub(super) fn new(history: Arc<dyn History>) -> (Arc<Self>, Inbox) {
        let (notes, inbox) = mpsc::channel(NOTES);
        let deployments = Arc::new(Self {
            history,
            under_way: Mutex::default(),
            notes,
        });
        (deployments, Inbox(inbox))
    }

    /// Adds a deployment and has it carried out, unless its idempotency key was used before.
    ///
    /// # Errors
    /// [`DeploymentError`]; then nothing was begun.
    pub(super) async fn create(
        &self,
        record: DeploymentRecord,
        manifest: String,
    ) -> Result<Added, DeploymentError> {
        if self.count(&record.cluster) >= MOST_UNDER_WAY {
            return Err(DeploymentError::TooMany);
        }
        let (added, record) = self
            .blocking(move |history| Ok((history.add_deployment(&record, &manifest)?, record)))
            .await?;
        if added == Added::New {
            self.begin(record).await?;
        }
        Ok(added)
    }

    /// Has the objects of a deployment that has ended deleted.
    ///
    /// # Errors
    /// [`DeploymentError`]; then nothing was begun.
    pub(super) async fn prune(
        &self,
        mut record: DeploymentRecord,
    ) -> Result<DeploymentRecord, DeploymentError> {
        let message = "its objects are being deleted";
        record.advance(
            super::store::DeploymentState::Pruning,
            message,
            Timestamp::now(),
        );
        record.instance = None;
        let kept = record.clone();
        self.blocking(move |history| history.put_deployment(&kept))
            .await?;
        self.begin(record.clone()).await?;
        Ok(record)
    }

    async fn begin(&self, record: DeploymentRecord) -> Result<(), DeploymentError> {
        self.publish(&record);
        self.leave(Note::Begin(Box::new(record))).await
    }

    /// Has one that is under way given up.
    ///
    /// # Errors
    /// [`DeploymentError::Stopping`].
    pub(super) async fn cancel(&self, id: DeploymentId) -> Result<(), DeploymentError> {
        self.leave(Note::Cancel(id)).await
    }

    /// Tells of an agent that has connected.
    pub(super) async fn connected(&self, cluster: &str) {
        // Without a clerk the gateway stops.
        self.leave(Note::Connected(cluster.to_owned())).await.ok();
    }

    /// Tells what an agent says about a command; it waits while the clerk is behind.
    pub(super) async fn said(&self, cluster: &str, message: Message, reply: mpsc::Sender<Post>) {
        let said = Note::Said {
            cluster: cluster.to_owned(),
            message: Box::new(message),
            reply,
        };
        self.leave(said).await.ok();
    }

    async fn leave(&self, note: Note) -> Result<(), DeploymentError> {
        let left = self.notes.send(note).await;
        left.map_err(|_| DeploymentError::Stopping)
    }

    /// One that is under way, now and from now on; the sender is gone once it has ended.
    pub(super) fn watch(&self, id: DeploymentId) -> Option<watch::Receiver<Arc<DeploymentRecord>>> {
        self.lock().get(&id).map(watch::Sender::subscribe)
    }

    /// The deployment with this id, as it is now.
    ///
    /// # Errors
    /// [`DeploymentError::Store`].
    pub(super) async fn get(
        &self,
        id: DeploymentId,
    ) -> Result<Option<DeploymentRecord>, DeploymentError> {
        if let Some(record) = self.watch(id).map(|watch| watch.borrow().clone()) {
            return Ok(Some(DeploymentRecord::clone(&record)));
        }
        self.blocking(move |history| history.deployment(id)).await
    }

    /// Runs one call where blocking is allowed. It runs to its end even if the caller goes away.
    ///
    /// # Errors
    /// [`DeploymentError`].
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        run: impl FnOnce(&dyn History) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, DeploymentError> {
        let history = Arc::clone(&self.history);
        let task = tokio::task::spawn_blocking(move || run(&*history));
        Ok(task.await.map_err(|_| DeploymentError::Stopping)??)
    }

    /// Forgets what is under way in a cluster that was removed.
    pub(super) fn forget(&self, cluster: &ClusterId) {
        self.lock()
            .retain(|_, sender| sender.borrow().cluster != *cluster);
    }

    fn count(&self, cluster: &ClusterId) -> usize {
        let under_way = self.lock();
        let theirs = under_way
            .values()
            .filter(|sender| sender.borrow().cluster == *cluster);
        theirs.count()
    }

    /// Shows a record to whoever looks; one that has ended is in the store.
    fn publish(&self, record: &DeploymentRecord) {
        let mut under_way = self.lock();
        let shown = Arc::new(record.clone());
        match under_way.get(&record.id) {
            Some(sender) => drop(sender.send_replace(shown)),
            None => drop(under_way.insert(record.id, watch::channel(shown).0)),
        }
        if record.state.is_finished() {
            under_way.remove(&record.id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeploymentId, watch::Sender<Arc<DeploymentRecord>>>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
