//! Sessions and streams: many byte streams over one connection to a peer.
//!
//! A [`Session`] runs over any byte carrier and speaks yamux
//! (<https://github.com/hashicorp/yamux/blob/master/spec.md>), today by the `yamux` crate. A
//! session, its driver and everything that uses its streams live on one thread, so none of it is
//! `Send`. Whoever makes a session spawns its [`Driver`]; nothing moves without it.

mod yamux;

pub use yamux::{
    Budget, Driver, OpenError, RecvHalf, Role, SendHalf, Session, SessionError, Settings, Stats,
    Stream, Violation,
};
