//! The public side: listeners, routing, agents' sessions, who exists and who may do what.
//!
//! One thread per core accepts, and keeps what it accepted; see `docs/ARCHITECTURE.md`. Called by
//! the bins; it never calls `agent`.

pub mod admin_socket;
mod admission;
mod agents;
pub mod api;
pub mod args;
mod audit;
mod auth;
mod body;
mod carrier;
pub mod cli;
pub mod config;
mod connection;
mod control;
mod deployments;
pub mod directory;
mod face;
mod fleet;
mod hosts;
mod intake;
mod kept;
mod metrics;
pub mod operator;
pub mod platform;
mod ports;
mod probe;
mod proxy;
mod quic;
mod record;
mod run;
mod service;
mod shared;
pub mod store;
mod switch;
mod tickets;
pub mod tls;
mod upgrade;
mod worker;

pub use metrics::Metrics;
pub use run::{Gateway, GatewayError};

/// A random name of `bytes` bytes, in lowercase hexadecimal; `None` when the system has no
/// randomness to give.
fn random_id(bytes: usize) -> Option<String> {
    let mut random = [0; 32];
    let random = random.get_mut(..bytes)?;
    getrandom::fill(random).ok()?;
    Some(data_encoding::HEXLOWER.encode(random))
}
