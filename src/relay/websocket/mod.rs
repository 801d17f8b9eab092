//! A stream of bytes over the binary messages of a WebSocket (RFC 6455), after its handshake.
//!
//! Where messages begin and end means nothing, so none is ever held whole: what is read goes
//! straight to the reader and is unmasked there, however long its message is; what is written is
//! gathered, masked as it is copied, and leaves with its header in one write. The carriers of both
//! programs use it; `docs/carriers.md` has what it costs beside a general WebSocket library.

mod frame;
mod incoming;
mod outgoing;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};

use frame::Opcode;
use incoming::{Control, Incoming, Next};
use outgoing::Outgoing;

/// Frames without data that are read before others get their turn.
const FRAMES: usize = 32;

/// "Normal closure", as a close frame has it (RFC 6455, section 7.4.1).
const NORMAL: [u8; 2] = 1000u16.to_be_bytes();

/// One end of a WebSocket as a stream of bytes. What was written is sent by a flush, or when a
/// message is full. Pings are answered while it is read or written.
#[derive(Debug)]
pub struct WebSocket<T> {
    /// Its limit is the frame that is read.
    io: Take<T>,
    incoming: Incoming,
    outgoing: Outgoing,
    /// The peer has said that it ends, or has ended.
    ended: bool,
    /// We have said so.
    closed: bool,
}

impl<T: AsyncRead + AsyncWrite + Unpin> WebSocket<T> {
    /// The end that asked for it: it masks what it sends.
    pub fn client(io: T) -> Self {
        Self::new(io, true)
    }

    /// The end that was asked.
    pub fn server(io: T) -> Self {
        Self::new(io, false)
    }

    fn new(io: T, client: bool) -> Self {
        Self {
            io: io.take(0),
            incoming: Incoming::new(!client),
            outgoing: Outgoing::new(client),
            ended: false,
            closed: false,
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_drain(cx, self.io.get_mut())
    }

    /// Acts on a control frame. The answer leaves at once if it can, else with what is written next.
    fn on_control(&mut self, cx: &mut Context<'_>, control: &Control) -> io::Result<()> {
        let payload = &control.payload[..control.length];
        match control.opcode {
            Opcode::Ping if !self.closed => self.outgoing.reply(Opcode::Pong, payload),
            Opcode::Close => {
                self.ended = true;
                if !std::mem::replace(&mut self.closed, true) {
                    self.outgoing
                        .reply(Opcode::Close, payload.get(..2).unwrap_or(&[]));
                }
            }
            Opcode::Ping | Opcode::Pong | Opcode::Binary | Opcode::Continuation => return Ok(()),
        }
        if let Poll::Ready(drained) = self.poll_drain(cx) {
            drained?;
            if let Poll::Ready(flushed) = Pin::new(self.io.get_mut()).poll_flush(cx) {
                flushed?;
            }
        }
        Ok(())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..FRAMES {
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            match ready!(this.incoming.poll_next(cx, &mut this.io))? {
                Next::Data => return this.incoming.poll_data(cx, &mut this.io, buf),
                Next::Control(control) => this.on_control(cx, &control)?,
                Next::Empty => {}
                Next::End => this.ended = true,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        this.outgoing.poll_take(cx, this.io.get_mut(), bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(this.io.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.closed, true) {
            this.outgoing.reply(Opcode::Close, &NORMAL);
        }
        ready!(this.poll_drain(cx))?;
        Pin::new(this.io.get_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
