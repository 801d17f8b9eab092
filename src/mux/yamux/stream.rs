//! One stream of a session, in two halves.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{AsyncWrite, Stream as _};
use tokio::time::Instant;

use super::session::Inner;
use crate::metrics::Waiting;

/// A two-way byte stream. Dropped (both halves), it is reset.
#[derive(Debug)]
pub struct Stream {
    shared: Rc<Shared>,
}

/// The half that writes.
#[derive(Debug)]
pub struct SendHalf {
    shared: Rc<Shared>,
    /// Since when it waits for the peer's window, or for its turn on the carrier.
    stalled: Option<Instant>,
}

/// The half that reads.
#[derive(Debug)]
pub struct RecvHalf(Rc<Shared>);

struct Shared {
    io: RefCell<yamux::Stream>,
    session: Rc<Inner>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.borrow().fmt(f)
    }
}

impl Stream {
    pub(super) fn new(io: yamux::Stream, session: Rc<Inner>) -> Self {
        session.stream_begins();
        Self {
            shared: Rc::new(Shared {
                io: RefCell::new(io),
                session,
            }),
        }
    }

    /// Takes the stream apart; both halves work at the same time.
    #[must_use]
    pub fn split(self) -> (SendHalf, RecvHalf) {
        let send = SendHalf {
            shared: Rc::clone(&self.shared),
            stalled: None,
        };
        (send, RecvHalf(self.shared))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.session.stream_ends();
    }
}

impl SendHalf {
    /// Writes all of `data`, waiting for the peer's window where needed.
    ///
    /// # Errors
    /// When the stream was reset or its session has ended.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<()>> {
        while data.has_remaining() {
            let mut io = self.shared.io.borrow_mut();
            let Poll::Ready(written) = Pin::new(&mut *io).poll_write(cx, data) else {
                drop(io);
                self.stall_begins();
                return Poll::Pending;
            };
            drop(io);
            self.stall_ends();
            let written = written?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.shared.session.count_sent(written);
            data.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Ends this direction: what was handed over is sent, and then that there is no more.
    ///
    /// # Errors
    /// When the stream was reset or its session has ended.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = self.shared.io.borrow_mut();
        Pin::new(&mut *io).poll_close(cx)
    }

    fn stall_begins(&mut self) {
        if self.stalled.is_none() {
            self.stalled = Some(Instant::now());
            self.shared.session.meters.stall_begins();
        }
    }

    fn stall_ends(&mut self) {
        if let Some(since) = self.stalled.take() {
            self.shared.session.meters.stall_ends(since.elapsed());
        }
    }

    /// Where bytes are counted that wait for this half to take them.
    #[must_use]
    pub fn queue(&self) -> Waiting {
        self.shared.session.meters.exchange_queue()
    }

    /// Whether the peer has reset the stream, or the session has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.io.borrow().is_closed()
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        self.stall_ends();
    }
}

impl RecvHalf {
    /// The next bytes, or `None` once the stream has ended, by whatever cause.
    ///
    /// # Errors
    /// When the session has failed.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut io = self.0.io.borrow_mut();
        let Some(packet) = ready!(Pin::new(&mut *io).poll_next(cx)).transpose()? else {
            return Poll::Ready(Ok(None));
        };
        let bytes = Bytes::from_owner(packet);
        self.0.session.count_received(bytes.len());
        Poll::Ready(Ok(Some(bytes)))
    }

    /// Whether the stream has ended, even while bytes of it are unread.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.io.borrow().is_closed()
    }
}
