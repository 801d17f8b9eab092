//! How a connection switches protocols.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::http::headers;
use crate::wire::error::{ApiError, ErrorCode};

/// The key of a WebSocket's handshake.
///
/// # Errors
/// 400 where the request is none.
pub(super) fn websocket_key(request: &HeaderMap) -> Result<Vec<u8>, ApiError> {
    let websocket = headers::upgrade_protocol(request)
        .is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"));
    let version = request
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_some_and(|version| version == "13");
    match request.get(header::SEC_WEBSOCKET_KEY) {
        Some(key) if websocket && version => Ok(key.as_bytes().to_vec()),
        _ => Err(ApiError::new(
            ErrorCode::InvalidRequest,
            "this path is a WebSocket (RFC 6455, version 13)",
        )),
    }
}

/// The answer to a WebSocket's handshake with this key.
pub(super) fn to_websocket(key: &[u8]) -> Response<()> {
    let mut response = to("websocket");
    if let Ok(accept) = derive_accept_key(key).parse() {
        response
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// The answer that switches to this protocol.
pub(super) fn to(protocol: &'static str) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(protocol));
    response
}
