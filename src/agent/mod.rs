//! The side in the cluster: it dials out, takes streams in, and talks to its targets.
//!
//! Everything but the signals runs on one thread of its own; see `docs/ARCHITECTURE.md`. Called by
//! the bins; it never calls `gateway`.

mod account;
pub mod args;
mod backoff;
mod carrier;
pub mod cluster;
mod cluster_check;
mod commands;
pub mod config;
mod connect;
mod control;
mod controller;
mod dial;
pub mod doctor;
mod face;
mod metrics;
mod outbox;
mod reports;
mod run;
mod serve;
mod status;
pub mod target;
#[cfg(test)]
mod test_cluster;

pub use metrics::Metrics;
pub use run::{Agent, AgentError};
pub use status::{Connection, KnownAs, Status};
