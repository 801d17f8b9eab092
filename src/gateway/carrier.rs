//! A data carrier on the gateway's side, whatever it runs over, and the streams kept ready on it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::tickets::Ticket;
use super::worker::Worker;
use crate::http::exchange::{self, Receiver, Sender};
use crate::metrics::CarrierEnd;
use crate::mux::{AnyDriver, OpenError, Session};
use crate::relay::Pressure;
use crate::wire::carrier::CarrierKind;
use crate::wire::limits::{MAX_IDLE_STREAMS, MAX_STREAMS};

/// A stream that no request has used for this long is let go.
const IDLE: Duration = Duration::from_secs(60);

/// How often [`Carrier::sweep`] is called.
pub(super) const SWEEP: Duration = Duration::from_secs(5);

/// A carrier with so many exchanges is loaded: the next one takes its time to come.
const LOADED: usize = MAX_STREAMS / 2;

/// What a connection that takes no more weighs against an exchange.
const FULL: usize = 16;

/// A session with an agent and the idle streams on it.
#[derive(Debug)]
pub(super) struct Carrier {
    /// Its name on the control channel.
    pub(super) number: u64,
    pub(super) session: Session,
    pressure: Rc<Pressure>,
    idle: RefCell<VecDeque<Idle>>,
    /// Its connection was full for most of the time since the last sweep.
    pressed: Cell<bool>,
    /// Since when no sweep has seen anything on it.
    unused: Cell<Instant>,
}

#[derive(Debug)]
struct Idle {
    since: Instant,
    sender: Sender,
    receiver: Receiver,
}

impl Carrier {
    pub(super) fn new(number: u64, session: Session, pressure: Rc<Pressure>) -> Self {
        Self {
            number,
            session,
            pressure,
            idle: RefCell::default(),
            pressed: Cell::new(false),
            unused: Cell::new(Instant::now()),
        }
    }

    /// Exchanges under way.
    pub(super) fn active(&self) -> usize {
        self.session
            .live_streams()
            .saturating_sub(self.idle.borrow().len())
    }

    /// What it has to do, to compare with others.
    pub(super) fn load(&self) -> usize {
        self.active() + if self.pressure.is_full() { FULL } else { 0 }
    }

    /// Whether another exchange fits.
    pub(super) fn has_room(&self) -> bool {
        self.active() < MAX_STREAMS
    }

    /// Whether one more carrier would be of use.
    pub(super) fn is_loaded(&self) -> bool {
        self.active() >= LOADED || self.pressed.get()
    }

    /// Whether another one is to take its place, whatever it has to do.
    pub(super) fn is_worn(&self) -> bool {
        self.session.is_worn()
    }

    /// For how long it has carried nothing, to within [`SWEEP`].
    pub(super) fn idle_for(&self) -> Duration {
        if self.active() > 0 {
            return Duration::ZERO;
        }
        self.unused.get().elapsed()
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

    /// Lets go of streams that have been idle for long, and looks at the load; `far` says whether the
    /// network limits a connection.
    pub(super) fn sweep(&self, far: bool) {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| idle.since.elapsed() < IDLE);
        drop(idle);
        self.pressed.set(self.pressure.take() > SWEEP / 2 && far);
        if self.active() > 0 {
            self.unused.set(Instant::now());
        }
    }
}

/// A session that moves while its driver is polled.
pub(super) struct Begun {
    pub(super) kind: CarrierKind,
    pub(super) session: Session,
    pub(super) driver: AnyDriver,
    pub(super) pressure: Rc<Pressure>,
}

/// Runs a carrier on this worker until it ends.
pub(super) async fn run(worker: &Worker, ticket: &Ticket, begun: Begun) {
    let Begun {
        kind,
        session,
        mut driver,
        pressure,
    } = begun;
    let key = &ticket.agent;
    let carrier = Rc::new(Carrier::new(ticket.number, session, pressure));
    let Some(token_ended) = worker.agents.adopt(key, &carrier, ticket.replaces) else {
        return;
    };
    let mut up = worker.shared.metrics.tunnel.carrier_up(kind);
    tracing::info!(
        cluster = key.cluster,
        generation = key.generation,
        worker = worker.index,
        %kind,
        carrier = carrier.number,
        replaces = ticket.replaces,
        "carrier up"
    );
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
        %kind,
        carrier = carrier.number,
        bytes_sent = stats.sent,
        bytes_received = stats.received,
        streams = stats.streams,
        error = ended.err().map(tracing::field::display),
        "carrier down"
    );
}
