//! A session over either kind of carrier.

use std::fmt::Display;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

use super::stream::Stream;
use super::{Driver, OpenError, Role, Settings, Stats, quic, yamux};
use crate::metrics::SessionMeters;

/// A driver of whichever kind of session; its error is for people.
pub type AnyDriver = Pin<Box<dyn Future<Output = Result<(), String>>>>;

/// Makes a session's driver one type, whatever it runs over.
pub fn any_driver<E: Display>(driver: impl Future<Output = Result<(), E>> + 'static) -> AnyDriver {
    Box::pin(async move { driver.await.map_err(|error| error.to_string()) })
}

/// A handle to a session; clones are the same session.
#[derive(Debug, Clone)]
pub enum Session {
    /// Over bytes.
    Yamux(yamux::Session),
    /// Over a QUIC connection.
    Quic(quic::Session),
}

impl Session {
    /// Makes a session over a byte carrier, counted by `meters`; `on_stream` is called with each
    /// stream the peer opens. With [`Settings::default`] it is plain yamux.
    ///
    /// The returned driver is to be spawned on this thread; it ends when the session has.
    pub fn new<T, F>(
        io: T,
        role: Role,
        settings: Settings,
        meters: SessionMeters,
        mut on_stream: F,
    ) -> (Self, Driver<T, impl FnMut(yamux::Stream) + Unpin>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
        F: FnMut(Stream) + Unpin,
    {
        let on_stream = move |stream| on_stream(Stream::Yamux(stream));
        let (session, driver) = yamux::Session::new(io, role, settings, meters, on_stream);
        (Self::Yamux(session), driver)
    }

    /// Makes a session over a QUIC connection whose peer has been authenticated, as
    /// [`Session::new`] does over bytes. Dropping the driver cuts the connection.
    pub fn quic<F>(
        connection: quinn::Connection,
        meters: SessionMeters,
        mut on_stream: F,
    ) -> (
        Self,
        impl Future<Output = Result<(), quinn::ConnectionError>> + use<F>,
    )
    where
        F: FnMut(Stream),
    {
        let on_stream = move |stream| on_stream(Stream::Quic(stream));
        let (session, driver) = quic::Session::new(connection, meters, on_stream);
        (Self::Quic(session), driver)
    }

    /// Opens a stream. Nothing is sent until something is written to it.
    ///
    /// # Errors
    /// [`OpenError`]; the session lives on when there were too many streams.
    pub async fn open(&self) -> Result<Stream, OpenError> {
        match self {
            Self::Yamux(session) => session.open().await.map(Stream::Yamux),
            Self::Quic(session) => session.open().await.map(Stream::Quic),
        }
    }

    /// Streams open now, idle ones included, and those that wait to be.
    #[must_use]
    pub fn live_streams(&self) -> usize {
        match self {
            Self::Yamux(session) => session.live_streams(),
            Self::Quic(session) => session.live_streams(),
        }
    }

    /// What was moved so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        match self {
            Self::Yamux(session) => session.stats(),
            Self::Quic(session) => session.stats(),
        }
    }

    /// Whether a new carrier should take over before this one has no stream id left.
    #[must_use]
    pub fn is_worn(&self) -> bool {
        match self {
            Self::Yamux(session) => session.is_worn(),
            // QUIC has ids for 2^60 streams (RFC 9000, section 2.1).
            Self::Quic(_) => false,
        }
    }

    /// Ends the session: what streams have handed over is sent, the carrier is closed, and streams
    /// that are still open are cut.
    pub fn close(&self) {
        match self {
            Self::Yamux(session) => session.close(),
            Self::Quic(session) => session.close(),
        }
    }

    /// Whether the session has ended or is about to.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Yamux(session) => session.is_closed(),
            Self::Quic(session) => session.is_closed(),
        }
    }

    /// Waits for the session's end.
    pub async fn closed(&self) {
        match self {
            Self::Yamux(session) => session.closed().await,
            Self::Quic(session) => session.closed().await,
        }
    }
}
