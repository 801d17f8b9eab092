//! A body that comes out of an exchange.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};
use hyper::body::{Body, Frame as BodyFrame};
use tokio::sync::oneshot;

use super::exchange::{ExchangeError, Receiver};
use crate::metrics::Meter;
use crate::wire::frame::{Frame, FrameError};

/// Whether a response to `method` with `status` has no body, whatever its headers say (RFC 9112,
/// section 6.3). Its END follows its head at once; both sides of the tunnel go by this.
#[must_use]
pub fn is_bodyless(method: &Method, status: StatusCode) -> bool {
    method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// One direction of an exchange as an HTTP body, without a buffer of its own.
///
/// At the body's proper end the receiver is given back for the stream's next use; when the body
/// is dropped or fails before, the receiver is dropped with it. Where `Content-Length` says how
/// long the body is, its last byte is the end: hyper does not ask for more.
#[derive(Debug)]
pub struct ExchangeBody {
    receiver: Option<Receiver>,
    back: Option<oneshot::Sender<Receiver>>,
    meter: Meter,
    /// Bytes still to come, where that is known.
    left: Option<u64>,
    complete: bool,
}

impl ExchangeBody {
    /// A body that reads from `receiver` what belongs to `headers`.
    #[must_use]
    pub fn new(
        receiver: Receiver,
        headers: &HeaderMap,
        meter: Meter,
    ) -> (Self, oneshot::Receiver<Receiver>) {
        let (back, returned) = oneshot::channel();
        let length = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let mut body = Self {
            receiver: Some(receiver),
            back: Some(back),
            meter,
            left: length,
            complete: false,
        };
        body.count(0);
        (body, returned)
    }

    /// A body that is over before it began.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            receiver: None,
            back: None,
            meter: Meter::default(),
            left: None,
            complete: true,
        }
    }

    /// Whether the body came to its proper end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Counts bytes off the known length; with the last one the body is complete.
    fn count(&mut self, bytes: u64) {
        let Some(left) = &mut self.left else { return };
        *left = left.saturating_sub(bytes);
        if *left == 0 {
            if let Some(receiver) = &mut self.receiver {
                receiver.owe_end();
            }
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.complete = true;
        if let (Some(receiver), Some(back)) = (self.receiver.take(), self.back.take()) {
            // Nobody waits for it: then the stream is not wanted again.
            drop(back.send(receiver));
        }
    }

    fn take(&mut self, frame: Option<Frame>) -> Option<Result<BodyFrame<Bytes>, ExchangeError>> {
        let error = match frame {
            Some(Frame::Data(bytes)) => {
                self.meter.add(bytes.len());
                self.count(bytes.len() as u64);
                return Some(Ok(BodyFrame::data(bytes)));
            }
            Some(Frame::Trailers(trailers)) => {
                self.finish();
                return Some(Ok(BodyFrame::trailers(trailers)));
            }
            Some(Frame::End) if self.left.is_none() => {
                self.finish();
                return None;
            }
            // The sender says that it is done and has sent less than it promised.
            Some(Frame::End) => ExchangeError::Cut,
            Some(other) => FrameError::Unexpected(other.name()).into(),
            None => ExchangeError::Cut,
        };
        self.receiver = None;
        Some(Err(error))
    }
}

impl Body for ExchangeBody {
    type Data = Bytes;
    type Error = ExchangeError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, ExchangeError>>> {
        let Some(receiver) = &mut self.receiver else {
            return Poll::Ready(None);
        };
        let item = match ready!(receiver.poll_next(cx)) {
            Ok(frame) => self.take(frame),
            Err(error) => {
                self.receiver = None;
                Some(Err(error))
            }
        };
        Poll::Ready(item)
    }

    fn is_end_stream(&self) -> bool {
        self.receiver.is_none()
    }
}
