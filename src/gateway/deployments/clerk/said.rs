//! What agents say about their commands.

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{Clerk, PRUNE};
use crate::gateway::control::Post;
use crate::gateway::store::{DeploymentId, DeploymentState};
use crate::wire::control::{Ack, DeployPhase, DeployResult, DeployStatus, Message, Outcome};

impl Clerk {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only these three are left for the clerk"
    )]
    pub(super) async fn said(
        &mut self,
        cluster: &str,
        message: Message,
        reply: mpsc::Sender<Post>,
    ) {
        let command_id = match &message {
            Message::Ack(ack) => &ack.command_id,
            Message::DeployStatus(status) => &status.command_id,
            Message::DeployResult(result) => &result.command_id,
            _ => return,
        };
        let command_id = command_id.clone();
        let id = command_id.strip_suffix(PRUNE).unwrap_or(&command_id);
        let Ok(id) = id.parse::<DeploymentId>() else {
            return;
        };
        let known = self.under_way.get(&id);
        // Whatever a cluster says is about its own.
        let theirs = known.is_some_and(|task| {
            task.record.cluster.as_str() == cluster && task.command_id() == command_id
        });
        let taken = match message {
            _ if !theirs => true,
            Message::Ack(_) => {
                self.taken(id);
                return;
            }
            Message::DeployStatus(status) => {
                self.taken(id);
                self.status(id, status).await;
                return;
            }
            Message::DeployResult(result) => self.result(id, result).await,
            _ => return,
        };
        // What has ended before was written down then; what is not ours to keep is not to be sent again either.
        if taken {
            let ack = Message::Ack(Ack { command_id });
            // Where the queue is full, the result comes again and is acknowledged then.
            reply.try_send(ack.into()).ok();
        }
    }

    fn taken(&mut self, id: DeploymentId) {
        if let Some(task) = self.under_way.get_mut(&id) {
            task.taken = true;
        }
    }

    async fn status(&mut self, id: DeploymentId, status: DeployStatus) {
        let Some(task) = self.under_way.get_mut(&id) else {
            return;
        };
        let record = &mut task.record;
        let state = match status.phase {
            DeployPhase::Validating => DeploymentState::Validating,
            DeployPhase::Applying => DeploymentState::Applying,
            DeployPhase::RollingOut => DeploymentState::RollingOut,
            DeployPhase::Unknown => record.state,
        };
        if record.state == DeploymentState::Pruning {
            return;
        }
        if !status.objects.is_empty() {
            record.objects = status.objects;
        }
        if (state, &status.message) == (record.state, &record.message) {
            record.updated_at = Timestamp::now();
        } else {
            record.advance(state, status.message, Timestamp::now());
        }
        self.save(id).await;
    }

    /// Whether the result is in the store.
    async fn result(&mut self, id: DeploymentId, result: DeployResult) -> bool {
        let Some(task) = self.under_way.get_mut(&id) else {
            return true;
        };
        let record = &mut task.record;
        let pruned = record.state == DeploymentState::Pruning;
        let state = match (pruned, result.outcome) {
            (true, Outcome::Succeeded) => DeploymentState::Pruned,
            (_, outcome) => outcome.into(),
        };
        let message = match &result.error {
            Some(error) => error.message.clone(),
            None => told(state).to_owned(),
        };
        if !result.objects.is_empty() {
            record.objects = result.objects;
        }
        record.error = result.error;
        record.advance(state, message, Timestamp::now());
        self.save(id).await
    }
}

/// What is told where the agent gives no reason.
fn told(state: DeploymentState) -> &'static str {
    if state == DeploymentState::Succeeded {
        "all objects are ready"
    } else if state == DeploymentState::Pruned {
        "its objects are deleted"
    } else {
        "the agent gives no reason"
    }
}
