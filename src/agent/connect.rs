//! Being connected: for ever, again, and with patience.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::backoff::Backoff;
use super::control::{self, End};
use super::dial::DialError;
use super::run::Shared;
use super::status::Connection;

/// A connection that held this long was a good one: the next failure starts from short waits.
const GOOD: Duration = Duration::from_secs(5);

/// Connects, serves and connects again until the task is dropped. The first attempt is like any.
pub(super) async fn run(shared: Rc<Shared>) {
    let mut backoff = Backoff::new();
    loop {
        let token = shared.dialer.token();
        let connected = match &token {
            Ok(token) => control::connect(&shared, token).await,
            Err(error) => Err(error.clone()),
        };
        let wait = match connected {
            Ok(mut channel) => {
                shared.reporter.connection(Connection::Connected);
                let since = Instant::now();
                let end = channel.run().await;
                if since.elapsed() >= GOOD {
                    backoff.reset();
                }
                shared.reporter.connection(Connection::Connecting);
                shared.metrics.reconnects.get(end.reason()).inc();
                match end {
                    // The old channel is kept until the gateway closes it: what runs may end.
                    End::Drain => drop(spawn_local(async move { channel.run().await })),
                    End::Lost(_, reason) => tracing::warn!(reason, "disconnected from the gateway"),
                }
                backoff.next()
            }
            Err(error) => failed(&shared, &mut backoff, &error),
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = shared.dialer.token_replaced(token.as_ref().ok()) => {
                tracing::info!("the token has been replaced; connecting with the new one");
            }
        }
    }
}

fn failed(shared: &Shared, backoff: &mut Backoff, error: &DialError) -> Duration {
    shared.metrics.api.failed(error);
    let text = error.to_string();
    let (connection, wait) = match error {
        DialError::Refused(_) | DialError::Proxy(_) | DialError::Local(_) => {
            (Connection::Refused(text), Backoff::slow())
        }
        DialError::Certificate(_) => (Connection::BadCertificate(text), Backoff::slow()),
        DialError::Unreachable(_) => (Connection::Unreachable(text), backoff.next()),
    };
    let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    match &connection {
        Connection::Unreachable(reason) => {
            tracing::warn!(
                reason,
                retry_ms,
                gateway = shared.dialer.authority(),
                "gateway unreachable"
            );
        }
        Connection::BadCertificate(reason) => {
            tracing::error!(
                reason,
                retry_ms,
                gateway = shared.dialer.authority(),
                "bad gateway certificate"
            );
        }
        Connection::Refused(reason) => {
            tracing::error!(
                reason,
                retry_ms,
                gateway = shared.dialer.authority(),
                "agent refused"
            );
        }
        Connection::Connecting | Connection::Connected => {}
    }
    shared.reporter.connection(connection);
    wait
}
