//! The local port, and what comes in by it.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::{Client, ForwardError};
use super::udp;
use crate::relay::{abort, tune_end};
use crate::wire::limits::MAX_FORWARD_CONNECTIONS;
use crate::wire::raw::RawProtocol;

/// A read each way, of each connection.
const BUFFER: usize = 64 * 1024;

/// A local port that is listened on.
#[derive(Debug)]
pub(super) enum Listening {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Listening {
    pub(super) async fn bind(
        address: SocketAddr,
        protocol: RawProtocol,
    ) -> Result<Self, ForwardError> {
        let bound = match protocol {
            RawProtocol::Tcp => TcpListener::bind(address).await.map(Self::Tcp),
            RawProtocol::Udp => UdpSocket::bind(address).await.map(Self::Udp),
        };
        bound.map_err(|source| ForwardError::Listen { address, source })
    }

    pub(super) fn address(&self) -> Result<SocketAddr, ForwardError> {
        Ok(match self {
            Self::Tcp(listener) => listener.local_addr(),
            Self::Udp(socket) => socket.local_addr(),
        }?)
    }

    /// Serves until it is told to stop, and then until all connections have ended; `warn` is told
    /// of each that failed.
    pub(super) async fn serve(
        self,
        client: Rc<Client>,
        stop: CancellationToken,
        warn: fn(&str),
    ) -> Result<(), ForwardError> {
        match self {
            Self::Udp(socket) => udp::serve(socket, client, stop, warn).await,
            Self::Tcp(listener) => {
                let connections = TaskTracker::new();
                tokio::select! {
                    never = accept(&listener, client, &connections, warn) => match never {},
                    () = stop.cancelled() => drop(listener),
                }
                connections.close();
                connections.wait().await;
                Ok(())
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    client: Rc<Client>,
    connections: &TaskTracker,
    warn: fn(&str),
) -> std::convert::Infallible {
    let permits = Arc::new(Semaphore::new(MAX_FORWARD_CONNECTIONS));
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                let client = Rc::clone(&client);
                connections.spawn_local(async move {
                    if let Err(error) = carry(&client, stream).await {
                        warn(&format!("error: connection from {peer}: {}", told(&error)));
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: let some connections end first.
                warn(&format!("error: cannot accept a connection: {error}"));
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn carry(client: &Client, mut stream: TcpStream) -> Result<(), ForwardError> {
    // A socket without the options works all the same.
    drop(tune_end(&stream));
    let carried = async {
        let mut remote = client.open(RawProtocol::Tcp).await?;
        copy(&mut stream, &mut remote).await
    };
    let carried = carried.await;
    if carried.is_err() {
        abort(&stream);
    }
    carried
}

async fn copy<L, R>(local: &mut L, remote: &mut R) -> Result<(), ForwardError>
where
    L: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite + Unpin,
{
    copy_bidirectional_with_sizes(local, remote, BUFFER, BUFFER).await?;
    Ok(())
}

/// One connection, by standard input and output.
pub(super) async fn by_stdio(client: &Client) -> Result<(), ForwardError> {
    let mut remote = client.open(RawProtocol::Tcp).await?;
    let mut local = tokio::io::join(tokio::io::stdin(), tokio::io::stdout());
    copy(&mut local, &mut remote).await
}

/// An error with its cause.
pub(super) fn told(error: &ForwardError) -> String {
    let cause = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        .map(|cause| format!(" ({cause})"));
    format!("{error}{}", cause.unwrap_or_default())
}
