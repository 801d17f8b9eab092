//! The body of a response as hyper sends it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tokio_util::task::AbortOnDropHandle;

use super::carrier::Carrier;
use super::record::Record;
use crate::http::body::ExchangeBody;
use crate::http::exchange::{ExchangeError, Receiver, Sender};
use crate::metrics::Outcome;
use crate::wire::error::{ApiError, ErrorCode};

/// A response's body: none, our own, or a cluster's.
pub(super) enum ResponseBody {
    Empty,
    Full(Full<Bytes>),
    Tunnel(Box<TunnelBody>),
}

impl ResponseBody {
    pub(super) fn empty() -> Self {
        Self::Empty
    }

    pub(super) fn full(body: Full<Bytes>) -> Self {
        Self::Full(body)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ExchangeError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::Tunnel(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(body) => body.is_end_stream(),
            Self::Tunnel(body) => body.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(body) => body.size_hint(),
            Self::Tunnel(_) => SizeHint::default(),
        }
    }
}

/// The sending end of an exchange, once its request is sent.
pub(super) type SenderSlot = Rc<RefCell<Option<Sender>>>;

/// A body from a cluster. Dropped before its end, it resets the stream, which cancels the request
/// at the target.
pub(super) struct TunnelBody {
    pub(super) inner: ExchangeBody,
    pub(super) returned: oneshot::Receiver<Receiver>,
    pub(super) slot: SenderSlot,
    /// The request's body, while it is still being sent.
    pub(super) _upload: Option<AbortOnDropHandle<()>>,
    pub(super) carrier: Rc<Carrier>,
    pub(super) ended: Pin<Box<WaitForCancellationFutureOwned>>,
    pub(super) record: Record,
}

impl TunnelBody {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        if self.ended.as_mut().poll(cx).is_ready() {
            self.record.outcome(Outcome::Revoked);
            return Poll::Ready(Some(Err(revoked())));
        }
        let item = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &item {
            Some(Err(error)) => self.record.failed(error),
            _ if self.inner.is_complete() => self.finish(),
            _ => {}
        }
        Poll::Ready(item)
    }

    fn finish(&mut self) {
        self.record.outcome(Outcome::Complete);
        if let (Ok(receiver), Some(sender)) = (self.returned.try_recv(), self.slot.take()) {
            self.carrier.give_back(sender, receiver);
        }
    }
}

impl Drop for TunnelBody {
    fn drop(&mut self) {
        if self.inner.is_complete() {
            self.finish();
        }
    }
}

/// Spawns a task that ends with its handle.
pub(super) fn spawn_owned(task: impl Future<Output = ()> + 'static) -> AbortOnDropHandle<()> {
    let handle: JoinHandle<()> = tokio::task::spawn_local(task);
    AbortOnDropHandle::new(handle)
}

/// What a stream whose token has ended is cut with.
pub(super) fn revoked() -> ExchangeError {
    ExchangeError::Reset(ApiError::new(
        ErrorCode::Unauthorized,
        "the token was revoked or has expired",
    ))
}
