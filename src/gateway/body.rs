//! The body of a response as hyper sends it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::carrier::Carrier;
use super::platform::Lines;
use super::record::Record;
use crate::http::body::ExchangeBody;
use crate::http::exchange::{ExchangeError, Receiver, Sender};
use crate::metrics::Outcome;
use crate::wire::error::{ApiError, ErrorCode};

/// A response's body: none, our own, or a cluster's.
pub(super) enum ResponseBody {
    Empty,
    Full(Full<Bytes>),
    Tunnel(TunnelBody),
    /// The platform's API.
    Own(axum::body::Body),
    Lines(Box<Lines>),
}

impl ResponseBody {
    pub(super) fn empty() -> Self {
        Self::Empty
    }

    pub(super) fn full(body: Full<Bytes>) -> Self {
        Self::Full(body)
    }
}

impl ResponseBody {
    pub(super) fn own(body: axum::body::Body) -> Self {
        Self::Own(body)
    }

    pub(super) fn lines(lines: Lines) -> Self {
        Self::Lines(Box::new(lines))
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
            // Of our own bodies none fails; the type can not say so.
            Self::Own(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|_| ExchangeError::Cut),
            Self::Lines(lines) => lines.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(body) => body.is_end_stream(),
            Self::Tunnel(body) => body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
            Self::Lines(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(body) => body.size_hint(),
            Self::Own(body) => body.size_hint(),
            Self::Tunnel(_) | Self::Lines(_) => SizeHint::default(),
        }
    }
}

/// The sending end of an exchange, once its request is sent.
pub(super) type SenderSlot = Rc<RefCell<Option<Sender>>>;

/// A body from a cluster. Dropped before its end, it resets the stream, which cancels the request
/// at the target.
///
/// hyper asks for no more while the client does not read, so the end of the token is watched by a
/// task of its own, as soon as the body has not come whole at once.
pub(super) struct TunnelBody {
    under_way: Rc<RefCell<UnderWay>>,
    watch: Option<AbortOnDropHandle<()>>,
}

/// A response under way.
pub(super) struct UnderWay {
    /// None once the token has ended.
    pub(super) body: Option<ExchangeBody>,
    pub(super) returned: oneshot::Receiver<Receiver>,
    pub(super) slot: SenderSlot,
    /// The request's body, while it is still being sent.
    pub(super) upload: Option<AbortOnDropHandle<()>>,
    pub(super) carrier: Rc<Carrier>,
    pub(super) token_ended: CancellationToken,
    /// Ends the client's connection, where nobody else shares it.
    pub(super) connection: Option<CancellationToken>,
    pub(super) record: Record,
    pub(super) waiting: Option<Waker>,
}

impl TunnelBody {
    pub(super) fn new(under_way: UnderWay) -> Self {
        Self {
            under_way: Rc::new(RefCell::new(under_way)),
            watch: None,
        }
    }

    /// A body that is cut is not over: its error is still to be told.
    fn is_end_stream(&self) -> bool {
        let under_way = self.under_way.borrow();
        under_way.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        let mut under_way = self.under_way.borrow_mut();
        let item = under_way.poll_frame(cx);
        if self.watch.is_none() && !under_way.is_over() {
            let token_ended = under_way.token_ended.clone();
            let watched = Rc::downgrade(&self.under_way);
            self.watch = Some(spawn_owned(async move {
                token_ended.cancelled().await;
                if let Some(under_way) = watched.upgrade() {
                    under_way.borrow_mut().cut();
                }
            }));
        }
        item
    }
}

impl UnderWay {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        if self.token_ended.is_cancelled() {
            self.cut();
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(Some(Err(revoked())));
        };
        let Poll::Ready(item) = Pin::new(&mut *body).poll_frame(cx) else {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        };
        match &item {
            Some(Err(error)) => self.record.failed(error),
            _ if body.is_complete() => self.finish(),
            _ => {}
        }
        Poll::Ready(item)
    }

    fn is_over(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    /// The token has ended: lets go of the stream, and of the client.
    fn cut(&mut self) {
        if self.is_over() {
            return;
        }
        self.record.outcome(Outcome::Revoked);
        self.body = None;
        self.slot.take();
        self.upload = None;
        if let Some(connection) = &self.connection {
            connection.cancel();
        }
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    fn finish(&mut self) {
        self.record.outcome(Outcome::Complete);
        if let (Ok(receiver), Some(sender)) = (self.returned.try_recv(), self.slot.take()) {
            self.carrier.give_back(sender, receiver);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.body.as_ref().is_some_and(ExchangeBody::is_complete) {
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
