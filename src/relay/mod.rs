//! Raw bytes between a socket and a stream of the tunnel, and the tunnel's connections: how sockets are
//! set, and what runs over them.

mod early;
mod pressure;
mod pump;
mod tcp;
mod udp;
mod websocket;

pub use early::Early;
pub use pressure::{Gauged, Pressure};
pub use pump::{RelayError, relay};
pub use tcp::{Socket, tune, tune_carrier};
pub use udp::bind as bind_udp;
pub use websocket::WebSocket;
