//! Bytes of the carrier become payload of streams.

use bytes::{Buf, Bytes};
use std::task::Waker;
use tokio::time::Instant;

use super::record::State;
use super::{Core, Key};
use crate::mux::yamux::error::{SessionError, Violation};
use crate::mux::yamux::header::{ACK, FIN, HEADER, Header, Kind, RST, SYN, reason};
use crate::mux::yamux::session::Role;
use crate::mux::yamux::settings::{MAX_ANSWERS, MAX_WINDOW};

/// Payload below this is copied out of what was read, so that it does not hold all of that.
const SHARE: usize = 8 * 1024;

/// A stream with so much unread is behind: what it gets is copied too, to hold no more than its window.
const BEHIND: u32 = 64 * 1024;

/// Where the parser is between two reads.
#[derive(Debug, Default)]
pub(super) struct Parser {
    header: [u8; HEADER],
    have: usize,
    /// Payload still to come of the frame being read, and whose it is.
    left: usize,
    pub(super) stream: Option<Key>,
    /// FIN or RST of that frame, which count once its payload has come.
    end: u16,
}

impl Parser {
    /// Whether a frame has come in part.
    pub(super) fn is_in_frame(&self) -> bool {
        self.have > 0 || self.left > 0
    }

    /// The next header, once all of it has come.
    fn header(&mut self, input: &mut Bytes) -> Option<[u8; HEADER]> {
        let now = input.len().min(HEADER - self.have);
        self.header[self.have..self.have + now].copy_from_slice(&input[..now]);
        input.advance(now);
        self.have += now;
        if self.have < HEADER {
            return None;
        }
        self.have = 0;
        Some(self.header)
    }
}

impl Core {
    /// Whether the carrier may be read: no more while the peer does not take our answers.
    pub(in crate::mux::yamux) fn wants_input(&self) -> bool {
        self.answers.len() < MAX_ANSWERS
    }

    /// Takes what was read from the carrier.
    ///
    /// # Errors
    /// [`SessionError::Violation`] when the peer broke the protocol, [`SessionError::GoneAway`]
    /// when it says that we did.
    pub(in crate::mux::yamux) fn receive(
        &mut self,
        mut input: Bytes,
        now: Instant,
    ) -> Result<(), SessionError> {
        self.set_now(now);
        self.heard = now;
        while !input.is_empty() {
            if self.parser.left > 0 {
                let piece = input.split_to(input.len().min(self.parser.left));
                self.parser.left -= piece.len();
                self.deliver(piece);
                if self.parser.left == 0 {
                    self.frame_ends(now)?;
                }
            } else if let Some(header) = self.parser.header(&mut input) {
                self.frame(Header::decode(header)?, now)?;
            }
        }
        Ok(())
    }

    fn frame(&mut self, header: Header, now: Instant) -> Result<(), SessionError> {
        match header.kind {
            Kind::Data | Kind::WindowUpdate => Ok(self.stream_frame(header, now)?),
            Kind::Ping if header.has(SYN) => {
                self.useless.count("pings", now)?;
                self.answer(Kind::Ping, ACK, 0, header.length);
                Ok(())
            }
            Kind::Ping => {
                self.round_trip.end(header.length, self.now);
                Ok(())
            }
            Kind::GoAway => {
                self.leaving = true;
                match header.length {
                    reason::NORMAL => Ok(()),
                    code => Err(SessionError::GoneAway(code)),
                }
            }
        }
    }

    fn stream_frame(&mut self, header: Header, now: Instant) -> Result<(), Violation> {
        if header.has(SYN) {
            self.opened(header, now)?;
        }
        let key = self.streams.find(header.id);
        if header.kind == Kind::Data {
            self.data(key, header, now)?;
        } else {
            self.credit(key, header)?;
        }
        self.parser.stream = key;
        self.parser.end = header.flags & (FIN | RST);
        if self.parser.left == 0 {
            self.frame_ends(now)?;
        }
        Ok(())
    }

    /// All of a stream's frame has come: now its flags say whether that was the stream's end.
    fn frame_ends(&mut self, now: Instant) -> Result<(), Violation> {
        let end = self.parser.end;
        match self.parser.stream.take() {
            Some(key) if end & RST != 0 => self.reset(key, now)?,
            Some(key) if end & FIN != 0 => self.finished(key),
            Some(_) | None => {}
        }
        Ok(())
    }

