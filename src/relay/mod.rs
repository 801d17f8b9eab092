//! Raw bytes and datagrams between sockets and a stream of the tunnel, and how the tunnel's sockets
//! are set.

mod datagrams;
mod flows;
mod pump;
mod read;
mod tcp;

pub use datagrams::{Datagrams, Queue, receive};
pub use flows::{Flow, Flows};
pub use pump::{RelayError, relay};
pub use tcp::{Socket, abort, tune, tune_end};
