//! What a program says of itself: probes, info, configuration and metrics, over HTTP.
//!
//! Served by a thread and a runtime of its own, so that a busy data plane can neither hide nor
//! break it. The same for both programs; what differs is behind [`Program`].

mod access;
mod config;
mod connection;
pub mod limit;
mod metrics;
mod probes;
mod program;
mod router;
mod server;
mod watchdog;

pub use config::{AdminConfig, MonitoringConfig, PrometheusConfig};
pub use limit::{Limiter, Rate, Verdict};
use metrics::metrics_response;
pub use probes::seconds;
pub use program::{Check, Component, Failing, Program};
pub use router::{Build, Features};
pub use server::{AdminAddresses, AdminError, AdminServer};
pub use watchdog::{Beat, Watchdog};
