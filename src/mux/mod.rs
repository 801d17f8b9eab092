//! Sessions and streams: many byte streams over one connection to a peer.
//!
//! A [`Session`] runs over any byte carrier and speaks yamux
//! (<https://github.com/hashicorp/yamux/blob/master/spec.md>), or over a QUIC connection and uses
//! its own streams; whoever uses it can not tell. A session, its driver and everything that uses
//! its streams live on one thread, so none of it is `Send`. Whoever makes a session spawns its
//! driver; nothing moves without it.

pub mod quic;
mod session;
mod stream;
pub mod yamux;

pub use session::{AnyDriver, Session, any_driver};
pub use stream::{RecvHalf, SendHalf, Stream};
pub use yamux::{Budget, Driver, OpenError, Role, SessionError, Settings, Stats, Violation};
