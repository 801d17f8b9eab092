//! The agents that are connected, as one worker sees them, and how a request gets a carrier.
//!
//! Every worker has its own table, fed by the others' mail, so that finding a carrier takes no
//! lock. A cluster's newest agent takes new requests; older ones stand by. Which carriers an agent
//! has, gets and loses is in [`agent`].

mod agent;
mod without;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::carrier::Carrier;
use super::control::Post;
use super::store::ClusterRecord;
use super::tickets::{AgentKey, Tickets};
use crate::wire::control::WantCarrier;
use crate::wire::error::ApiError;
use crate::wire::limits::{CARRIER_WAIT, RECONNECT_GRACE};
use agent::{Agent, Desk, Placed};
use without::Without;

/// An agent is asked again for a carrier that has not come after this long.
const ASK_AGAIN: Duration = Duration::from_secs(3);

/// An agent's connection as the workers get to know it.
#[derive(Debug, Clone)]
pub(super) struct AgentHandle {
    pub(super) key: AgentKey,
    /// What is put here is sent on the agent's control channel.
    pub(super) control: mpsc::Sender<Post>,
    /// The worker that the control channel runs on; it asks for the first carrier.
    pub(super) home: usize,
    /// Cancelled when the agent's token ends, and its carriers with it.
    pub(super) ended: CancellationToken,
    /// Carriers that each worker may have of it.
    pub(super) carriers: usize,
    /// What the control channel's last ping took, in microseconds.
    pub(super) round_trip: Arc<AtomicU64>,
}

/// One worker's view of all connected agents.
pub(super) struct Agents {
    started: Instant,
    desk: Desk,
    clusters: RefCell<HashMap<String, Cluster>>,
    /// Carriers that get nothing new; each is closed once nothing runs on it.
    retired: RefCell<Vec<Rc<Carrier>>>,
}

#[derive(Default)]
struct Cluster {
    /// Oldest first.
    agents: Vec<Agent>,
    changed: Rc<Notify>,
    left: Option<Instant>,
}

enum Pick {
    Ready(Rc<Carrier>),
    Wait(Without),
    Never(Without),
}

impl Agents {
    pub(super) fn new(worker: usize, tickets: Arc<Tickets>) -> Self {
        Self {
            started: Instant::now(),
            desk: Desk { worker, tickets },
            clusters: RefCell::default(),
            retired: RefCell::default(),
        }
    }

    /// An agent has connected somewhere.
    pub(super) fn up(&self, handle: AgentHandle) {
        let mut clusters = self.clusters.borrow_mut();
        let cluster = clusters.entry(handle.key.cluster.clone()).or_default();
        let mut agent = Agent::new(handle);
        agent.tend(&self.desk);
        let at = cluster
            .agents
            .partition_point(|other| other.handle.key.generation < agent.handle.key.generation);
        cluster.agents.insert(at, agent);
        cluster.left = None;
        cluster.changed.notify_waiters();
    }

    /// Agents of a cluster that are connected.
    pub(super) fn count(&self, cluster: &str) -> usize {
        self.clusters
            .borrow()
            .get(cluster)
            .map_or(0, |cluster| cluster.agents.len())
    }

    /// An agent takes no new requests.
    pub(super) fn draining(&self, key: &AgentKey) {
        if let Some(agent) = self
            .clusters
            .borrow_mut()
            .get_mut(&key.cluster)
            .and_then(|c| c.find(key))
        {
            agent.draining = true;
        }
    }

    /// An agent's control channel has ended. What runs on its carriers may come to its end.
    pub(super) fn gone(&self, key: &AgentKey) {
        let mut clusters = self.clusters.borrow_mut();
        let Some(cluster) = clusters.get_mut(&key.cluster) else {
            return;
        };
        let left = cluster
            .agents
            .extract_if(.., |agent| agent.handle.key == *key);
        self.retired
            .borrow_mut()
            .extend(left.flat_map(Agent::into_carriers));
        if cluster.agents.is_empty() {
            cluster.left = Some(Instant::now());
        }
        cluster.changed.notify_waiters();
    }

    /// Forgets clusters that have been without an agent for longer than anybody waits, closes
    /// retired carriers that nobody uses, and sees to it that each agent has one carrier at least.
    pub(super) fn sweep(&self) {
        let mut retired = self.retired.borrow_mut();
        self.clusters.borrow_mut().retain(|_, cluster| {
            for agent in &mut cluster.agents {
                retired.extend(agent.tend(&self.desk));
            }
            cluster
                .left
                .is_none_or(|left| left.elapsed() < RECONNECT_GRACE)
        });
        retired.retain(|carrier| {
            if carrier.active() == 0 {
                carrier.session.close();
            }
            !carrier.session.is_closed()
        });
    }

