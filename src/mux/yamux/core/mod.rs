//! The engine without its I/O: bytes of the carrier in, bytes for the carrier out, `now` as an
//! argument.
//!
//! The driver calls [`Core::receive`], [`Core::fill`] and [`Core::tick`]; the handles of streams
//! call the rest. Nobody is woken from in here: the tasks to wake are collected, and
//! [`Core::take_wakes`] gives them to the caller once it has let go of the core.

mod pool;
mod receive;
mod record;
mod send;
mod useless;
mod window;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use tokio::time::Instant;

use super::error::{OpenError, SessionError};
use super::header::{HEADER, Header, Kind, RST, reason};
use super::session::Role;
use super::settings::{Budget, DEAD_AFTER, LAST_ID, PING_AFTER, Settings};
use pool::Pool;
use receive::Parser;
pub(super) use receive::Read;
pub(super) use record::Key;
use record::{Record, State, Table};
use send::Lanes;
pub(super) use send::Write;
use useless::Useless;
use window::RoundTrip;

/// The state of a session.
#[derive(Debug)]
pub(super) struct Core {
    role: Role,
    settings: Settings,
    started: Instant,
    /// The time of the driver's last turn, in microseconds since `started`; wraps after 71 minutes.
    now: u32,
    streams: Table,
    pool: Pool,
    next_id: u32,
    /// Bytes that the receive budgets hold for this session.
    reserved: usize,
    parser: Parser,
    /// Streams that the peer has opened and nobody has taken.
    incoming: VecDeque<Key>,
    /// Streams whose next frame is a window update, SYN or ACK.
    updates: VecDeque<Key>,
    /// Frames of no stream, and resets.
    control: VecDeque<[u8; HEADER]>,
    /// The same, where they answer a frame of the peer's.
    answers: VecDeque<[u8; HEADER]>,
    lanes: Lanes,
    round_trip: RoundTrip,
    useless: Useless,
    heard: Instant,
    /// The peer, or this side, wants no more streams of this side's.
    leaving: bool,
    /// This side wants none of the peer's.
    refusing: bool,
    /// The session has ended; every stream is cut.
    ended: bool,
    wakes: Vec<Waker>,
}

impl Core {
    pub(super) fn new(role: Role, settings: Settings, now: Instant) -> Self {
        Self {
            role,
            settings,
            started: now,
            now: 0,
            streams: Table::default(),
            pool: Pool::new(),
            next_id: match role {
                Role::Client => 1,
                Role::Server => 2,
            },
            reserved: 0,
            parser: Parser::default(),
            incoming: VecDeque::new(),
            updates: VecDeque::new(),
            control: VecDeque::new(),
            answers: VecDeque::new(),
            lanes: Lanes::default(),
            round_trip: RoundTrip::new(),
            useless: Useless::new(now),
            heard: now,
            leaving: false,
            refusing: false,
            ended: false,
            wakes: Vec::new(),
        }
    }

    fn set_now(&mut self, now: Instant) {
        self.now = micros(now.saturating_duration_since(self.started));
    }

    /// Opens a stream; its first frame tells the peer.
    pub(super) fn open(&mut self) -> Result<Key, OpenError> {
        if self.ended || self.leaving || self.is_worn() {
            return Err(OpenError::Closed);
        }
        if self.streams.ours >= self.settings.max_streams {
            return Err(OpenError::TooManyStreams);
        }
        if !self.reserve(self.settings.receive_window) {
            return Err(OpenError::NoMemory);
        }
        let id = self.next_id;
        self.next_id += 2;
        let is = State {
            syn_owed: true,
            ..State::default()
        };
        Ok(self.insert(id, is))
    }

    fn insert(&mut self, id: u32, is: State) -> Key {
        self.streams.insert(Record {
            id,
            credit: self.settings.send_window,
            send: pool::Fifo::default(),
            sent: 0,
            sent_at: self.now,
            granted: None,
            unread: pool::Fifo::default(),
            window: self.settings.receive_window,
            target: self.settings.receive_window,
            reserved: self.settings.receive_window,
            used: 0,
            span_at: self.now,
            reader: None,
            writer: None,
            queues: 0,
            is: State {
                sender: true,
                receiver: true,
                ..is
            },
        })
    }

    /// A stream that the peer has opened.
    pub(super) fn accept(&mut self) -> Option<Key> {
        self.incoming.pop_front()
    }

    /// Whether a new carrier should take over before this one has no stream id left.
    pub(super) fn is_worn(&self) -> bool {
        self.next_id >= LAST_ID
    }

    /// Whether the peer is in the middle of a frame.
    pub(super) fn is_in_frame(&self) -> bool {
        self.parser.is_in_frame()
    }

