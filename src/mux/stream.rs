//! One stream of either kind of session, in two halves.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::{quic, yamux};
use crate::metrics::Waiting;

/// A two-way byte stream. Dropped (both halves) before both sides have finished, it is reset, after
/// what was handed over.
#[derive(Debug)]
pub enum Stream {
    /// Of a session over bytes.
    Yamux(yamux::Stream),
    /// Of a QUIC connection.
    Quic(quic::Stream),
}

impl Stream {
    /// Takes the stream apart; both halves work at the same time.
    #[must_use]
    pub fn split(self) -> (SendHalf, RecvHalf) {
        match self {
            Self::Yamux(stream) => {
                let (send, recv) = stream.split();
                (SendHalf::Yamux(send), RecvHalf::Yamux(recv))
            }
            Self::Quic(stream) => {
                let (send, recv) = stream.split();
                (SendHalf::Quic(send), RecvHalf::Quic(recv))
            }
        }
    }
}

/// The half that writes.
#[derive(Debug)]
pub enum SendHalf {
    /// Of a session over bytes.
    Yamux(yamux::SendHalf),
    /// Of a QUIC connection.
    Quic(quic::SendHalf),
}

impl SendHalf {
    /// Writes all of `data`, waiting for the peer's window where needed.
    ///
    /// # Errors
    /// When the stream was reset or its session has ended.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<()>> {
        match self {
            Self::Yamux(half) => half.poll_send(cx, data),
            Self::Quic(half) => half.poll_send(cx, data),
        }
    }

    /// Says that no more will be sent (half-close): the peer reads the end after what was handed
    /// over. Takes effect at once.
    pub fn finish(&mut self) {
        match self {
            Self::Yamux(half) => half.finish(),
            Self::Quic(half) => half.finish(),
        }
    }

    /// Where bytes are counted that wait for this half to take them.
    #[must_use]
    pub fn queue(&self) -> Waiting {
        match self {
            Self::Yamux(half) => half.queue(),
            Self::Quic(half) => half.queue(),
        }
    }

    /// Whether the peer has reset the stream, or the session has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Yamux(half) => half.is_closed(),
            Self::Quic(half) => half.is_closed(),
        }
    }
}

/// The half that reads.
#[derive(Debug)]
pub enum RecvHalf {
    /// Of a session over bytes.
    Yamux(yamux::RecvHalf),
    /// Of a QUIC connection.
    Quic(quic::RecvHalf),
}

impl RecvHalf {
    /// The next bytes, or `None` once the peer has finished.
    ///
    /// # Errors
    /// When the stream was cut, once all bytes have been read of it, and when its session has ended.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        match self {
            Self::Yamux(half) => half.poll_recv(cx),
            Self::Quic(half) => half.poll_recv(cx),
        }
    }

    /// Whether the stream has ended, even while bytes of it are unread.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Yamux(half) => half.is_closed(),
            Self::Quic(half) => half.is_closed(),
        }
    }
}
