//! The control channel as the agent sees it.

mod handshake;

use std::rc::Rc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::protocol::Message as WsMessage;

use super::carrier;
use super::commands::{self, is_order};
use super::dial::{DialError, Transport};
use super::metrics::{ApiError, Disconnect, Endpoint};
use super::outbox::Outbox;
use super::reports::Link;
use super::run::Shared;
use super::status::KnownAs;
use crate::http::websocket::Pings;
use crate::metrics::{Direction, MessageType};
use crate::wire::control::{
    self, Decoded, Drain, Envelope, ErrorReport, Heartbeat, Message, Outcome, Welcome,
};
use crate::wire::error::ErrorCode;
use crate::wire::limits::{CONTROL_PING, CONTROL_SILENCE};

use handshake::greeted;
pub(super) use handshake::{Caller, Kind, handshake, welcome};

/// One write takes no longer, or the gateway counts as gone.
const WRITE: Duration = Duration::from_secs(10);

/// How a control channel ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The gateway wants us elsewhere; the channel itself still lives.
    Drain,
    /// It is over, and why.
    Lost(Disconnect, String),
}

impl End {
    /// Why, as it is counted.
    pub(super) fn reason(&self) -> Disconnect {
        match self {
            Self::Drain => Disconnect::Drain,
            Self::Lost(reason, _) => *reason,
        }
    }
}

/// A control channel that has been welcomed.
pub(super) struct Channel<S = TlsStream<Transport>> {
    socket: WebSocketStream<S>,
    shared: Rc<Shared>,
    welcome: Welcome,
    sent: u64,
    pings: Pings,
    told_drain: bool,
    /// What tasks of this connection have to say.
    outbox: Outbox,
    /// What came in the place of a welcome.
    first: Option<WsMessage>,
}

