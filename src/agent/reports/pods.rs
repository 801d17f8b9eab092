//! The pods: what is kept of each, and what a change of one means.

mod request;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use jiff::Timestamp;

use super::cache::{Cache, Marked};
use super::happening::{EventType, Found, Happening};
use super::intern::{Texts, uid};
use super::meters::Watched;
use super::slim::{ContainerStatus, SlimPod, Terminated};
pub(super) use request::Amount;

/// The word for a container that is started again and again.
const CRASH_LOOP: &str = "CrashLoopBackOff";

/// The word for a container that wanted more memory than it may have.
const OUT_OF_MEMORY: &str = "OOMKilled";

/// What is kept of a pod; its name is the only text that is its own.
#[derive(Debug, Clone, PartialEq)]
struct Pod {
    namespace: Rc<str>,
    name: Box<str>,
    node: Option<Rc<str>>,
    image: Rc<str>,
    request: Amount,
    restarts: u32,
    phase: Phase,
    ready: bool,
    /// Whether a container of it waited to be started again when it was last looked at.
    crash_loop: bool,
}

/// The phases that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Failed,
    Succeeded,
    /// Pending, or unknown.
    Other,
}

/// All pods, and their sums, which are kept up as they change.
#[derive(Debug, Default)]
pub(super) struct Pods {
    pods: Marked<Pod>,
    texts: Texts,
    running: u64,
    requested: Amount,
}

impl Pods {
    /// Pods that run.
    pub(super) fn running(&self) -> u64 {
        self.running
    }

    /// What the pods that have a node and have not ended request of it.
    pub(super) fn requested(&self) -> Amount {
        self.requested
    }

    fn record(&mut self, pod: &SlimPod) -> Pod {
        let statuses = || statuses(pod);
        let restarts = statuses().map(|status| status.restart_count);
        let first = pod.spec.containers.first();
        Pod {
            namespace: self.texts.get(namespace(pod)),
            name: pod.metadata.name.as_deref().unwrap_or_default().into(),
            node: pod.spec.node_name.as_deref().map(|n| self.texts.get(n)),
            image: self.texts.get(first.map_or("", |c| c.image.as_str())),
            request: Amount::of(&pod.spec),
            restarts: restarts.fold(0, u32::saturating_add),
            phase: Phase::of(&pod.status.phase),
            ready: condition(pod).is_some_and(|(ready, _)| ready),
            crash_loop: statuses().any(waits_to_restart),
        }
    }

    fn add(&mut self, pod: &Pod) {
        self.running += u64::from(pod.phase == Phase::Running);
        self.requested = self.requested.plus(pod.counted());
    }

    fn subtract(&mut self, pod: &Pod) {
        self.running -= u64::from(pod.phase == Phase::Running);
        self.requested = self.requested.minus(pod.counted());
    }

    fn lost(&mut self, pod: &Pod, found: &mut Vec<Found>) {
        self.subtract(pod);
        let deleted = pod.happening(EventType::PodDeleted, Timestamp::now());
        found.push(Found::New(deleted));
    }
}

impl Cache for Pods {
    type Object = SlimPod;
    const WATCHED: Watched = Watched::Pods;

    fn begin(&mut self) {
        self.pods.begin();
    }

    fn see(&mut self, object: &SlimPod, found: &mut Vec<Found>) {
        let (uid, new) = (uid(&object.metadata), self.record(object));
        if self.pods.is_listed() {
            differences(self.pods.get(uid), &new, object, found);
        }
        self.add(&new);
        if let Some(old) = self.pods.put(uid, new) {
            self.subtract(&old);
        }
    }

    fn gone(&mut self, object: &SlimPod, found: &mut Vec<Found>) {
        if let Some(pod) = self.pods.remove(uid(&object.metadata)) {
            self.lost(&pod, found);
        }
    }

    fn sweep(&mut self, found: &mut Vec<Found>) -> bool {
        let listed = self.pods.is_listed();
        let mut unheard = Vec::new();
        // Of a first list that was begun again, nobody has heard.
        let found = if listed { found } else { &mut unheard };
        let swept = self.pods.sweep();
        for pod in &swept {
            self.lost(pod, found);
        }
        !swept.is_empty()
    }

    fn is_listed(&self) -> bool {
        self.pods.is_listed()
    }

    fn count(&self) -> usize {
        self.pods.len()
    }
}

impl Pod {
    /// What it has its node keep for it.
    fn counted(&self) -> Amount {
        let ended = matches!(self.phase, Phase::Failed | Phase::Succeeded);
        if self.node.is_none() || ended {
            return Amount::default();
        }
        self.request
    }

    fn happening(&self, kind: EventType, at: Timestamp) -> Happening {
        Happening::new(kind, &self.namespace, &self.name, at)
            .with("image", &self.image)
            .with("node", self.node.as_deref().unwrap_or_default())
    }
}

