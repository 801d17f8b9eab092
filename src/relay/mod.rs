//! Raw bytes and datagrams between sockets and a stream of the tunnel, and the tunnel's connections: how
//! sockets are set, and what runs over them.

mod datagrams;
mod early;
mod flows;
mod pieces;
mod pressure;
mod pump;
mod read;
mod tcp;
mod udp;
mod websocket;

pub use datagrams::{Datagrams, Queue, receive};
pub use early::Early;
pub use flows::{Flow, Flows};
pub use pressure::{Gauged, Pressure};
pub use pump::{RelayError, relay};
pub use tcp::{Socket, abort, tune, tune_carrier, tune_end};
pub use udp::bind as bind_udp;
pub use websocket::WebSocket;
