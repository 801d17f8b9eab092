//! Sessions over a QUIC connection, each stream one of its own: a lost packet holds up the stream
//! that it was of, and no other.

mod congestion;
mod session;
mod stream;
mod transport;

pub use session::Session;
pub use stream::{RecvHalf, SendHalf, Stream};
pub use transport::{Opens, transport};
