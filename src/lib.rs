//! The PipeOps tunnel: gateway, agent and everything they share.

pub mod admin;
#[cfg(feature = "agent")]
pub mod agent;
pub mod build_info;
pub mod config;
#[cfg(all(feature = "agent", feature = "gateway"))]
pub mod dev;
#[cfg(feature = "gateway")]
pub mod gateway;
pub mod http;
pub mod metrics;
pub mod mux;
pub mod process;
pub mod relay;
#[cfg(any(feature = "agent", feature = "gateway"))]
pub mod tls;
pub mod wire;
