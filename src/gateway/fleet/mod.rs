//! What agents have said of their clusters, for whoever asks: the platform's API and its page.
//!
//! One entry for each cluster that was heard of since the gateway started; nothing of it is stored. Control channels
//! write, on whichever worker they run; locks are short. On the way of a request through the tunnel is one, shared by
//! all that read, to find the cluster's figures; no byte meets any.

mod events;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::control::Post;
use super::tickets::AgentKey;
use crate::metrics::Traffic;
use crate::wire::control::{ClusterStatus, Event, EventSummary, Heartbeat};
use crate::wire::limits::RECONNECT_GRACE;
pub(super) use events::{Happened, Numbered, Since};

use events::Events;

/// All clusters that were heard of.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    clusters: RwLock<HashMap<String, Arc<Known>>>,
}

impl Fleet {
    /// What is known of a cluster, by its id.
    pub(super) fn cluster(&self, id: &str) -> Option<Arc<Known>> {
        let clusters = self.clusters.read();
        let clusters = clusters.unwrap_or_else(PoisonError::into_inner);
        clusters.get(id).map(Arc::clone)
    }

    /// The same, for one that is known from now on.
    pub(super) fn entry(&self, id: &str) -> Arc<Known> {
        if let Some(known) = self.cluster(id) {
            return known;
        }
        let mut clusters = self.write();
        let known = clusters.entry(id.to_owned());
        Arc::clone(known.or_default())
    }

