//! Raw bytes between a socket and a stream of the tunnel, and how the tunnel's sockets are set.

mod pump;
mod tcp;

pub use pump::{RelayError, relay};
pub use tcp::{Socket, tune, tune_carrier};
