//! Targets that speak no HTTP: each exchange has a connection or a socket of its own.

use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};

use super::connect::Connector;
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::raw::RawProtocol;

/// How to get to one target.
pub(super) enum Raw {
    Tcp(Connector),
    /// A sender is forgotten when nothing came either way for this long.
    Udp(Connector, Duration),
}

/// What one exchange has of its own.
pub(in crate::agent) enum Opened {
    Tcp(TcpStream),
    Udp(UdpSocket, Duration),
}

impl Raw {
    /// Opens it for an exchange of this protocol.
    pub(super) async fn open(&self, name: &str, asked: RawProtocol) -> Result<Opened, ApiError> {
        let opened = match (self, asked) {
            (Self::Tcp(connector), RawProtocol::Tcp) => {
                connector.connect_tcp().await.map(Opened::Tcp)
            }
            (Self::Udp(connector, idle), RawProtocol::Udp) => {
                let socket = connector.connect_udp().await;
                socket.map(|socket| Opened::Udp(socket, *idle))
            }
            (Self::Tcp(_), RawProtocol::Udp) => {
                return Err(conflict(name, "is TCP, not UDP: use `Upgrade: tcp`"));
            }
            (Self::Udp(..), RawProtocol::Tcp) => {
                return Err(conflict(
                    name,
                    "is UDP, not TCP: use `Upgrade: connect-udp`, or `pipeops-gateway forward --udp`",
                ));
            }
        };
        opened.map_err(|error| error.into_api_error(name))
    }

    /// The error for a request that asks for no upgrade.
    pub(super) fn no_http(&self, name: &str) -> ApiError {
        let (what, token) = match self {
            Self::Tcp(_) => ("TCP", RawProtocol::Tcp.token()),
            Self::Udp(..) => ("UDP", RawProtocol::Udp.token()),
        };
        ApiError::new(
            ErrorCode::UpgradeRequired,
            format!(
                "the service '{name}' in the cluster is plain {what}, not HTTP: use `pipeops-gateway forward`, or HTTP/1.1 with `Upgrade: {token}` and nothing behind the service's name"
            ),
        )
    }
}

/// The error for raw bytes to a service that speaks HTTP.
pub(super) fn only_http(name: &str) -> ApiError {
    conflict(
        name,
        "speaks HTTP: use its URL, or set `protocol: tcp` (or `udp`) in the agent's tunnel.forwards",
    )
}

fn conflict(name: &str, what: &str) -> ApiError {
    ApiError::new(
        ErrorCode::Conflict,
        format!("the service '{name}' in the cluster {what}"),
    )
}
