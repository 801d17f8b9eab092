//! Opening a control channel: the WebSocket's handshake, and the gateway's welcome.

use std::time::Duration;

use futures_util::StreamExt;
use http::header::{AUTHORIZATION, HeaderValue};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
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
