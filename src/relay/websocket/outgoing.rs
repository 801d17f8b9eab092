//! What is written of a WebSocket: one message at a time, in one buffer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::frame::{Header, MAX_HEADER, Opcode, mask};
use crate::wire::limits::WEBSOCKET_MESSAGE;

/// Bytes that are copied and then masked while they are in the nearest cache.
const PIECE: usize = 4 * 1024;

/// A buffer up to this large is kept by a connection that has little to say.
const KEEP: usize = 4 * 1024;

/// A larger one is let go after so many messages that did not need it: to get it anew between large
/// ones costs more than all the rest.
const SMALL: u8 = 8;

/// A message and what comes of it. The header's length is known only when the payload is whole, so
/// room for the longest is left before it.
#[derive(Debug)]
pub(super) struct Outgoing {
    keys: Option<Keys>,
    /// Room for a header, and payload; masked already.
    buffer: Vec<u8>,
    /// The key of this message, and how it goes on.
    key: Option<[u8; 4]>,
    next_key: [u8; 4],
    /// From where on it is to be written, once the message is whole.
    sealed: Option<usize>,
    /// Small messages since the last large one.
    small: u8,
    /// To be sent between two messages; the last one takes the place of those before it.
    reply: Option<(Opcode, Vec<u8>)>,
}

impl Outgoing {
    pub(super) fn new(masks: bool) -> Self {
        Self {
            keys: masks.then(Keys::default),
            buffer: Vec::new(),
            key: None,
            next_key: [0; 4],
            sealed: None,
            small: 0,
            reply: None,
        }
    }

    /// Says something that is no data, at the next occasion.
    pub(super) fn reply(&mut self, opcode: Opcode, payload: &[u8]) {
        self.reply = Some((opcode, payload.to_vec()));
    }

    /// Takes bytes into the message, which is sent when it is full, or by [`Outgoing::poll_drain`].
    pub(super) fn poll_take<T: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut T,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.sealed.is_some() || self.room() == 0 {
            ready!(self.poll_drain(cx, io))?;
        }
        let mut taken = 0;
        for buf in bufs {
            let now = buf.len().min(self.room());
            if let Some(part) = buf.get(..now).filter(|part| !part.is_empty()) {
                self.append(part)?;
                taken += now;
            }
        }
        if self.room() == 0 {
            // Whether it goes at once or later is the next call's to find out.
            if let Poll::Ready(sent) = self.poll_drain(cx, io) {
                sent?;
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn room(&self) -> usize {
        (MAX_HEADER + WEBSOCKET_MESSAGE).saturating_sub(self.buffer.len().max(MAX_HEADER))
    }

    fn append(&mut self, data: &[u8]) -> io::Result<()> {
        if self.buffer.is_empty() {
            self.buffer.reserve(MAX_HEADER + data.len());
            self.buffer.extend_from_slice(&[0; MAX_HEADER]);
            self.key = self.keys.as_mut().map(Keys::next).transpose()?;
            self.next_key = self.key.unwrap_or_default();
        }
        if self.key.is_none() {
            self.buffer.extend_from_slice(data);
            return Ok(());
        }
        self.buffer.reserve(data.len());
        for piece in data.chunks(PIECE) {
            let at = self.buffer.len();
            self.buffer.extend_from_slice(piece);
            self.next_key = mask(&mut self.buffer[at..], self.next_key);
        }
        Ok(())
    }

    /// Puts the header before the payload.
    fn seal(&mut self, opcode: Opcode) {
        let header = Header {
            last: true,
            opcode,
            key: self.key,
            length: self.buffer.len().saturating_sub(MAX_HEADER) as u64,
        };
        let (bytes, length) = header.write();
        let at = MAX_HEADER - length;
        self.buffer[at..MAX_HEADER].copy_from_slice(&bytes[..length]);
        self.sealed = Some(at);
    }

    /// Writes all that was taken, and what else there is to say.
    pub(super) fn poll_drain<T: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut T,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.sealed.is_none() && !self.buffer.is_empty() {
                self.seal(Opcode::Binary);
            }
            while let Some(at) = self.sealed {
                let Some(rest) = self.buffer.get(at..).filter(|rest| !rest.is_empty()) else {
                    self.done();
                    break;
                };
                match ready!(Pin::new(&mut *io).poll_write(cx, rest))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => self.sealed = Some(at + written),
                }
            }
            let Some((opcode, payload)) = self.reply.take() else {
                return Poll::Ready(Ok(()));
            };
            // An empty payload has a header, too.
            self.append(&payload)?;
            self.seal(opcode);
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    fn done(&mut self) {
        self.small = if self.buffer.len() > KEEP {
            0
        } else {
            self.small.saturating_add(1)
        };
        self.sealed = None;
        self.buffer.clear();
        if self.small >= SMALL {
            self.buffer.shrink_to(KEEP);
        }
    }
}

/// Masking keys that nobody can foresee (RFC 6455, section 10.3), some at a time.
#[derive(Debug)]
struct Keys {
    pool: [u8; 256],
    used: usize,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            pool: [0; 256],
            used: 256,
        }
    }
}

impl Keys {
    fn next(&mut self) -> io::Result<[u8; 4]> {
        if self.used == self.pool.len() {
            getrandom::fill(&mut self.pool).map_err(io::Error::other)?;
            self.used = 0;
        }
        let mut key = [0; 4];
        key.copy_from_slice(&self.pool[self.used..self.used + 4]);
        self.used += 4;
        Ok(key)
    }
}
