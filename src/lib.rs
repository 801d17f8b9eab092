//! The PipeOps tunnel: gateway, agent and everything they share.

pub mod http;
pub mod wire;
