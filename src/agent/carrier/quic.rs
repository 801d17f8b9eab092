//! Carriers over QUIC: a UDP socket for each, and the ticket on its first stream.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, ConnectionError, ConnectionId, Endpoint, EndpointConfig,
    ReadExactError, TokioRuntime, TransportErrorCode,
};
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::super::dial::{DialError, Dialer};
use crate::config::Period;
use crate::mux::quic::{Opens, transport};
use crate::relay;
use crate::wire::quic::{ACCEPTED, ALPN, REFUSED, ticket_id};

/// Alerts by which TLS says that a certificate does not convince: bad, unsupported, revoked,
/// expired, unknown, unknown CA (RFC 8446, section 6.2).
const CERTIFICATE_ALERTS: RangeInclusive<u8> = 42..=48;

/// Opens a carrier by its ticket, within this time.
///
/// # Errors
/// [`DialError`]; the ticket may be used up.
pub(in crate::agent) async fn dial(
    dialer: &Dialer,
    ticket: &str,
    limit: Duration,
) -> Result<Connection, DialError> {
    let place = format!("{} by QUIC", dialer.place());
    match timeout(limit, connect(dialer, ticket)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(error.at(&place)),
        Err(_) => Err(DialError::Unreachable(format!(
            "{place} does not answer within {}; does something on the way let no UDP pass?",
            Period(limit)
        ))),
    }
}

/// What goes wrong on the way.
#[derive(Debug, thiserror::Error)]
enum QuicError {
    #[error("{0}")]
    Local(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

impl QuicError {
    fn at(self, place: &str) -> DialError {
        let unreachable =
            |error: &dyn std::fmt::Display| DialError::Unreachable(format!("{place}: {error}"));
        match self {
            Self::Local(reason) => DialError::Local(format!("{place}: {reason}")),
            Self::Io(error) => unreachable(&error),
            Self::Connection(ConnectionError::ApplicationClosed(close))
                if close.error_code == REFUSED.into() =>
            {
                let reason = String::from_utf8_lossy(&close.reason).into_owned();
                DialError::Refused(reason)
            }
            Self::Connection(ConnectionError::ConnectionClosed(close))
                if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
            {
                DialError::Refused(
                    "it takes no QUIC connection by this ticket: it is used or too old, or the gateway is busy"
                        .to_owned(),
                )
            }
            Self::Connection(ConnectionError::TransportError(error))
                if is_certificate(error.code) =>
            {
                DialError::Certificate(error.reason)
            }
            Self::Connection(error) => unreachable(&error),
        }
    }
}

fn is_certificate(code: TransportErrorCode) -> bool {
    let mut alerts = CERTIFICATE_ALERTS;
    alerts.any(|alert| TransportErrorCode::crypto(alert) == code)
}

async fn connect(dialer: &Dialer, ticket: &str) -> Result<Connection, QuicError> {
    let config = config(dialer, ticket)?;
    let mut failed = QuicError::Local("the name has no address".to_owned());
    for address in lookup_host((dialer.host.as_str(), dialer.port)).await? {
        match reach(dialer, address, config.clone()).await {
            Ok(connection) => return introduce(connection, ticket).await,
            // Where one address has no route, the other family may have.
            Err(error @ QuicError::Io(_)) => failed = error,
            Err(error) => return Err(error),
        }
    }
    Err(failed)
}

fn config(dialer: &Dialer, ticket: &str) -> Result<ClientConfig, QuicError> {
    let mut tls = rustls::ClientConfig::clone(&dialer.tls());
    tls.alpn_protocols = vec![ALPN.to_vec()];
    // A ticket is good once: nothing of this handshake is used again.
    tls.resumption = rustls::client::Resumption::disabled();
    let crypto =
        QuicClientConfig::try_from(tls).map_err(|error| QuicError::Local(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    let id = ConnectionId::new(&ticket_id(ticket));
    config
        .transport_config(transport(Opens::Exchanges))
        .initial_dst_cid_provider(Arc::new(move || id));
    Ok(config)
}

async fn reach(
    dialer: &Dialer,
    address: SocketAddr,
    config: ClientConfig,
) -> Result<Connection, QuicError> {
    let any: SocketAddr = if address.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = relay::bind_udp(any)?;
    let tokio = Arc::new(TokioRuntime);
    // It lives as long as its connection.
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, tokio)?;
    let connecting = endpoint
        .connect_with(config, address, &dialer.host)
        .map_err(|error| QuicError::Local(error.to_string()))?;
    Ok(connecting.await?)
}

/// Shows the ticket, and waits for the gateway's word.
async fn introduce(connection: Connection, ticket: &str) -> Result<Connection, QuicError> {
    let (mut stream, mut answer) = connection.open_bi().await?;
    // What is wrong with the connection is told by the answer that does not come.
    drop(stream.write_all(ticket.as_bytes()).await);
    drop(stream.finish());
    let mut word = [0];
    match answer.read_exact(&mut word).await {
        Ok(()) if word == [ACCEPTED] => Ok(connection),
        Ok(()) | Err(ReadExactError::FinishedEarly(_)) => Err(QuicError::Io(io::Error::other(
            "the gateway answers the ticket with something else than yes or no",
        ))),
        Err(ReadExactError::ReadError(error)) => match connection.close_reason() {
            Some(reason) => Err(reason.into()),
            None => Err(QuicError::Io(error.into())),
        },
    }
}