/// Connects with this token and waits for the gateway's welcome.
///
/// # Errors
/// [`DialError`], told apart by who has to act.
pub(super) async fn connect(
    shared: &Rc<Shared>,
    token: &SecretString,
) -> Result<Channel, DialError> {
    let cluster_id = shared.config.agent.cluster_id.as_deref();
    let counted = shared.metrics.api.request(Endpoint::Connect);
    let caller = Caller {
        kind: Kind::Agent,
        cluster_id,
        carriers: shared.config.tunnel.carriers.count,
        instance: Some(&shared.instance),
        token,
    };
    let answered = |status| counted.answered(status);
    let socket = handshake(&shared.dialer, &caller, answered).await?;
    Channel::welcomed(socket, Rc::clone(shared)).await
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    async fn welcomed(
        mut socket: WebSocketStream<S>,
        shared: Rc<Shared>,
    ) -> Result<Self, DialError> {
        let (welcome, first) = greeted(&mut socket).await?;
        let tunnel = &shared.metrics.tunnel;
        tunnel.control(MessageType::Welcome, Direction::Received);
        tracing::info!(
            session = welcome.session_id,
            cluster = welcome.cluster_id,
            name = welcome.cluster_name,
            protocol = welcome.protocol_version,
            "connected to the gateway"
        );
        if !welcome.cluster_id.is_empty() {
            shared.reporter.known_as(KnownAs {
                cluster_id: welcome.cluster_id.clone(),
                cluster_name: welcome.cluster_name.clone(),
            });
        }
        shared.reporter.heard();
        let outbox = Outbox::new();
        shared.controller.connected(Link {
            outgoing: outbox.sender(),
            protocol: welcome.protocol_version,
        });
        Ok(Self {
            socket,
            shared,
            welcome,
            sent: 0,
            pings: Pings::default(),
            told_drain: false,
            outbox,
            first,
        })
    }

    /// Serves the channel until it is lost or the gateway drains.
    pub(super) async fn run(&mut self) -> End {
        let mut ticks = interval(CONTROL_PING);
        let mut heard = Instant::now();
        let mut beat = Instant::now();
        let draining = self.shared.draining.clone();
        if let Some(first) = self.first.take() {
            self.on_message(Some(Ok(first)));
        }
        loop {
            // In the order of importance. What comes before the socket is bounded by time, and so
            // never keeps it from being read.
            tokio::select! {
                biased;
                () = draining.cancelled(), if !self.told_drain => {
                    self.told_drain = true;
                    let drain = Message::Drain(Drain { reason: "agent shuts down".to_owned() });
                    if let Err(lost) = self.send(drain).await {
                        return lost;
                    }
                    self.shared.drain_told.cancel();
                }
                () = sleep_until(beat) => {
                    beat = Instant::now() + self.heartbeat_wait();
                    if let Err(lost) = self.send(self.heartbeat()).await {
                        return lost;
                    }
                }
                _ = ticks.tick() => {
                    if heard.elapsed() > CONTROL_SILENCE {
                        return End::Lost(Disconnect::Silent, format!("the gateway was silent for {} s", CONTROL_SILENCE.as_secs()));
                    }
                    let ping = WsMessage::Ping(self.pings.ping());
                    if let Err(lost) = self.write(ping).await {
                        return lost;
                    }
                }
                message = self.outbox.next() => {
                    if let Err(lost) = self.send(message).await {
                        return lost;
                    }
                }
                message = self.socket.next() => {
                    heard = Instant::now();
                    self.shared.reporter.heard();
                    if let Some(end) = self.on_message(message) {
                        return end;
                    }
                }
            }
        }
    }

    fn heartbeat(&self) -> Message {
        let status = if self.shared.targets().are_usable() {
            "healthy"
        } else {
            "degraded"
        };
        let usage = self.shared.controller.usage();
        Message::Heartbeat(Heartbeat {
            status: status.to_owned(),
            metrics: usage.metrics,
            source: usage.source,
        })
    }

    /// The interval that the gateway asked for, and up to a tenth more.
    fn heartbeat_wait(&self) -> Duration {
        let interval =
            Duration::from_millis(self.welcome.heartbeat_interval_ms.clamp(1_000, 300_000));
        let mut random = [0];
        // Without randomness there is no jitter, which does no harm.
        let jitter = getrandom::fill(&mut random).map_or(0.0, |()| f64::from(random[0]) / 2550.0);
        interval + interval.mul_f64(jitter)
    }

    fn on_message(&mut self, message: Option<Result<WsMessage, WsError>>) -> Option<End> {
        let lost = |reason, text: String| Some(End::Lost(reason, text));
        let text = match message {
            Some(Ok(WsMessage::Text(text))) => text,
            Some(Ok(WsMessage::Pong(payload))) => {
                if let Some(took) = self.pings.answered(&payload) {
                    let round_trip = &self.shared.metrics.tunnel.control_round_trip;
                    round_trip.observe(took.as_secs_f64());
                    self.shared.carriers.round_trip.set(took);
                }
                return None;
            }
            Some(Ok(WsMessage::Close(frame))) => {
                let reason = frame.map_or_else(String::new, |frame| frame.reason.to_string());
                return lost(
                    Disconnect::Closed,
                    format!("the gateway closed the connection ({reason})"),
                );
            }
            Some(Ok(_)) => return None,
            Some(Err(error)) => {
                return lost(
                    Disconnect::Lost,
                    format!("the connection to the gateway was lost: {error}"),
                );
            }
            None => {
                return lost(
                    Disconnect::Closed,
                    "the gateway closed the connection".to_owned(),
                );
            }
        };
        match control::decode(&text) {
            Ok(Decoded::Known(envelope)) => {
                self.count((&envelope.message).into(), Direction::Received);
                self.on_known(*envelope)
            }
            Ok(Decoded::Unknown { kind, .. }) => {
                self.count(MessageType::Unknown, Direction::Received);
                tracing::debug!(kind, "unknown control message passed over");
                None
            }
            Err(error) => {
                self.count(MessageType::Malformed, Direction::Received);
                self.shared.metrics.api.error(ApiError::Protocol);
                tracing::warn!(%error, "the gateway sent what is no message");
                None
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is what agents say, and no gateway"
    )]
    fn on_known(&mut self, Envelope { id, message, .. }: Envelope) -> Option<End> {
        if is_order(&message) {
            self.order(id, message);
            return None;
        }
        match message {
            Message::OpenCarrier(open) => carrier::open(&self.shared, open, self.outbox.sender()),
            Message::Drain(drain) => {
                tracing::info!(reason = drain.reason, "the gateway drains; connecting anew");
                return Some(End::Drain);
            }
            Message::Error(report) => self.on_complaint(&report),
            other => tracing::debug!(
                kind = other.type_name(),
                "nothing is done about a control message"
            ),
        }
        None
    }

    /// Hands a command, or what is said about one, to the controller.
    fn order(&self, id: String, message: Message) {
        let too_many = commands::error(
            ErrorCode::TooManyRequests,
            "too many commands wait for the agent",
        );
        let refusal = commands::ended(&id, &message, Outcome::Refused, Some(too_many));
        if self.shared.controller.deliver(id, message).is_err() {
            tracing::warn!("too many commands wait; one is refused");
            // Where this queue is full too, the platform gives the command again.
            refusal.map(|refusal| self.outbox.sender().try_send(refusal).ok());
        }
    }

    fn on_complaint(&mut self, report: &ErrorReport) {
        if report.code == ErrorCode::TooManyRequests.as_str() {
            let hold = Duration::from_millis(report.retry_after_ms.unwrap_or_default());
            self.outbox.slow_down(hold);
            tracing::warn!(
                refused = report.refused,
                retry_after_ms = report.retry_after_ms,
                per_minute = self.outbox.rate(),
                "the gateway refuses messages of this agent; sending more slowly"
            );
            return;
        }
        tracing::warn!(
            code = report.code,
            message = report.message,
            "the gateway complains"
        );
    }

    fn count(&self, message: MessageType, direction: Direction) {
        self.shared.metrics.tunnel.control(message, direction);
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        self.sent += 1;
        self.count((&message).into(), Direction::Sent);
        let envelope = Envelope::new(format!("agent-{}", self.sent), Timestamp::now(), message);
        let text = envelope
            .encode()
            .map_err(|error| End::Lost(Disconnect::Lost, error.to_string()))?;
        self.write(WsMessage::text(text)).await
    }

    async fn write(&mut self, message: WsMessage) -> Result<(), End> {
        match timeout(WRITE, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Lost(
                Disconnect::Lost,
                format!("the connection to the gateway was lost: {error}"),
            )),
            Err(_) => Err(End::Lost(
                Disconnect::Stalled,
                "the gateway does not read".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
