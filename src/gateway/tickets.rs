//! Tickets by which an agent opens carriers: single use, short-lived, bound to a worker.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::wire::carrier::CarrierKind;
use crate::wire::control::OpenCarrier;
use crate::wire::limits::{MAX_TICKETS_PER_AGENT, TICKET_LIFETIME};
use crate::wire::quic::{TICKET_ID, ticket_id};

/// Names one connection of one agent; a later connection has a greater generation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct AgentKey {
    /// The cluster's id.
    pub(super) cluster: String,
    /// Counts agent connections of this gateway.
    pub(super) generation: u64,
}

/// What a carrier is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Users' requests.
    Serve,
    /// A doctor's look; see [`super::probe`].
    Probe,
}

/// What a ticket is good for.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) agent: AgentKey,
    /// The worker that the carrier is for.
    pub(super) worker: usize,
    pub(super) purpose: Purpose,
    /// Names the carrier on the control channel.
    pub(super) number: u64,
    /// The carrier whose place it takes.
    pub(super) replaces: Option<u64>,
    expires: Instant,
}

/// All tickets that are outstanding, by what is known of them before they are shown.
#[derive(Default)]
pub(super) struct Tickets {
    outstanding: Mutex<HashMap<[u8; TICKET_ID], Ticket>>,
    issued: AtomicU64,
    quic: AtomicBool,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Tickets {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; TICKET_ID], Ticket>> {
        self.outstanding
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that carriers over QUIC can be opened.
    pub(super) fn has_quic(&self) {
        self.quic.store(true, Ordering::Relaxed);
    }

    /// The kinds of carrier that this gateway takes.
    pub(super) fn kinds(&self) -> impl Iterator<Item = CarrierKind> + use<> {
        let quic = self.quic.load(Ordering::Relaxed);
        let all = CarrierKind::ALL.into_iter();
        all.filter(move |kind| quic || *kind != CarrierKind::Quic)
    }

    /// Issues a ticket and what to tell the agent, or `None` while the agent has as many as it may.
    pub(super) fn issue(
        &self,
        agent: &AgentKey,
        worker: usize,
        purpose: Purpose,
        replaces: Option<u64>,
    ) -> Option<OpenCarrier> {
        let now = Instant::now();
        let mut tickets = self.lock();
        tickets.retain(|_, ticket| ticket.expires > now);
        let held = tickets
            .values()
            .filter(|ticket| ticket.agent == *agent)
            .count();
        if held >= MAX_TICKETS_PER_AGENT {
            return None;
        }
        let secret = super::random_id(32)?;
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let expires = now + TICKET_LIFETIME;
        tickets.insert(
            ticket_id(&secret),
            Ticket {
                agent: agent.clone(),
                worker,
                purpose,
                number,
                replaces,
                expires,
            },
        );
        Some(OpenCarrier {
            ticket: secret,
            kinds: self.kinds().map(|kind| kind.to_string()).collect(),
            carrier: Some(number),
            replaces,
        })
    }

    /// Takes a ticket; it is good only once.
    pub(super) fn redeem(&self, secret: &str) -> Option<Ticket> {
        self.lock()
            .remove(&ticket_id(secret))
            .filter(|ticket| ticket.expires > Instant::now())
    }

    /// The worker whose ticket makes this id, while it is outstanding; it is not taken.
    pub(super) fn worker_of(&self, id: &[u8]) -> Option<usize> {
        let tickets = self.lock();
        let ticket = tickets.get(<&[u8; TICKET_ID]>::try_from(id).ok()?)?;
        (ticket.expires > Instant::now()).then_some(ticket.worker)
    }

    /// Forgets the tickets of an agent that has gone.
    pub(super) fn forget(&self, agent: &AgentKey) {
        self.lock().retain(|_, ticket| ticket.agent != *agent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_ticket_is_good_once_and_for_a_while() {
        let tickets = Tickets::default();
        let agent = AgentKey {
            cluster: "cls-a".into(),
            generation: 1,
        };
        let first = tickets.issue(&agent, 3, Purpose::Serve, None).unwrap();
        assert_eq!(tickets.worker_of(&ticket_id(&first.ticket)), Some(3));
        assert_eq!(tickets.worker_of(b"short"), None);
        assert_eq!(tickets.redeem(&first.ticket).unwrap().worker, 3);
        assert!(tickets.redeem(&first.ticket).is_none());
        assert_eq!(tickets.worker_of(&ticket_id(&first.ticket)), None);
        let late = tickets.issue(&agent, 0, Purpose::Serve, None).unwrap();
        tokio::time::advance(TICKET_LIFETIME).await;
        assert_eq!(tickets.worker_of(&ticket_id(&late.ticket)), None);
        assert!(tickets.redeem(&late.ticket).is_none());
    }

    #[tokio::test]
    async fn one_agent_holds_a_bounded_number() {
        let tickets = Tickets::default();
        let agent = AgentKey {
            cluster: "cls-a".into(),
            generation: 1,
        };
        for _ in 0..MAX_TICKETS_PER_AGENT {
            tickets.issue(&agent, 0, Purpose::Serve, None).unwrap();
        }
        assert!(tickets.issue(&agent, 0, Purpose::Serve, None).is_none());
        tickets.forget(&agent);
        assert!(tickets.issue(&agent, 0, Purpose::Serve, None).is_some());
    }
}