    /// Forgets a cluster that was removed; whoever follows its events is told.
    pub(super) fn forget(&self, id: &str) {
        if let Some(known) = self.write().remove(id) {
            known.removed.cancel();
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Arc<Known>>> {
        let clusters = self.clusters.write();
        clusters.unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of one cluster.
#[derive(Debug)]
pub(super) struct Known {
    state: Mutex<State>,
    /// Counts events, so that whoever waits for one wakes.
    events: watch::Sender<u64>,
    /// What went to it and came from it.
    pub(super) traffic: Arc<Traffic>,
    /// Cancelled when the cluster is registered no more.
    pub(super) removed: CancellationToken,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            events: watch::channel(0).0,
            traffic: Arc::default(),
            removed: CancellationToken::new(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// Oldest first; the last one that does not drain gets the commands.
    agents: Vec<Connected>,
    seen: Seen,
    events: Events,
}

/// What a cluster's agents last said.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The last sign of life, and when it came by our clock.
    pub(super) heartbeat: Option<(Timestamp, Heartbeat)>,
    /// How the cluster was, and when that came.
    pub(super) status: Option<(Timestamp, ClusterStatus)>,
    /// Since when no agent is connected, if one ever was.
    pub(super) left: Option<Timestamp>,
}

/// One agent's control channel.
#[derive(Debug, Clone)]
pub(super) struct Connected {
    pub(super) key: AgentKey,
    /// What is put here is sent on it.
    pub(super) control: mpsc::Sender<Post>,
    pub(super) since: Timestamp,
    pub(super) draining: bool,
    /// Names the agent's process; a command that one process has begun is not given to another.
    pub(super) instance: String,
    round_trip: Arc<AtomicU64>,
}

impl Connected {
    pub(super) fn new(
        key: AgentKey,
        control: mpsc::Sender<Post>,
        instance: String,
        round_trip: Arc<AtomicU64>,
    ) -> Self {
        Self {
            key,
            control,
            since: Timestamp::now(),
            draining: false,
            instance,
            round_trip,
        }
    }

    /// What the control channel's last ping took; none before the first.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        let micros = self.round_trip.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }
}

impl Known {
    /// An agent's control channel is up.
    pub(super) fn connected(&self, agent: Connected) {
        let mut state = lock(&self.state);
        state.seen.left = None;
        state.agents.push(agent);
        state.agents.sort_by_key(|agent| agent.key.generation);
    }

    /// It takes nothing new.
    pub(super) fn draining(&self, key: &AgentKey) {
        let mut state = lock(&self.state);
        let agent = state.agents.iter_mut().find(|agent| agent.key == *key);
        agent.into_iter().for_each(|agent| agent.draining = true);
    }

    /// It has ended.
    pub(super) fn gone(&self, key: &AgentKey) {
        let mut state = lock(&self.state);
        state.agents.retain(|agent| agent.key != *key);
        if state.agents.is_empty() {
            state.seen.left = Some(Timestamp::now());
        }
    }

    pub(super) fn heartbeat(&self, beat: Heartbeat) {
        lock(&self.state).seen.heartbeat = Some((Timestamp::now(), beat));
    }

    pub(super) fn status(&self, status: ClusterStatus) {
        lock(&self.state).seen.status = Some((Timestamp::now(), status));
    }

    /// Events that happened in the cluster, oldest first.
    pub(super) fn happened(&self, events: impl IntoIterator<Item = Event>) {
        self.note(events.into_iter().map(Happened::Event));
    }

    /// Events that nobody told one by one.
    pub(super) fn left_out(&self, summary: EventSummary) {
        self.note([Happened::LeftOut(summary)]);
    }

    fn note(&self, events: impl IntoIterator<Item = Happened>) {
        let now = Timestamp::now();
        let mut state = lock(&self.state);
        for event in events {
            state.events.push(now, event);
        }
        let last = state.events.last();
        drop(state);
        self.events.send_replace(last);
    }

    /// Events after that one, as far as they are still there.
    pub(super) fn events_since(&self, after: u64) -> Since {
        lock(&self.state).events.since(after)
    }

    /// Told whenever there are new ones.
    pub(super) fn watch_events(&self) -> watch::Receiver<u64> {
        self.events.subscribe()
    }

    /// What its agents last said.
    pub(super) fn seen(&self) -> Seen {
        lock(&self.state).seen.clone()
    }

    /// Whether an agent is connected, or was a moment ago and is likely to be back.
    pub(super) fn is_here(&self) -> bool {
        let state = lock(&self.state);
        let left = state
            .seen
            .left
            .map(|left| Timestamp::now().duration_since(left));
        !state.agents.is_empty() || left.is_some_and(|ago| ago.unsigned_abs() < RECONNECT_GRACE)
    }

    /// The agents that are connected, oldest first.
    pub(super) fn agents(&self) -> Vec<Connected> {
        lock(&self.state).agents.clone()
    }

    /// The agent that commands go to.
    pub(super) fn commanded(&self) -> Option<Connected> {
        let state = lock(&self.state);
        let mut willing = state.agents.iter().rev().filter(|agent| !agent.draining);
        willing.next().cloned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(generation: u64) -> Connected {
        let key = AgentKey {
            cluster: "c".into(),
            generation,
        };
        Connected::new(key, mpsc::channel(1).0, String::new(), Arc::default())
    }

    #[test]
    fn commands_go_to_the_newest_agent_that_does_not_drain() {
        let known = Known::default();
        assert!(known.commanded().is_none());
        known.connected(agent(7));
        known.connected(agent(3));
        assert_eq!(known.commanded().unwrap().key.generation, 7);
        known.draining(&agent(7).key);
        assert_eq!(known.commanded().unwrap().key.generation, 3);
        known.gone(&agent(3).key);
        assert!(known.commanded().is_none());
        assert!(known.seen().left.is_none(), "one is still there");
        known.gone(&agent(7).key);
        assert!(known.seen().left.is_some());
    }

    #[test]
    fn whoever_waits_for_events_is_told() {
        let (fleet, event) = (Fleet::default(), Event::default());
        let known = fleet.entry("c");
        let told = known.watch_events();
        known.happened([event.clone(), event]);
        assert!(told.has_changed().unwrap());
        assert_eq!(fleet.cluster("c").unwrap().events_since(0).events.len(), 2);
        fleet.forget("c");
        assert!(fleet.cluster("c").is_none());
    }
}
