//! A data carrier on the gateway's side, whatever it runs over, and the streams kept ready on it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Display;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::tickets::AgentKey;
use super::worker::Worker;
use crate::http::exchange::{self, Receiver, Sender};
use crate::metrics::{CarrierEnd, CarrierKind, Label};
use crate::mux::{OpenError, Session};
use crate::wire::limits::{MAX_IDLE_STREAMS, MAX_STREAMS};

/// A stream that no request has used for this long is let go.
const IDLE: Duration = Duration::from_secs(60);

/// A session with an agent and the idle streams on it.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) session: Session,
    idle: RefCell<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    since: Instant,
    sender: Sender,
    receiver: Receiver,
}

impl Carrier {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            idle: RefCell::default(),
        }
    }

    /// Exchanges under way.
    pub(super) fn active(&self) -> usize {
        self.session
            .live_streams()
            .saturating_sub(self.idle.borrow().len())
    }

    /// Whether another exchange fits.
    pub(super) fn has_room(&self) -> bool {
        self.active() < MAX_STREAMS
    }

    /// A stream for an exchange: the one used last, or a new one.
    pub(super) async fn checkout(&self) -> Result<(Sender, Receiver), OpenError> {
        while let Some(idle) = self.take() {
            if !idle.receiver.is_closed() {
                return Ok((idle.sender, idle.receiver));
            }
        }
        Ok(exchange::split(self.session.open().await?))
    }

    fn take(&self) -> Option<Idle> {
        self.idle.borrow_mut().pop_back()
    }

    /// Keeps a stream, both directions of which have ended properly, for the next exchange.
    pub(super) fn give_back(&self, sender: Sender, receiver: Receiver) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE_STREAMS {
            idle.push_back(Idle {
                since: Instant::now(),
                sender,
                receiver,
            });
        }
    }

    /// Lets go of streams that have been idle for long.
    pub(super) fn sweep(&self) {
        self.idle
            .borrow_mut()
            .retain(|idle| idle.since.elapsed() < IDLE);
    }
}

/// Runs a carrier on this worker until it ends, with the session of it.
pub(super) async fn run<E: Display>(
    worker: &Worker,
    key: &AgentKey,
    kind: CarrierKind,
    session: Session,
    driver: impl Future<Output = Result<(), E>>,
) {
    let carrier = Rc::new(Carrier::new(session));
    let Some(token_ended) = worker.agents.adopt(key, &carrier) else {
        return;
    };
    let mut up = worker.shared.metrics.tunnel.carrier_up(kind);
    tracing::info!(
        cluster = key.cluster,
        generation = key.generation,
        worker = worker.index,
        kind = kind.text(),
        "carrier up"
    );
    let mut driver = pin!(driver);
    // Dropping the driver cuts every stream at once, whatever is still on its way.
    let ended = tokio::select! {
        ended = driver.as_mut() => ended,
        () = token_ended.cancelled() => {
            up.end = CarrierEnd::Revoked;
            Ok(())
        }
        () = worker.over.cancelled() => {
            carrier.session.close();
            driver.await
        }
    };
    if ended.is_err() {
        up.end = CarrierEnd::Failed;
    }
    drop(up);
    worker.agents.lost(key, &carrier);
    let stats = carrier.session.stats();
    tracing::info!(
        cluster = key.cluster,
        generation = key.generation,
        worker = worker.index,
        kind = kind.text(),
        bytes_sent = stats.sent,
        bytes_received = stats.received,
        streams = stats.streams,
        error = ended.err().map(tracing::field::display),
        "carrier down"
    );
}
