//! The two ends of an exchange: frames over the halves of a stream.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use prometheus::Histogram;
use tokio::time::Instant;

use crate::metrics::Waiting;
use crate::mux::{RecvHalf, SendHalf, Stream};
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::frame::{Decoder, FRAME_HEADER, Frame, FrameError, encode_data, put_data_header};
use crate::wire::limits::MAX_DATA_FRAME;

/// Why an exchange can not go on.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The stream ended without an END frame: the carrier is gone or the peer gave up.
    #[error("the tunnel was cut in mid-exchange")]
    Cut,
    /// The stream or its session failed.
    #[error("the tunnel failed: {0}")]
    Io(#[from] io::Error),
    /// The peer does not keep to the protocol.
    #[error("the peer broke the exchange protocol: {0}")]
    Protocol(#[from] FrameError),
    /// The peer ended the exchange and said why.
    #[error("{0}")]
    Reset(ApiError),
}

impl ExchangeError {
    /// The error as the client is told it, while no response has begun.
    #[must_use]
    pub fn into_api_error(self) -> ApiError {
        match self {
            Self::Reset(error) => error,
            Self::Cut | Self::Io(_) => ApiError::new(
                ErrorCode::Unavailable,
                "the agent's connection was lost before it answered, or the agent takes no more streams \
                 (its `tunnel.receive_memory_mib`); try again",
            ),
            Self::Protocol(error) => ApiError::new(
                ErrorCode::Internal,
                format!("the agent answered with something that is not an exchange ({error})"),
            ),
        }
    }
}

/// Splits a stream into the two ends.
#[must_use]
pub fn split(stream: Stream) -> (Sender, Receiver) {
    let (send, recv) = stream.split();
    (
        Sender {
            waiting: send.queue(),
            half: send,
            pending: Pending::default(),
        },
        Receiver {
            half: recv,
            decoder: Decoder::default(),
            end_owed: false,
            open: false,
            opening: None,
        },
    )
}

/// Sends frames. Holds at most what was queued since the last flush.
#[derive(Debug)]
pub struct Sender {
    half: SendHalf,
    pending: Pending,
    waiting: Waiting,
}

/// Body bytes below this are copied behind what is queued: a piece of their own costs more.
const COPY_BELOW: usize = 4 * 1024;

/// Frames that wait for a flush, in pieces: heads and small bodies are copied together, large
/// bodies are handed on as they are.
#[derive(Debug, Default)]
struct Pending {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    length: usize,
}

impl Pending {
    fn push(&mut self, frame: &Frame) -> Result<(), FrameError> {
        let before = self.tail.len();
        frame.encode(&mut self.tail)?;
        self.length += self.tail.len() - before;
        Ok(())
    }

    fn push_data(&mut self, mut data: Bytes) {
        if data.len() < COPY_BELOW {
            encode_data(&data, &mut self.tail);
            self.length += if data.is_empty() {
                0
            } else {
                FRAME_HEADER + data.len()
            };
            return;
        }
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(MAX_DATA_FRAME));
            put_data_header(piece.len(), &mut self.tail);
            self.length += FRAME_HEADER + piece.len();
            self.pieces.push_back(self.tail.split().freeze());
            self.pieces.push_back(piece);
        }
    }

    fn poll_send(&mut self, half: &mut SendHalf, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let Some(piece) = self.pieces.front_mut() else {
                if self.tail.is_empty() {
                    *self = Self::default();
                    return Poll::Ready(Ok(()));
                }
                self.pieces.push_back(self.tail.split().freeze());
                continue;
            };
            let before = piece.len();
            let sent = half.poll_send(cx, piece);
            self.length -= before - piece.len();
            ready!(sent)?;
            self.pieces.pop_front();
        }
    }
}

impl Sender {
    /// Adds a frame to what the next flush sends.
    ///
    /// # Errors
    /// [`ExchangeError::Protocol`] for a head above the limits; nothing is queued then.
    pub fn queue(&mut self, frame: &Frame) -> Result<(), ExchangeError> {
        Ok(self.pending.push(frame)?)
    }

    /// Adds body bytes to what the next flush sends; large ones are not copied.
    pub fn queue_data(&mut self, data: Bytes) {
        self.pending.push_data(data);
    }

    /// Sends what is queued; ready once the session has taken all of it.
    ///
    /// # Errors
    /// [`ExchangeError::Io`] when the stream is gone.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        let sent = self.pending.poll_send(&mut self.half, cx);
        self.waiting.set(self.pending.length);
        Poll::Ready(Ok(ready!(sent)?))
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// [`ExchangeError::Io`] when the stream is gone.
    pub async fn flush(&mut self) -> Result<(), ExchangeError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Whether the peer has given the stream up.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.half.is_closed()
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// As [`Sender::queue`] and [`Sender::flush`].
    pub async fn send(&mut self, frame: &Frame) -> Result<(), ExchangeError> {
        self.queue(frame)?;
        self.flush().await
    }
}

/// Receives frames.
#[derive(Debug)]
pub struct Receiver {
    half: RecvHalf,
    decoder: Decoder,
    /// The message is complete by its length; its END is still to come and says nothing new.
    end_owed: bool,
    /// The peer has the stream: a frame of it has come.
    open: bool,
    /// Since when it is waited for that, and where the time is noted.
    opening: Option<(Instant, Histogram)>,
}

impl Receiver {
    /// Notes in `histogram` how long it is from `since` until the peer has the stream; nothing is
    /// waited for on a stream that was used before.
    pub fn time_opening(&mut self, since: Instant, histogram: &Histogram) {
        if self.open {
            histogram.observe(since.elapsed().as_secs_f64());
        } else {
            self.opening = Some((since, histogram.clone()));
        }
    }

    fn opened(&mut self) {
        self.open = true;
        if let Some((since, histogram)) = self.opening.take() {
            histogram.observe(since.elapsed().as_secs_f64());
        }
    }

    /// Notes that the message was complete by its length: the END that follows is passed over.
    pub(super) fn owe_end(&mut self) {
        self.end_owed = true;
    }

    /// The next frame; `None` when the stream has ended between two frames. RESET is an error.
    ///
    /// # Errors
    /// [`ExchangeError`]; the stream is of no more use then.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame>, ExchangeError>> {
        loop {
            let frame = self.decoder.next_frame()?;
            if frame.is_some() && !self.open {
                self.opened();
            }
            match frame {
                Some(Frame::Accept) => {}
                Some(Frame::End) if self.end_owed => self.end_owed = false,
                Some(Frame::Reset(error)) => return Poll::Ready(Err(ExchangeError::Reset(error))),
                Some(frame) => return Poll::Ready(Ok(Some(frame))),
                None => match ready!(self.half.poll_recv(cx)) {
                    Ok(Some(bytes)) => self.decoder.push(bytes),
                    // Between two frames it does not matter how a stream ends.
                    Ok(None) | Err(_) if self.decoder.is_empty() => return Poll::Ready(Ok(None)),
                    Ok(None) => return Poll::Ready(Err(ExchangeError::Cut)),
                    Err(error) => return Poll::Ready(Err(error.into())),
                },
            }
        }
    }

    /// [`Receiver::poll_next`] as a future; safe to drop, no frame is lost.
    ///
    /// # Errors
    /// As [`Receiver::poll_next`].
    pub async fn next(&mut self) -> Result<Option<Frame>, ExchangeError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Whether the peer has given the stream up, even while frames of it are unread.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.half.is_closed()
    }
}
