//! A deployment as it goes on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::view::Change;
use crate::gateway::platform::caller::Caller;
use crate::gateway::platform::{Platform, sse};
use crate::gateway::store::{DeploymentEvent, DeploymentRecord};

/// Nothing happens for so long, and a comment is sent.
const QUIET: Duration = Duration::from_secs(15);

/// Changes that come within this are told together.
const GATHER: Duration = Duration::from_millis(200);

pub(super) struct Reader {
    record: Arc<DeploymentRecord>,
    /// None once it has ended.
    news: Option<watch::Receiver<Arc<DeploymentRecord>>>,
    /// The last step that was told.
    after: u64,
    ended: CancellationToken,
    drain: CancellationToken,
    over: bool,
}

type Piece = Result<Bytes, Infallible>;

impl Reader {
    pub(super) fn new(
        record: DeploymentRecord,
        news: Option<watch::Receiver<Arc<DeploymentRecord>>>,
        after: u64,
        caller: &Caller,
        platform: &Platform,
    ) -> Self {
        Self {
            record: Arc::new(record),
            news,
            after,
            ended: caller.grant.ended.clone(),
            drain: platform.shared.drain.clone(),
            over: false,
        }
    }

    pub(super) async fn next(mut self) -> Option<(Piece, Self)> {
        if self.over {
            return None;
        }
        let told = self.tell();
        if !told.is_empty() {
            return Some((Ok(told), self));
        }
        if self.record.state.is_finished() {
            let end = self.end("the deployment has ended");
            return Some((Ok(end), self));
        }
        let Some(mut news) = self.news.take() else {
            let end = self.end("nothing more is known of the deployment; look again");
            return Some((Ok(end), self));
        };
        let piece = tokio::select! {
            () = self.ended.cancelled() => self.end("the token was revoked or has expired"),
            () = self.drain.cancelled() => self.end("the gateway shuts down; connect again"),
            // At its end the sender goes, after the last change.
            _ = news.changed() => {
                sleep(GATHER).await;
                self.record = Arc::clone(&news.borrow_and_update());
                Bytes::new()
            }
            () = sleep(QUIET) => sse::KEEP_ALIVE,
        };
        self.news = Some(news).filter(|news| news.has_changed().is_ok());
        Some((Ok(piece), self))
    }

    /// The steps that were not told yet.
    fn tell(&mut self) -> Bytes {
        let untold = |event: &&DeploymentEvent| event.sequence > self.after;
        let steps = self.record.history.iter().filter(untold);
        let text = steps.flat_map(|event| {
            sse::event(
                "status",
                Some(event.sequence),
                &Change::of(&self.record, event),
            )
        });
        let text: Vec<u8> = text.collect();
        let last = self.record.history.last().map_or(0, |event| event.sequence);
        self.after = self.after.max(last);
        text.into()
    }

    fn end(&mut self, reason: &str) -> Bytes {
        self.over = true;
        sse::end(reason)
    }
}
