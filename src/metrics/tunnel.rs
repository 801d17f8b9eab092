//! What both programs count of the tunnel between them.

use std::sync::Arc;

use prometheus::{Histogram, IntCounter, IntGauge};

use super::label::{CarrierEnd, Direction, Dropped, MessageType, Queue, Table};
use super::registry::Registry;
use super::service::Services;
use super::session::{CarrierUp, SessionMeters};
use crate::build_info;
use crate::metrics::registry::{Kind, Open};
use crate::wire::carrier::CarrierKind;
use crate::wire::error::ErrorCode;
use crate::wire::limits::MAX_STREAMS;

/// Upper bounds for a round trip to the other program.
const ROUND_TRIP: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// The tunnel's metrics; shared by all threads of a program.
#[derive(Debug)]
pub struct Tunnel {
    /// By service.
    pub services: Services,
    /// Requests to services that are under way.
    pub requests_active: IntGauge,
    /// Errors of the tunnel's own, by code.
    pub errors: Table<IntCounter, ErrorCode>,
    /// Datagrams of UDP forwards that were lost in this program, by why.
    pub datagrams_dropped: Table<IntCounter, Dropped>,
    control_messages: Table<IntCounter, (MessageType, Direction)>,
    /// A ping on a control channel to its pong.
    pub control_round_trip: Histogram,
    pub(super) carriers: Table<IntGauge, CarrierKind>,
    pub(super) carriers_opened: Table<IntCounter, CarrierKind>,
    pub(super) carriers_closed: Table<IntCounter, (CarrierKind, CarrierEnd)>,
    pub(super) streams_limit: IntGauge,
    carrier_bytes: Table<IntCounter, (CarrierKind, Direction)>,
    streams: IntGauge,
    streams_opened: IntCounter,
    stalls: IntCounter,
    stalled_now: IntGauge,
    stalled: prometheus::Counter,
    waiting: Table<IntGauge, Queue>,
}

impl Tunnel {
    /// Adds the tunnel's metrics to a program's registry. `services` says which services get
    /// series of their own, for the catalogue.
    ///
    /// # Errors
    /// When a name is there already.
    pub fn new(registry: &mut Registry, services: &'static str) -> prometheus::Result<Arc<Self>> {
        build_info(registry)?;
        registry.process()?;
        Ok(Arc::new(Self {
            services: Services::new(registry, services)?,
            requests_active: registry.gauge(
                "requests_active",
                "Requests to services that are under way, upgraded connections included.",
            )?,
            errors: registry.counters(
                "errors_total",
                "Requests answered or broken off with an error of the tunnel's own, by its code.",
            )?,
            datagrams_dropped: registry.counters(
                "datagrams_dropped_total",
                "Datagrams of UDP forwards that were lost in this program.",
            )?,
            control_messages: registry
                .counters("control_messages_total", "Messages of control channels.")?,
            control_round_trip: registry.histogram(
                "control_round_trip_seconds",
                "A ping on a control channel to its answer.",
                &ROUND_TRIP,
            )?,
            carriers: registry.gauges("carriers", "Data carriers that are up.")?,
            carriers_opened: registry
                .counters("carriers_opened_total", "Data carriers that came up.")?,
            carriers_closed: registry
                .counters("carriers_closed_total", "Data carriers that ended, by cause.")?,
            carrier_bytes: registry.counters(
                "carrier_bytes_total",
                "Bytes on data carriers, inside TLS: bodies, heads and all framing.",
            )?,
            streams: registry.gauge(
                "streams",
                "Streams open on data carriers, those kept idle for the next request included.",
            )?,
            streams_limit: registry.gauge(
                "streams_limit",
                "Streams that fit on the data carriers that are up.",
            )?,
            streams_opened: registry
                .counter("streams_opened_total", "Streams opened on data carriers.")?,
            stalls: registry.counter(
                "stream_stalls_total",
                "Times that a stream could not send at once: the other side's window was full, or the carrier was.",
            )?,
            stalled_now: registry.gauge(
                "streams_stalled",
                "Streams that wait to send: the other side does not read, or the carrier is full.",
            )?,
            stalled: registry.seconds(
                "stream_stalled_seconds_total",
                "Time that streams waited to send, summed over all streams.",
            )?,
            waiting: registry.gauges(
                "waiting_bytes",
                "Bytes in this program's own queues that could not be sent at once.",
            )?,
        }))
    }

    /// The counters of one session on a carrier of this kind.
    #[must_use]
    pub fn session(&self, kind: CarrierKind) -> SessionMeters {
        let bytes = |direction| self.carrier_bytes.get((kind, direction)).clone();
        SessionMeters {
            sent: bytes(Direction::Sent),
            received: bytes(Direction::Received),
            streams: self.streams.clone(),
            streams_opened: self.streams_opened.clone(),
            stalls: self.stalls.clone(),
            stalled_now: self.stalled_now.clone(),
            stalled: self.stalled.clone(),
            exchange_waiting: self.waiting.get(Queue::Exchange).clone(),
            carrier_waiting: self.waiting.get(Queue::Carrier).clone(),
        }
    }

    /// Counts a carrier as up until the guard is dropped.
    #[must_use]
    pub fn carrier_up(self: &Arc<Self>, kind: CarrierKind) -> CarrierUp {
        self.carriers.get(kind).inc();
        self.carriers_opened.get(kind).inc();
        self.streams_limit.add(MAX_STREAMS as i64);
        CarrierUp::new(Arc::clone(self), kind)
    }

    /// Counts a control message that was sent, or that was read.
    pub fn control(&self, message: MessageType, direction: Direction) {
        self.control_messages.get((message, direction)).inc();
    }

    /// Carriers that are up, of every kind.
    #[must_use]
    pub fn carriers(&self) -> i64 {
        self.carriers.iter().map(IntGauge::get).sum()
    }
}

fn build_info(registry: &mut Registry) -> prometheus::Result<()> {
    let label = |name, values| Open { name, values };
    let labels = [
        label("version", "the release"),
        label("git_commit", "the commit that it was built from"),
        label("rustc", "the compiler"),
    ];
    let values = [
        build_info::VERSION,
        build_info::GIT_COMMIT,
        build_info::RUSTC,
    ];
    registry.computed_by(
        Kind::Gauge,
        "build_info",
        "Always 1; the labels say which build this is.",
        &labels,
        move || vec![(values.map(str::to_owned).to_vec(), 1.0)],
    )
}
