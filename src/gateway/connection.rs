//! One accepted connection: TLS, then HTTP/1.1 or HTTP/2 by ALPN; or HTTP/1.1 of a load balancer.

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::metrics::TlsResult;
use super::service::{self, Client};
use super::worker::Worker;
use crate::http::exec::LocalExec;
use crate::http::framing::Guard;
use crate::relay::{Socket, tune_end};
use crate::wire::limits::{
    HEAD_READ, MAX_H2_STREAMS, MAX_HEADER_BYTES, MAX_HEADERS, TLS_HANDSHAKE,
};

/// What one HTTP/2 stream may send unread; with the connection's window below it bounds what a
/// client that uploads into a stalled target makes us hold.
const H2_STREAM_WINDOW: u32 = 1024 * 1024;

/// What one HTTP/2 connection may send unread.
const H2_CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// How clients reach a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// By TLS.
    Tls,
    /// Through a load balancer that ended TLS.
    Plain,
}

/// Serves a connection until it ends; a drain lets the request under way finish.
pub(super) async fn serve(worker: Rc<Worker>, front: Front, stream: TcpStream, peer: SocketAddr) {
    if let Err(error) = tune_end(&stream) {
        tracing::debug!(%error, %peer, "can not set a socket's options");
    }
    let served = match front {
        Front::Tls => Box::pin(serve_tls(worker, stream, peer)).await,
        Front::Plain => serve_h1(worker, stream, peer, None, false).await,
    };
    if let Err(error) = served {
        tracing::debug!(%error, %peer, "connection ended");
    }
}

async fn serve_tls(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr) -> hyper::Result<()> {
    let acceptor = TlsAcceptor::from(worker.shared.tls.clone());
    let handshake = Box::pin(timeout(TLS_HANDSHAKE, acceptor.accept(Socket::new(stream)))).await;
    let handshakes = &worker.shared.metrics.tls_handshakes;
    handshakes.get(TlsResult::of(&handshake)).inc();
    let tls = match handshake {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            tracing::debug!(%error, %peer, "TLS handshake failed");
            return Ok(());
        }
        Err(_) => {
            tracing::debug!(%peer, "TLS handshake timed out");
            return Ok(());
        }
    };
    let session = tls.get_ref().1;
    let sni = session.server_name().map(str::to_ascii_lowercase);
    let h2 = session.alpn_protocol() == Some(b"h2");
    if h2 {
        Box::pin(serve_h2(worker, tls, peer, sni)).await
    } else {
        serve_h1(worker, tls, peer, sni, true).await
    }
}

async fn serve_h1<T>(
    worker: Rc<Worker>,
    io: T,
    peer: SocketAddr,
    sni: Option<String>,
    tls: bool,
) -> hyper::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (io, heads) = Guard::new(io);
    let drain = worker.shared.drain.clone();
    let cut = CancellationToken::new();
    let client = Rc::new(Client {
        peer,
        sni,
        tls,
        heads: Some(heads),
        cut: Some(cut.clone()),
    });
    let service =
        service_fn(move |request| service::handle(Rc::clone(&worker), Rc::clone(&client), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_HEADER_BYTES * 2)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = async {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = drain.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    };
    // hyper, asked first, ends the connection itself unless the client takes no more.
    tokio::select! {
        biased;
        ended = served => ended,
        () = cut.cancelled() => Ok(()),
    }
}

async fn serve_h2(
    worker: Rc<Worker>,
    tls: TlsStream<Socket>,
    peer: SocketAddr,
    sni: Option<String>,
) -> hyper::Result<()> {
    let drain = worker.shared.drain.clone();
    let client = Rc::new(Client {
        peer,
        sni,
        tls: true,
        heads: None,
        cut: None,
    });
    let service =
        service_fn(move |request| service::handle(Rc::clone(&worker), Rc::clone(&client), request));
    let connection = http2::Builder::new(LocalExec)
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_H2_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .serve_connection(TokioIo::new(tls), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = drain.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}
