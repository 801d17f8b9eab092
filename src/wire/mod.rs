//! The contract between gateway and agent, without any I/O: frames of an exchange, messages of
//! the control channel, tokens, errors and limits. Time is an argument. Anyone may use it.

pub mod capsule;
pub mod carrier;
pub mod control;
pub mod error;
pub mod frame;
pub mod head;
pub mod limits;
pub mod quic;
pub mod raw;
pub mod token;
