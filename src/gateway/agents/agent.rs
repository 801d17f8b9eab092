//! One agent's carriers on one worker: which takes the next stream, when one more is asked for, and
//! which is let go.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::{ASK_AGAIN, AgentHandle};
use crate::gateway::carrier::Carrier;
use crate::gateway::tickets::{Purpose, Tickets};
use crate::wire::control::{Message, WantCarrier};

/// A carrier beside others that carried nothing for this long is let go.
const SURPLUS: Duration = Duration::from_secs(60);

/// Below it the network is not what limits a connection, and another one would not help.
const FAR: Duration = Duration::from_millis(5);

/// By whom and how carriers are asked for.
pub(super) struct Desk {
    pub(super) worker: usize,
    pub(super) tickets: Arc<Tickets>,
}

/// An agent that is connected, and its carriers here.
pub(super) struct Agent {
    pub(super) handle: AgentHandle,
    pub(super) draining: bool,
    carriers: Vec<Rc<Carrier>>,
    asked: Option<Instant>,
}

/// Where a stream goes.
pub(super) enum Placed {
    /// On this carrier.
    On(Rc<Carrier>),
    /// Nowhere yet: a carrier has been asked for.
    Asked,
    /// Nowhere: there are as many carriers as there may be, and none has room.
    Full,
}

impl Agent {
    pub(super) fn new(handle: AgentHandle) -> Self {
        Self {
            handle,
            draining: false,
            carriers: Vec::new(),
            asked: None,
        }
    }

    pub(super) fn into_carriers(self) -> Vec<Rc<Carrier>> {
        self.carriers
    }

    /// The carrier for the next stream: the one with the least to do.
    pub(super) fn place(&mut self, desk: &Desk) -> Placed {
        let least = self.usable().min_by_key(|carrier| carrier.load()).cloned();
        let may_grow = self.usable().count() < self.handle.carriers;
        match least {
            Some(carrier) if carrier.has_room() => {
                if may_grow && carrier.is_loaded() {
                    self.ask(desk);
                }
                Placed::On(carrier)
            }
            _ if may_grow => {
                self.ask(desk);
                Placed::Asked
            }
            _ => Placed::Full,
        }
    }

    fn usable(&self) -> impl Iterator<Item = &Rc<Carrier>> {
        let usable = |carrier: &&Rc<Carrier>| !carrier.session.is_closed() && !carrier.is_worn();
        self.carriers.iter().filter(usable)
    }

    /// A carrier has come; the one that gets nothing new from now on, if it takes the place of one.
    pub(super) fn adopt(
        &mut self,
        carrier: &Rc<Carrier>,
        replaces: Option<u64>,
    ) -> Option<Rc<Carrier>> {
        let old = replaces.and_then(|number| self.position(number));
        let old = old.map(|at| self.carriers.remove(at));
        if old.is_none() {
            self.asked = None;
        }
        self.carriers.push(Rc::clone(carrier));
        old
    }

    /// A carrier has ended.
    pub(super) fn lost(&mut self, desk: &Desk, carrier: &Rc<Carrier>) {
        let before = self.carriers.len();
        self.carriers.retain(|other| !Rc::ptr_eq(other, carrier));
        // The end of one that had been let go says nothing about the others.
        if self.carriers.is_empty() && before > 0 {
            self.ask(desk);
        }
    }

    /// The agent has something to say about a carrier: it knows a better way, or it is full.
    pub(super) fn want(&mut self, desk: &Desk, want: WantCarrier) {
        if self.position(want.carrier).is_none() {
            return;
        }
        if want.instead {
            self.issue(desk, Some(want.carrier));
        } else if self.usable().count() < self.handle.carriers {
            self.ask(desk);
        }
    }

    fn position(&self, number: u64) -> Option<usize> {
        let mut carriers = self.carriers.iter();
        carriers.position(|carrier| carrier.number == number)
    }

    /// Looks after the carriers, now and then; answers those that get nothing new from now on.
    pub(super) fn tend(&mut self, desk: &Desk) -> Vec<Rc<Carrier>> {
        let round_trip = Duration::from_micros(self.handle.round_trip.load(Ordering::Relaxed));
        for carrier in &self.carriers {
            carrier.sweep(round_trip >= FAR);
        }
        let (others, worn) = (
            self.usable().count(),
            self.carriers.iter().any(|carrier| carrier.is_worn()),
        );
        if worn && others == 0 || desk.worker == self.handle.home && self.carriers.is_empty() {
            self.ask(desk);
        }
        let mut let_go = Vec::new();
        if others > 0 {
            let_go.extend(self.carriers.extract_if(.., |carrier| carrier.is_worn()));
        }
        if others > 1 {
            // The last one that came: the first is the one that is always there.
            let surplus = self
                .carriers
                .iter()
                .rposition(|carrier| carrier.idle_for() >= SURPLUS);
            let_go.extend(surplus.map(|at| self.carriers.remove(at)));
        }
        let_go
    }

    /// Asks for a carrier, unless that was done just now.
    fn ask(&mut self, desk: &Desk) {
        if self.draining || self.asked.is_some_and(|asked| asked.elapsed() < ASK_AGAIN) {
            return;
        }
        if self.issue(desk, None) {
            self.asked = Some(Instant::now());
        }
    }

    fn issue(&self, desk: &Desk, replaces: Option<u64>) -> bool {
        let key = &self.handle.key;
        let issued = desk
            .tickets
            .issue(key, desk.worker, Purpose::Serve, replaces);
        // A full queue means a stalled agent: the wait ends in an error that says so.
        issued.is_some_and(|open| {
            self.handle
                .control
                .try_send(Message::OpenCarrier(open).into())
                .is_ok()
        })
    }
}
