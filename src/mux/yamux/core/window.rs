//! How much a peer may send: windows that grow to the bandwidth-delay product.

use super::{Core, Key};
use crate::mux::yamux::settings::{LEAST_RTT, MAX_WINDOW, RTT_PERIOD, RTT_STALE, SHRINK_AFTER};

/// The shortest time that a ping took there and back lately: that of the path, without the queues on it. A
/// window tuned by a time in which the bytes it lets out stand in line would grow by its own doing.
#[derive(Debug, Default)]
pub(super) struct RoundTrip {
    /// In microseconds, of this period and of the one before.
    shortest: [Option<u32>; 2],
    period_since: u32,
    measured_at: u32,
    asked: Option<u32>,
    number: u32,
}

impl RoundTrip {
    /// The number of a ping to send, unless one is under way.
    pub(super) fn begin(&mut self, now: u32) -> Option<u32> {
        if self.asked.is_some() {
            return None;
        }
        self.asked = Some(now);
        self.number = self.number.wrapping_add(1);
        Some(self.number)
    }

    /// An answer has come; others than the one that is waited for mean nothing.
    pub(super) fn end(&mut self, number: u32, now: u32) {
        let Some(asked) = self.asked.filter(|_| number == self.number) else {
            return;
        };
        if now.wrapping_sub(self.period_since) > super::micros(RTT_PERIOD) {
            self.shortest = [None, self.shortest[0]];
            self.period_since = now;
        }
        let sample = now.wrapping_sub(asked);
        self.shortest[0] = Some(self.shortest[0].map_or(sample, |least| least.min(sample)));
        self.asked = None;
        self.measured_at = now;
    }

    pub(super) fn shortest(&self) -> Option<u32> {
        self.shortest.into_iter().flatten().min()
    }

    fn is_stale(&self, now: u32) -> bool {
        self.shortest().is_none() || now.wrapping_sub(self.measured_at) > super::micros(RTT_STALE)
    }
}

impl Core {
    /// Bytes to add to a stream's window now, after they have been tuned to the path.
    ///
    /// A window of which half was used up within a round trip is what held the peer back: it
    /// doubles, as long as the budgets have room, and so comes to two to four times what the path
    /// holds. One that was not needed for long goes back to its first size, by not being topped up
    /// until it has.
    pub(super) fn top_up(&mut self, key: Key) -> u32 {
        if self.round_trip.is_stale(self.now) {
            self.ping();
        }
        let first = self.settings.receive_window;
        let now = self.now;
        let Some(stream) = self.streams.get(key) else {
            return 0;
        };
        let took = now.wrapping_sub(stream.updated_at);
        let old = stream.target;
        let mut target = old;
        if took > super::micros(SHRINK_AFTER) {
            target = old.min(first);
        } else if self
            .round_trip
            .shortest()
            .is_some_and(|rtt| took < rtt.max(super::micros(LEAST_RTT)))
        {
            let grown = old.saturating_mul(2).min(MAX_WINDOW);
            if self.reserve(grown - old) {
                target = grown;
            }
        }
        self.set_target(key, target)
    }

    fn set_target(&mut self, key: Key, target: u32) -> u32 {
        let now = self.now;
        let Some(stream) = self.streams.get_mut(key) else {
            return 0;
        };
        stream.updated_at = now;
        stream.reserved += target.saturating_sub(stream.target);
        stream.target = target;
        let held = stream.window + stream.unread.bytes();
        let add = target.saturating_sub(held);
        stream.window += add;
        // While a window shrinks, what the peer may still use of the larger one stays reserved.
        let needed = target.max(held);
        let freed = stream.reserved - needed;
        stream.reserved = needed;
        self.release(freed);
        add
    }

    /// Whether so much of a stream's window has been read that the peer should be told.
    pub(super) fn is_update_due(&self, key: Key) -> bool {
        self.streams.get(key).is_some_and(|stream| {
            let held = stream.window + stream.unread.bytes();
            let open = !stream.is.reset && !stream.is.fin_received && stream.is.receiver;
            open && stream.target.saturating_sub(held) >= stream.target / 2
        })
    }
}
