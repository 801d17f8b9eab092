//! The side in the cluster: it dials out, takes streams in, and talks to its targets.
//!
//! Everything but the signals runs on one thread of its own; see `docs/ARCHITECTURE.md`. Called by
//! the bins; it never calls `gateway`.

pub mod args;
mod backoff;
mod carrier;
pub mod cluster;
mod cluster_check;
pub mod config;
mod connect;
mod control;
mod dial;
pub mod doctor;
mod face;
mod metrics;
mod outbox;
mod run;
mod serve;
mod status;
pub mod target;

pub use metrics::Metrics;
pub use run::{Agent, AgentError};
pub use status::{Connection, KnownAs, Status};
