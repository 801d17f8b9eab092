//! The PipeOps tunnel: gateway, agent and everything they share.
