//! Opening a control channel: the WebSocket's handshake, and the gateway's welcome.

use std::time::Duration;

use futures_util::StreamExt;
use http::header::{AUTHORIZATION, HeaderValue};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message as WsMessage;
use tokio_tungstenite::tungstenite::{Error as WsError, http::Response};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::agent::dial::{DialError, Dialer, Transport};
use crate::http::error::parse;
use crate::http::websocket::control_config;
use crate::wire::carrier::CARRIERS_HEADER;
use crate::wire::control::{self, Decoded, Message, Welcome};
use crate::wire::limits::HEARTBEAT_INTERVAL;

/// A gateway of ours sends its welcome at once; one that has said nothing for so long has none.
const PLAIN: Duration = Duration::from_secs(5);

/// As what we connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) enum Kind {
    /// To serve.
    Agent,
    /// To look whether an agent could.
    Probe,
}

/// Who connects.
pub(in crate::agent) struct Caller<'a> {
    pub(in crate::agent) kind: Kind,
    pub(in crate::agent) cluster_id: Option<&'a str>,
    /// How many carriers each of the gateway's workers may have.
    pub(in crate::agent) carriers: usize,
    /// Names this process; a probe has nothing that it would be asked for again.
    pub(in crate::agent) instance: Option<&'a str>,
    pub(in crate::agent) token: &'a SecretString,
}

/// Opens a control channel; `answered` is told the status that the gateway answers with.
///
/// # Errors
/// [`DialError`], told apart by who has to act.
pub(in crate::agent) async fn handshake(
    dialer: &Dialer,
    caller: &Caller<'_>,
    answered: impl FnOnce(u16),
) -> Result<WebSocketStream<TlsStream<Transport>>, DialError> {
    let tls = dialer.connect().await?;
    let url = format!("wss://{}/v1/agent/connect", dialer.authority());
    let local = |error: &dyn std::fmt::Display| DialError::Local(error.to_string());
    let mut request = url.into_client_request().map_err(|error| local(&error))?;
    let bearer = HeaderValue::from_str(&format!("Bearer {}", caller.token.expose_secret()));
    let mut bearer = bearer.map_err(|_| local(&"the token holds characters that no token has"))?;
    bearer.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, bearer);
    if let Some(id) = caller.cluster_id {
        let id = HeaderValue::from_str(id).map_err(|error| local(&error))?;
        request.headers_mut().insert("x-cluster-id", id);
    }
    request
        .headers_mut()
        .insert(CARRIERS_HEADER, caller.carriers.into());
    request
        .headers_mut()
        .insert(control::PROTOCOL_HEADER, control::PROTOCOL_VERSION.into());
    if let Some(instance) = caller.instance {
        let instance = HeaderValue::from_str(instance).map_err(|error| local(&error))?;
        request
            .headers_mut()
            .insert(control::INSTANCE_HEADER, instance);
    }
    if caller.kind == Kind::Probe {
        let doctor = HeaderValue::from_static(control::PROBE_DOCTOR);
        request.headers_mut().insert(control::PROBE_HEADER, doctor);
    }
    let handshake = client_async_with_config(request, tls, Some(control_config()));
    match timeout(dialer.timeout(), handshake).await {
        Ok(Ok((socket, response))) => {
            answered(response.status().as_u16());
            Ok(socket)
        }
        Ok(Err(WsError::Http(response))) => {
            answered(response.status().as_u16());
            Err(refusal(&response))
        }
        Ok(Err(error)) => Err(DialError::Unreachable(format!(
            "the gateway does not speak WebSocket: {error}"
        ))),
        Err(_) => Err(DialError::Unreachable(
            "the gateway does not answer".to_owned(),
        )),
    }
}

/// Waits for the gateway's welcome, which comes first, and when it was written.
///
/// # Errors
/// [`DialError::Unreachable`] when something else comes, or nothing in time.
pub(in crate::agent) async fn welcome<S>(
    socket: &mut WebSocketStream<S>,
    limit: Duration,
) -> Result<(Timestamp, Welcome), DialError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let first = timeout(limit, socket.next()).await;
    if let Ok(Some(Ok(WsMessage::Text(text)))) = first
        && let Ok(Decoded::Known(envelope)) = control::decode(&text)
        && let Message::Welcome(welcome) = envelope.message
    {
        return Ok((envelope.timestamp, welcome));
    }
    Err(DialError::Unreachable(
        "the gateway did not send its welcome".to_owned(),
    ))
}

/// Who the platform is, and a message that came in the place of a welcome. One that knows only the reference's messages
/// sends none: after [`PLAIN`], or when something else comes first, it is taken for one of the protocol's first version.
///
/// # Errors
/// [`DialError::Unreachable`] when the connection ends first.
pub(in crate::agent) async fn greeted<S>(
    socket: &mut WebSocketStream<S>,
) -> Result<(Welcome, Option<WsMessage>), DialError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let give_in = Instant::now() + PLAIN;
    let first = loop {
        match timeout_at(give_in, socket.next()).await {
            Ok(Some(Ok(WsMessage::Text(text)))) => break Some(text),
            Ok(Some(Ok(WsMessage::Close(_)) | Err(_)) | None) => {
                let reason = "the gateway closed the connection before its welcome";
                return Err(DialError::Unreachable(reason.to_owned()));
            }
            Ok(Some(Ok(_))) => {}
            Err(_) => break None,
        }
    };
    if let Some(text) = &first
        && let Ok(Decoded::Known(envelope)) = control::decode(text)
        && let Message::Welcome(welcome) = envelope.message
    {
        return Ok((welcome, None));
    }
    tracing::warn!(
        "the platform sends no welcome: it is spoken to as the first version of the protocol has it, without a tunnel"
    );
    let interval = u64::try_from(HEARTBEAT_INTERVAL.as_millis()).unwrap_or(u64::MAX);
    let plain = Welcome {
        session_id: String::new(),
        protocol_version: 1,
        cluster_id: String::new(),
        cluster_name: String::new(),
        heartbeat_interval_ms: interval,
        probe: false,
    };
    Ok((plain, first.map(WsMessage::Text)))
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
