//! What both sides do to HTTP on its way through: error bodies, framing checks, names and paths,
//! rates, and the header policy.
//!
//! Used by `gateway` and `agent`; knows neither of them. Nothing in here collects a body.

pub mod authority;
pub mod body;
pub mod error;
pub mod exchange;
pub mod exec;
pub mod framing;
pub mod headers;
pub mod pace;
pub mod path;
pub mod websocket;
