//! A session over a QUIC connection: the handle that opens streams, and the driver that takes
//! those of the peer.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::rc::{Rc, Weak};

use futures_util::future::{join, join_all};
use quinn::{Connection, ConnectionError, SendStream, StreamId, VarInt};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::{OpenError, Stats};
use super::stream::{Shared, Stream, arrival};
use crate::metrics::SessionMeters;
use crate::wire::limits::{CARRIER_WAIT, MAX_STREAMS, QUIC_LINGER};

/// Streams that were let go last, whose end may not have arrived. A session is closed when nothing
/// runs on it, so few are on their way then.
const ENDED: usize = 64;

/// The error code of a connection that ends as it should.
const DONE: VarInt = VarInt::from_u32(0);

/// A handle to a session; clones are the same session.
#[derive(Debug, Clone)]
pub struct Session(Rc<Inner>);

/// What a session's handles, streams and driver share.
pub(super) struct Inner {
    connection: Connection,
    pub(super) meters: SessionMeters,
    streams: RefCell<HashMap<StreamId, Weak<Shared>>>,
    ended: RefCell<VecDeque<SendStream>>,
    waiting: Cell<usize>,
    stats: Cell<Stats>,
    closing: CancellationToken,
    closed: CancellationToken,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("stats", &self.stats.get())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// See [`Session::quic`](crate::mux::Session::quic).
    pub fn new<F>(
        connection: Connection,
        meters: SessionMeters,
        on_stream: F,
    ) -> (
        Self,
        impl Future<Output = Result<(), ConnectionError>> + use<F>,
    )
    where
        F: FnMut(Stream),
    {
        let inner = Rc::new(Inner {
            connection,
            meters,
            streams: RefCell::default(),
            ended: RefCell::default(),
            waiting: Cell::new(0),
            stats: Cell::default(),
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
        });
        let driver = drive(Ends(Rc::clone(&inner)), on_stream);
        (Self(inner), driver)
    }

    /// Opens a stream. Nothing is sent until something is written to it.
    ///
    /// # Errors
    /// [`OpenError`]; the session lives on when there were too many streams.
    pub async fn open(&self) -> Result<Stream, OpenError> {
        if self.is_closed() {
            return Err(OpenError::Closed);
        }
        if self.live_streams() >= MAX_STREAMS {
            return Err(OpenError::TooManyStreams);
        }
        let _waits = Waits::begin(&self.0.waiting);
        // The peer may not have let go yet of streams that have ended here.
        let (send, recv) = timeout(CARRIER_WAIT, self.0.connection.open_bi())
            .await
            .map_err(|_| OpenError::TooManyStreams)?
            .map_err(|_| OpenError::Closed)?;
        Ok(Inner::stream(&self.0, send, recv))
    }

    /// Streams open now, idle ones included, and those that wait to be.
    #[must_use]
    pub fn live_streams(&self) -> usize {
        self.0.streams.borrow().len() + self.0.waiting.get()
    }

    /// What was moved so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.stats.get()
    }

    /// Ends the session: what streams have handed over is waited for, for [`QUIC_LINGER`] at most,
    /// and what is still open is cut.
    pub fn close(&self) {
        self.0.closing.cancel();
    }

    /// Whether the session has ended or is about to.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.closing.is_cancelled() || self.0.is_over()
    }

    /// Waits for the session's end.
    pub async fn closed(&self) {
        self.0.closed.cancelled().await;
    }
}

impl Inner {
    fn stream(inner: &Rc<Self>, send: SendStream, recv: quinn::RecvStream) -> Stream {
        inner.meters.streams.inc();
        inner.meters.streams_opened.inc();
        inner.update(|stats| stats.streams += 1);
        let id = send.id();
        let shared = Rc::new(Shared::new(send, recv, Rc::clone(inner)));
        let known = Rc::downgrade(&shared);
        inner.streams.borrow_mut().insert(id, known);
        Stream::new(shared)
    }

    pub(super) fn stream_ends(&self, send: SendStream) {
        self.meters.streams.dec();
        self.streams.borrow_mut().remove(&send.id());
        let mut ended = self.ended.borrow_mut();
        if ended.len() == ENDED {
            ended.pop_front();
        }
        ended.push_back(send);
    }

    pub(super) fn is_over(&self) -> bool {
        self.closed.is_cancelled()
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.meters.sent.inc_by(bytes as u64);
        self.update(|stats| stats.sent += bytes as u64);
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.meters.received.inc_by(bytes as u64);
        self.update(|stats| stats.received += bytes as u64);
    }

    fn update(&self, change: impl FnOnce(&mut Stats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    /// Waits until the peer has what streams have handed over. Closing a connection drops what is
    /// on its way, and only the end of a stream is acknowledged to whoever sent it.
    async fn wind_down(&self) {
        let live: Vec<_> = self.streams.borrow().values().cloned().collect();
        let live = live.iter().filter_map(Weak::upgrade);
        let live = join_all(live.filter_map(|stream| stream.ends()));
        let ended = join_all(self.ended.borrow().iter().map(arrival));
        drop(timeout(QUIC_LINGER, join(live, ended)).await);
        self.connection.close(DONE, b"");
        // The connection's own task, woken just now, sends that first: a process that ends
        // with its last session still says goodbye.
        yield_now().await;
        yield_now().await;
    }
}

/// One that waits for a stream.
struct Waits<'a>(&'a Cell<usize>);

impl<'a> Waits<'a> {
    fn begin(waiting: &'a Cell<usize>) -> Self {
        waiting.set(waiting.get() + 1);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The session's end, however its driver comes to its own.
struct Ends(Rc<Inner>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.connection.close(DONE, b"");
        self.0.ended.take();
        self.0.closed.cancel();
    }
}

async fn drive<F: FnMut(Stream)>(session: Ends, mut on_stream: F) -> Result<(), ConnectionError> {
    let inner = &session.0;
    loop {
        let accepted = tokio::select! {
            accepted = inner.connection.accept_bi() => accepted,
            () = inner.closing.cancelled() => {
                inner.wind_down().await;
                return Ok(());
            }
        };
        match accepted {
            Ok((send, recv)) => on_stream(Inner::stream(inner, send, recv)),
            Err(ConnectionError::LocallyClosed) => return Ok(()),
            Err(ConnectionError::ApplicationClosed(close)) if close.error_code == DONE => {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
