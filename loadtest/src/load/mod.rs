//! The load itself: cheap connections, bulk flows, request loops, and a probe that keeps to its pace.
//!
//! All of it runs beside what it measures, so that it must cost little: one thread, one buffer for
//! all flows, heads that are made once.

pub(crate) mod client;
pub(crate) mod endpoint;
pub(crate) mod fleet;
pub(crate) mod flows;
pub(crate) mod latency;
pub(crate) mod pattern;
pub(crate) mod probe;
pub(crate) mod requests;
