//! The WebSocket: what comes goes back, text or binary, and a close with the same code.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_util::sync::CancellationToken;

use super::{Body, problem};

/// Bytes of a message, all its fragments together: more than a person sends, little enough to hold
/// for each of the service's connections.
const MAX_MESSAGE: usize = 1024 * 1024;
/// A client that reads nothing for this long has gone.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);

/// Takes the connection over (RFC 6455 section 4.2), or says what was missing.
pub(super) fn respond(mut request: Request<Incoming>, stop: CancellationToken) -> Response<Body> {
    let fields = request.headers();
    let is = |name: HeaderName, token: &str| has_token(fields, name, token);
    if !is(header::CONNECTION, "upgrade") || !is(header::UPGRADE, "websocket") {
        let mut response = problem(
            StatusCode::UPGRADE_REQUIRED,
            "UPGRADE_REQUIRED",
            "/echo is a WebSocket",
        );
        response
            .headers_mut()
            .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return response;
    }
    let Some(key) = fields.get(header::SEC_WEBSOCKET_KEY) else {
        return problem(
            StatusCode::BAD_REQUEST,
            "INVALID_REQUEST",
            "Sec-WebSocket-Key is missing",
        );
    };
    if fields
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        let mut response = problem(
            StatusCode::UPGRADE_REQUIRED,
            "UPGRADE_REQUIRED",
            "version 13 it is",
        );
        response.headers_mut().insert(
            header::SEC_WEBSOCKET_VERSION,
            HeaderValue::from_static("13"),
        );
        return response;
    }
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    let Ok(accept) = accept else {
        return problem(
            StatusCode::BAD_REQUEST,
            "INVALID_REQUEST",
            "Sec-WebSocket-Key is none",
        );
    };
    let protocol = fields
        .get(header::SEC_WEBSOCKET_PROTOCOL)
        .and_then(first_token);
    tokio::spawn(stop.run_until_cancelled_owned(echo(hyper::upgrade::on(&mut request))));
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = response.headers_mut();
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        fields.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

fn has_token(fields: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let texts = fields
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// Browsers insist on one of the protocols that they offered.
fn first_token(offered: &HeaderValue) -> Option<HeaderValue> {
    let first = offered.to_str().ok()?.split(',').next()?.trim();
    HeaderValue::from_str(first).ok()
}

async fn echo(upgrade: OnUpgrade) {
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "a WebSocket of the demo service was not taken over");
            return;
        }
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MAX_MESSAGE)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let socket = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await;
    // tungstenite itself answers pings, and a close with its code.
    while let Some(message) = socket.next().await {
        let sent = match message {
            Ok(message) if message.is_text() || message.is_binary() => socket.send(message),
            Ok(_) => continue,
            Err(WsError::Capacity(CapacityError::MessageTooLong { .. })) => {
                let reason = format!("at most {MAX_MESSAGE} bytes").into();
                let close = socket.close(Some(CloseFrame {
                    code: CloseCode::Size,
                    reason,
                }));
                // Either way the connection ends here.
                drop(timeout(WRITE_DEADLINE, close).await);
                return;
            }
            Err(_) => return,
        };
        if !matches!(timeout(WRITE_DEADLINE, sent).await, Ok(Ok(()))) {
            return;
        }
    }
}
