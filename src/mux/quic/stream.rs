//! One stream of a QUIC session, in two halves.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::slice;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use quinn::{RecvStream, SendStream, VarInt};
use tokio::time::Instant;

use super::session::Inner;
use crate::metrics::Waiting;

/// Packets' payloads that are taken at once: together about 64 KiB.
const PIECES: usize = 48;

/// The code of a stream that one side gives up; the exchange on it says why.
const GIVEN_UP: VarInt = VarInt::from_u32(0);

/// A two-way byte stream. Dropped (both halves), it is reset.
#[derive(Debug)]
pub struct Stream(Rc<Shared>);

/// The half that writes.
#[derive(Debug)]
pub struct SendHalf {
    shared: Rc<Shared>,
    /// Since when it waits for the peer's window, or for room in the connection's.
    stalled: Option<Instant>,
}

/// The half that reads.
#[derive(Debug)]
pub struct RecvHalf(Rc<Shared>);

pub(super) struct Shared {
    /// There until the drop.
    send: RefCell<Option<SendStream>>,
    recv: RefCell<RecvStream>,
    finished: Cell<bool>,
    session: Rc<Inner>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("id", &self.recv.borrow().id())
            .finish_non_exhaustive()
    }
}

impl Stream {
    pub(super) fn new(shared: Rc<Shared>) -> Self {
        Self(shared)
    }

    /// Takes the stream apart; both halves work at the same time.
    #[must_use]
    pub fn split(self) -> (SendHalf, RecvHalf) {
        let send = SendHalf {
            shared: Rc::clone(&self.0),
            stalled: None,
        };
        (send, RecvHalf(self.0))
    }
}

impl Shared {
    pub(super) fn new(send: SendStream, recv: RecvStream, session: Rc<Inner>) -> Self {
        Self {
            send: RefCell::new(Some(send)),
            recv: RefCell::new(recv),
            finished: Cell::new(false),
            session,
        }
    }

    /// Sends nothing more; resolves when the peer has everything, or wants no more.
    pub(super) fn ends(&self) -> Option<impl Future + use<>> {
        self.finish();
        self.send.borrow().as_ref().map(arrival)
    }

    fn finish(&self) {
        self.finished.set(true);
        if let Some(send) = self.send.borrow_mut().as_mut() {
            // One that was finished or given up before is as finished as can be.
            send.finish().ok();
        }
    }

    /// Takes some of `data`.
    fn poll_write(&self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<()>> {
        let mut send = self.send.borrow_mut();
        let Some(send) = send.as_mut() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        // The future holds no state: what is not taken now is in `data` still.
        let written = pin!(send.write_chunks(slice::from_mut(data))).poll(cx);
        written.map(|written| written.map(drop).map_err(io::Error::from))
    }

    /// Whether the peer has given the stream up: it wants no more of it.
    fn is_closed(&self) -> bool {
        let send = self.send.borrow();
        let stopped = send.as_ref().and_then(|send| send.stopped().now_or_never());
        let ended = match stopped {
            None => false,
            Some(Ok(None)) => !self.finished.get(),
            Some(Ok(Some(_)) | Err(_)) => true,
        };
        ended || self.session.is_over()
    }
}

/// Resolves when the peer has all of a stream that has ended, or wants no more of it.
pub(super) fn arrival(send: &SendStream) -> impl Future + use<> {
    send.stopped()
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A QUIC reset would also take back what is on its way, and with it the reason that the
        // exchange gives. A stream without its exchange's end can not be taken for a whole one.
        self.finish();
        self.recv.borrow_mut().stop(GIVEN_UP).ok();
        if let Some(send) = self.send.take() {
            self.session.stream_ends(send);
        }
    }
}

impl SendHalf {
    /// Writes all of `data`, waiting for the peer's window and the connection's where needed.
    ///
    /// # Errors
    /// When the peer has given the stream up or the session has ended.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<()>> {
        while data.has_remaining() {
            let before = data.len();
            let Poll::Ready(written) = self.shared.poll_write(cx, data) else {
                self.stall_begins();
                return Poll::Pending;
            };
            self.stall_ends();
            written?;
            self.shared.session.count_sent(before - data.len());
        }
        Poll::Ready(Ok(()))
    }

    /// Says that no more will be sent (half-close): the peer reads the end after what was handed
    /// over. Takes effect at once.
    pub fn finish(&mut self) {
        self.shared.finish();
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

    /// Whether the peer has given the stream up, or the session has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        self.stall_ends();
    }
}

impl RecvHalf {
    /// The next bytes, or `None` once the peer has finished.
    ///
    /// # Errors
    /// `ConnectionReset` once all bytes have been read of a stream that the peer has given up, and
    /// others when the session has ended.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut pieces = [const { Bytes::new() }; PIECES];
        let mut recv = self.0.recv.borrow_mut();
        let read = match ready!(pin!(recv.read_chunks(&mut pieces)).poll(cx)) {
            Ok(read) => read.unwrap_or(0),
            Err(error) => return Poll::Ready(Err(error.into())),
        };
        if read == 0 && self.0.is_closed() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let bytes = join(&pieces[..read]);
        self.0
            .session
            .count_received(bytes.as_ref().map_or(0, Bytes::len));
        Poll::Ready(Ok(bytes))
    }

    /// Whether the peer has given the stream up, even while bytes of it are unread.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Makes one piece of several packets' payloads. Handed on one by one they cost a system call each
/// further down, and one small piece would pin all packets that were received with it; the copy
/// costs less than either.
fn join(pieces: &[Bytes]) -> Option<Bytes> {
    let length = pieces.iter().map(Bytes::len).sum();
    let mut joined = BytesMut::with_capacity(length);
    pieces
        .iter()
        .for_each(|piece| joined.extend_from_slice(piece));
    (length > 0).then(|| joined.freeze())
}
