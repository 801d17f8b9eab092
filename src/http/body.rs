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
    /// Boxed: hyper keeps room for 32 requests, bodies included, on each connection to a target.
    source: Option<Box<Source>>,
    complete: bool,
}

/// Where a body that has not ended comes from.
#[derive(Debug)]
struct Source {
    receiver: Receiver,
    back: oneshot::Sender<Receiver>,
    meter: Meter,
    /// Bytes still to come, where that is known.
    left: Option<u64>,
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
        let left = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let source = Source {
            receiver,
            back,
            meter,
            left,
        };
        let mut body = Self {
            source: Some(Box::new(source)),
            complete: false,
        };
        body.count(0);
        (body, returned)
    }

    /// A body that is over before it began.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            source: None,
            complete: true,
        }
    }

    /// Whether the body came to its proper end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Counts bytes off the known length; with the last one the body is complete.
    fn count(&mut self, bytes: usize) {
        let Some(source) = &mut self.source else {
            return;
        };
        source.meter.add(bytes);
        let Some(left) = &mut source.left else { return };
        *left = left.saturating_sub(bytes as u64);
        if *left == 0 {
            source.receiver.owe_end();
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.complete = true;
        if let Some(source) = self.source.take() {
            // Nobody waits for it: then the stream is not wanted again.
            drop(source.back.send(source.receiver));
        }
    }

    fn take(&mut self, frame: Option<Frame>) -> Option<Result<BodyFrame<Bytes>, ExchangeError>> {
        let length_known = self.source.as_ref().is_some_and(|s| s.left.is_some());
        let error = match frame {
            Some(Frame::Data(bytes)) => {
                self.count(bytes.len());
                return Some(Ok(BodyFrame::data(bytes)));
            }
            Some(Frame::Trailers(trailers)) => {
                self.finish();
                return Some(Ok(BodyFrame::trailers(trailers)));
            }
            Some(Frame::End) if !length_known => {
                self.finish();
                return None;
            }
            // The sender says that it is done and has sent less than it promised.
            Some(Frame::End) => ExchangeError::Cut,
            Some(other) => FrameError::Unexpected(other.name()).into(),
            None => ExchangeError::Cut,
        };
        self.source = None;
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
        let Some(source) = &mut self.source else {
            return Poll::Ready(None);
        };
        let item = match ready!(source.receiver.poll_next(cx)) {
            Ok(frame) => self.take(frame),
            Err(error) => {
                self.source = None;
                Some(Err(error))
            }
        };
        Poll::Ready(item)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none()
    }
}
