//! The request's body on its way into the tunnel.

use std::future::pending;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use crate::gateway::body::{SenderSlot, spawn_owned};
use crate::http::exchange::Sender;
use crate::http::headers;
use crate::metrics::Meter;
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::frame::Frame;

/// A body that is waiting to be sent, is being sent, or was.
pub(super) struct Upload {
    waiting: Option<(Incoming, SenderSlot, Meter)>,
    task: Option<AbortOnDropHandle<()>>,
    failure: Option<oneshot::Receiver<ApiError>>,
}

impl Upload {
    pub(super) fn new(body: Incoming, slot: SenderSlot, meter: Meter) -> Self {
        Self {
            waiting: Some((body, slot, meter)),
            task: None,
            failure: None,
        }
    }

    /// Starts to send; polling the body is what makes hyper say `100 Continue`.
    pub(super) fn start(&mut self, sender: Option<Sender>) {
        let (Some((body, slot, meter)), Some(sender)) = (self.waiting.take(), sender) else {
            return;
        };
        let (failed, failure) = oneshot::channel();
        self.failure = Some(failure);
        self.task = Some(spawn_owned(async move {
            if let Some(error) = send(body, sender, &slot, &meter).await {
                drop(failed.send(error));
            }
        }));
    }

    /// Resolves when the client's body turns out bad; never when it is fine.
    pub(super) async fn failed(&mut self) -> ApiError {
        if let Some(failure) = &mut self.failure
            && let Ok(error) = failure.await
        {
            return error;
        }
        self.failure = None;
        pending().await
    }

    pub(super) fn into_task(self) -> Option<AbortOnDropHandle<()>> {
        self.task
    }
}

/// Sends the body; at its proper end the sender goes to `slot`.
async fn send(
    mut body: Incoming,
    mut sender: Sender,
    slot: &SenderSlot,
    meter: &Meter,
) -> Option<ApiError> {
    loop {
        let frame = match body.frame().await {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                let error = ApiError::new(
                    ErrorCode::InvalidRequest,
                    format!("the request's body could not be read: {error}"),
                );
                // Should the stream be gone already, the agent knows as much.
                drop(sender.send(&Frame::Reset(error.clone())).await);
                return Some(error);
            }
            None => break,
        };
        match frame.into_data() {
            Ok(data) => {
                meter.add(data.len());
                sender.queue_data(data);
                sender.flush().await.ok()?;
            }
            Err(frame) => {
                let Ok(mut trailers) = frame.into_trailers() else {
                    continue;
                };
                headers::sanitize_trailers(&mut trailers);
                sender.send(&Frame::Trailers(trailers)).await.ok()?;
                slot.replace(Some(sender));
                return None;
            }
        }
    }
    sender.send(&Frame::End).await.ok()?;
    slot.replace(Some(sender));
    None
}
