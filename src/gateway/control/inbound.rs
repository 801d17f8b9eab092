//! What is done about an agent's messages.

use super::{Channel, Reason};
use crate::gateway::shared::Mail;
use crate::metrics::{Direction, MessageType};
use crate::wire::control::{self, Decoded, Message};
use crate::wire::error::ErrorCode;

impl Channel {
    pub(super) async fn on_text(&mut self, text: &str) -> Result<(), Reason> {
        let envelope = match control::decode(text) {
            Ok(Decoded::Known(envelope)) => envelope,
            Ok(Decoded::Unknown { kind, .. }) => {
                self.count(MessageType::Unknown, Direction::Received);
                tracing::debug!(
                    kind,
                    cluster = self.key.cluster,
                    "unknown control message passed over"
                );
                return Ok(());
            }
            Err(error) => {
                let complaint = self
                    .intake
                    .complain(ErrorCode::InvalidRequest, text, &error);
                self.count(MessageType::Malformed, Direction::Received);
                return self.complain(complaint).await;
            }
        };
        self.count((&envelope.message).into(), Direction::Received);
        self.on_known(envelope.message).await;
        Ok(())
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is what gateways say, and no agent, or what nobody has asked this one for"
    )]
    async fn on_known(&mut self, message: Message) {
        match message {
            Message::Heartbeat(beat) => self.known.heartbeat(beat),
            Message::ClusterStatus(status) => self.known.status(status),
            Message::Event(event) => self.known.happened([event]),
            Message::EventBatch(batch) => self.known.happened(batch.events),
            Message::EventSummary(summary) => self.known.left_out(summary),
            Message::Ack(_) | Message::DeployStatus(_) | Message::DeployResult(_) => {
                let deployments = &self.worker.shared.deployments;
                deployments
                    .said(&self.key.cluster, message, self.control.clone())
                    .await;
            }
            Message::Drain(drain) if !self.draining => {
                self.draining = true;
                tracing::info!(
                    cluster = self.key.cluster,
                    generation = self.key.generation,
                    reason = drain.reason,
                    "agent drains"
                );
                self.known.draining(&self.key);
                self.worker
                    .shared
                    .broadcast(|| Mail::AgentDraining(self.key.clone()))
                    .await;
            }
            Message::CarrierFailed(failed) => self.on_carrier_failed(failed.reason),
            Message::Error(report) => {
                tracing::warn!(
                    cluster = self.key.cluster,
                    code = report.code,
                    message = report.message,
                    "the agent complains"
                );
            }
            Message::WantCarrier(want) => {
                let wants = || Mail::AgentWants(self.key.clone(), want);
                self.worker.shared.broadcast(wants).await;
            }
            other => tracing::debug!(
                kind = other.type_name(),
                cluster = self.key.cluster,
                "nothing is done about a control message"
            ),
        }
    }

    fn on_carrier_failed(&mut self, reason: String) {
        if self.carrier_failed.as_ref() == Some(&reason) {
            return;
        }
        tracing::warn!(
            cluster = self.key.cluster,
            reason,
            "the agent could not open a carrier"
        );
        self.carrier_failed = Some(reason);
    }
}
