//! Our own engine for sessions over a byte carrier, in yamux's wire format
//! (<https://github.com/hashicorp/yamux/blob/master/spec.md>, `proto/mux.md`).
//!
//! `core` decides and does no I/O, `driver` moves bytes between it and the carrier, and the
//! handles in `session` and `stream` are what everyone else sees.

mod batch;
mod core;
mod driver;
mod error;
mod header;
mod session;
mod settings;
mod stream;

pub use driver::Driver;
pub use error::{OpenError, SessionError, Violation};
pub use session::{Role, Session, Stats};
pub use settings::{Budget, Settings};
pub use stream::{RecvHalf, SendHalf, Stream};
