//! What a session on a carrier counts.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntGauge};

use super::label::CarrierEnd;
use super::tunnel::Tunnel;
use crate::wire::carrier::CarrierKind;
use crate::wire::limits::MAX_STREAMS;

/// The counters of one session, got when it begins.
#[derive(Debug, Clone)]
pub struct SessionMeters {
    /// Bytes written to the carrier.
    pub sent: IntCounter,
    /// Bytes read from it.
    pub received: IntCounter,
    /// Streams that are open.
    pub streams: IntGauge,
    /// Streams opened by either side.
    pub streams_opened: IntCounter,
    /// Bytes of exchanges that wait for their stream.
    pub exchange_waiting: IntGauge,
    pub(super) carrier_waiting: IntGauge,
    pub(super) stalls: IntCounter,
    pub(super) stalled_now: IntGauge,
    pub(super) stalled: prometheus::Counter,
}

impl SessionMeters {
    /// Notes that a stream begins to wait before it can send.
    pub fn stall_begins(&self) {
        self.stalls.inc();
        self.stalled_now.inc();
    }

    /// Notes that it waited for this long.
    pub fn stall_ends(&self, after: Duration) {
        self.stalled_now.dec();
        self.stalled.inc_by(after.as_secs_f64());
    }

    /// Bytes of the session that wait for the carrier's connection, none so far.
    #[must_use]
    pub fn carrier_queue(&self) -> Waiting {
        Waiting::new(self.carrier_waiting.clone())
    }

    /// Bytes of an exchange that wait for its stream, none so far.
    #[must_use]
    pub fn exchange_queue(&self) -> Waiting {
        Waiting::new(self.exchange_waiting.clone())
    }
}

/// One queue's share of a gauge; nothing is left of it when dropped.
#[derive(Debug)]
pub struct Waiting {
    gauge: IntGauge,
    held: i64,
}

impl Waiting {
    fn new(gauge: IntGauge) -> Self {
        Self { gauge, held: 0 }
    }

    /// Says how many bytes wait now; costs nothing while none does.
    pub fn set(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if bytes != self.held {
            self.gauge.add(bytes - self.held);
            self.held = bytes;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// A carrier that is up.
#[derive(Debug)]
pub struct CarrierUp {
    tunnel: Arc<Tunnel>,
    kind: CarrierKind,
    /// Why it ends, as far as is known.
    pub end: CarrierEnd,
}

impl CarrierUp {
    pub(super) fn new(tunnel: Arc<Tunnel>, kind: CarrierKind) -> Self {
        let end = CarrierEnd::Closed;
        Self { tunnel, kind, end }
    }
}

impl Drop for CarrierUp {
    fn drop(&mut self) {
        self.tunnel.carriers.get(self.kind).dec();
        self.tunnel.streams_limit.sub(MAX_STREAMS as i64);
        self.tunnel.carriers_closed.get((self.kind, self.end)).inc();
    }
}
