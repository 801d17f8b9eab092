//! The PipeOps tunnel: gateway, agent and everything they share.

#[cfg(feature = "gateway")]
pub mod gateway;
pub mod http;
pub mod wire;
