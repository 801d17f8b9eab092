//! The task that carries deployments through.

mod said;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Deployments, Note, PRUNE};
use crate::gateway::control::Post;
use crate::gateway::fleet::{Connected, Fleet};
use crate::gateway::store::{DeploymentId, DeploymentRecord, DeploymentState};
use crate::wire::control::{Cancel, Deploy, Message, Prune, Requester};

/// How often what waits is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How often old records are removed.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A command that nobody has said anything about is given again after this.
const GIVE_AGAIN: Duration = Duration::from_secs(15);

/// Nobody waits for the end of a deployment for longer.
const LOST: SignedDuration = SignedDuration::from_hours(24);

/// The other end of the notes.
#[derive(Debug)]
pub(in crate::gateway) struct Inbox(pub(super) mpsc::Receiver<Note>);

/// What is under way.
#[derive(Debug)]
pub(in crate::gateway) struct Clerk {
    deployments: Arc<Deployments>,
    fleet: Arc<Fleet>,
    under_way: HashMap<DeploymentId, Task>,
}

#[derive(Debug)]
struct Task {
    record: DeploymentRecord,
    /// When the command was last given, by us.
    given: Option<Instant>,
    /// The agent has said that it has it.
    taken: bool,
    /// The store has not taken the last change.
    unsaved: bool,
    /// It is to be given up.
    cancelled: bool,
}

impl Task {
    fn new(record: DeploymentRecord) -> Self {
        Self {
            record,
            given: None,
            taken: false,
            unsaved: false,
            cancelled: false,
        }
    }

    /// Nobody has it, and nobody is to have it any more.
    fn has_expired(&self, now: Timestamp) -> bool {
        let pending = self.record.state == DeploymentState::Pending;
        pending && self.record.expires_at.is_some_and(|at| at <= now)
    }

    fn is_lost(&self, now: Timestamp) -> bool {
        now.duration_since(self.record.updated_at) > LOST
    }

    /// Whether something is to be done about it.
    fn is_due(&self, now: Timestamp) -> bool {
        let waited = self.given.is_none_or(|given| given.elapsed() >= GIVE_AGAIN);
        self.unsaved || self.has_expired(now) || self.is_lost(now) || waited && !self.taken
    }

    fn command_id(&self) -> String {
        let suffix = if self.record.state == DeploymentState::Pruning {
            PRUNE
        } else {
            ""
        };
        format!("{}{suffix}", self.record.id)
    }
}

impl Clerk {
    pub(in crate::gateway) fn new(deployments: Arc<Deployments>, fleet: Arc<Fleet>) -> Self {
        Self {
            deployments,
            fleet,
            under_way: HashMap::new(),
        }
    }

    /// Takes up what an earlier life of the gateway has left, and works until it is dropped.
    pub(in crate::gateway) async fn run(mut self, Inbox(mut notes): Inbox) -> Infallible {
        self.take_up().await;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut days = interval(DAY);
        loop {
            tokio::select! {
                // Never closed: the sender is in what we hold.
                Some(note) = notes.recv() => self.on_note(note).await,
                _ = looks.tick() => self.look().await,
                _ = days.tick() => self.prune().await,
            }
        }
    }

