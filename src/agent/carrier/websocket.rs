//! A carrier over a WebSocket: mux bytes in binary messages, for ways on which nothing else passes.

use http::header;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::upgrade::{Switched, request, switch};
use crate::agent::dial::{DialError, Dialer};
use crate::wire::carrier::MUX_PROTOCOL;

/// Opens a carrier by its ticket: what follows is a WebSocket's frames; `answered` is told the status that the gateway answers with.
///
/// # Errors
/// [`DialError`]; the ticket may be used up.
pub(super) async fn dial(
    dialer: &Dialer,
    ticket: &str,
    answered: impl FnOnce(u16),
) -> Result<Switched, DialError> {
    let key = generate_key();
    let request = request(dialer, ticket, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, MUX_PROTOCOL);
    let accept = derive_accept_key(key.as_bytes());
    switch(dialer, request, answered, |response| {
        let is = |name, value: &str| response.headers().get(name).is_some_and(|is| is == value);
        if !is(header::SEC_WEBSOCKET_ACCEPT, &accept) {
            return Err("what answers speaks no WebSocket");
        }
        if !is(header::SEC_WEBSOCKET_PROTOCOL, MUX_PROTOCOL) {
            return Err("what answers speaks WebSocket, and not pipeops-mux on it");
        }
        Ok(())
    })
    .await
}
