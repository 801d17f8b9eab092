//! How much a peer may send: windows that grow to the bandwidth-delay product.

use super::{Core, Key};
use crate::mux::yamux::settings::{
    FIRST_ROUND_TRIPS, LEAST_RTT, LEAST_SPAN, MAX_WINDOW, PROCESSING, RTT_PERIOD, RTT_STALE,
    SHRINK_AFTER,
};

/// The shortest time that a ping took there and back lately: that of the path, without the queues on it. A
/// window tuned by a time in which the bytes it lets out stand in line would grow by its own doing.
#[derive(Debug, Default)]
pub(super) struct RoundTrip {
    /// In microseconds, of this period and of the one before.
    shortest: [Option<u32>; 2],
    period_since: u32,
    measured_at: u32,
    /// A ping is to be sent.
    wanted: bool,
    asked: Option<u32>,
    number: u32,
    /// The first few that were measured.
    first: u8,
}

impl RoundTrip {
    /// Asks at once, while nothing stands in line yet.
    pub(super) fn new() -> Self {
        Self {
            wanted: true,
            ..Self::default()
        }
    }

    /// Has a ping sent with what leaves next, unless one is under way.
    pub(super) fn want(&mut self) {
        self.wanted = self.asked.is_none();
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// The number of the ping that leaves now.
    pub(super) fn begin(&mut self, now: u32) -> Option<u32> {
        if !std::mem::take(&mut self.wanted) {
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
        self.first = self.first.saturating_add(1);
    }

    fn shortest(&self) -> Option<u32> {
        self.shortest.into_iter().flatten().min()
    }

    fn is_stale(&self, now: u32) -> bool {
        self.first < FIRST_ROUND_TRIPS
            || now.wrapping_sub(self.measured_at) > super::micros(RTT_STALE)
    }
}

impl Core {
    /// Bytes to add to a stream's window now, after they have been tuned to the path.
    ///
    /// A window of which half goes within a round trip is what holds the peer back: it doubles, as
    /// long as the budgets have room, and so comes to two to four times what the path holds. One
    /// that was not needed for long goes back to its first size, by not being topped up until it has.
    pub(super) fn top_up(&mut self, key: Key) -> u32 {
        if self.round_trip.is_stale(self.now) {
            self.round_trip.want();
        }
        let now = self.now;
        let Some(stream) = self.streams.get_mut(key) else {
            return 0;
        };
        stream.used += stream.target.saturating_sub(stream.held());
        let (used, took) = (stream.used, now.wrapping_sub(stream.span_at));
        let old = stream.target;
        let mut target = old;
        if took > super::micros(SHRINK_AFTER) {
            target = old.min(self.settings.receive_window);
        } else if self.in_a_round_trip(used, took) >= u64::from(old / 2) {
            let grown = old.saturating_mul(2).min(MAX_WINDOW);
            if self.reserve(grown - old) {
                target = grown;
            }
        }
        if target != old || took >= super::micros(LEAST_SPAN) {
            self.begin_span(key);
        }
        self.set_target(key, target)
    }

    fn begin_span(&mut self, key: Key) {
        let now = self.now;
        if let Some(stream) = self.streams.get_mut(key) {
            stream.span_at = now;
            stream.used = 0;
        }
    }

    /// What a stream uses in a round trip that has used so much in so many microseconds. They count
    /// as [`LEAST_SPAN`] at least: bytes come in bursts, whose rate is not the stream's.
    fn in_a_round_trip(&self, used: u32, took: u32) -> u64 {
        let Some(shortest) = self.round_trip.shortest() else {
            return 0;
        };
        let path = shortest.saturating_sub(super::micros(PROCESSING));
        let rtt = path.max(super::micros(LEAST_RTT));
        u64::from(used) * u64::from(rtt) / u64::from(took.max(super::micros(LEAST_SPAN)))
    }

    fn set_target(&mut self, key: Key, target: u32) -> u32 {
        let Some(stream) = self.streams.get_mut(key) else {
            return 0;
        };
        stream.reserved += target.saturating_sub(stream.target);
        stream.target = target;
        let held = stream.held();
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
            let open = !stream.is.reset && !stream.is.fin_received && stream.is.receiver;
            open && stream.target.saturating_sub(stream.held()) >= stream.target / 2
        })
    }
}

#[cfg(test)]
mod tests;
