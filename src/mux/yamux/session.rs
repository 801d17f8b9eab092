//! A session: the handle that opens streams.

use std::cell::{Cell, RefCell, RefMut};
use std::fmt;
use std::rc::Rc;
use std::task::Waker;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::driver::Driver;
use super::error::OpenError;
use super::settings::Settings;
use super::stream::Stream;
use crate::metrics::SessionMeters;

/// Which end of the carrier this is; yamux numbers streams by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The side that dialled.
    Client,
    /// The side that accepted.
    Server,
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
    shared: Rc<Shared>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// What a session's handles, streams and driver share.
pub(super) struct Shared {
    core: RefCell<Core>,
    driver: RefCell<Option<Waker>>,
    /// The driver runs or is about to: nobody needs to wake it.
    awake: Cell<bool>,
    closing: Cell<bool>,
    stats: Cell<Stats>,
    pub(super) meters: SessionMeters,
    closed: CancellationToken,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn core(&self) -> RefMut<'_, Core> {
        self.core.borrow_mut()
    }

    pub(super) fn stream_begins(&self) {
        self.meters.streams.inc();
        self.meters.streams_opened.inc();
        self.update(|stats| stats.streams += 1);
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

    /// There is something for the driver to do.
    pub(super) fn wake_driver(&self) {
        if !self.awake.replace(true)
            && let Some(driver) = &*self.driver.borrow()
        {
            driver.wake_by_ref();
        }
    }

    /// The same, where it is not known whether there is.
    pub(super) fn wake_driver_for_output(&self) {
        if !self.awake.get() && self.core.borrow().has_output() {
            self.wake_driver();
        }
    }

    /// A half of a stream is gone, and with it the stream if it was the last.
    pub(super) fn handle_dropped(&self, last: bool) {
        if last {
            self.meters.streams.dec();
        }
        self.wake_driver_for_output();
    }

    pub(super) fn driver_runs(&self, waker: &Waker) {
        self.awake.set(true);
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *driver = Some(waker.clone());
        }
    }

    /// The driver has nothing to do; what came up while it ran is not lost.
    pub(super) fn driver_waits(&self) {
        self.awake.set(false);
        let core = self.core.borrow();
        if core.has_waiting() {
            drop(core);
            self.wake_driver();
        }
    }

    /// Wakes those whose turn has come.
    pub(super) fn wake_tasks(&self) {
        let mut wakes = self.core().take_wakes();
        wakes.drain(..).for_each(Waker::wake);
        self.core().keep_wakes(wakes);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Whether no stream of this session will move any more.
    pub(super) fn is_over(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// The driver has gone: every stream is cut.
    pub(super) fn end(&self) {
        self.core().end();
        self.closed.cancel();
        self.wake_tasks();
    }
}

impl Session {
    /// Makes a session over a carrier, counted by `meters`; `on_stream` is called with each stream the peer opens.
    ///
    /// The returned driver is to be spawned on this thread; it ends when the session has.
    pub fn new<T, F>(
        io: T,
        role: Role,
        settings: Settings,
        meters: SessionMeters,
        on_stream: F,
    ) -> (Self, Driver<T, F>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
        F: FnMut(Stream),
    {
        let shared = Rc::new(Shared {
            core: RefCell::new(Core::new(role, settings, Instant::now())),
            driver: RefCell::new(None),
            awake: Cell::new(false),
            closing: Cell::new(false),
            stats: Cell::default(),
            meters,
            closed: CancellationToken::new(),
        });
        let driver = Driver::new(io, Rc::clone(&shared), on_stream);
        (Self { shared }, driver)
    }

    /// Opens a stream. Nothing is sent until something is written to it, or read.
    ///
    /// # Errors
    /// [`OpenError`]; the session lives on when there were too many streams.
    pub fn open(&self) -> std::future::Ready<Result<Stream, OpenError>> {
        let opened = if self.is_closed() {
            Err(OpenError::Closed)
        } else {
            self.shared.core().open()
        };
        std::future::ready(opened.map(|key| Stream::new(Rc::clone(&self.shared), key)))
    }

    /// Streams open now, idle ones included.
    #[must_use]
    pub fn live_streams(&self) -> usize {
        self.shared.core().open_streams()
    }

    /// What was moved so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats.get()
    }

    /// Whether stream ids run out: a new carrier should take over while this one still serves.
    #[must_use]
    pub fn is_worn(&self) -> bool {
        self.shared.core().is_worn()
    }

    /// Ends the session: what streams have handed over is sent, the carrier is closed, and streams
    /// that are still open are cut.
    pub fn close(&self) {
        if !self.shared.closing.replace(true) {
            self.shared.core().leave();
            self.shared.wake_driver();
        }
    }

    /// Whether the session has ended or is about to, by this side's will or the peer's.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_over() || self.shared.is_closing() || self.shared.core().is_leaving()
    }

    /// Waits for the session's end.
    pub async fn closed(&self) {
        self.shared.closed.cancelled().await;
    }
}

#[cfg(test)]
mod tests;
