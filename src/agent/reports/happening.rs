//! Something that happened in the cluster, before it waits to be told.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::metrics::label;
use crate::wire::control::Event;

/// Bytes of a name, a reason or an image; Kubernetes' own names are shorter.
const MAX_WORD: usize = 256;

/// Bytes of a message; Kubernetes keeps no longer ones in its events.
const MAX_MESSAGE: usize = 1024;

label! {
    /// What happened.
    #[derive(Hash)]
    pub(in crate::agent) EventType as "event_type" {
        /// A pod was created.
        PodCreated = "pod_created",
        /// A pod is gone.
        PodDeleted = "pod_deleted",
        /// A pod can be used.
        PodReady = "pod_ready",
        /// A pod has ended, and not well.
        PodFailed = "pod_failed",
        /// A container of a pod was started again.
        ContainerRestarted = "container_restarted",
        /// A node was added.
        NodeCreated = "node_created",
        /// A node is gone.
        NodeDeleted = "node_deleted",
        /// A node can be used.
        NodeReady = "node_ready",
        /// A node can not be used.
        NodeNotReady = "node_not_ready",
        /// An event of Kubernetes' own, of the type `Warning`.
        Warning = "warning",
    }
}

impl EventType {
    /// Whether it repeats itself, and says nothing about what its object is now: told less often, with a count.
    pub(super) fn repeats(self) -> bool {
        matches!(self, Self::Warning | Self::ContainerRestarted)
    }
}

/// What tells one thing that happens from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) kind: EventType,
    pub(super) namespace: String,
    pub(super) resource: String,
    /// The reason, and for a warning what kind of object it is about.
    pub(super) reason: String,
}

/// Something that happened, once or more often.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Happening {
    pub(super) key: Key,
    pub(super) details: Map<String, Value>,
    pub(super) at: Timestamp,
    pub(super) count: u64,
}

impl Happening {
    pub(super) fn new(kind: EventType, namespace: &str, resource: &str, at: Timestamp) -> Self {
        Self {
            key: Key {
                kind,
                namespace: cut(namespace, MAX_WORD).to_owned(),
                resource: cut(resource, MAX_WORD).to_owned(),
                reason: String::new(),
            },
            details: Map::new(),
            at,
            count: 1,
        }
    }

    /// Adds a detail; nothing where there is nothing to say.
    pub(super) fn with(mut self, name: &str, text: &str) -> Self {
        self.detail(name, text);
        self
    }

    /// As [`Happening::with`].
    pub(super) fn detail(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            let most = if name == "message" {
                MAX_MESSAGE
            } else {
                MAX_WORD
            };
            let text = cut(text, most).to_owned();
            self.details.insert(name.to_owned(), Value::String(text));
        }
    }

    /// Why, in Kubernetes' one word.
    pub(super) fn because(mut self, reason: &str) -> Self {
        cut(reason, MAX_WORD).clone_into(&mut self.key.reason);
        self.with("reason", reason)
    }

    /// So often.
    pub(super) fn times(mut self, count: u64) -> Self {
        self.count = count.max(1);
        self
    }

    /// As it goes over the wire.
    pub(super) fn into_event(self) -> Event {
        use crate::metrics::Label;
        Event {
            event_type: self.key.kind.text().to_owned(),
            namespace: self.key.namespace,
            resource: self.key.resource,
            details: self.details,
            occurred_at: Some(self.at),
            count: (self.count > 1).then_some(self.count),
        }
    }
}

/// What a look at an object showed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    /// To be told.
    New(Happening),
    /// A pod that was just created has its node now: to be told with its creation, where that still waits.
    Placed {
        namespace: String,
        pod: String,
        node: String,
    },
}

/// The beginning of a text: at most so many bytes, and no character cut in two.
fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_as_the_contract_has_it() {
        let event = Happening::new(
            EventType::PodCreated,
            "default",
            "my-app-pod",
            Timestamp::UNIX_EPOCH,
        )
        .with("image", "my-app:v1.0.0")
        .with("node", "node-1")
        .with("reason", "")
        .into_event();
        let json = serde_json::to_value(event).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"event_type": "pod_created", "namespace": "default", "resource": "my-app-pod",
                "details": {"image": "my-app:v1.0.0", "node": "node-1"}, "occurred_at": "1970-01-01T00:00:00Z"})
        );
    }

    #[test]
    fn texts_are_bounded_and_stay_text() {
        let long = "é".repeat(5000);
        let happening = Happening::new(EventType::Warning, "a", &long, Timestamp::UNIX_EPOCH)
            .because(&long)
            .with("message", &long);
        assert_eq!(happening.key.resource.len(), MAX_WORD);
        assert_eq!(happening.key.reason.len(), MAX_WORD);
        let message = happening.details["message"].as_str().unwrap();
        assert_eq!(message.len(), MAX_MESSAGE);
        assert_eq!(cut("é", 1), "");
    }
}
