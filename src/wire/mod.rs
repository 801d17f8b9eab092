//! What both sides agree on, without I/O.
//!
//! Nothing in here reads a clock, a socket or a file; everything else may use it.

pub mod error;
