//! The request by which a connection becomes a carrier, of both kinds that are one over TLS.

use bytes::Bytes;
use http::request::Builder;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::loss::Ends;
use crate::agent::dial::{DialError, Dialer, Transport};
use crate::relay::{Early, tune_carrier};
use crate::wire::carrier::{WINDOW_HEADER, window};
use crate::wire::limits::FIRST_WINDOW;

/// A connection to the gateway that has switched protocols.
pub(in crate::agent) struct Switched {
    pub(super) io: Early<TlsStream<Transport>>,
    /// The two ends of its TCP connection.
    pub(super) ends: Option<Ends>,
    /// What the gateway takes on a new stream, if it has said so.
    pub(super) window: Option<u32>,
}

/// A request for a carrier, to which the protocol is to be added.
pub(super) fn request(dialer: &Dialer, ticket: &str, protocol: &'static str) -> Builder {
    let mut request = Request::get("/v1/agent/carrier")
        .header(header::HOST, dialer.authority())
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, protocol)
        .header(WINDOW_HEADER, FIRST_WINDOW);
    if let Ok(mut bearer) = HeaderValue::from_str(&format!("Bearer {ticket}")) {
        bearer.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, bearer);
    }
    request
}

/// Connects and sends the request; `answered` is told the status that the gateway answers with,
/// and `check` looks at the answer that switches.
///
/// # Errors
/// [`DialError`]; the ticket may be used up.
pub(super) async fn switch(
    dialer: &Dialer,
    request: Builder,
    answered: impl FnOnce(u16),
    check: impl FnOnce(&Response<Incoming>) -> Result<(), &'static str>,
) -> Result<Switched, DialError> {
    let lost = |error: &dyn std::fmt::Display| DialError::Unreachable(error.to_string());
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| lost(&error))?;
    let tls = dialer.connect().await?;
    if let Err(error) = tune_carrier(tls.get_ref().0.socket()) {
        tracing::debug!(%error, "can not set a carrier's options");
    }
    let ends = Ends::of(tls.get_ref().0.socket()).ok();
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls))
        .await
        .map_err(|error| lost(&error))?;
    spawn_local(connection.with_upgrades());
    let response = timeout(dialer.timeout(), sender.send_request(request))
        .await
        .map_err(|_| lost(&"the gateway does not answer"))?
        .map_err(|error| lost(&error))?;
    let status = response.status();
    answered(status.as_u16());
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(DialError::Refused(format!(
            "it answers {status} to a carrier"
        )));
    }
    check(&response).map_err(|why| lost(&why))?;
    let window = window(response.headers());
    let upgraded = hyper::upgrade::on(response)
        .await
        .map_err(|error| lost(&error))?;
    let io = Early::new(upgraded).ok_or_else(|| lost(&"the connection is lost"))?;
    Ok(Switched { io, ends, window })
}
