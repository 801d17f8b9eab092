//! What a program says of itself: probes, info, configuration and metrics, over HTTP.
//!
//! Served by a thread and a runtime of its own, so that a busy data plane can neither hide nor
//! break it. The same for both programs; what differs is behind [`Program`].

mod config;
mod program;

pub use config::{AdminConfig, MonitoringConfig, PrometheusConfig};
pub use program::{Check, Failing, Program};
