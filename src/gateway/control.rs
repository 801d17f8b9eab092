//! The control channel with one agent. What is done about its messages is in [`inbound`].

mod inbound;

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
use super::fleet::{Connected, Known};
use super::intake::Intake;
use super::metrics::Held;
use super::shared::Mail;
use super::store::ClusterRecord;
use super::tickets::AgentKey;
use super::worker::Worker;
use crate::http::websocket::{Pings, control_config};
use crate::metrics::{Direction, MessageType};
use crate::wire::control::{Drain, Envelope, ErrorReport, Message, Welcome};
use crate::wire::limits::{CONTROL_PING, CONTROL_QUEUE, CONTROL_SILENCE, HEARTBEAT_INTERVAL};

/// One write to an agent takes no longer, or the agent counts as gone.
const WRITE: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// What an agent says of itself when it connects.
#[derive(Debug)]
pub(super) struct Peer {
    /// Carriers that each worker may have of it.
    pub(super) carriers: usize,
    /// The version of the control protocol that both speak.
    pub(super) protocol: u32,
    /// Names its process; empty where it does not say.
    pub(super) instance: String,
}

/// Runs an agent's control channel from the moment that its connection has switched.
pub(super) async fn run(
    worker: Rc<Worker>,
    grant: Arc<Grant>,
    cluster: Arc<ClusterRecord>,
    peer: Peer,
    upgrade: OnUpgrade,
) {
    let Some(mut channel) = Channel::open(&worker, &cluster, &peer, upgrade).await else {
        return;
    };
    let connected = Held::one(&worker.shared.metrics.agents);
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
        control: channel.control.clone(),
        home: worker.index,
        ended: grant.ended.clone(),
        carriers: peer.carriers,
        round_trip: Arc::clone(&channel.round_trip),
    };
    let known = Arc::clone(&channel.known);
    let round_trip = Arc::clone(&channel.round_trip);
    known.connected(Connected::new(
        key.clone(),
        handle.control.clone(),
        peer.instance,
        round_trip,
    ));
    let reason = channel.run(&grant, &cluster, handle).await;
    known.gone(&key);
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
    /// What the agent says of its cluster goes here.
    known: Arc<Known>,
    protocol: u32,
    /// What others put here is sent.
    control: mpsc::Sender<Post>,
    outgoing: mpsc::Receiver<Post>,
}

/// A message for an agent, with the id that it is to have, if that matters: a command's names the command.
#[derive(Debug)]
pub(super) struct Post {
    id: Option<String>,
    message: Message,
}

impl Post {
    pub(super) fn command(id: String, message: Message) -> Self {
        Self {
            id: Some(id),
            message,
        }
    }
}

#[cfg(test)]
impl Post {
    pub(super) fn into_message(self) -> Message {
        self.message
    }
}

impl From<Message> for Post {
    fn from(message: Message) -> Self {
        Self { id: None, message }
    }
}

/// Why a channel ended, for the log.
pub(super) type Reason = &'static str;

const WRITE_FAILED: Reason = "write failed";

impl Channel {
    /// The channel of a connection that switches; `None` where it does not.
    pub(super) async fn open(
        worker: &Rc<Worker>,
        cluster: &ClusterRecord,
        peer: &Peer,
        upgrade: OnUpgrade,
    ) -> Option<Self> {
        let io = TokioIo::new(upgrade.await.ok()?);
        let (control, outgoing) = mpsc::channel(CONTROL_QUEUE);
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
            known: worker.shared.fleet.entry(cluster.id.as_str()),
            protocol: peer.protocol,
            control,
            outgoing,
        })
    }

    /// Runs until the agent has gone; says why.
    async fn run(&mut self, grant: &Grant, cluster: &ClusterRecord, handle: AgentHandle) -> Reason {
        match self.serve(grant, cluster, handle).await {
            Ok(never) => match never {},
            Err(reason) => reason,
        }
    }

    async fn serve(
        &mut self,
        grant: &Grant,
        cluster: &ClusterRecord,
        handle: AgentHandle,
    ) -> Result<Infallible, Reason> {
        let welcome = self.welcome(cluster, false);
        self.send(welcome).await?;
        self.worker
            .shared
            .broadcast(|| Mail::AgentUp(handle.clone()))
            .await;
        let shared = Arc::clone(&self.worker.shared);
        shared.deployments.connected(cluster.id.as_str()).await;
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
                Some(post) = self.outgoing.recv() => self.post(post).await?,
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
            protocol_version: self.protocol,
            cluster_id: cluster.id.to_string(),
            cluster_name: cluster.name.to_string(),
            heartbeat_interval_ms: u64::try_from(HEARTBEAT_INTERVAL.as_millis())
                .unwrap_or(u64::MAX),
            probe,
        })
    }

    fn count(&self, message: MessageType, direction: Direction) {
        let tunnel = &self.worker.shared.metrics.tunnel;
        tunnel.control(message, direction);
    }

    pub(super) async fn send(&mut self, message: Message) -> Result<(), Reason> {
        self.post(message.into()).await
    }

    async fn post(&mut self, Post { id, message }: Post) -> Result<(), Reason> {
        self.sent += 1;
        self.count((&message).into(), Direction::Sent);
        let id = id.unwrap_or_else(|| format!("gw-{}", self.sent));
        let envelope = Envelope::new(id, Timestamp::now(), message);
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
