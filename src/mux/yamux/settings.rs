//! The numbers of a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::wire::limits::{FIRST_WINDOW, MAX_PEER_STREAMS, MAX_SESSION_WINDOW, MAX_STREAMS};

/// A stream's window at its start, in bytes, with a peer that has agreed to nothing else.
pub(super) const DEFAULT_WINDOW: u32 = 256 * 1024;

/// The largest window that a stream grows to: 100 ms at 1.3 Gbit/s.
pub(super) const MAX_WINDOW: u32 = 16 * 1024 * 1024;

/// A window goes back to its first size after this long without an update.
pub(super) const SHRINK_AFTER: Duration = Duration::from_secs(10);

/// Bytes that all streams together have handed over and the carrier has not yet taken.
///
/// Enough for the driver's turns before it yields; what is queued here is what a small frame of
/// another session's part of the connection never waits behind.
pub(super) const SEND_BUDGET: usize = 512 * 1024;

/// Bytes that a stream gets of the budget when its turn comes.
pub(super) const GRANT: usize = 64 * 1024;

/// What one stream may hold of the budget while no other waits.
pub(super) const ALONE: usize = SEND_BUDGET / 2;

/// A first write up to this size does not wait for the budget.
pub(super) const SMALL_WRITE: usize = 2 * 1024;

/// Payload that one stream sends before the next has its turn.
pub(super) const QUANTUM: usize = 32 * 1024;

/// A stream that has sent less than this within [`LATELY`] goes before those that sent more.
pub(super) const LITTLE: u32 = 16 * 1024;

/// See [`LITTLE`].
pub(super) const LATELY: Duration = Duration::from_millis(50);

/// Payload of streams that go first, after which one that waits behind them has a turn all the same.
pub(super) const FAST_RUN: usize = 192 * 1024;

/// Silence after which the peer is asked for a sign of life.
pub(super) const PING_AFTER: Duration = Duration::from_secs(5);

/// Silence after which the peer counts as gone.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(10);

/// A round trip measured longer ago is measured again before windows are tuned by it.
pub(super) const RTT_STALE: Duration = Duration::from_secs(2);

/// Round trips that are measured as soon as there are bytes to tune a window by: the session's first
/// ping may meet a peer that is busy with its handshake.
pub(super) const FIRST_ROUND_TRIPS: u8 = 4;

/// Answers to a peer's frames that may wait for the carrier before no more are read.
pub(super) const MAX_ANSWERS: usize = 1_024;

/// Frames without use (pings, refused and at once reset streams, empty data) that may come at once.
pub(super) const USELESS_BURST: u32 = 10_000;

/// And so many a second for ever.
pub(super) const USELESS_RATE: u32 = 1_000;

/// Stream ids below the last that are not given out: a successor is wanted long before.
pub(super) const LAST_ID: u32 = u32::MAX - (1 << 20);

/// The shortest round trip of the last one or two of these is the path's.
pub(super) const RTT_PERIOD: Duration = Duration::from_secs(30);

/// What of a round trip is not the path's: both programs' turns on the processor.
pub(super) const PROCESSING: Duration = Duration::from_micros(500);

/// A path counts for so long at least: windows below what is read meanwhile cost processor time.
pub(super) const LEAST_RTT: Duration = Duration::from_micros(250);

/// The time over which a stream's use of its window is measured, at least.
pub(super) const LEAST_SPAN: Duration = Duration::from_millis(5);

/// What a session may use, and what its ends have agreed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Streams that this side may have open at once.
    pub max_streams: usize,
    /// Streams that the peer may have open at once; an excess one is reset, and the session lives.
    pub max_peer_streams: usize,
    /// Bytes that the peer may send on each new stream before it is told more.
    pub receive_window: u32,
    /// Bytes that the peer has said to take on each new stream.
    pub send_window: u32,
    /// Bytes that all streams of the session together may let the peer send unread.
    pub session_budget: usize,
    /// The same for all sessions that share it.
    pub budget: Arc<Budget>,
}

impl Default for Settings {
    /// Plain yamux, as with a peer that has agreed to nothing.
    fn default() -> Self {
        Self {
            max_streams: MAX_STREAMS,
            max_peer_streams: MAX_PEER_STREAMS,
            receive_window: DEFAULT_WINDOW,
            send_window: DEFAULT_WINDOW,
            session_budget: MAX_SESSION_WINDOW,
            budget: Arc::new(Budget::new(MAX_SESSION_WINDOW)),
        }
    }
}

impl Settings {
    /// As agreed in the handshake with a peer that takes `theirs` on a new stream, and told so; plain
    /// yamux where it told nothing, since then it has not understood what we told either.
    #[must_use]
    pub fn agreed(theirs: Option<u32>, budget: &Arc<Budget>) -> Self {
        let (ours, theirs) = match theirs {
            Some(theirs) => (FIRST_WINDOW, theirs),
            None => (DEFAULT_WINDOW, DEFAULT_WINDOW),
        };
        Self {
            receive_window: ours,
            send_window: theirs,
            budget: Arc::clone(budget),
            ..Self::default()
        }
    }
}

/// Bytes that the peers of several sessions together may send unread.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
        }
    }

    /// A budget of so many MiB.
    #[must_use]
    pub fn of_mib(mib: u32) -> Self {
        Self::new(mib as usize * 1024 * 1024)
    }

    /// Bytes given away.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn reserve(&self, bytes: usize) -> bool {
        let add = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .is_ok()
    }

    pub(super) fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}