    /// Removes what was kept for long enough, of clusters that nobody deploys to any more.
    async fn prune(&self) {
        let pruned = self
            .deployments
            .blocking(|history| history.prune(Timestamp::now()))
            .await;
        match pruned {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "old deployments were removed"),
            Err(error) => {
                tracing::warn!(%error, "can not remove old deployments; trying again tomorrow")
            }
        }
    }

    async fn take_up(&mut self) {
        let left = self
            .deployments
            .blocking(|history| history.unfinished_deployments())
            .await;
        match left {
            Ok(left) => {
                for record in left {
                    self.deployments.publish(&record);
                    self.under_way.insert(record.id, Task::new(record));
                }
            }
            Err(error) => {
                tracing::error!(%error, "can not read the deployments that are under way")
            }
        }
    }

    async fn on_note(&mut self, note: Note) {
        match note {
            Note::Begin(record) => {
                let id = record.id;
                self.under_way.insert(id, Task::new(*record));
                self.give(id).await;
            }
            Note::Cancel(id) => self.cancel(id).await,
            Note::Connected(cluster) => self.connected(&cluster).await,
            Note::Said {
                cluster,
                message,
                reply,
            } => self.said(&cluster, *message, reply).await,
        }
    }

    /// Gives an agent that has connected what is to be done, and asks again what has become of what it has.
    async fn connected(&mut self, cluster: &str) {
        let theirs = self
            .under_way
            .values()
            .filter(|task| task.record.cluster.as_str() == cluster);
        let mut ids: Vec<_> = theirs.map(|task| task.record.id).collect();
        ids.sort_unstable();
        for id in ids {
            self.give(id).await;
        }
    }

    async fn look(&mut self) {
        let now = Timestamp::now();
        let due = self.under_way.iter().filter(|(_, task)| task.is_due(now));
        let mut due: Vec<_> = due.map(|(id, _)| *id).collect();
        due.sort_unstable();
        for id in due {
            self.tend(id, now).await;
        }
    }

    async fn tend(&mut self, id: DeploymentId, now: Timestamp) {
        let Some(task) = self.under_way.get(&id) else {
            return;
        };
        if task.unsaved {
            self.save(id).await;
            return;
        }
        if task.has_expired(now) {
            let message = "no agent took it in time; nothing was applied";
            self.advance(id, DeploymentState::Expired, message).await;
        } else if task.is_lost(now) {
            self.advance(
                id,
                DeploymentState::Unknown,
                "nothing was heard of it for a day",
            )
            .await;
        } else if !task.taken {
            self.give(id).await;
        }
    }

    /// Gives a command to the process that it belongs to, or to the newest agent where it belongs to none.
    async fn give(&mut self, id: DeploymentId) {
        let Some(task) = self.under_way.get(&id) else {
            return;
        };
        let known = self.fleet.cluster(task.record.cluster.as_str());
        let Some(known) = known.filter(|known| !known.agents().is_empty()) else {
            return;
        };
        let agent = match &task.record.instance {
            None => known.commanded(),
            Some(instance) => {
                let theirs = known
                    .agents()
                    .into_iter()
                    .rev()
                    .find(|agent| agent.instance == *instance);
                if theirs.is_none() {
                    let message = "the agent was restarted before it said what came of it";
                    self.advance(id, DeploymentState::Unknown, message).await;
                    return;
                }
                theirs
            }
        };
        if let Some(agent) = agent {
            self.give_to(id, &agent).await;
        }
    }

    async fn give_to(&mut self, id: DeploymentId, agent: &Connected) {
        let Some(task) = self.under_way.get_mut(&id) else {
            return;
        };
        // On the disk first: a gateway that dies now must not give it to another process later.
        if task.record.instance.is_none() {
            task.record.instance = Some(agent.instance.clone());
            if task.record.state == DeploymentState::Pending {
                task.record
                    .advance(DeploymentState::Sent, "the agent has it", Timestamp::now());
            }
            if !self.save(id).await {
                return;
            }
        }
        let Some(message) = self.command(id).await else {
            return;
        };
        let Some(task) = self.under_way.get_mut(&id) else {
            return;
        };
        task.given = Some(Instant::now());
        let command_id = task.command_id();
        let cancel = task.cancelled.then(|| cancel(&command_id));
        // A full queue is tried again.
        let post = Post::command(command_id, message);
        if agent.control.try_send(post).is_ok()
            && let Some(cancel) = cancel
        {
            agent.control.try_send(cancel.into()).ok();
        }
    }

    async fn command(&self, id: DeploymentId) -> Option<Message> {
        let record = &self.under_way.get(&id)?.record;
        let requested_by = Some(Requester {
            subject: record.requested_by.subject.to_string(),
            role: record.requested_by.role.to_string(),
        });
        if record.state == DeploymentState::Pruning {
            return Some(Message::Prune(Prune {
                project_id: record.project_id.clone(),
                namespace: record.namespace.clone(),
                objects: record
                    .objects
                    .iter()
                    .map(|status| status.object.clone())
                    .collect(),
                expires_at: None,
                requested_by,
            }));
        }
        let manifest = self
            .deployments
            .blocking(move |history| history.manifest(id))
            .await;
        let manifest = manifest
            .inspect_err(
                |error| tracing::error!(%error, deployment = %id, "can not read a manifest"),
            )
            .ok()??;
        Some(Message::Deploy(Deploy {
            project_id: record.project_id.clone(),
            manifest,
            namespace: record.namespace.clone(),
            dry_run: record.dry_run,
            timeout_ms: record.timeout_ms,
            expires_at: record.expires_at,
            requested_by,
        }))
    }

    async fn cancel(&mut self, id: DeploymentId) {
        let Some(task) = self.under_way.get_mut(&id) else {
            return;
        };
        task.cancelled = true;
        if task.record.state == DeploymentState::Pending {
            self.advance(
                id,
                DeploymentState::Cancelled,
                "given up before an agent had it",
            )
            .await;
            return;
        }
        let command_id = task.command_id();
        let instance = task.record.instance.clone();
        let known = self.fleet.cluster(task.record.cluster.as_str());
        let agents = known.map(|known| known.agents()).unwrap_or_default();
        if let Some(agent) = agents
            .iter()
            .find(|agent| Some(&agent.instance) == instance.as_ref())
        {
            // Where the queue is full, the command is given again with what cancels it.
            agent.control.try_send(cancel(&command_id).into()).ok();
        }
    }

    async fn advance(&mut self, id: DeploymentId, state: DeploymentState, message: &str) {
        if let Some(task) = self.under_way.get_mut(&id) {
            task.record.advance(state, message, Timestamp::now());
            self.save(id).await;
        }
    }

    /// Writes a record down and shows it; `false` where the disk does not take it, and it is tried again.
    async fn save(&mut self, id: DeploymentId) -> bool {
        let Some(task) = self.under_way.get_mut(&id) else {
            return false;
        };
        let record = task.record.clone();
        let kept = self
            .deployments
            .blocking(move |history| history.put_deployment(&record))
            .await;
        task.unsaved = kept.is_err();
        match kept {
            Ok(true) => {
                self.deployments.publish(&task.record);
                if task.record.state.is_finished() {
                    tracing::info!(
                        deployment = %id, cluster = %task.record.cluster, state = %task.record.state,
                        reason = task.record.message, "deployment ended"
                    );
                    self.under_way.remove(&id);
                }
                true
            }
            Ok(false) => {
                self.under_way.remove(&id);
                false
            }
            Err(error) => {
                tracing::error!(%error, deployment = %id, "can not write down how a deployment is; trying again");
                false
            }
        }
    }
}

fn cancel(command_id: &str) -> Message {
    Message::Cancel(Cancel {
        command_id: command_id.to_owned(),
        reason: "asked for through the platform's API".to_owned(),
    })
}
