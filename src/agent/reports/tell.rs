//! Tells the platform: the status when it changes, what happened, and what did not fit.

use std::time::Duration;

use tokio::sync::mpsc::Permit;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::queue::as_event;
use super::usage::Usage;
use super::{Link, Shared};
use crate::wire::control::{ClusterStatus, EventBatch, Message};
use crate::wire::limits::MAX_EVENT_BATCH;

/// What happens within this time goes out together.
const GATHER: Duration = Duration::from_secs(1);

/// The status goes out no more often than this.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// What did not fit is told no more often than this.
const SUMMARY_EVERY: Duration = Duration::from_secs(5);

/// Single events that go out in a [`GATHER`]: a third of the messages that an agent may send, for the rest has results of
/// commands to tell.
const SINGLES: usize = 5;

/// The first protocol version with `event_batch` and `event_summary`.
const BATCHES_SINCE: u32 = 2;

/// Tells whoever is at the other end, one link after another.
pub(super) async fn tell(shared: &Shared, mut links: watch::Receiver<Option<Link>>) {
    loop {
        let link = links.borrow_and_update().clone();
        let changed = match link {
            None => links.changed().await,
            Some(link) => tokio::select! {
                changed = links.changed() => changed,
                () = serve(shared, &link) => links.changed().await,
            },
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Keeps the figures for heartbeats up to date, whether anybody is at the other end or not.
pub(super) async fn figures(shared: &Shared, usage: &watch::Sender<Usage>) {
    let mut ticks = ticks();
    loop {
        ticks.tick().await;
        let now = shared.core.borrow().usage();
        usage.send_if_modified(|known| {
            let new = *known != now;
            *known = now;
            new
        });
    }
}

/// Tells all there is over one link, until it is gone.
async fn serve(shared: &Shared, link: &Link) {
    let mut told = Told::default();
    let mut ticks = ticks();
    loop {
        ticks.tick().await;
        for _ in 0..SINGLES {
            let Some(next) = told.next(shared) else {
                break;
            };
            // Nothing is taken before there is room for it: what a lost link leaves waits for the next.
            let Ok(permit) = link.outgoing.reserve().await else {
                return;
            };
            told.send(shared, link, next, permit);
            if matches!(next, Next::Events) && link.protocol >= BATCHES_SINCE {
                break;
            }
        }
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(GATHER);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// What is to be told next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Status,
    Summary,
    Events,
}

/// What was told over a link.
#[derive(Debug, Default)]
struct Told {
    status: Option<(ClusterStatus, Instant)>,
    summary: Option<Instant>,
}

impl Told {
    fn next(&self, shared: &Shared) -> Option<Next> {
        let mut core = shared.core.borrow_mut();
        let now = Instant::now();
        let old = |at: Option<Instant>, every| at.is_none_or(|at| now.duration_since(at) >= every);
        let status_at = self.status.as_ref().map(|(_, at)| *at);
        if old(status_at, STATUS_EVERY) {
            let told = self.status.as_ref().map(|(status, _)| status);
            if told != Some(&core.status()) {
                return Some(Next::Status);
            }
        }
        if !core.queue.left_out().is_empty() && old(self.summary, SUMMARY_EVERY) {
            return Some(Next::Summary);
        }
        core.queue.is_due(now).then_some(Next::Events)
    }

    fn send(&mut self, shared: &Shared, link: &Link, next: Next, permit: Permit<'_, Message>) {
        let mut core = shared.core.borrow_mut();
        let (now, batches) = (Instant::now(), link.protocol >= BATCHES_SINCE);
        match next {
            Next::Status => {
                let status = core.status();
                self.status = Some((status.clone(), now));
                permit.send(Message::ClusterStatus(status));
            }
            Next::Summary => {
                self.summary = Some(now);
                let summary = core.queue.left_out().take();
                permit.send(if batches {
                    Message::EventSummary(summary)
                } else {
                    Message::Event(as_event(summary))
                });
            }
            Next::Events => {
                let most = if batches { MAX_EVENT_BATCH } else { 1 };
                let mut events = core.queue.take(most, now);
                let counts = events.iter().map(|event| event.count.unwrap_or(1));
                core.meters.reported.inc_by(counts.sum());
                if batches {
                    permit.send(Message::EventBatch(EventBatch { events }));
                } else if let Some(event) = events.pop() {
                    permit.send(Message::Event(event));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
