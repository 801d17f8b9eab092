//! One stream of a session, in two halves.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Instant;

use super::core::{Key, Read, Write};
use super::session::Shared;
use crate::metrics::Waiting;

/// A two-way byte stream. Dropped (both halves) before both sides have finished, it is reset, after
/// what was handed over.
#[derive(Debug)]
pub struct Stream {
    send: SendHalf,
    recv: RecvHalf,
}

/// The half that writes.
pub struct SendHalf {
    shared: Rc<Shared>,
    key: Key,
    /// Since when it waits for the peer's window, or for its turn on the carrier.
    stalled: Option<Instant>,
}

/// The half that reads.
pub struct RecvHalf {
    shared: Rc<Shared>,
    key: Key,
}

impl fmt::Debug for SendHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendHalf").field(&self.key).finish()
    }
}

impl fmt::Debug for RecvHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecvHalf").field(&self.key).finish()
    }
}

impl Stream {
    pub(super) fn new(shared: Rc<Shared>, key: Key) -> Self {
        shared.stream_begins();
        Self {
            send: SendHalf {
                shared: Rc::clone(&shared),
                key,
                stalled: None,
            },
            recv: RecvHalf { shared, key },
        }
    }

    /// Takes the stream apart; both halves work at the same time.
    #[must_use]
    pub fn split(self) -> (SendHalf, RecvHalf) {
        (self.send, self.recv)
    }
}

impl SendHalf {
    /// Hands over all of `data`, waiting for the peer's window and for its turn where needed.
    /// Nothing is copied.
    ///
    /// # Errors
    /// When the stream was reset or finished, or its session has ended.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<()>> {
        let before = data.len();
        let written = self.shared.core().write(self.key, data, cx.waker());
        if data.len() < before {
            self.shared.count_sent(before - data.len());
            self.shared.wake_driver();
            self.stall_ends();
        }
        match written {
            Write::Done => Poll::Ready(Ok(())),
            Write::Blocked => {
                self.stall_begins();
                Poll::Pending
            }
            Write::Closed => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Says that no more will be sent (half-close): the peer reads the end after what was handed
    /// over. Takes effect at once.
    pub fn finish(&mut self) {
        self.shared.core().finish(self.key);
        self.shared.wake_driver();
    }

    fn stall_begins(&mut self) {
        if self.stalled.is_none() {
            self.stalled = Some(Instant::now());
            self.shared.meters.stall_begins();
        }
    }

    fn stall_ends(&mut self) {
        if let Some(since) = self.stalled.take() {
            self.shared.meters.stall_ends(since.elapsed());
        }
    }

    /// Where bytes are counted that wait for this half to take them.
    #[must_use]
    pub fn queue(&self) -> Waiting {
        self.shared.meters.exchange_queue()
    }

    /// Whether the peer has reset the stream, or the session has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.core().is_cut(self.key)
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        self.stall_ends();
        let last = self.shared.core().drop_sender(self.key);
        self.shared.handle_dropped(last);
    }
}

impl RecvHalf {
    /// The next bytes, or `None` once the peer has finished.
    ///
    /// # Errors
    /// `ConnectionReset` once all bytes have been read of a stream that was cut: by the peer, or with
    /// its session.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        self.poll_recv_up_to(cx, usize::MAX)
    }

    /// [`RecvHalf::poll_recv`] with at most `limit` bytes; the rest stays for the next call.
    ///
    /// # Errors
    /// As [`RecvHalf::poll_recv`].
    pub fn poll_recv_up_to(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
    ) -> Poll<io::Result<Option<Bytes>>> {
        let read = self.shared.core().read(self.key, limit, cx.waker());
        self.shared.wake_driver_for_output();
        match read {
            Read::Bytes(bytes) => {
                self.shared.count_received(bytes.len());
                Poll::Ready(Ok(Some(bytes)))
            }
            Read::End => Poll::Ready(Ok(None)),
            Read::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Read::Blocked => Poll::Pending,
        }
    }

    /// Whether the stream has ended, even while bytes of it are unread.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.core().is_over(self.key)
    }
}

impl Drop for RecvHalf {
    fn drop(&mut self) {
        let last = self.shared.core().drop_receiver(self.key);
        self.shared.handle_dropped(last);
    }
}
