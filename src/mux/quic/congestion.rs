//! Which congestion control a carrier uses: cubic, and BBR while loss asks for it.
//!
//! Cubic takes any loss for a full queue, and on a path that loses a packet in a hundred falls to a
//! few per cent of it. BBR goes by the rate that arrives; without loss it is the less steady one.
//! So each side begins with cubic and looks at the loss that it sees: packets lost again and again
//! while round trips are as short as ever were not lost in a queue.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::{BbrConfig, Controller, ControllerFactory, CubicConfig};
use quinn_proto::RttEstimator;

#[expect(clippy::disallowed_types, reason = "quinn's interfaces take this one")]
type Instant = std::time::Instant;

/// Losses in as many round trips before they count as the path's own: a start that overshoots, or
/// one burst, is one.
const EVENTS: u32 = 4;

/// Bytes after which what was seen counts half. Cubic that fills 25 MB/s over 100 ms loses less often
/// by its own doing than [`EVENTS`] times in so many.
const MEMORY: u64 = 32 * 1024 * 1024;

/// One byte in so many lost asks for BBR: there cubic over 100 ms falls below 50 Mbit/s, and at ten
/// times as many below 10.
const LOSSY: u64 = 4_000;

/// One byte in so many lost, or fewer, gives the path back to cubic.
const CLEAN: u64 = 20_000;

/// Bytes before a path can be called clean.
const ENOUGH: u64 = 64 * 1024 * 1024;

/// Packets with which BBR begins at least, as is its custom: it goes by rates and not by losses.
const BBR_START: u64 = 200;

/// Packets on their way at once, at most. quinn ends a connection whose receiver has more than 1,024
/// gaps in a stream, and a queue that is too small for what comes drops every second packet. It is
/// 2.9 MB, enough for 25 MB/s over 100 ms.
const MAX_IN_FLIGHT: u64 = 2_000;

/// Makes the controllers of a connection's paths.
#[derive(Debug)]
pub(super) struct Adaptive;

impl ControllerFactory for Adaptive {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        Box::new(Choice {
            used: Arc::new(CubicConfig::default()).build(now, mtu),
            algorithm: Algorithm::Cubic,
            mtu,
            seen: Seen::default(),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Cubic,
    Bbr,
}

/// What was seen of a path lately.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    sent: u64,
    lost: u64,
    /// Round trips with a loss, while the queue was short.
    events: u32,
    /// Sent since the algorithm last changed.
    total: u64,
    last_event: Option<Instant>,
    round_trip: Duration,
    shortest: Duration,
}

impl Seen {
    fn sent(&mut self, bytes: u64) {
        self.total += bytes;
        self.sent += bytes;
        if self.sent >= MEMORY {
            self.sent /= 2;
            self.lost /= 2;
            self.events /= 2;
        }
    }

    fn lost(&mut self, now: Instant, sent: Instant, bytes: u64) {
        self.lost += bytes;
        // What was sent before the last event was seen belongs to it.
        if bytes == 0 || self.last_event.is_some_and(|last| sent <= last) {
            return;
        }
        self.last_event = Some(now);
        if !self.queues() {
            self.events += 1;
        }
    }

    /// Whether round trips have grown, as they do when a queue on the path fills.
    fn queues(&self) -> bool {
        self.round_trip > self.shortest + self.shortest / 4 + Duration::from_millis(2)
    }

    fn is_lossy(&self) -> bool {
        self.events >= EVENTS && self.lost * LOSSY >= self.sent
    }

    fn is_clean(&self) -> bool {
        self.total >= ENOUGH && self.lost * CLEAN <= self.sent
    }
}

struct Choice {
    used: Box<dyn Controller>,
    algorithm: Algorithm,
    mtu: u16,
    seen: Seen,
}

impl Choice {
    fn choose(&mut self, now: Instant) {
        let window = self.used.window().max(self.used.initial_window());
        let (algorithm, used) = match self.algorithm {
            Algorithm::Cubic if self.seen.is_lossy() => {
                let mut bbr = BbrConfig::default();
                bbr.initial_window(window.max(BBR_START * u64::from(self.mtu)));
                (Algorithm::Bbr, Arc::new(bbr).build(now, self.mtu))
            }
            Algorithm::Bbr if self.seen.is_clean() => {
                let mut cubic = CubicConfig::default();
                cubic.initial_window(window);
                (Algorithm::Cubic, Arc::new(cubic).build(now, self.mtu))
            }
            Algorithm::Cubic | Algorithm::Bbr => return,
        };
        tracing::debug!(
            ?algorithm,
            sent = self.seen.sent,
            lost = self.seen.lost,
            "the path's loss asks for another congestion control"
        );
        self.algorithm = algorithm;
        self.used = used;
        self.seen = Seen::default();
    }
}

impl Controller for Choice {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.seen.sent(bytes);
        self.used.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.seen.round_trip = rtt.get();
        self.seen.shortest = rtt.min();
        self.used.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.used
            .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
        self.choose(now);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.seen.lost(now, sent, lost_bytes);
        self.used
            .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu;
        self.used.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.used.window().min(MAX_IN_FLIGHT * u64::from(self.mtu))
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            used: self.used.clone_box(),
            ..*self
        })
    }

    fn initial_window(&self) -> u64 {
        self.used.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests;