    /// The peer opens a stream, unless it has too many: then that one is refused.
    fn opened(&mut self, header: Header, now: Instant) -> Result<(), Violation> {
        let id = header.id;
        let parity = match self.role {
            Role::Client => 0,
            Role::Server => 1,
        };
        if id == 0 || id % 2 != parity {
            return Err(Violation::Parity(id));
        }
        if self.streams.find(id).is_some() {
            return Err(Violation::Reused(id));
        }
        let room = !self.refusing && self.streams.theirs < self.settings.max_peer_streams;
        if !room || !self.reserve(self.settings.receive_window) {
            self.useless.count("streams", now)?;
            self.answer(Kind::WindowUpdate, RST, id, 0);
            return Ok(());
        }
        let is = State {
            inbound: true,
            ack_owed: true,
            ..State::default()
        };
        let key = self.insert(id, is);
        self.queue_update(key);
        self.incoming.push_back(key);
        Ok(())
    }

    /// A frame of payload begins; all checks are made before any of it is kept.
    fn data(&mut self, key: Option<Key>, header: Header, now: Instant) -> Result<(), Violation> {
        let length = header.length;
        let stream = key.and_then(|key| self.streams.get_mut(key));
        let window = stream.as_ref().map_or(MAX_WINDOW, |stream| stream.window);
        if length > window {
            return Err(match stream {
                Some(_) => Violation::WindowExceeded {
                    id: header.id,
                    length,
                    window,
                },
                None => Violation::TooLong(length),
            });
        }
        if let Some(stream) = stream {
            stream.window -= length;
        }
        if length == 0 && header.flags == 0 {
            self.useless.count("empty frames", now)?;
        }
        self.parser.left = length as usize;
        Ok(())
    }

    /// The peer takes more on a stream; one that is not open any more needs nothing.
    fn credit(&mut self, key: Option<Key>, header: Header) -> Result<(), Violation> {
        let Some(stream) = key.and_then(|key| self.streams.get_mut(key)) else {
            return Ok(());
        };
        let outstanding = stream.credit.checked_add(stream.send.bytes());
        outstanding
            .and_then(|sum| sum.checked_add(header.length))
            .ok_or(Violation::WindowOverflow(header.id))?;
        stream.credit += header.length;
        if stream.credit > 0 {
            self.wakes.extend(stream.writer.take());
        }
        Ok(())
    }

    fn reset(&mut self, key: Key, now: Instant) -> Result<(), Violation> {
        let at_once = self
            .streams
            .get(key)
            .is_some_and(|stream| stream.is.inbound && stream.is.ack_owed);
        if at_once {
            self.useless.count("streams that are reset at once", now)?;
        }
        self.cut(key);
        self.forget_if_free(key);
        Ok(())
    }

    fn finished(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.is.fin_received = true;
            self.wakes.extend(stream.reader.take());
        }
        self.settle(key);
    }

    /// Payload that has come; nobody wants it where the reader or the stream has gone.
    fn deliver(&mut self, piece: Bytes) {
        let Some(stream) = self.parser.stream.and_then(|key| self.streams.get_mut(key)) else {
            return;
        };
        if !stream.is.receiver || stream.is.reset || stream.is.fin_received {
            return;
        }
        let copied = piece.len() < SHARE || stream.unread.bytes() >= BEHIND;
        let piece = if copied {
            Bytes::copy_from_slice(&piece)
        } else {
            piece
        };
        self.pool.push(&mut stream.unread, piece);
        self.wakes.extend(stream.reader.take());
    }

    /// The next bytes of a stream, `limit` at most; or how it stands without any. While it is
    /// [`Read::Blocked`], `waker` is woken when that changes.
    pub(in crate::mux::yamux) fn read(&mut self, key: Key, limit: usize, waker: &Waker) -> Read {
        let cut = self.is_cut(key);
        let Some(stream) = self.streams.get_mut(key) else {
            return Read::Reset;
        };
        if let Some(bytes) = self.pool.pop(&mut stream.unread, limit) {
            if self.is_update_due(key) {
                self.queue_update(key);
            }
            return Read::Bytes(bytes);
        }
        if stream.is.fin_received {
            return Read::End;
        }
        if cut {
            return Read::Reset;
        }
        super::send::register(&mut stream.reader, waker);
        // Who only reads must be heard of too.
        if stream.is.syn_owed && !stream.has_output() {
            self.queue_update(key);
        }
        Read::Blocked
    }
}

/// What a stream has for its reader.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::mux::yamux) enum Read {
    Bytes(Bytes),
    /// The peer has finished.
    End,
    /// The stream was cut before the peer had finished.
    Reset,
    /// Nothing yet.
    Blocked,
}
