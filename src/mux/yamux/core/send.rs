//! Payload of streams becomes bytes for the carrier, in an order that is fair and keeps small
//! things quick.
//!
//! What streams hand over waits here until the carrier takes it, [`SEND_BUDGET`] bytes at most. Who
//! finds the budget used up waits in line and gets [`GRANT`] bytes when its turn comes. Frames
//! leave in this order: control, window updates, streams that sent little lately, and the others
//! in turns of [`QUANTUM`] bytes.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Core, Key};
use crate::mux::yamux::batch::Batch;
use crate::mux::yamux::header::{FIN, HEADER, Header, Kind, SYN};
use crate::mux::yamux::settings::{
    ALONE, FAST_RUN, GRANT, LATELY, LITTLE, QUANTUM, SEND_BUDGET, SMALL_WRITE,
};

/// A frame is not begun with less room for payload.
const LEAST_PAYLOAD: usize = 256;

/// The streams that have something to send, or wait to hand something over.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// Streams that sent little lately.
    fast: VecDeque<Key>,
    bulk: VecDeque<Key>,
    /// Payload that left by `fast` since `bulk` had a turn.
    in_a_row: usize,
    /// Bytes handed over and not yet in a frame.
    pub(super) queued: usize,
    /// Streams that wait for the budget, in order.
    waiting: VecDeque<Key>,
    /// The driver's runs, and the grants of this one and the one before that are not yet used.
    run_number: u16,
    granted: [usize; 2],
}

impl Lanes {
    /// The lane whose turn it is. Streams that sent little go first, but not for ever.
    fn next(&mut self) -> Option<Key> {
        let fast = self.bulk.is_empty() || self.in_a_row < FAST_RUN;
        if let Some(key) = fast.then(|| self.fast.pop_front()).flatten() {
            return Some(key);
        }
        self.in_a_row = 0;
        self.bulk.pop_front().or_else(|| self.fast.pop_front())
    }

    /// Takes back a grant that is to be used; false where it is too old.
    fn redeem(&mut self, run: u16) -> bool {
        let age = usize::from(self.run_number.wrapping_sub(run));
        match self.granted.get_mut(age) {
            Some(outstanding) => {
                *outstanding = outstanding.saturating_sub(1);
                true
            }
            None => false,
        }
    }
}

impl Core {
    /// Hands over what fits of `data`. While some is left ([`Write::Blocked`]), `waker` is woken when
    /// more fits.
    pub(in crate::mux::yamux) fn write(
        &mut self,
        key: Key,
        data: &mut Bytes,
        waker: &Waker,
    ) -> Write {
        while !data.is_empty() {
            let Some(stream) = self.streams.get(key) else {
                return Write::Closed;
            };
            // A session that closes sends what it has; one more byte for each that left would keep it open.
            if stream.is.reset || stream.is.finished || self.refusing || self.ended {
                return Write::Closed;
            }
            let credit = stream.credit as usize;
            let room = if credit == 0 {
                0
            } else {
                self.allowance(key, data.len())
            };
            let now = data.len().min(credit).min(room);
            if now == 0 {
                if credit > 0 {
                    self.wait(key);
                }
                if let Some(stream) = self.streams.get_mut(key) {
                    register(&mut stream.writer, waker);
                }
                return Write::Blocked;
            }
            self.hand_over(key, data.split_to(now));
        }
        Write::Done
    }

    /// How much of the budget a stream may have now.
    fn allowance(&mut self, key: Key, wanted: usize) -> usize {
        let Some(stream) = self.streams.get_mut(key) else {
            return 0;
        };
        let held = stream.send.bytes() as usize;
        if held == 0 && wanted <= SMALL_WRITE {
            return wanted;
        }
        let free = SEND_BUDGET.saturating_sub(self.lanes.queued);
        if let Some(run) = stream.granted.take()
            && self.lanes.redeem(run)
        {
            return free.min(GRANT);
        }
        if self.lanes.waiting.is_empty() {
            return free.min(ALONE.saturating_sub(held));
        }
        0
    }

