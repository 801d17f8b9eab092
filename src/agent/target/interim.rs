//! Interim responses (RFC 9110, section 15.2) on their way from a target's connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use tokio::sync::Notify;

use crate::http::body::ExchangeBody;
use crate::wire::head::ResponseHead;

/// Interim responses that wait to be sent on; more are dropped, as any may be.
const QUEUE: usize = 4;

/// The interim responses to one request. Nearly all have none: an empty one holds next to nothing,
/// where a channel of tokio's sets 3 KiB aside.
#[derive(Default)]
pub(in crate::agent) struct Interim(Arc<Queue>);

#[derive(Default)]
struct Queue {
    heads: Mutex<VecDeque<ResponseHead>>,
    arrived: Notify,
}

impl Interim {
    /// Takes what comes in answer to `request`.
    pub(super) fn watch(&self, request: &mut Request<ExchangeBody>) {
        let queue = Arc::clone(&self.0);
        hyper::ext::on_informational(request, move |response| {
            queue.push(ResponseHead {
                status: response.status(),
                headers: response.headers().clone(),
            });
        });
    }

    /// The next one; safe to drop, none is lost.
    pub(in crate::agent) async fn next(&self) -> ResponseHead {
        loop {
            if let Some(head) = self.0.pop() {
                return head;
            }
            self.0.arrived.notified().await;
        }
    }
}

impl Queue {
    fn push(&self, head: ResponseHead) {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        if heads.len() < QUEUE {
            heads.push_back(head);
            self.arrived.notify_one();
        }
    }

    fn pop(&self) -> Option<ResponseHead> {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.pop_front()
    }
}
