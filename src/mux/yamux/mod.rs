//! Sessions over a byte carrier, in yamux's wire format.

mod batch;
mod session;
mod stream;

pub use session::{Driver, OpenError, Role, Session, Stats};
pub use stream::{RecvHalf, SendHalf, Stream};
