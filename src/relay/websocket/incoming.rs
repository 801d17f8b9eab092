//! What is read of a WebSocket: the bytes of its messages, and what is said between them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf, Take};

use super::frame::{FrameError, Header, MAX_CONTROL, MAX_HEADER, Opcode, mask, size};

/// A control frame to be answered, and what it holds.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) opcode: Opcode,
    pub(super) payload: [u8; MAX_CONTROL],
    pub(super) length: usize,
}

/// Where in the frames the reading is. Holds no payload but a control frame's.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Whether the peer has to mask, and does.
    masked: bool,
    header: [u8; MAX_HEADER],
    read: usize,
    /// Of a data frame.
    left: u64,
    key: [u8; 4],
    /// A message has begun and not ended.
    within: bool,
    /// A control frame of which so many bytes are there.
    control: Option<(Control, usize)>,
}

/// What comes next.
pub(super) enum Next {
    /// Bytes of a message.
    Data,
    /// Nothing: a frame without any.
    Empty,
    /// A control frame, whole.
    Control(Control),
    /// The end of the connection, between two frames.
    End,
}

impl Incoming {
    pub(super) fn new(masked: bool) -> Self {
        Self {
            masked,
            header: [0; MAX_HEADER],
            read: 0,
            left: 0,
            key: [0; 4],
            within: false,
            control: None,
        }
    }

    /// Reads up to the next bytes of a message, or to the end of a control frame.
    pub(super) fn poll_next<T: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut Take<T>,
    ) -> Poll<io::Result<Next>> {
        loop {
            if let Some((control, have)) = &mut self.control {
                while *have < control.length {
                    let rest = &mut control.payload[*have..control.length];
                    match ready!(poll_into(cx, io, rest))? {
                        0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                        read => *have += read,
                    }
                }
                mask(&mut control.payload[..control.length], self.key);
                let control = self.control.take().map(|(control, _)| control);
                return Poll::Ready(Ok(control.map_or(Next::End, Next::Control)));
            }
            if self.left == 0 {
                match ready!(self.poll_header(cx, io))? {
                    Some(header) => self.begin(header)?,
                    None => return Poll::Ready(Ok(Next::End)),
                }
            }
            match self.left {
                0 if self.control.is_some() => {}
                0 => return Poll::Ready(Ok(Next::Empty)),
                _ => return Poll::Ready(Ok(Next::Data)),
            }
        }
    }

    /// Reads a header, and not a byte more; `None` where the connection ends before one.
    fn poll_header<T: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut Take<T>,
    ) -> Poll<io::Result<Option<Header>>> {
        loop {
            let wanted = match self.read {
                // A masked one has six at least.
                0 | 1 if self.masked => 6,
                0 | 1 => 2,
                _ => size(self.header[1]),
            };
            if self.read >= wanted {
                self.read = 0;
                return Poll::Ready(Header::read(&self.header).map(Some).map_err(invalid));
            }
            match ready!(poll_into(cx, io, &mut self.header[self.read..wanted]))? {
                0 if self.read == 0 => return Poll::Ready(Ok(None)),
                0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                read => self.read += read,
            }
        }
    }

    fn begin(&mut self, header: Header) -> io::Result<()> {
        if header.key.is_some() != self.masked {
            return Err(invalid(FrameError::Mask));
        }
        self.key = header.key.unwrap_or_default();
        match header.opcode {
            Opcode::Binary if !self.within => {}
            Opcode::Continuation if self.within => {}
            Opcode::Binary | Opcode::Continuation => return Err(invalid(FrameError::Order)),
            opcode @ (Opcode::Close | Opcode::Ping | Opcode::Pong) => {
                let control = Control {
                    opcode,
                    payload: [0; MAX_CONTROL],
                    length: usize::try_from(header.length).unwrap_or(0).min(MAX_CONTROL),
                };
                self.control = Some((control, 0));
                return Ok(());
            }
        }
        self.within = !header.last;
        self.left = header.length;
        Ok(())
    }

    /// Reads bytes of a message straight into the reader's buffer, and unmasks them there.
    pub(super) fn poll_data<T: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut Take<T>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        io.set_limit(self.left);
        ready!(Pin::new(io).poll_read(cx, buf))?;
        let data = &mut buf.filled_mut()[before..];
        if data.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.left -= data.len() as u64;
        if self.masked {
            self.key = mask(data, self.key);
        }
        Poll::Ready(Ok(()))
    }
}

fn poll_into<T: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    io: &mut Take<T>,
    into: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buf = ReadBuf::new(into);
    ready!(Pin::new(io.get_mut()).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(buf.filled().len()))
}

fn invalid(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
