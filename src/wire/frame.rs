//! Frames of an exchange: one HTTP request and its response on one stream of a session.
//!
//! A frame is a type (one byte), a length (three bytes, big-endian) and a payload. An end of
//! stream is said by a frame and never by the stream's own end, so that a carrier that dies in
//! mid-body can not look like a body that is complete. `proto/exchange.md` is the specification.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;

use super::error::{ApiError, ErrorCode};
use super::head::{self, RequestHead, ResponseHead};
use super::limits::{MAX_DATA_FRAME, MAX_HEAD_FRAME};

/// What goes wrong with frames; each ends the stream that it came on, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A type of frame that this version does not know.
    #[error("unknown frame type {0}")]
    UnknownType(u8),
    /// A length above the limit, refused before any of it is read.
    #[error("{what} above the limit of {max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, in the unit of `what`.
        max: usize,
    },
    /// A payload that does not say what its type promises.
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
    /// A frame that may not come at this point of an exchange.
    #[error("unexpected {0} frame")]
    Unexpected(&'static str),
}

/// Types of frames. Values are the wire's.
mod kind {
    pub(super) const REQUEST: u8 = 1;
    pub(super) const RESPONSE: u8 = 2;
    pub(super) const INFO: u8 = 3;
    pub(super) const DATA: u8 = 4;
    pub(super) const TRAILERS: u8 = 5;
    pub(super) const END: u8 = 6;
    pub(super) const RESET: u8 = 7;
    pub(super) const ACCEPT: u8 = 8;
}

/// Bytes before each payload.
pub const FRAME_HEADER: usize = 4;

/// One frame, or a part of a DATA frame as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// Starts an exchange.
    Request(Box<RequestHead>),
    /// The final response's head; 101 switches the rest of the exchange to raw bytes in DATA.
    Response(Box<ResponseHead>),
    /// An interim response (1xx).
    Info(Box<ResponseHead>),
    /// Bytes of a body or of an upgraded connection.
    Data(Bytes),
    /// The trailer section; ends that direction like [`Frame::End`].
    Trailers(HeaderMap),
    /// This direction ends here, complete.
    End,
    /// The exchange is over, incomplete, and why.
    Reset(ApiError),
    /// The accepting side has the stream (sent once, before anything else).
    Accept,
}

impl Frame {
    /// The frame's name in errors.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Request(_) => "REQUEST",
            Self::Response(_) => "RESPONSE",
            Self::Info(_) => "INFO",
            Self::Data(_) => "DATA",
            Self::Trailers(_) => "TRAILERS",
            Self::End => "END",
            Self::Reset(_) => "RESET",
            Self::Accept => "ACCEPT",
        }
    }

    /// Appends the frame; a body larger than [`MAX_DATA_FRAME`] becomes several.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] for a head that does not fit; `out` is then as it was.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        match self {
            Self::Request(head) => sized(kind::REQUEST, out, |out| head.encode(out)),
            Self::Response(head) => sized(kind::RESPONSE, out, |out| head.encode(out)),
            Self::Info(head) => sized(kind::INFO, out, |out| head.encode(out)),
            Self::Trailers(map) => sized(kind::TRAILERS, out, |out| head::encode_headers(map, out)),
            Self::Reset(error) => sized(kind::RESET, out, |out| encode_reset(error, out)),
            Self::Data(bytes) => {
                encode_data(bytes, out);
                Ok(())
            }
            Self::End => {
                put_header(kind::END, 0, out);
                Ok(())
            }
            Self::Accept => {
                put_header(kind::ACCEPT, 0, out);
                Ok(())
            }
        }
    }

    fn decode(kind: u8, payload: Bytes) -> Result<Self, FrameError> {
        match kind {
            kind::REQUEST => Ok(Self::Request(Box::new(RequestHead::decode(payload)?))),
            kind::RESPONSE => Ok(Self::Response(Box::new(ResponseHead::decode(payload)?))),
            kind::INFO => Ok(Self::Info(Box::new(ResponseHead::decode(payload)?))),
            kind::TRAILERS => Ok(Self::Trailers(head::decode_headers(payload)?)),
            kind::RESET => decode_reset(payload).map(Self::Reset),
            kind::END => Ok(Self::End),
            kind::ACCEPT => Ok(Self::Accept),
            other => Err(FrameError::UnknownType(other)),
        }
    }
}

