//! The agents that are connected, as one worker sees them, and how a request gets a carrier.
//!
//! Every worker has its own table, fed by the others' mail, so that finding a carrier takes no
//! lock. A cluster's newest agent takes new requests; older ones stand by.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::carrier::Carrier;
use super::store::ClusterRecord;
use super::tickets::{AgentKey, Purpose, Tickets};
use crate::wire::control::{Message, OpenCarrier};
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::limits::{CARRIER_WAIT, RECONNECT_GRACE};
use crate::wire::token::ClusterName;

/// An agent is asked again for a carrier that has not come after this long.
const ASK_AGAIN: Duration = Duration::from_secs(3);

/// Carriers that one worker uses of one agent.
const MAX_CARRIERS: usize = 4;

/// An agent's connection as the workers get to know it.
#[derive(Debug, Clone)]
pub(super) struct AgentHandle {
    pub(super) key: AgentKey,
    /// What is put here is sent on the agent's control channel.
    pub(super) control: mpsc::Sender<Message>,
    /// The worker that the control channel runs on; it asks for the first carrier.
    pub(super) home: usize,
    /// Cancelled when the agent's token ends, and its carriers with it.
    pub(super) ended: CancellationToken,
}

/// One worker's view of all connected agents.
pub(super) struct Agents {
    worker: usize,
    started: Instant,
    tickets: Arc<Tickets>,
    /// The kinds of carrier that agents are asked for.
    kinds: Vec<String>,
    clusters: RefCell<HashMap<String, Cluster>>,
    /// Carriers of agents that have left the table; each is closed once nothing runs on it.
    retired: RefCell<Vec<Rc<Carrier>>>,
}

#[derive(Default)]
struct Cluster {
    /// Oldest first.
    agents: Vec<Agent>,
    changed: Rc<Notify>,
    left: Option<Instant>,
}

struct Agent {
    handle: AgentHandle,
    draining: bool,
    carriers: Vec<Rc<Carrier>>,
    asked: Option<Instant>,
}

enum Pick {
    Ready(Rc<Carrier>),
    Wait(Without),
    Never(Without),
}

impl Agents {
    pub(super) fn new(worker: usize, tickets: Arc<Tickets>, kinds: Vec<String>) -> Self {
        Self {
            worker,
            started: Instant::now(),
            tickets,
            kinds,
            clusters: RefCell::default(),
            retired: RefCell::default(),
        }
    }

    /// An agent has connected somewhere.
    pub(super) fn up(&self, handle: AgentHandle) {
        let mut clusters = self.clusters.borrow_mut();
        let cluster = clusters.entry(handle.key.cluster.clone()).or_default();
        let mut agent = Agent {
            handle,
            draining: false,
            carriers: Vec::new(),
            asked: None,
        };
        if agent.handle.home == self.worker {
            self.ask(&mut agent);
        }
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
            .extend(left.flat_map(|agent| agent.carriers));
        if cluster.agents.is_empty() {
            cluster.left = Some(Instant::now());
        }
        cluster.changed.notify_waiters();
    }

    /// Forgets clusters that have been without an agent for longer than anybody waits, closes
    /// retired carriers that nobody uses, and sees to it that each agent has one carrier at least.
    pub(super) fn sweep(&self) {
        self.retired.borrow_mut().retain(|carrier| {
            if carrier.active() == 0 {
                carrier.session.close();
            }
            !carrier.session.is_closed()
        });
        self.clusters.borrow_mut().retain(|_, cluster| {
            cluster.agents.iter_mut().for_each(|agent| self.tend(agent));
            cluster
                .left
                .is_none_or(|left| left.elapsed() < RECONNECT_GRACE)
        });
    }

    /// A carrier has come for this worker; says when the agent's token ends, or `None` when the
    /// agent has gone meanwhile.
    pub(super) fn adopt(&self, key: &AgentKey, carrier: &Rc<Carrier>) -> Option<CancellationToken> {
        let mut clusters = self.clusters.borrow_mut();
        let cluster = clusters.get_mut(&key.cluster)?;
        let agent = cluster.find(key)?;
        agent.asked = None;
        agent.carriers.push(Rc::clone(carrier));
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
            agent.carriers.retain(|other| !Rc::ptr_eq(other, carrier));
            if agent.carriers.is_empty() && !agent.draining {
                self.ask(agent);
            }
        }
        cluster.changed.notify_waiters();
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
        let mut full = None;
        let mut willing = false;
        for agent in agents.iter_mut().rev().filter(|agent| !agent.draining) {
            willing = true;
            let least = agent
                .carriers
                .iter()
                .filter(|carrier| !carrier.session.is_closed())
                .min_by_key(|carrier| carrier.active());
            match least {
                Some(carrier) if carrier.has_room() => return Pick::Ready(Rc::clone(carrier)),
                Some(_) if agent.carriers.len() >= MAX_CARRIERS => full = Some(Without::Room),
                _ => self.ask(agent),
            }
        }
        match full {
            Some(why) => Pick::Never(why),
            None if willing => Pick::Wait(Without::Carrier),
            None => Pick::Wait(Without::Successor),
        }
    }

    fn tend(&self, agent: &mut Agent) {
        agent.carriers.iter().for_each(|carrier| carrier.sweep());
        let home = agent.handle.home == self.worker;
        if home && agent.carriers.is_empty() && !agent.draining {
            self.ask(agent);
        }
    }

    fn ask(&self, agent: &mut Agent) {
        if agent.asked.is_some_and(|asked| asked.elapsed() < ASK_AGAIN) {
            return;
        }
        let Some(ticket) = self
            .tickets
            .issue(&agent.handle.key, self.worker, Purpose::Serve)
        else {
            return;
        };
        let kinds = self.kinds.clone();
        let message = Message::OpenCarrier(OpenCarrier { ticket, kinds });
        // A full queue means a stalled agent: the wait ends in an error that says so.
        if agent.handle.control.try_send(message).is_ok() {
            agent.asked = Some(Instant::now());
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

/// What a request lacks.
#[derive(Debug, Clone, Copy)]
enum Without {
    /// No agent is connected.
    Agent,
    /// The only agent drains.
    Successor,
    /// An agent is connected and has not opened a carrier.
    Carrier,
    /// All carriers are full.
    Room,
}

impl Without {
    fn into_api_error(self, cluster: &ClusterName) -> ApiError {
        let (code, message) = match self {
            Self::Agent => (
                ErrorCode::AgentNotConnected,
                format!(
                    "no agent of cluster '{cluster}' is connected; check that pipeops-agent runs in the cluster and \
                     can reach the gateway"
                ),
            ),
            Self::Successor => (
                ErrorCode::AgentDraining,
                format!(
                    "the agent of cluster '{cluster}' is shutting down and no other has taken over yet; try again \
                     shortly"
                ),
            ),
            Self::Carrier => (
                ErrorCode::AgentNotConnected,
                format!(
                    "the agent of cluster '{cluster}' is connected but has not opened a data connection; see its log"
                ),
            ),
            Self::Room => (
                ErrorCode::TooManyStreams,
                format!(
                    "too many requests are under way to cluster '{cluster}'; try again shortly"
                ),
            ),
        };
        ApiError::new(code, message)
    }
}
