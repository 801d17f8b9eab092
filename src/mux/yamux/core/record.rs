//! What a session knows of one stream, and the table of all of them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::task::Waker;

use super::pool::Fifo;
use crate::mux::yamux::header::{ACK, Header, Kind, SYN};

/// A stream's place in the table; valid for as long as one of its handles, or a queue, holds it.
pub(crate) type Key = u32;

/// A stream. Everything here is kept while it is idle: about a hundred bytes.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: u32,
    /// Bytes that may be handed over before the peer's window is used up.
    pub(super) credit: u32,
    /// Handed over, and not yet in a frame.
    pub(super) send: Fifo,
    /// Bytes sent since `sent_at`, both for [`super::send`]'s order.
    pub(super) sent: u32,
    /// In microseconds of the session's clock.
    pub(super) sent_at: u32,
    /// The driver's run in which it was given a share of the send budget.
    pub(super) granted: Option<u16>,
    /// Received, and not yet read.
    pub(super) unread: Fifo,
    /// Bytes that the peer may still send.
    pub(super) window: u32,
    /// What `window` and `unread` together are topped up to.
    pub(super) target: u32,
    /// What the receive budgets hold for it.
    pub(super) reserved: u32,
    /// Bytes read since `span_at`, both for the tuning of the window.
    pub(super) used: u32,
    /// In microseconds of the session's clock.
    pub(super) span_at: u32,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// Queues of the session that hold its key.
    pub(super) queues: u8,
    pub(super) is: State,
}

/// Where a stream is in its life.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct State {
    /// The sending handle is held.
    pub(super) sender: bool,
    /// The receiving handle is held.
    pub(super) receiver: bool,
    /// The peer opened it.
    pub(super) inbound: bool,
    /// The next frame says SYN.
    pub(super) syn_owed: bool,
    /// The next frame says ACK.
    pub(super) ack_owed: bool,
    /// The application has said that it is done; FIN follows what is queued.
    pub(super) finished: bool,
    /// FIN is sent.
    pub(super) fin_sent: bool,
    /// FIN has come.
    pub(super) fin_received: bool,
    /// It was reset, by either side, or the session has ended.
    pub(super) reset: bool,
    /// In one of the lanes that data leaves by.
    pub(super) in_lane: bool,
    /// Among those with a window update, SYN or ACK to send.
    pub(super) in_updates: bool,
    /// Among those that wait for the send budget.
    pub(super) waiting: bool,
}

impl Record {
    /// Bytes of the window that the peer may still send, or that nobody has read.
    pub(super) fn held(&self) -> u32 {
        self.window + self.unread.bytes()
    }

    pub(super) fn has_handle(&self) -> bool {
        self.is.sender || self.is.receiver
    }

    /// Whether both sides have ended properly.
    pub(super) fn is_complete(&self) -> bool {
        self.is.fin_sent && self.is.fin_received
    }

    /// The header of the stream's next frame; the first one also opens or accepts the stream.
    pub(super) fn header(&mut self, kind: Kind, flags: u16, length: u32) -> Header {
        let syn = u16::from(std::mem::take(&mut self.is.syn_owed)) * SYN;
        let ack = u16::from(std::mem::take(&mut self.is.ack_owed)) * ACK;
        Header {
            kind,
            flags: flags | syn | ack,
            id: self.id,
            length,
        }
    }

    /// Whether something is to be sent in a lane.
    pub(super) fn has_output(&self) -> bool {
        !self.is.reset && (!self.send.is_empty() || (self.is.finished && !self.is.fin_sent))
    }
}

/// The streams of a session.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Option<Key>,
    by_id: HashMap<u32, Key, BuildHasherDefault<IdHasher>>,
    /// Streams that either side has opened, by whom.
    pub(super) ours: usize,
    pub(super) theirs: usize,
}

#[derive(Debug)]
enum Slot {
    Free(Option<Key>),
    Used(Record),
}

impl Table {
    pub(super) fn insert(&mut self, record: Record) -> Key {
        *self.count(record.is.inbound) += 1;
        let id = record.id;
        let key = match self.free {
            Some(key) => {
                let slot = &mut self.slots[key as usize];
                if let Slot::Free(next) = *slot {
                    self.free = next;
                }
                *slot = Slot::Used(record);
                key
            }
            None => {
                self.slots.push(Slot::Used(record));
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.by_id.insert(id, key);
        key
    }

    pub(super) fn remove(&mut self, key: Key) {
        let slot = std::mem::replace(&mut self.slots[key as usize], Slot::Free(self.free));
        self.free = Some(key);
        if let Slot::Used(record) = slot {
            self.by_id.remove(&record.id);
            *self.count(record.is.inbound) -= 1;
        }
    }

    fn count(&mut self, inbound: bool) -> &mut usize {
        if inbound {
            &mut self.theirs
        } else {
            &mut self.ours
        }
    }

    pub(super) fn find(&self, id: u32) -> Option<Key> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn get(&self, key: Key) -> Option<&Record> {
        match self.slots.get(key as usize)? {
            Slot::Used(record) => Some(record),
            Slot::Free(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Record> {
        match self.slots.get_mut(key as usize)? {
            Slot::Used(record) => Some(record),
            Slot::Free(_) => None,
        }
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.by_id.values().copied().collect()
    }
}

/// Ids are the peer's to choose within its parity, and a table holds a bounded number: a
/// multiplication spreads them well enough.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id))
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(26);
    }
}
