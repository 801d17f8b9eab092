//! The scanner around a connection's reads, and the handle that its HTTP service asks.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Scanner, Violation};

/// Most clean heads that may have been read from a connection and not yet served.
///
/// hyper reads ahead while it serves one request, so a pipelining client gets this far ahead; at
/// 27 bytes for the shortest head it needs 27 KiB. More than that is no client but a flood, and
/// the read fails.
pub const MAX_OUTSTANDING: u32 = 1024;

#[derive(Debug, Default)]
struct Verdicts {
    /// Heads that were clean and are not yet asked for. Every one comes before the violation.
    clean: u32,
    violation: Option<Violation>,
}

/// What the scanner found out about one connection's heads, in their order.
///
/// Belongs to the service of the connection that the [`Guard`] wraps.
#[derive(Clone, Debug, Default)]
pub struct Heads {
    // hyper wants a connection that can be upgraded to be `Send`, so this is no `Rc`. Both ends
    // live on one thread and the lock is never contended.
    verdicts: Arc<Mutex<Verdicts>>,
}

impl Heads {
    /// The verdict on the next head; to be called once for each request, before anything else.
    ///
    /// `None` says that it is clean. After a violation the caller answers 400 with
    /// `Connection: close`; all later heads get the same verdict, and so does one that was not
    /// scanned, so that a mistake in counting refuses requests instead of letting them pass.
    #[must_use]
    pub fn next(&self) -> Option<Violation> {
        self.with(|verdicts| match verdicts.clean.checked_sub(1) {
            Some(left) => {
                verdicts.clean = left;
                None
            }
            None => Some(verdicts.violation.unwrap_or(Violation::Unscanned)),
        })
    }

    /// Clean heads that were read and not yet asked for; at most [`MAX_OUTSTANDING`] while the
    /// connection is in order.
    pub fn outstanding(&self) -> u32 {
        self.with(|verdicts| verdicts.clean)
    }

    fn with<R>(&self, f: impl FnOnce(&mut Verdicts) -> R) -> R {
        f(&mut self.verdicts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds what a read brought.
    fn note(&self, clean: u32, violation: Option<Violation>) -> io::Result<()> {
        let outstanding = self.with(|verdicts| {
            verdicts.clean = verdicts.clean.saturating_add(clean);
            verdicts.violation = violation;
            verdicts.clean
        });
        if outstanding > MAX_OUTSTANDING {
            let why = "too many pipelined requests";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(())
    }
}

/// A server's end of an HTTP/1 connection whose reads pass a [`Scanner`].
///
/// Not for HTTP/2. Reads and writes go through unchanged, vectored writes too. A read fails with
/// `InvalidData` behind the last sound byte of a malformed chunked body, so that its request can
/// still be answered, and when more than [`MAX_OUTSTANDING`] requests wait; a bad head does not
/// fail it.
#[derive(Debug)]
pub struct Guard<T> {
    io: T,
    scanner: Scanner,
    heads: Heads,
    /// What comes next belongs to a body that two parsers may read differently.
    bad_body: bool,
}

impl<T> Guard<T> {
    /// Wraps a connection of which nothing has been read.
    pub fn new(io: T) -> (Self, Heads) {
        let heads = Heads::default();
        let guard = Self {
            io,
            scanner: Scanner::new(),
            heads: heads.clone(),
            bad_body: false,
        };
        (guard, heads)
    }

    /// The connection, for after an upgrade.
    pub fn into_inner(self) -> T {
        self.io
    }

    /// The connection, to look at.
    pub fn get_ref(&self) -> &T {
        &self.io
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guard<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.bad_body {
            return Poll::Ready(Err(bad_body()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        let known = this.scanner.violation();
        let clean = this.scanner.feed(fresh);
        let violation = this.scanner.violation();
        if clean > 0 || violation != known {
            this.heads.note(clean, violation).inspect_err(|_| {
                // A read that fails must not have put anything into the buffer.
                buf.set_filled(before);
            })?;
        }
        if violation == Some(Violation::Chunked) {
            this.bad_body = true;
            let sound = this.scanner.sound();
            buf.set_filled(before + sound);
            if sound == 0 {
                return Poll::Ready(Err(bad_body()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn bad_body() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Violation::Chunked)
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guard<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
