//! The control channel as the agent sees it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::header::{AUTHORIZATION, HeaderValue};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message as WsMessage;
use tokio_tungstenite::tungstenite::{Error as WsError, http::Response};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::carrier;
use super::dial::DialError;
use super::run::Shared;
use crate::http::error::parse;
use crate::http::websocket::control_config;
use crate::wire::control::{self, Decoded, Drain, Envelope, Heartbeat, Message, Welcome};
use crate::wire::limits::{CONTROL_PING, CONTROL_QUEUE, CONTROL_SILENCE};

/// One write takes no longer, or the gateway counts as gone.
const WRITE: Duration = Duration::from_secs(10);

/// How a control channel ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The gateway wants us elsewhere; the channel itself still lives.
    Drain,
    /// It is over, and why.
    Lost(String),
}

/// A control channel that has been welcomed.
pub(super) struct Channel {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    shared: Rc<Shared>,
    welcome: Welcome,
    sent: u64,
    told_drain: bool,
    /// What tasks of this connection have to say.
    answers: mpsc::Sender<Message>,
    answered: mpsc::Receiver<Message>,
}

/// Connects with this token and waits for the gateway's welcome.
///
/// # Errors
/// [`DialError`], told apart by who has to act.
pub(super) async fn connect(
    shared: &Rc<Shared>,
    token: &SecretString,
) -> Result<Channel, DialError> {
    let tls = shared.dialer.connect().await?;
    let url = format!("wss://{}/v1/agent/connect", shared.dialer.authority());
    let local = |error: &dyn std::fmt::Display| DialError::Local(error.to_string());
    let mut request = url.into_client_request().map_err(|error| local(&error))?;
    let bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
    let mut bearer = bearer.map_err(|_| local(&"the token holds characters that no token has"))?;
    bearer.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, bearer);
    if let Some(id) = &shared.config.agent.cluster_id {
        let id = HeaderValue::from_str(id).map_err(|error| local(&error))?;
        request.headers_mut().insert("x-cluster-id", id);
    }
    let handshake = client_async_with_config(request, tls, Some(control_config()));
    let socket = match timeout(shared.dialer.patience, handshake).await {
        Ok(Ok((socket, _))) => socket,
        Ok(Err(WsError::Http(response))) => return Err(refusal(&response)),
        Ok(Err(error)) => {
            return Err(DialError::Unreachable(format!(
                "the gateway does not speak WebSocket: {error}"
            )));
        }
        Err(_) => {
            return Err(DialError::Unreachable(
                "the gateway does not answer".to_owned(),
            ));
        }
    };
    Channel::welcomed(socket, Rc::clone(shared)).await
}

/// What an answer other than 101 means.
fn refusal(response: &Response<Option<Vec<u8>>>) -> DialError {
    let status = response.status();
    let said = response
        .body()
        .as_deref()
        .and_then(parse)
        .map(|error| error.message);
    let text = format!(
        "{}: {}",
        status.as_u16(),
        said.unwrap_or_else(|| "no reason given".to_owned())
    );
    match status.as_u16() {
        401 | 403 => DialError::Refused(text),
        _ => DialError::Unreachable(format!("the gateway answers {text}")),
    }
}

impl Channel {
    async fn welcomed(
        mut socket: WebSocketStream<TlsStream<TcpStream>>,
        shared: Rc<Shared>,
    ) -> Result<Self, DialError> {
        let first = timeout(shared.dialer.patience, socket.next()).await;
        let lost = || DialError::Unreachable("the gateway did not send its welcome".to_owned());
        let Ok(Some(Ok(WsMessage::Text(text)))) = first else {
            return Err(lost());
        };
        let Ok(Decoded::Known(envelope)) = control::decode(&text) else {
            return Err(lost());
        };
        let Message::Welcome(welcome) = envelope.message else {
            return Err(lost());
        };
        tracing::info!(
            session = welcome.session_id,
            cluster = welcome.cluster_id,
            name = welcome.cluster_name,
            protocol = welcome.protocol_version,
            "connected to the gateway"
        );
        let (answers, answered) = mpsc::channel(CONTROL_QUEUE);
        Ok(Self {
            socket,
            shared,
            welcome,
            sent: 0,
            told_drain: false,
            answers,
            answered,
        })
    }

    /// Serves the channel until it is lost or the gateway drains.
    pub(super) async fn run(&mut self) -> End {
        let mut pings = interval(CONTROL_PING);
        let mut heard = Instant::now();
        let mut beat = Instant::now();
        let draining = self.shared.draining.clone();
        loop {
            tokio::select! {
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
                Some(message) = self.answered.recv() => {
                    if let Err(lost) = self.send(message).await {
                        return lost;
                    }
                }
                _ = pings.tick() => {
                    if heard.elapsed() > CONTROL_SILENCE {
                        return End::Lost(format!("the gateway was silent for {} s", CONTROL_SILENCE.as_secs()));
                    }
                    if let Err(lost) = self.write(WsMessage::Ping(Vec::new().into())).await {
                        return lost;
                    }
                }
                message = self.socket.next() => {
                    heard = Instant::now();
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
        Message::Heartbeat(Heartbeat {
            status: status.to_owned(),
            metrics: BTreeMap::new(),
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
        let text = match message {
            Some(Ok(WsMessage::Text(text))) => text,
            Some(Ok(WsMessage::Close(frame))) => {
                let reason = frame.map_or_else(String::new, |frame| frame.reason.to_string());
                return Some(End::Lost(format!(
                    "the gateway closed the connection ({reason})"
                )));
            }
            Some(Ok(_)) => return None,
            Some(Err(error)) => {
                return Some(End::Lost(format!(
                    "the connection to the gateway was lost: {error}"
                )));
            }
            None => return Some(End::Lost("the gateway closed the connection".to_owned())),
        };
        match control::decode(&text) {
            Ok(Decoded::Known(envelope)) => self.on_known(envelope.message),
            Ok(Decoded::Unknown { kind, .. }) => {
                tracing::debug!(kind, "unknown control message passed over");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "the gateway sent what is no message");
                None
            }
        }
    }

    fn on_known(&mut self, message: Message) -> Option<End> {
        match message {
            Message::OpenCarrier(open) => carrier::open(&self.shared, open, self.answers.clone()),
            Message::Drain(drain) => {
                tracing::info!(reason = drain.reason, "the gateway drains; connecting anew");
                return Some(End::Drain);
            }
            Message::Error(report) => {
                tracing::warn!(
                    code = report.code,
                    message = report.message,
                    "the gateway complains"
                );
            }
            Message::Welcome(_) | Message::CarrierFailed(_) | Message::Heartbeat(_) => {}
        }
        None
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        self.sent += 1;
        let envelope = Envelope::new(format!("agent-{}", self.sent), Timestamp::now(), message);
        let text = envelope
            .encode()
            .map_err(|error| End::Lost(error.to_string()))?;
        self.write(WsMessage::text(text)).await
    }

    async fn write(&mut self, message: WsMessage) -> Result<(), End> {
        match timeout(WRITE, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Lost(format!(
                "the connection to the gateway was lost: {error}"
            ))),
            Err(_) => Err(End::Lost("the gateway does not read".to_owned())),
        }
    }
}