impl Phase {
    fn of(text: &str) -> Self {
        match text {
            "Running" => Self::Running,
            "Failed" => Self::Failed,
            "Succeeded" => Self::Succeeded,
            _ => Self::Other,
        }
    }
}

/// What is to be told of a pod that was `old`, or was not there, and is `new`.
fn differences(old: Option<&Pod>, new: &Pod, object: &SlimPod, found: &mut Vec<Found>) {
    let now = Timestamp::now();
    if old.is_none() {
        let created = object.metadata.creation_timestamp.as_ref();
        let at = created.map_or(now, |time| time.0);
        found.push(Found::New(new.happening(EventType::PodCreated, at)));
    }
    if let (Some(_), Some(node)) = (old.filter(|old| old.node.is_none()), &new.node) {
        found.push(Found::Placed {
            namespace: new.namespace.to_string(),
            pod: new.name.to_string(),
            node: node.to_string(),
        });
    }
    if new.restarts > old.map_or(0, |old| old.restarts) {
        found.push(Found::New(restarted(old, new, object)));
    }
    if new.ready && !old.is_some_and(|old| old.ready) {
        let at = condition(object).and_then(|(_, at)| at).unwrap_or(now);
        found.push(Found::New(new.happening(EventType::PodReady, at)));
    }
    let failed = |pod: &Pod| pod.phase == Phase::Failed;
    if failed(new) && !old.is_some_and(failed) {
        found.push(Found::New(failure(new, object)));
    }
}

fn restarted(old: Option<&Pod>, new: &Pod, object: &SlimPod) -> Happening {
    let last = |status: &ContainerStatus| status.last_state.terminated.clone();
    let ended = |status: &ContainerStatus| last(status).and_then(|ended| ended.finished_at);
    let container = statuses(object)
        .filter(|status| status.restart_count > 0)
        .max_by_key(|status| ended(status));
    let last = container.and_then(last).unwrap_or_default();
    let looping = new.crash_loop || old.is_some_and(|old| old.crash_loop);
    let ended_by = last.reason.as_deref().unwrap_or_default();
    let reason = if looping && ended_by != OUT_OF_MEMORY {
        CRASH_LOOP
    } else {
        ended_by
    };
    let times = new.restarts - old.map_or(0, |old| old.restarts);
    let at = last.finished_at.unwrap_or_else(Timestamp::now);
    let mut happening = new
        .happening(EventType::ContainerRestarted, at)
        .because(reason)
        .with("container", container.map_or("", |status| &status.name))
        .times(u64::from(times));
    note_end(&mut happening, &last);
    let restarts = new.restarts.into();
    happening.details.insert("restarts".to_owned(), restarts);
    happening
}

/// A pod's own reason (`Evicted`), or else that of the container that ended badly.
fn failure(new: &Pod, object: &SlimPod) -> Happening {
    let ended = statuses(object).filter_map(|status| {
        let ended = status.state.terminated.as_ref()?;
        (ended.exit_code != 0).then_some((status, ended))
    });
    let worst = ended.max_by_key(|(_, ended)| ended.finished_at);
    let at = worst.and_then(|(_, ended)| ended.finished_at);
    let at = at.unwrap_or_else(Timestamp::now);
    let happening = new.happening(EventType::PodFailed, at);
    if let Some(reason) = &object.status.reason {
        let message = object.status.message.as_deref().unwrap_or_default();
        return happening.because(reason).with("message", message);
    }
    let Some((status, ended)) = worst else {
        return happening;
    };
    let reason = ended.reason.as_deref().unwrap_or_default();
    let mut happening = happening.because(reason).with("container", &status.name);
    note_end(&mut happening, ended);
    happening
}

fn note_end(happening: &mut Happening, ended: &Terminated) {
    if ended.reason.is_some() {
        let code = ended.exit_code.into();
        happening.details.insert("exit_code".to_owned(), code);
    }
    happening.detail("message", ended.message.as_deref().unwrap_or_default());
}

fn namespace(pod: &SlimPod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

fn statuses(pod: &SlimPod) -> impl Iterator<Item = &ContainerStatus> {
    let status = &pod.status;
    status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
}

fn waits_to_restart(status: &ContainerStatus) -> bool {
    let waiting = status.state.waiting.as_ref();
    waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some(CRASH_LOOP))
}

/// Whether it is ready, and since when that is so.
fn condition(pod: &SlimPod) -> Option<(bool, Option<Timestamp>)> {
    let conditions = &pod.status.conditions;
    let ready = conditions.iter().find(|found| found.kind == "Ready")?;
    Some((ready.status == "True", ready.last_transition_time))
}
