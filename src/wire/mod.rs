//! The contract between gateway and agent, without any I/O. Time is an argument. Anyone may use it.

pub mod error;
pub mod token;
