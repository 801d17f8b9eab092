//! What happened and waits to be told: bounded, without repetitions, and with a count of what did not fit.
//!
//! What says how an object is (`pod_deleted`, `node_ready`) is told in order, and joined to what waits only where nothing
//! else about that object came in between. What repeats itself (`warning`, `container_restarted`) is told at once the
//! first time, and then once in a [`WINDOW`], with how often it happened.

mod left_out;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

use super::happening::{EventType, Found, Happening, Key};
use crate::metrics::Label;
use crate::wire::control::Event;
pub(super) use left_out::{LeftOut, as_event};

/// Events that wait: ten messages full. At 2.5 KiB, the most that one can be, 5 MiB; at 400 bytes, as most are, 800 KiB.
pub(super) const MAX_WAITING: usize = 2_000;

/// A pod that was created waits this long for its node, so that both are told together.
const PLACING: Duration = Duration::from_millis(1_500);

/// What repeats itself is told once in this time.
const WINDOW: Duration = Duration::from_secs(30);

/// Repeating events of which it is known when they were last told: as many as one window can tell.
const MAX_RECENT: NonZeroUsize = NonZeroUsize::new(8_192).unwrap();

/// Bytes of the texts in one message, before they are JSON: far below what a control message may have, so that no
/// heartbeat waits long behind one.
const MAX_BATCH_BYTES: usize = 128 * 1024;

/// Happenings that wait to be told.
#[derive(Debug)]
pub(super) struct Queue {
    /// In the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    /// Where to find what may be joined.
    places: HashMap<Key, u64>,
    /// The last that waits of what says how an object is, by namespace and name.
    last: HashMap<(String, String), u64>,
    /// Who waits, of each type.
    by_type: Vec<BTreeSet<u64>>,
    /// When what repeats itself was told.
    recent: LruCache<Key, Instant>,
    left_out: LeftOut,
}

#[derive(Debug)]
struct Waiting {
    happening: Happening,
    /// Not told before.
    due: Instant,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            next: 0,
            places: HashMap::new(),
            last: HashMap::new(),
            by_type: EventType::all().iter().map(|_| BTreeSet::new()).collect(),
            recent: LruCache::new(MAX_RECENT),
            left_out: LeftOut::default(),
        }
    }

    /// Has something wait. What has to give way for it: its type and how often it happened.
    pub(super) fn push(&mut self, found: Found, now: Instant) -> Option<(EventType, u64)> {
        match found {
            Found::New(happening) => self.add(happening, now),
            Found::Placed {
                namespace,
                pod,
                node,
            } => {
                self.place(namespace, pod, &node, now);
                None
            }
        }
    }

    fn add(&mut self, happening: Happening, now: Instant) -> Option<(EventType, u64)> {
        if let Some(waiting) = self.joinable(&happening.key) {
            let count = waiting.happening.count.saturating_add(happening.count);
            waiting.happening = Happening { count, ..happening };
            return None;
        }
        let gave_way = if self.waiting.len() >= MAX_WAITING {
            self.give_way()
        } else {
            None
        };
        let due = self.due(&happening, now);
        let (at, key) = (self.next, &happening.key);
        self.next += 1;
        self.places.insert(key.clone(), at);
        let before = if key.kind.repeats() {
            self.last.get(&object(key)).copied()
        } else {
            self.last.insert(object(key), at)
        };
        self.is_due_by(before, now);
        self.by_type[key.kind.index()].insert(at);
        self.waiting.insert(at, Waiting { happening, due });
        gave_way
    }

    /// From when on it may be told.
    fn due(&self, happening: &Happening, now: Instant) -> Instant {
        let placed = happening.details.contains_key("node");
        if happening.key.kind == EventType::PodCreated && !placed {
            return now + PLACING;
        }
        let told = self.recent.peek(&happening.key).copied();
        told.map_or(now, |told| told + WINDOW)
    }

    /// What came before something else about an object is not told after it.
    fn is_due_by(&mut self, at: Option<u64>, now: Instant) {
        if let Some(waiting) = at.and_then(|at| self.waiting.get_mut(&at)) {
            waiting.due = waiting.due.min(now);
        }
    }

    /// What waits and says the same.
    fn joinable(&mut self, key: &Key) -> Option<&mut Waiting> {
        let at = *self.places.get(key)?;
        if !key.kind.repeats() && self.last.get(&object(key)) != Some(&at) {
            return None;
        }
        self.waiting.get_mut(&at)
    }

    /// The oldest of the type of which most wait, so that a flood of one drives out no other.
    fn give_way(&mut self) -> Option<(EventType, u64)> {
        let fullest = self.by_type.iter().max_by_key(|places| places.len())?;
        let oldest = *fullest.first()?;
        let happening = self.remove(oldest)?.happening;
        self.left_out.count(&happening);
        Some((happening.key.kind, happening.count))
    }

    fn remove(&mut self, at: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&at)?;
        let key = &waiting.happening.key;
        self.by_type[key.kind.index()].remove(&at);
        if self.places.get(key) == Some(&at) {
            self.places.remove(key);
        }
        let object = object(key);
        if self.last.get(&object) == Some(&at) {
            self.last.remove(&object);
        }
        Some(waiting)
    }

    /// Notes the node of a pod whose creation still waits.
    fn place(&mut self, namespace: String, pod: String, node: &str, now: Instant) {
        let key = Key {
            kind: EventType::PodCreated,
            namespace,
            resource: pod,
            reason: String::new(),
        };
        let at = self.places.get(&key);
        if let Some(waiting) = at.and_then(|at| self.waiting.get_mut(at)) {
            waiting.happening.detail("node", node);
            waiting.due = waiting.due.min(now);
        }
    }

    /// Whether anything may be told now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.waiting.values().any(|waiting| waiting.due <= now)
    }

    /// Takes the oldest that may be told now, so many at most and as many as fit into one message.
    pub(super) fn take(&mut self, most: usize, now: Instant) -> Vec<Event> {
        let mut room = MAX_BATCH_BYTES;
        let due = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.due <= now);
        let fit = due.take_while(|(_, waiting)| {
            let fits = room > 0;
            room = room.saturating_sub(size(&waiting.happening));
            fits
        });
        let places: Vec<u64> = fit.map(|(at, _)| *at).take(most).collect();
        let taken = places.into_iter().filter_map(|at| self.remove(at));
        let taken: Vec<_> = taken.map(|waiting| waiting.happening).collect();
        for happening in taken.iter().filter(|taken| taken.key.kind.repeats()) {
            self.recent.put(happening.key.clone(), now);
        }
        taken.into_iter().map(Happening::into_event).collect()
    }

    /// What did not fit and was not told yet.
    pub(super) fn left_out(&mut self) -> &mut LeftOut {
        &mut self.left_out
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// The object that something is about: nodes have no namespace, and nothing else that is told in order.
fn object(key: &Key) -> (String, String) {
    (key.namespace.clone(), key.resource.clone())
}

fn size(happening: &Happening) -> usize {
    let details = happening.details.iter();
    let texts = details.map(|(name, value)| name.len() + value.as_str().map_or(8, str::len));
    happening.key.namespace.len() + happening.key.resource.len() + texts.sum::<usize>() + 128
}