/// Appends `bytes` as DATA frames.
pub fn encode_data(bytes: &[u8], out: &mut BytesMut) {
    for chunk in bytes.chunks(MAX_DATA_FRAME) {
        put_data_header(chunk.len(), out);
        out.put_slice(chunk);
    }
}

/// Appends the header of a DATA frame, the payload of which follows by other means; `length` is no
/// more than [`MAX_DATA_FRAME`].
pub fn put_data_header(length: usize, out: &mut BytesMut) {
    put_header(kind::DATA, length, out);
}

fn put_header(kind: u8, length: usize, out: &mut BytesMut) {
    out.put_u8(kind);
    out.put_uint(length as u64, 3);
}

fn sized(
    kind: u8,
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> Result<(), FrameError>,
) -> Result<(), FrameError> {
    let start = out.len();
    put_header(kind, 0, out);
    let written = write(out).and_then(|()| {
        let length = out.len() - start - FRAME_HEADER;
        if length > MAX_HEAD_FRAME {
            return Err(FrameError::TooLarge {
                what: "bytes of a head",
                max: MAX_HEAD_FRAME,
            });
        }
        Ok(length)
    });
    match written {
        Ok(length) => {
            let bytes = (length as u64).to_be_bytes();
            out[start + 1..start + FRAME_HEADER].copy_from_slice(&bytes[5..]);
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

fn encode_reset(error: &ApiError, out: &mut BytesMut) -> Result<(), FrameError> {
    out.put_u8(error.code.to_u8());
    head::put(out, error.message.as_bytes())
}

fn decode_reset(mut payload: Bytes) -> Result<ApiError, FrameError> {
    let code = ErrorCode::from_u8(head::take_u8(&mut payload)?);
    Ok(ApiError::new(code, head::text(&mut payload)?))
}

/// Turns the bytes of one direction of a stream into frames, holding no more than one head.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The chunk being read; DATA is cut out of it without a copy.
    chunk: Bytes,
    /// A header or head frame of which only a part has come.
    partial: BytesMut,
    /// Bytes still to come of the DATA frame being read.
    data_left: usize,
}

impl Decoder {
    /// Whether all bytes given so far have been consumed as whole frames.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunk.is_empty() && self.partial.is_empty() && self.data_left == 0
    }

    /// Gives the next bytes of the stream; only when [`Decoder::next_frame`] had no frame left.
    pub fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "the last chunk was read to its end");
        self.chunk = chunk;
    }

    /// The next frame, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// A [`FrameError`]; the stream is of no more use then.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if self.data_left > 0 {
                return Ok(self.take_data());
            }
            if !self.fill(FRAME_HEADER) {
                return Ok(None);
            }
            let (kind, length) = self.header()?;
            if kind == kind::DATA {
                self.partial.clear();
                self.data_left = length;
                continue;
            }
            if !self.fill(FRAME_HEADER + length) {
                return Ok(None);
            }
            let mut whole = std::mem::take(&mut self.partial);
            whole.advance(FRAME_HEADER);
            return Frame::decode(kind, whole.freeze()).map(Some);
        }
    }

    fn header(&self) -> Result<(u8, usize), FrameError> {
        let mut bytes = &self.partial[..FRAME_HEADER];
        let kind = bytes.get_u8();
        let length = usize::try_from(bytes.get_uint(3)).unwrap_or(usize::MAX);
        let max = match kind {
            kind::DATA => MAX_DATA_FRAME,
            kind::END | kind::ACCEPT => 0,
            kind::REQUEST..=kind::RESET => MAX_HEAD_FRAME,
            other => return Err(FrameError::UnknownType(other)),
        };
        if length > max {
            return Err(FrameError::TooLarge {
                what: "bytes of a frame",
                max,
            });
        }
        Ok((kind, length))
    }

    /// Moves bytes from the chunk until `partial` holds `want`; false when they ran out.
    fn fill(&mut self, want: usize) -> bool {
        let missing = want.saturating_sub(self.partial.len());
        let now = missing.min(self.chunk.len());
        if now > 0 {
            self.partial.extend_from_slice(&self.chunk.split_to(now));
        }
        now == missing
    }

    fn take_data(&mut self) -> Option<Frame> {
        if self.chunk.is_empty() {
            return None;
        }
        let now = self.data_left.min(self.chunk.len());
        self.data_left -= now;
        Some(Frame::Data(self.chunk.split_to(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use proptest::prelude::*;

    fn samples() -> Vec<Frame> {
        let head = ResponseHead {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
        };
        vec![
            Frame::Accept,
            Frame::Info(Box::new(head.clone())),
            Frame::Response(Box::new(head)),
            Frame::Data(Bytes::from_static(b"hello")),
            Frame::Trailers(HeaderMap::new()),
            Frame::End,
            Frame::Reset(ApiError::new(ErrorCode::TargetRefused, "no")),
        ]
    }

    fn decode_in_pieces(bytes: &[u8], sizes: &[usize]) -> Result<Vec<Frame>, FrameError> {
        let (mut decoder, mut frames, mut rest) = (Decoder::default(), Vec::new(), bytes);
        let mut sizes = sizes.iter().cycle();
        while !rest.is_empty() {
            let now = (*sizes.next().unwrap()).min(rest.len());
            decoder.push(Bytes::copy_from_slice(&rest[..now]));
            rest = &rest[now..];
            while let Some(frame) = decoder.next_frame()? {
                match (frames.last_mut(), frame) {
                    (Some(Frame::Data(last)), Frame::Data(more)) => {
                        *last = [last.as_ref(), more.as_ref()].concat().into();
                    }
                    (_, frame) => frames.push(frame),
                }
            }
        }
        assert!(decoder.is_empty());
        Ok(frames)
    }

    proptest! {
        #[test]
        fn any_slicing_gives_the_same_frames(sizes in proptest::collection::vec(1usize..40, 1..20)) {
            let mut out = BytesMut::new();
            for frame in samples() {
                frame.encode(&mut out).unwrap();
            }
            prop_assert_eq!(decode_in_pieces(&out, &sizes).unwrap(), samples());
        }

        #[test]
        fn garbage_never_panics_nor_grows(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let mut decoder = Decoder::default();
            decoder.push(Bytes::from(bytes));
            while let Ok(Some(_)) = decoder.next_frame() {}
            prop_assert!(decoder.partial.capacity() <= 2 * (MAX_HEAD_FRAME + FRAME_HEADER));
        }
    }

    #[test]
    fn large_data_is_split_at_the_limit() {
        let mut out = BytesMut::new();
        Frame::Data(vec![7; MAX_DATA_FRAME + 1].into())
            .encode(&mut out)
            .unwrap();
        assert_eq!(out.len(), 2 * FRAME_HEADER + MAX_DATA_FRAME + 1);
    }

    #[test]
    fn lengths_are_refused_before_the_payload_comes() {
        for header in [[4, 0xff, 0xff, 0xff], [1, 0xff, 0xff, 0xff], [6, 0, 0, 1]] {
            let mut decoder = Decoder::default();
            decoder.push(Bytes::copy_from_slice(&header));
            assert!(matches!(
                decoder.next_frame(),
                Err(FrameError::TooLarge { .. })
            ));
        }
        let mut decoder = Decoder::default();
        decoder.push(Bytes::from_static(&[99, 0, 0, 0]));
        assert_eq!(decoder.next_frame(), Err(FrameError::UnknownType(99)));
    }
}
