//! Many small writes made into few large ones.
//!
//! The `yamux` crate writes a frame's header and body apart and flushes after each frame; over TLS
//! each of these would be a record and a system call of its own. [`Batch`] takes them into one
//! buffer and leaves the flush to the session's driver, which does it once a turn.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::metrics::{SessionMeters, Waiting};

/// Bytes that wait for one flush: four TLS records.
const LIMIT: usize = 64 * 1024;

/// A buffer up to this large is kept while idle.
const KEEP: usize = 4 * 1024;

/// A carrier that two owners on one thread share: the `yamux` connection and the driver.
#[derive(Debug)]
pub(super) struct Batch<T>(Rc<RefCell<Inner<T>>>);

#[derive(Debug)]
struct Inner<T> {
    io: T,
    pending: BytesMut,
    meters: SessionMeters,
    waiting: Waiting,
}

impl<T> Clone for Batch<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Batch<T> {
    pub(super) fn new(io: T, meters: SessionMeters) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            io,
            pending: BytesMut::new(),
            waiting: meters.carrier_queue(),
            meters,
        })))
    }

    /// Writes everything that waits and flushes the carrier.
    pub(super) fn poll_flush_now(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_drain(cx))?;
        Pin::new(&mut inner.io).poll_flush(cx)
    }

    /// Writes everything that waits and closes the carrier.
    pub(super) fn poll_shutdown_now(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_drain(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}

impl<T: AsyncWrite + Unpin> Inner<T> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let drained = self.poll_write_all(cx);
        self.waiting.set(self.pending.len());
        ready!(drained)?;
        if self.pending.capacity() > KEEP {
            self.pending = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.pending))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.meters.sent.inc_by(written as u64);
            self.pending.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> futures_util::io::AsyncRead for Batch<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        let mut inner = self.0.borrow_mut();
        ready!(Pin::new(&mut inner.io).poll_read(cx, &mut buf))?;
        inner.meters.received.inc_by(buf.filled().len() as u64);
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> futures_util::io::AsyncWrite for Batch<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        if inner.pending.len() >= LIMIT {
            ready!(inner.poll_drain(cx))?;
        }
        let now = buf.len().min(LIMIT - inner.pending.len());
        inner.pending.extend_from_slice(&buf[..now]);
        Poll::Ready(Ok(now))
    }

    /// Says yes and does nothing: the driver flushes at the end of its turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_shutdown_now(cx)
    }
}