    /// A carrier has come for this worker, maybe in the place of another; says when the agent's token
    /// ends, or `None` when the agent has gone meanwhile.
    pub(super) fn adopt(
        &self,
        key: &AgentKey,
        carrier: &Rc<Carrier>,
        replaces: Option<u64>,
    ) -> Option<CancellationToken> {
        let mut clusters = self.clusters.borrow_mut();
        let cluster = clusters.get_mut(&key.cluster)?;
        let agent = cluster.find(key)?;
        let replaced = agent.adopt(carrier, replaces);
        self.retired.borrow_mut().extend(replaced);
        let ended = agent.handle.ended.clone();
        cluster.changed.notify_waiters();
        Some(ended)
    }

    /// A carrier has ended.
    pub(super) fn lost(&self, key: &AgentKey, carrier: &Rc<Carrier>) {
        let mut clusters = self.clusters.borrow_mut();
        let Some(cluster) = clusters.get_mut(&key.cluster) else {
            return;
        };
        if let Some(agent) = cluster.find(key) {
            agent.lost(&self.desk, carrier);
        }
        cluster.changed.notify_waiters();
    }

    /// An agent would like to open a carrier because of one that it has, which may be another worker's.
    pub(super) fn want(&self, key: &AgentKey, want: WantCarrier) {
        let mut clusters = self.clusters.borrow_mut();
        if let Some(agent) = clusters.get_mut(&key.cluster).and_then(|c| c.find(key)) {
            agent.want(&self.desk, want);
        }
    }

    /// A carrier of a cluster's agent on this worker, waiting up to [`CARRIER_WAIT`] for one.
    ///
    /// # Errors
    /// Says whether no agent is connected, or it drains, or no carrier came about.
    pub(super) async fn carrier(&self, cluster: &ClusterRecord) -> Result<Rc<Carrier>, ApiError> {
        let deadline = Instant::now() + CARRIER_WAIT;
        loop {
            let (picked, changed) = self.pick(cluster.id.as_str());
            let why = match picked {
                Pick::Ready(carrier) => return Ok(carrier),
                Pick::Never(why) => return Err(why.into_api_error(&cluster.name)),
                Pick::Wait(why) => why,
            };
            let now = Instant::now();
            if now >= deadline {
                return Err(why.into_api_error(&cluster.name));
            }
            // Asks again when the agent let the first time pass.
            let next = deadline.min(now + ASK_AGAIN);
            drop(timeout_at(next, changed.notified()).await);
        }
    }

    fn pick(&self, id: &str) -> (Pick, Rc<Notify>) {
        let mut clusters = self.clusters.borrow_mut();
        let Some(cluster) = clusters.get_mut(id) else {
            let waits = self.started.elapsed() < RECONNECT_GRACE;
            if !waits {
                return (Pick::Never(Without::Agent), Rc::default());
            }
            let cluster = Cluster {
                left: Some(self.started),
                ..Cluster::default()
            };
            let changed = Rc::clone(&cluster.changed);
            clusters.insert(id.to_owned(), cluster);
            return (Pick::Wait(Without::Agent), changed);
        };
        let changed = Rc::clone(&cluster.changed);
        if cluster.agents.is_empty() {
            let recent = cluster
                .left
                .is_some_and(|left| left.elapsed() < RECONNECT_GRACE);
            let pick = if recent { Pick::Wait } else { Pick::Never };
            return (pick(Without::Agent), changed);
        }
        (self.pick_from(&mut cluster.agents), changed)
    }

    fn pick_from(&self, agents: &mut [Agent]) -> Pick {
        let mut full = false;
        let mut willing = false;
        for agent in agents.iter_mut().rev().filter(|agent| !agent.draining) {
            willing = true;
            match agent.place(&self.desk) {
                Placed::On(carrier) => return Pick::Ready(carrier),
                Placed::Full => full = true,
                Placed::Asked => {}
            }
        }
        match (full, willing) {
            (true, _) => Pick::Never(Without::Room),
            (false, true) => Pick::Wait(Without::Carrier),
            (false, false) => Pick::Wait(Without::Successor),
        }
    }
}

impl Cluster {
    fn find(&mut self, key: &AgentKey) -> Option<&mut Agent> {
        self.agents
            .iter_mut()
            .find(|agent| agent.handle.key == *key)
    }
}

#[cfg(test)]
mod tests;