    /// Whether the peer, or this side, wants no more streams here.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving || self.ended
    }

    /// Streams that this side has opened and that are not over.
    pub(super) fn open_streams(&self) -> usize {
        self.streams.ours + self.streams.theirs
    }

    /// Whether a stream was reset, or the session has ended.
    pub(super) fn is_cut(&self, key: Key) -> bool {
        self.ended || self.streams.get(key).is_none_or(|stream| stream.is.reset)
    }

    /// Whether nothing more will come on a stream than what is unread.
    pub(super) fn is_over(&self, key: Key) -> bool {
        self.is_cut(key)
            || self
                .streams
                .get(key)
                .is_none_or(|stream| stream.is.fin_received)
    }

    /// The sending handle is gone; says whether it was the stream's last.
    pub(super) fn drop_sender(&mut self, key: Key) -> bool {
        let Some(stream) = self.streams.get_mut(key) else {
            return false;
        };
        stream.is.sender = false;
        stream.writer = None;
        stream.granted = None;
        let last = !stream.is.receiver;
        self.settle(key);
        last
    }

    /// The receiving handle is gone, and what is unread with it; says whether it was the stream's last.
    pub(super) fn drop_receiver(&mut self, key: Key) -> bool {
        let Some(stream) = self.streams.get_mut(key) else {
            return false;
        };
        stream.is.receiver = false;
        stream.reader = None;
        self.pool.clear(&mut stream.unread);
        let last = !stream.is.sender;
        self.settle(key);
        last
    }

    /// Moves a stream that nobody holds on towards its end: what was handed over leaves, then a
    /// reset where the sides have not both ended properly, then nothing is left of it.
    fn settle(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if stream.has_handle() || stream.has_output() {
            return;
        }
        if !self.ended && !stream.is.reset && !stream.is_complete() {
            stream.is.reset = true;
            // A stream that the peer was never told of needs no end.
            if !stream.is.syn_owed {
                let id = stream.id;
                self.control(Kind::WindowUpdate, RST, id, 0);
            }
        }
        self.forget_if_free(key);
    }

    fn forget_if_free(&mut self, key: Key) {
        let free =
            |stream: &Record| !stream.has_handle() && !stream.has_output() && stream.queues == 0;
        let Some(stream) = self.streams.get_mut(key).filter(|stream| free(stream)) else {
            return;
        };
        let reserved = std::mem::take(&mut stream.reserved);
        // The rest of a frame of it belongs to nobody, whoever gets its place.
        self.parser.stream.take_if(|reading| *reading == key);
        self.pool.clear(&mut stream.unread);
        self.streams.remove(key);
        self.release(reserved);
    }

    /// A key has left one of the session's queues.
    fn unqueue(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.queues -= 1;
        }
        self.settle(key);
    }

    /// Puts a stream among those with an update to send.
    fn queue_update(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key)
            && !stream.is.in_updates
        {
            stream.is.in_updates = true;
            stream.queues += 1;
            self.updates.push_back(key);
        }
    }

    fn control(&mut self, kind: Kind, flags: u16, id: u32, length: u32) {
        self.control
            .push_back(Header::frame(kind, flags, id, length));
    }

    fn answer(&mut self, kind: Kind, flags: u16, id: u32, length: u32) {
        self.answers
            .push_back(Header::frame(kind, flags, id, length));
    }

    /// Says that this side opens and takes no more streams.
    pub(super) fn leave(&mut self) {
        if !self.refusing {
            self.leaving = true;
            self.refusing = true;
            self.control(Kind::GoAway, 0, 0, reason::NORMAL);
        }
    }

    /// The peer broke the protocol: all that is left to say.
    pub(super) fn condemn(&mut self) {
        self.answers.clear();
        self.control.clear();
        self.control(Kind::GoAway, 0, 0, reason::PROTOCOL);
    }

    /// The session has ended: every stream is cut, and everyone who waits is woken.
    pub(super) fn end(&mut self) {
        self.ended = true;
        // Nobody has a handle of those that were not taken.
        while let Some(key) = self.incoming.pop_front() {
            self.drop_sender(key);
            self.drop_receiver(key);
        }
        self.updates.clear();
        self.control.clear();
        self.answers.clear();
        for key in self.streams.keys() {
            self.cut(key);
            if let Some(stream) = self.streams.get_mut(key) {
                stream.queues = 0;
            }
            self.forget_if_free(key);
        }
        self.lanes = Lanes::default();
    }

    /// Ends a stream at once: nothing more is sent, what has come can still be read.
    fn cut(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.is.reset = true;
        let held = self.pool.clear(&mut stream.send);
        self.wakes.extend(stream.reader.take());
        self.wakes.extend(stream.writer.take());
        self.lanes.queued -= held as usize;
    }

    /// Looks at the clock; says when to look again.
    ///
    /// # Errors
    /// [`SessionError::Dead`] when the peer has been silent for too long.
    pub(super) fn tick(&mut self, now: Instant) -> Result<Instant, SessionError> {
        self.set_now(now);
        let silent = now.saturating_duration_since(self.heard);
        if silent >= DEAD_AFTER {
            return Err(SessionError::Dead);
        }
        if silent < PING_AFTER {
            return Ok(self.heard + PING_AFTER);
        }
        self.round_trip.want();
        Ok(self.heard + DEAD_AFTER)
    }

    /// The tasks to wake; the empty vector comes back by [`Core::keep_wakes`].
    pub(super) fn take_wakes(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakes)
    }

    pub(super) fn keep_wakes(&mut self, empty: Vec<Waker>) {
        if self.wakes.is_empty() {
            self.wakes = empty;
        }
    }

    /// Sets aside bytes that a peer may send unread.
    fn reserve(&mut self, bytes: u32) -> bool {
        let bytes = bytes as usize;
        let fits =
            self.reserved + bytes <= self.settings.session_budget && self.budget().reserve(bytes);
        if fits {
            self.reserved += bytes;
        }
        fits
    }

    fn release(&mut self, bytes: u32) {
        self.reserved -= bytes as usize;
        self.settings.budget.release(bytes as usize);
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.settings.budget
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.settings.budget.release(self.reserved);
    }
}

/// A span on the session's clock.
fn micros(span: std::time::Duration) -> u32 {
    // The remainder of the wrap fits by what a remainder is.
    u32::try_from(span.as_micros() % (u128::from(u32::MAX) + 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
