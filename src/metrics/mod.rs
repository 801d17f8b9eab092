//! What is measured: counters and histograms that cost the data plane one relaxed addition, and
//! how they are written for Prometheus.
//!
//! Knows neither side. Each program makes a [`Registry`] with the [`Tunnel`]'s metrics and its own;
//! labels are enums ([`Label`]) or bounded ([`Services`]), and every handle is got once, before the
//! bytes flow. `docs/metrics.md` is generated from the registries.

mod encode;
mod format;
mod label;
mod registry;
mod request;
mod runtime;
mod service;
mod session;
mod traffic;
mod tunnel;

pub use crate::wire::carrier::CarrierKind;
pub use encode::encode;
pub use format::Format;
#[cfg(any(feature = "agent", feature = "gateway"))]
pub(crate) use label::label;
pub use label::{
    CarrierEnd, Direction, Dropped, Label, Labels, MessageType, Outcome, Queue, Table,
};
pub use registry::{Entry, Kind, LabelEntry, Open, Registry};
pub use request::{Meter, Request};
pub use runtime::Runtimes;
pub use service::{MAX_SERVICES, OTHER, Service, Services};
pub use session::{CarrierUp, SessionMeters, Waiting};
pub use traffic::Traffic;
pub use tunnel::Tunnel;

/// Seconds since 1970 as a metric's value.
#[must_use]
pub fn timestamp(at: jiff::Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}
