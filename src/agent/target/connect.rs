//! Connections to targets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::pool::OriginError;
use crate::agent::config::{ForwardConfig, Protocol};
use crate::agent::dial::client_config;
use crate::agent::metrics::{Connect, TargetMeters};
use crate::relay::{tune, tune_end};
use crate::wire::limits::{CONNECT, TLS_HANDSHAKE};

/// How to get a connection to one target.
#[derive(Clone)]
pub(super) struct Connector {
    host: String,
    port: u16,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    meters: Arc<TargetMeters>,
}

impl Connector {
    /// Prepares for a configured forward.
    pub(super) fn forward(
        config: &ForwardConfig,
        meters: Arc<TargetMeters>,
    ) -> Result<Self, String> {
        let authority: http::uri::Authority = config
            .local_addr
            .parse()
            .map_err(|error| format!("local_addr: {error}"))?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().ok_or("local_addr has no port")?;
        let alpn: &[&[u8]] = match config.protocol {
            Protocol::Http | Protocol::Grpc | Protocol::Tcp | Protocol::Udp => {
                return Ok(Self {
                    host,
                    port,
                    tls: None,
                    meters,
                });
            }
            Protocol::Https => &[b"http/1.1"],
            Protocol::Grpcs => &[b"h2"],
        };
        let mut tls =
            client_config(config.ca_file.as_deref(), alpn).map_err(|error| error.to_string())?;
        if config.insecure_skip_verify {
            tracing::warn!(
                service = config.name,
                "insecure_skip_verify: the target's certificate is not checked"
            );
            super::insecure::accept_any(&mut tls);
        }
        let name = config.server_name.clone().unwrap_or_else(|| host.clone());
        let name = ServerName::try_from(name).map_err(|error| format!("server_name: {error}"))?;
        Ok(Self {
            host,
            port,
            tls: Some((Arc::new(tls), name)),
            meters,
        })
    }

    /// Prepares for an address and TLS configuration from elsewhere.
    pub(super) fn new(
        host: String,
        port: u16,
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
        meters: Arc<TargetMeters>,
    ) -> Self {
        Self {
            host,
            port,
            tls,
            meters,
        }
    }

    /// Connects, and does the TLS handshake where there is one.
    pub(super) async fn connect(&self) -> Result<OriginIo, OriginError> {
        self.counted(self.connect_now()).await
    }

    /// Connects without TLS.
    pub(super) async fn connect_tcp(&self) -> Result<TcpStream, OriginError> {
        self.counted(async {
            let stream = self.tcp().await?;
            note(tune_end(&stream));
            Ok(stream)
        })
        .await
    }

    /// A UDP socket that takes and gives datagrams of the target alone.
    pub(super) async fn connect_udp(&self) -> Result<UdpSocket, OriginError> {
        self.counted(async {
            match timeout(CONNECT, self.udp()).await {
                Ok(socket) => socket.map_err(OriginError::Refused),
                Err(_) => Err(OriginError::ConnectTimedOut),
            }
        })
        .await
    }

    async fn udp(&self) -> io::Result<UdpSocket> {
        let mut last = io::ErrorKind::NotFound.into();
        for address in lookup_host((self.host.as_str(), self.port)).await? {
            let any: SocketAddr = match address {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any).await?;
            match socket.connect(address).await {
                Ok(()) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn counted<T>(
        &self,
        connect: impl Future<Output = Result<T, OriginError>>,
    ) -> Result<T, OriginError> {
        let begun = Instant::now();
        let connected = connect.await;
        self.meters.connects.get(result(&connected)).inc();
        if connected.is_ok() {
            self.meters.seconds.observe(begun.elapsed().as_secs_f64());
        }
        connected
    }

    async fn tcp(&self) -> Result<TcpStream, OriginError> {
        let stream =
            match timeout(CONNECT, TcpStream::connect((self.host.as_str(), self.port))).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return Err(OriginError::Refused(error)),
                Err(_) => return Err(OriginError::ConnectTimedOut),
            };
        Ok(stream)
    }

    async fn connect_now(&self) -> Result<OriginIo, OriginError> {
        let stream = self.tcp().await?;
        // A target that takes no byte of a request for long is given up: its client may have gone,
        // which shows to nobody while nothing moves.
        note(tune(&stream));
        let Some((config, name)) = &self.tls else {
            return Ok(OriginIo::Plain(stream));
        };
        let handshake = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream);
        match timeout(TLS_HANDSHAKE, handshake).await {
            Ok(Ok(stream)) => Ok(OriginIo::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(OriginError::Tls(error)),
            Err(_) => Err(OriginError::ConnectTimedOut),
        }
    }
}

fn note(tuned: io::Result<()>) {
    if let Err(error) = tuned {
        tracing::debug!(%error, "can not set a socket's options");
    }
}

fn result<T>(connected: &Result<T, OriginError>) -> Connect {
    match connected {
        Ok(_) => Connect::Ok,
        Err(OriginError::ConnectTimedOut) => Connect::TimedOut,
        Err(OriginError::Tls(_)) => Connect::Tls,
        Err(OriginError::Refused(_) | OriginError::Http(_)) => Connect::Refused,
    }
}

/// A connection to a target.
pub(super) enum OriginIo {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for OriginIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for OriginIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
