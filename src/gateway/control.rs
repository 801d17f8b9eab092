//! The control channel with one agent.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::SinkExt;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message as WsMessage, Role};

use super::agents::AgentHandle;
use super::directory::Grant;
use super::intake::Intake;
use super::metrics::Held;
use super::shared::Mail;
use super::store::ClusterRecord;
use super::tickets::AgentKey;
use super::worker::Worker;
use crate::http::websocket::{Pings, control_config};
use crate::metrics::{Direction, MessageType};
use crate::wire::control::{
    self, Decoded, Drain, Envelope, ErrorReport, Message, PROTOCOL_VERSION, Welcome,
};
use crate::wire::error::ErrorCode;
use crate::wire::limits::{CONTROL_PING, CONTROL_QUEUE, CONTROL_SILENCE, HEARTBEAT_INTERVAL};

/// One write to an agent takes no longer, or the agent counts as gone.
const WRITE: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Runs an agent's control channel from the moment that its connection has switched; each worker may
/// have so many `carriers` of the agent.
pub(super) async fn run(
    worker: Rc<Worker>,
    grant: Arc<Grant>,
    cluster: Arc<ClusterRecord>,
    carriers: usize,
    upgrade: OnUpgrade,
) {
    let Some(mut channel) = Channel::open(&worker, &cluster, upgrade).await else {
        return;
    };
    let connected = Held::one(&worker.shared.metrics.agents);
    let (control, outgoing) = mpsc::channel(CONTROL_QUEUE);
    let key = channel.key.clone();
    let others = worker.agents.count(cluster.id.as_str());
    tracing::info!(
        cluster = %cluster.id, name = %cluster.name, generation = key.generation, token_id = %grant.token_id,
        standing_by = others, "agent connected"
    );
    if others > 0 {
        tracing::warn!(
            cluster = %cluster.id, agents = others + 1,
            "several agents of one cluster: the newest takes new requests, the others stand by"
        );
    }
    let handle = AgentHandle {
        key: key.clone(),
        control,
        home: worker.index,
        ended: grant.ended.clone(),
        carriers,
        round_trip: Arc::clone(&channel.round_trip),
    };
    let reason = channel.run(&grant, &cluster, handle, outgoing).await;
    drop(connected);
    worker.shared.tickets.forget(&key);
    worker
        .shared
        .broadcast(|| Mail::AgentGone(key.clone()))
        .await;
    tracing::info!(cluster = %cluster.id, generation = key.generation, reason, "agent disconnected");
}

/// A control channel's connection.
pub(super) struct Channel {
    pub(super) worker: Rc<Worker>,
    pub(super) key: AgentKey,
    pub(super) socket: Socket,
    pub(super) intake: Intake,
    heard: Instant,
    sent: u64,
    pings: Pings,
    /// What the last one took, in microseconds.
    round_trip: Arc<AtomicU64>,
    draining: bool,
    /// Why the agent last opened no carrier: it is asked again and again, and says the same.
    carrier_failed: Option<String>,
}

/// Why a channel ended, for the log.
pub(super) type Reason = &'static str;

const WRITE_FAILED: Reason = "write failed";

impl Channel {
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

    /// The channel of a connection that switches; `None` where it does not.
    pub(super) async fn open(
        worker: &Rc<Worker>,
        cluster: &ClusterRecord,
        upgrade: OnUpgrade,
    ) -> Option<Self> {
        let io = TokioIo::new(upgrade.await.ok()?);
        let config = Some(control_config());
        Some(Self {
            worker: Rc::clone(worker),
            key: AgentKey {
                cluster: cluster.id.to_string(),
                generation: worker.shared.next_generation(),
            },
            socket: WebSocketStream::from_raw_socket(io, Role::Server, config).await,
            intake: Intake::new(),
            heard: Instant::now(),
            sent: 0,
            pings: Pings::default(),
            round_trip: Arc::default(),
            draining: false,
            carrier_failed: None,
        })
    }

    /// Runs until the agent has gone; says why.
    async fn run(
        &mut self,
        grant: &Grant,
        cluster: &ClusterRecord,
        handle: AgentHandle,
        mut outgoing: mpsc::Receiver<Message>,
    ) -> Reason {
        match self.serve(grant, cluster, handle, &mut outgoing).await {
            Ok(never) => match never {},
            Err(reason) => reason,
        }
    }

