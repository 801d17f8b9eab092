//! `/v1/clusters/{name}/events`: what happens in a cluster, as it happens.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::Platform;
use super::caller::Caller;
use super::openapi::Failure;
use super::sse;
use crate::gateway::fleet::{Happened, Known, Numbered};
use crate::wire::control::Event;
use crate::wire::error::ApiError;

/// Nothing happens for so long, and a comment is sent.
const QUIET: Duration = Duration::from_secs(15);

/// The header by which a reader goes on where it was.
pub(super) const LAST_EVENT_ID: &str = "last-event-id";

/// One event as it is told.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Told {
    /// When the gateway heard of it.
    received_at: Timestamp,
    #[serde(flatten)]
    event: Event,
}

/// Follows what happens in a cluster (server-sent events): those of the last while, then as they come. `id` counts from the
/// gateway's start; with it as `Last-Event-ID`, a reader goes on where it was. `event` is `event`, with the body below;
/// `left_out` for events that were too many to be told one by one; `missed` where the reader was too slow or away
/// for too long; `end` or `error` at the end.
#[utoipa::path(get, path = "/v1/clusters/{name}/events", tag = "events", operation_id = "events.watch",
    params(("name" = String, Path, description = "The cluster's name"), ("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, body = Told, content_type = "text/event-stream"), (status = "4XX", body = Failure)))]
pub(super) async fn get(
    State(platform): State<Platform>,
    caller: Caller,
    Path(name): Path<String>,
    fields: HeaderMap,
) -> Result<Response, ApiError> {
    let cluster = caller.cluster(&platform, &name, "read")?;
    let known = platform.shared.fleet.entry(cluster.id.as_str());
    let reader = Reader {
        news: known.watch_events(),
        known,
        after: last_event_id(&fields),
        ended: caller.grant.ended.clone(),
        drain: platform.shared.drain.clone(),
        over: false,
    };
    Ok(sse::response(reader, Reader::next))
}

/// The last event that a reader has seen; what is no number is as good as none.
pub(super) fn last_event_id(fields: &HeaderMap) -> u64 {
    let said = fields
        .get(LAST_EVENT_ID)
        .and_then(|value| value.to_str().ok());
    said.and_then(|value| value.trim().parse().ok())
        .unwrap_or_default()
}

struct Reader {
    known: Arc<Known>,
    news: watch::Receiver<u64>,
    /// The last one that was told.
    after: u64,
    ended: CancellationToken,
    drain: CancellationToken,
    over: bool,
}

type Piece = Result<Bytes, std::convert::Infallible>;

impl Reader {
    async fn next(mut self) -> Option<(Piece, Self)> {
        if self.over {
            return None;
        }
        self.news.mark_unchanged();
        let since = self.known.events_since(self.after);
        if !since.events.is_empty() || since.missed > 0 {
            let mut text = Vec::new();
            if since.missed > 0 && self.after > 0 {
                text.extend(sse::event(
                    "missed",
                    None,
                    &json!({ "count": since.missed }),
                ));
            }
            for event in &since.events {
                text.extend(told(event));
            }
            self.after = since.events.last().map_or(self.after, |event| event.number);
            return Some((Ok(text.into()), self));
        }
        let piece = tokio::select! {
            () = self.ended.cancelled() => self.end("the token was revoked or has expired"),
            () = self.drain.cancelled() => self.end("the gateway shuts down; connect again"),
            () = self.known.removed.cancelled() => self.end("the cluster was removed"),
            // The sender is in what we hold.
            _ = self.news.changed() => Bytes::new(),
            () = sleep(QUIET) => sse::KEEP_ALIVE,
        };
        Some((Ok(piece), self))
    }

    fn end(&mut self, reason: &str) -> Bytes {
        self.over = true;
        sse::end(reason)
    }
}

fn told(event: &Numbered) -> Bytes {
    match &event.what {
        Happened::Event(what) => {
            let told = Told {
                received_at: event.at,
                event: what.clone(),
            };
            sse::event("event", Some(event.number), &told)
        }
        Happened::LeftOut(summary) => sse::event("left_out", Some(event.number), summary),
    }
}
