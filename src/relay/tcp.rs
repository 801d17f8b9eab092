//! TCP sockets as the tunnel wants them.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::wire::limits::TCP_USER_TIMEOUT;

/// Sets a socket between the two programs: as [`tune_end`], and a silent peer is noticed within
/// about [`TCP_USER_TIMEOUT`] also while bytes are on their way (RFC 5482). Only for a peer that
/// always reads: Linux ends a connection too whose peer takes no byte for that long.
///
/// # Errors
/// What the system says; the socket is usable all the same.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    tune_end(stream)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))
}

/// Sets a socket of a user or of a raw forward's target, who may stop to read for as long as they like: no delay,
/// and keep-alive probes by which a peer that is gone is noticed while nothing moves.
///
/// # Errors
/// What the system says; the socket is usable all the same.
pub fn tune_end(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(2))
        .with_retries(3);
    socket.set_tcp_keepalive(&probes)
}

/// Has the peer see a reset, and no proper end, once the connection is dropped: what it got is not
/// all. Does nothing where the system refuses.
pub fn abort(stream: &TcpStream) {
    drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
}

/// Unsent bytes of a carrier that the system takes before it says that it is full. What waits there
/// is ahead of every stream, so it is no more than one batch of the session's.
const CARRIER_UNSENT: u32 = 64 * 1024;

/// Sets a socket that carries a session: [`TCP_USER_TIMEOUT`] as with [`tune`], and little waits in
/// the system (tcp(7), `TCP_NOTSENT_LOWAT`).
///
/// # Errors
/// What the system says; the socket is usable all the same.
pub fn tune_carrier(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))?;
    socket.set_tcp_notsent_lowat(CARRIER_UNSENT)
}

/// A TCP connection that can move to another runtime: [`Socket::detach`] on the old one,
/// [`Socket::attach`] on the new. A TLS stream around it moves with it.
#[derive(Debug)]
pub struct Socket(State);

#[derive(Debug)]
enum State {
    Attached(TcpStream),
    Detached(std::net::TcpStream),
    Lost,
}

impl Socket {
    /// Takes a connection of this runtime.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self(State::Attached(stream))
    }

    /// Lets go of this runtime; reads and writes fail until [`Socket::attach`].
    ///
    /// # Errors
    /// When the system refuses; the connection is lost then.
    pub fn detach(&mut self) -> io::Result<()> {
        self.0 = match std::mem::replace(&mut self.0, State::Lost) {
            State::Attached(stream) => State::Detached(stream.into_std()?),
            detached @ (State::Detached(_) | State::Lost) => detached,
        };
        Ok(())
    }

    /// Joins the runtime that this is called on.
    ///
    /// # Errors
    /// When the system refuses; the connection is lost then.
    pub fn attach(&mut self) -> io::Result<()> {
        self.0 = match std::mem::replace(&mut self.0, State::Lost) {
            State::Detached(stream) => State::Attached(TcpStream::from_std(stream)?),
            attached @ (State::Attached(_) | State::Lost) => attached,
        };
        Ok(())
    }

    /// [`tune_carrier`] for this connection.
    ///
    /// # Errors
    /// As there; and when the connection is lost.
    pub fn tune_carrier(&self) -> io::Result<()> {
        match &self.0 {
            State::Attached(stream) => tune_carrier(stream),
            State::Detached(stream) => tune_carrier(stream),
            State::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match &mut self.0 {
            State::Attached(stream) => Ok(Pin::new(stream)),
            State::Detached(_) | State::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().stream()?.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().stream()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