    fn wait(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key)
            && !stream.is.waiting
        {
            stream.is.waiting = true;
            stream.queues += 1;
            self.lanes.waiting.push_back(key);
        }
    }

    fn hand_over(&mut self, key: Key, piece: Bytes) {
        let length = piece.len();
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        // No piece is longer than the credit, which is an u32.
        stream.credit -= u32::try_from(length).unwrap_or(u32::MAX);
        self.pool.push(&mut stream.send, piece);
        self.lanes.queued += length;
        self.line_up(key);
    }

    /// Puts a stream that has something to send in the lane it belongs to.
    fn line_up(&mut self, key: Key) {
        let now = self.now;
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if stream.is.in_lane || !stream.has_output() {
            return;
        }
        if now.wrapping_sub(stream.sent_at) > super::micros(LATELY) {
            stream.sent = 0;
            stream.sent_at = now;
        }
        stream.is.in_lane = true;
        stream.queues += 1;
        if stream.sent < LITTLE {
            self.lanes.fast.push_back(key);
        } else {
            self.lanes.bulk.push_back(key);
        }
    }

    /// The application sends no more on a stream; what it handed over, and then FIN, still leave.
    pub(in crate::mux::yamux) fn finish(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.is.finished = true;
        }
        self.line_up(key);
    }

    /// Fills a batch with what is to be sent next.
    pub(in crate::mux::yamux) fn fill(&mut self, batch: &mut Batch, now: Instant) {
        self.set_now(now);
        while batch.room() >= HEADER {
            if let Some(header) = self
                .control
                .pop_front()
                .or_else(|| self.answers.pop_front())
            {
                batch.push_header(header);
            } else if let Some(number) = self.round_trip.begin(self.now) {
                batch.push_header(Header::frame(Kind::Ping, SYN, 0, number));
            } else if let Some(key) = self.updates.pop_front() {
                self.put_update(key, batch);
            } else if batch.room() >= HEADER + LEAST_PAYLOAD
                && let Some(key) = self.lanes.next()
            {
                self.put_data(key, batch);
            } else {
                return;
            }
        }
    }

    fn put_update(&mut self, key: Key, batch: &mut Batch) {
        let due = self.is_update_due(key);
        let add = if due { self.top_up(key) } else { 0 };
        if let Some(stream) = self.streams.get_mut(key) {
            stream.is.in_updates = false;
            if add > 0 || stream.is.syn_owed || stream.is.ack_owed {
                batch.push_header(stream.header(Kind::WindowUpdate, 0, add).encode());
            }
        }
        self.unqueue(key);
    }

    fn put_data(&mut self, key: Key, batch: &mut Batch) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.is.in_lane = false;
        let room = QUANTUM.min(batch.room() - HEADER);
        let length = room.min(stream.send.bytes() as usize);
        if length > 0 {
            // At most QUANTUM.
            let sent = u32::try_from(length).unwrap_or(u32::MAX);
            stream.sent = stream.sent.saturating_add(sent);
            batch.push_header(stream.header(Kind::Data, 0, sent).encode());
            let mut left = length;
            while let Some(piece) = self.pool.pop(&mut stream.send, left) {
                left -= piece.len();
                batch.push(piece);
            }
            self.lanes.queued -= length;
            self.lanes.in_a_row += length;
        }
        // In a frame of its own: hashicorp/yamux ends a stream before it has read such a frame's payload.
        if stream.has_output() && stream.send.is_empty() && batch.room() >= HEADER {
            stream.is.fin_sent = true;
            batch.push_header(stream.header(Kind::Data, FIN, 0).encode());
        }
        self.line_up(key);
        self.unqueue(key);
    }

    /// The driver runs again: whoever was woken in the run before the last and has not used its
    /// grant has lost it.
    pub(in crate::mux::yamux) fn begin_run(&mut self) {
        let lanes = &mut self.lanes;
        lanes.run_number = lanes.run_number.wrapping_add(1);
        lanes.granted = [0, lanes.granted[0]];
    }

    /// Wakes as many of those who wait for the budget as now fit, and no more.
    pub(in crate::mux::yamux) fn grant(&mut self) {
        loop {
            let promised = (self.lanes.granted[0] + self.lanes.granted[1] + 1) * GRANT;
            if self.lanes.queued + promised > SEND_BUDGET {
                return;
            }
            let Some(key) = self.lanes.waiting.pop_front() else {
                return;
            };
            let run = self.lanes.run_number;
            if let Some(stream) = self.streams.get_mut(key) {
                stream.is.waiting = false;
                if let Some(writer) = stream.writer.take() {
                    stream.granted = Some(run);
                    self.lanes.granted[0] += 1;
                    self.wakes.push(writer);
                }
            }
            self.unqueue(key);
        }
    }

    /// Whether a turn of the driver would do something.
    pub(in crate::mux::yamux) fn has_output(&self) -> bool {
        let idle = self.control.is_empty()
            && self.answers.is_empty()
            && self.updates.is_empty()
            && !self.round_trip.is_wanted();
        !(idle && self.lanes.fast.is_empty() && self.lanes.bulk.is_empty())
    }

    /// Whether somebody waits for the budget though there is some.
    pub(in crate::mux::yamux) fn has_waiting(&self) -> bool {
        !self.lanes.waiting.is_empty() && self.lanes.queued + GRANT <= SEND_BUDGET
    }
}

/// How much of what was to be sent is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mux::yamux) enum Write {
    Done,
    /// The peer's window or the budget is used up.
    Blocked,
    /// The stream was cut or finished.
    Closed,
}

/// Leaves a waker behind, unless it is there already.
pub(super) fn register(slot: &mut Option<Waker>, waker: &Waker) {
    match slot {
        Some(known) if known.will_wake(waker) => {}
        slot => *slot = Some(waker.clone()),
    }
}
