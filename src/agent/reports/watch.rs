//! One watch of the cluster, kept up: listed first, followed, taken up again where it broke.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::time::{sleep, timeout};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::Shared;
use super::core::{Api as Answering, Kept, News, Seen};
use crate::agent::backoff::Backoff;
use crate::agent::cluster::innermost;

/// Objects in one page of a list, where lists do not stream.
const PAGE: u32 = 500;

/// How long the server keeps a watch up, in seconds; one that has died without a word is noticed five later.
const WATCH_SECONDS: u32 = 120;

/// A list of which nothing has come for this long comes to nothing.
const LIST_SILENCE: Duration = Duration::from_secs(60);

/// A watch that has not failed again for this long works, where the API answers other questions.
const SETTLED: Duration = Duration::from_secs(10);

/// A watch that is not allowed is tried again this often: somebody has to grant it.
const FORBIDDEN: Duration = Duration::from_secs(60);

/// A server that is being restarted is back soon; a request in this time does not burden it.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// What becomes of a watch that has failed.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The server has forgotten where it was; kube lists anew by itself.
    Relist,
    /// The server does not stream lists.
    NoStreaming,
    /// It may do it again.
    Retry(String),
    /// Where it was can not be taken up: begun again.
    Restart(String),
    /// A list that does not go on: begun again, and read by pages.
    Silent,
    /// Somebody has to grant it.
    Forbidden(String),
    /// The client is of no use any more.
    Client(String),
}

/// Keeps the cache `C` as the cluster is, until the client is of no use any more, and says why.
pub(super) async fn keep<C: Kept>(shared: &Shared, client: &Client, streaming: bool) -> String {
    let mut streaming = streaming;
    let mut backoff = Backoff::new();
    loop {
        let api: Api<C::Object> = Api::all(client.clone());
        match follow::<C>(shared, api, streaming, &mut backoff).await {
            Verdict::Client(why) => return why,
            Verdict::Forbidden(_) => sleep(FORBIDDEN).await,
            Verdict::NoStreaming => streaming = false,
            // A server, or what stands before it, may know the word and not do it.
            Verdict::Silent => streaming = false,
            Verdict::Relist | Verdict::Retry(_) | Verdict::Restart(_) => {
                sleep(backoff.next()).await;
            }
        }
    }
}

/// Follows one stream until it has to be begun again.
async fn follow<C: Kept>(
    shared: &Shared,
    api: Api<C::Object>,
    streaming: bool,
    backoff: &mut Backoff,
) -> Verdict {
    let mut stream = pin!(watcher(api, settings::<C>(streaming)));
    let mut listing = true;
    loop {
        let patience = if listing { LIST_SILENCE } else { SETTLED };
        // What kube has to say about each failure is said by us, once.
        let next = stream.next().with_subscriber(NoSubscriber::default());
        let verdict = match timeout(patience, next).await {
            Ok(Some(Ok(event))) => {
                let news = news(event);
                listing = match news {
                    News::Begin => true,
                    News::Complete => false,
                    News::See(_) | News::Gone(_) => listing,
                };
                if !matches!(news, News::Begin) {
                    backoff.reset();
                }
                // Of what is being listed, it is not known yet.
                if !listing {
                    settle::<C>(shared);
                }
                shared.learn::<C>(news);
                continue;
            }
            Ok(Some(Err(error))) => judge(&error, streaming && listing),
            Ok(None) => Verdict::Restart("the watch has ended".to_owned()),
            Err(_) if listing => Verdict::Silent,
            Err(_) => {
                settle::<C>(shared);
                continue;
            }
        };
        note::<C>(shared, &verdict);
        match verdict {
            Verdict::Relist | Verdict::Retry(_) => sleep(backoff.next().min(LONGEST_WAIT)).await,
            Verdict::NoStreaming
            | Verdict::Restart(_)
            | Verdict::Silent
            | Verdict::Forbidden(_)
            | Verdict::Client(_) => return verdict,
        }
    }
}

fn settings<C: Kept>(streaming: bool) -> watcher::Config {
    let mut settings = watcher::Config::default().timeout(WATCH_SECONDS);
    if let Some(selector) = C::SELECTOR {
        settings = settings.fields(selector);
    }
    if streaming {
        settings.streaming_lists()
    } else {
        settings.page_size(PAGE)
    }
}

fn news<O>(event: Event<O>) -> News<O> {
    match event {
        Event::Init => News::Begin,
        Event::InitApply(object) | Event::Apply(object) => News::See(object),
        Event::Delete(object) => News::Gone(object),
        Event::InitDone => News::Complete,
    }
}

/// What a failure means.
fn judge(error: &watcher::Error, streams: bool) -> Verdict {
    use kube::Error::Api;
    let (status, began) = match error {
        watcher::Error::WatchError(status) if status.code == 410 => return Verdict::Relist,
        watcher::Error::WatchError(status) => (Some(status), false),
        watcher::Error::WatchStartFailed(Api(status)) => (Some(status), true),
        watcher::Error::InitialListFailed(Api(status))
        | watcher::Error::WatchFailed(Api(status)) => (Some(status), false),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => (None, false),
    };
    let why = innermost(error);
    match status.map(|status| status.code) {
        Some(401) => Verdict::Client(why),
        Some(400 | 405 | 406 | 422) if streams => Verdict::NoStreaming,
        Some(403) => Verdict::Forbidden(format!("{why}; the agent's account needs this right")),
        // kube would ask for the same place again and again.
        Some(410) if began => Verdict::Restart(why),
        _ => Verdict::Retry(why),
    }
}

/// It works again, if it did not.
fn settle<C: Kept>(shared: &Shared) {
    let mut core = shared.core.borrow_mut();
    if core.api == Answering::Answers && matches!(core.seen(C::WATCHED), Seen::Failing(_)) {
        core.note(C::WATCHED, Seen::All);
    }
}

/// Counts a failure, and notes why.
fn note<C: Kept>(shared: &Shared, verdict: &Verdict) {
    let why = match verdict {
        Verdict::Relist | Verdict::NoStreaming => return,
        Verdict::Silent => format!("nothing was heard for {} s", LIST_SILENCE.as_secs()),
        Verdict::Retry(why)
        | Verdict::Restart(why)
        | Verdict::Client(why)
        | Verdict::Forbidden(why) => why.clone(),
    };
    let mut core = shared.core.borrow_mut();
    core.meters.failures.get(C::WATCHED).inc();
    core.note(C::WATCHED, Seen::Failing(why));
}

#[cfg(test)]
mod tests;
