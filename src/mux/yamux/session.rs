//! A session: the handle that opens streams and the driver that moves their bytes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use yamux::{Config, Connection, Mode};

use super::batch::Batch;
use super::stream::Stream;
use crate::metrics::SessionMeters;
use crate::wire::limits::{MAX_PEER_STREAMS, MAX_SESSION_WINDOW, MAX_STREAMS};

/// Payload of one data frame: large enough that headers cost nothing, small enough that other
/// streams get their turn.
const SPLIT: usize = 32 * 1024;

/// Which end of the carrier this is; yamux numbers streams by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The side that dialled.
    Client,
    /// The side that accepted.
    Server,
}

/// Why no stream was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The session has [`MAX_STREAMS`] streams open; try another carrier or later.
    #[error("{MAX_STREAMS} streams are open on this carrier")]
    TooManyStreams,
    /// The session has ended; nothing was sent.
    #[error("the carrier is closed")]
    Closed,
}

/// What a session has moved so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes written to streams.
    pub sent: u64,
    /// Bytes read from streams.
    pub received: u64,
    /// Streams opened by either side.
    pub streams: u64,
}

/// A handle to a session; clones are the same session.
#[derive(Clone)]
pub struct Session {
    inner: Rc<Inner>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// What a session's handles, streams and driver share.
pub(super) struct Inner {
    state: RefCell<State>,
    live: Cell<usize>,
    stats: Cell<Stats>,
    pub(super) meters: SessionMeters,
    closed: CancellationToken,
}

#[derive(Default)]
struct State {
    /// Those who wait for a stream, in order; no more than [`MAX_STREAMS`].
    waiting: VecDeque<oneshot::Sender<Stream>>,
    driver: Option<Waker>,
    closing: bool,
}

impl Inner {
    pub(super) fn stream_begins(&self) {
        self.live.set(self.live.get() + 1);
        self.meters.streams.inc();
        self.meters.streams_opened.inc();
        self.update(|stats| stats.streams += 1);
    }

    pub(super) fn stream_ends(&self) {
        self.live.set(self.live.get() - 1);
        self.meters.streams.dec();
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.update(|stats| stats.sent += bytes as u64);
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.update(|stats| stats.received += bytes as u64);
    }

    fn update(&self, change: impl FnOnce(&mut Stats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    fn wake_driver(&self) {
        if let Some(waker) = self.state.borrow_mut().driver.take() {
            waker.wake();
        }
    }
}

impl Session {
    /// Makes a session over a carrier, counted by `meters`; `on_stream` is called with each stream the peer opens.
    ///
    /// The returned driver is to be spawned on this thread; it ends when the session has.
    pub fn new<T, F>(io: T, role: Role, meters: SessionMeters, on_stream: F) -> (Self, Driver<T, F>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
        F: FnMut(Stream),
    {
        let inner = Rc::new(Inner {
            state: RefCell::default(),
            live: Cell::new(0),
            stats: Cell::default(),
            meters: meters.clone(),
            closed: CancellationToken::new(),
        });
        let mode = match role {
            Role::Client => Mode::Client,
            Role::Server => Mode::Server,
        };
        let io = Batch::new(io, meters);
        let connection = Connection::new(io.clone(), config(), mode);
        let driver = Driver {
            connection,
            io,
            inner: Rc::clone(&inner),
            on_stream,
        };
        (Self { inner }, driver)
    }

    /// Opens a stream. Nothing is sent until something is written to it.
    ///
    /// # Errors
    /// [`OpenError`]; the session lives on when there were too many streams.
    pub async fn open(&self) -> Result<Stream, OpenError> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.inner.state.borrow_mut();
            if state.closing || self.inner.closed.is_cancelled() {
                return Err(OpenError::Closed);
            }
            if self.inner.live.get() + state.waiting.len() >= MAX_STREAMS {
                return Err(OpenError::TooManyStreams);
            }
            state.waiting.push_back(sender);
        }
        self.inner.wake_driver();
        receiver.await.map_err(|_| OpenError::Closed)
    }

    /// Streams open now, idle ones included, and those that wait to be.
    #[must_use]
    pub fn live_streams(&self) -> usize {
        self.inner.live.get() + self.inner.state.borrow().waiting.len()
    }

    /// What was moved so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.stats.get()
    }

    /// Ends the session: what streams have handed over is sent, the carrier is closed, and streams
    /// that are still open are cut.
    pub fn close(&self) {
        self.inner.state.borrow_mut().closing = true;
        self.inner.wake_driver();
    }

    /// Whether the session has ended or is about to.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.closed.is_cancelled() || self.inner.state.borrow().closing
    }

    /// Waits for the session's end.
    pub async fn closed(&self) {
        self.inner.closed.cancelled().await;
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.set_max_num_streams(MAX_PEER_STREAMS);
    config.set_max_connection_receive_window(Some(MAX_SESSION_WINDOW));
    config.set_split_send_size(SPLIT);
    config
}

/// Moves a session's bytes; resolves when the session has ended, with the cause if it failed.
pub struct Driver<T, F> {
    connection: Connection<Batch<T>>,
    io: Batch<T>,
    inner: Rc<Inner>,
    on_stream: F,
}

impl<T, F> fmt::Debug for Driver<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

impl<T, F> Driver<T, F>
where
    T: AsyncRead + AsyncWrite + Unpin,
    F: FnMut(Stream),
{
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), yamux::ConnectionError>> {
        loop {
            self.poll_waiting(cx)?;
            match self.connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => {
                    (self.on_stream)(Stream::new(stream, Rc::clone(&self.inner)));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        let flushed = self.io.poll_flush_now(cx)?;
        if flushed.is_ready() && self.inner.state.borrow().closing {
            // All that streams had handed over is on its way; their ends follow with the carrier's.
            return self.io.poll_shutdown_now(cx).map_err(Into::into);
        }
        Poll::Pending
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Result<(), yamux::ConnectionError> {
        while !self.inner.state.borrow().waiting.is_empty() {
            let Poll::Ready(stream) = self.connection.poll_new_outbound(cx) else {
                break;
            };
            let stream = Stream::new(stream?, Rc::clone(&self.inner));
            let waiter = self.inner.state.borrow_mut().waiting.pop_front();
            if let Some(waiter) = waiter {
                // A waiter that has gone gives the stream back, which resets it: nobody knew it.
                drop(waiter.send(stream));
            }
        }
        Ok(())
    }
}

impl<T, F> Future for Driver<T, F>
where
    T: AsyncRead + AsyncWrite + Unpin,
    F: FnMut(Stream) + Unpin,
{
    type Output = Result<(), yamux::ConnectionError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.inner.state.borrow_mut().driver = Some(cx.waker().clone());
        this.poll_turn(cx)
    }
}

impl<T, F> Drop for Driver<T, F> {
    fn drop(&mut self) {
        self.inner.closed.cancel();
        let waiting = std::mem::take(&mut self.inner.state.borrow_mut().waiting);
        drop(waiting);
    }
}

#[cfg(test)]
mod tests;