    async fn serve(
        &mut self,
        grant: &Grant,
        cluster: &ClusterRecord,
        handle: AgentHandle,
        outgoing: &mut mpsc::Receiver<Message>,
    ) -> Result<Infallible, Reason> {
        let welcome = self.welcome(cluster, false);
        self.send(welcome).await?;
        self.worker
            .shared
            .broadcast(|| Mail::AgentUp(handle.clone()))
            .await;
        let shared = Arc::clone(&self.worker.shared);
        let mut ticks = interval(CONTROL_PING);
        let mut told_drain = false;
        self.heard = Instant::now();
        loop {
            tokio::select! {
                () = grant.ended.cancelled() => {
                    self.close(CloseCode::Policy, "token revoked or expired").await.ok();
                    return Err("token revoked or expired");
                }
                () = shared.drain.cancelled(), if !told_drain => {
                    told_drain = true;
                    self.send(Message::Drain(Drain { reason: "gateway shuts down".to_owned() })).await?;
                }
                Some(message) = outgoing.recv() => self.send(message).await?,
                _ = ticks.tick() => self.ping().await?,
                message = self.intake.next(&mut self.socket) => self.on_message(message).await?,
            }
        }
    }

    async fn ping(&mut self) -> Result<(), Reason> {
        if self.heard.elapsed() > CONTROL_SILENCE {
            return Err("silent for too long");
        }
        let leftover = self.intake.leftover();
        self.complain(leftover).await?;
        let ping = WsMessage::Ping(self.pings.ping());
        self.write(ping).await
    }

    async fn on_message(
        &mut self,
        message: Option<Result<WsMessage, WsError>>,
    ) -> Result<(), Reason> {
        self.heard = Instant::now();
        match message {
            Some(Ok(WsMessage::Text(text))) => match self.intake.admit(&text) {
                Ok(()) => self.on_text(&text).await,
                Err(report) => {
                    self.count(MessageType::Refused, Direction::Received);
                    self.complain(report).await
                }
            },
            Some(Ok(WsMessage::Pong(payload))) => {
                if let Some(took) = self.pings.answered(&payload) {
                    let round_trip = &self.worker.shared.metrics.tunnel.control_round_trip;
                    round_trip.observe(took.as_secs_f64());
                    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                    self.round_trip.store(micros, Ordering::Relaxed);
                }
                Ok(())
            }
            Some(Ok(WsMessage::Close(_))) | None => Err("closed by the agent"),
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => {
                tracing::debug!(%error, cluster = self.key.cluster, "control channel failed");
                Err("connection lost")
            }
        }
    }

    /// Tells the agent that messages of its were not acted on, if it is to be told now.
    async fn complain(&mut self, report: Option<ErrorReport>) -> Result<(), Reason> {
        let Some(report) = report else { return Ok(()) };
        tracing::warn!(
            cluster = self.key.cluster,
            code = report.code,
            refused = report.refused,
            reason = report.message,
            "messages of an agent are refused"
        );
        self.send(Message::Error(report)).await
    }

    pub(super) fn welcome(&self, cluster: &ClusterRecord, probe: bool) -> Message {
        Message::Welcome(Welcome {
            session_id: format!("{}-{}", self.key.cluster, self.key.generation),
            protocol_version: PROTOCOL_VERSION,
            cluster_id: cluster.id.to_string(),
            cluster_name: cluster.name.to_string(),
            heartbeat_interval_ms: u64::try_from(HEARTBEAT_INTERVAL.as_millis())
                .unwrap_or(u64::MAX),
            probe,
        })
    }

    async fn on_text(&mut self, text: &str) -> Result<(), Reason> {
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

    async fn on_known(&mut self, message: Message) {
        match message {
            Message::Heartbeat(beat) => {
                tracing::debug!(
                    cluster = self.key.cluster,
                    status = beat.status,
                    "heartbeat"
                );
            }
            Message::Drain(drain) if !self.draining => {
                self.draining = true;
                tracing::info!(
                    cluster = self.key.cluster,
                    generation = self.key.generation,
                    reason = drain.reason,
                    "agent drains"
                );
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

    fn count(&self, message: MessageType, direction: Direction) {
        let tunnel = &self.worker.shared.metrics.tunnel;
        tunnel.control(message, direction);
    }

    pub(super) async fn send(&mut self, message: Message) -> Result<(), Reason> {
        self.sent += 1;
        self.count((&message).into(), Direction::Sent);
        let envelope = Envelope::new(format!("gw-{}", self.sent), Timestamp::now(), message);
        match envelope.encode() {
            Ok(text) => self.write(WsMessage::text(text)).await,
            Err(error) => {
                tracing::error!(%error, "can not encode a control message");
                Ok(())
            }
        }
    }

    async fn write(&mut self, message: WsMessage) -> Result<(), Reason> {
        match timeout(WRITE, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(WRITE_FAILED),
        }
    }

    pub(super) async fn close(&mut self, code: CloseCode, reason: Reason) -> Result<(), Reason> {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        self.write(WsMessage::Close(Some(frame))).await
    }
}
