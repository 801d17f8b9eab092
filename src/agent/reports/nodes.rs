//! The nodes: what they can give, and whether they are ready.

use std::collections::HashMap;

use jiff::Timestamp;

use super::cache::{Cache, Marked};
use super::happening::{EventType, Found, Happening};
use super::intern::uid;
use super::meters::Watched;
use super::pods::Amount;
use super::slim::{Condition, SlimNode};

/// What is kept of a node.
#[derive(Debug, Clone, PartialEq)]
struct Node {
    name: Box<str>,
    /// None before its kubelet has ever said so.
    ready: Option<bool>,
    /// Why it is not, in Kubernetes' one word.
    reason: Box<str>,
    allocatable: Amount,
}

/// All nodes.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: Marked<Node>,
}

impl Nodes {
    /// Those that are ready.
    pub(super) fn ready(&self) -> usize {
        let ready = |node: &&Node| node.ready == Some(true);
        self.nodes.iter().filter(ready).count()
    }

    /// What all can give to pods.
    pub(super) fn allocatable(&self) -> Amount {
        let each = self.nodes.iter().map(|node| node.allocatable);
        each.fold(Amount::default(), Amount::plus)
    }

    /// What each can give to pods, by name.
    pub(super) fn by_name(&self) -> HashMap<&str, Amount> {
        let each = self.nodes.iter();
        each.map(|node| (&*node.name, node.allocatable)).collect()
    }

    /// Names and reasons of those that are not ready, by name, at most so many.
    pub(super) fn not_ready(&self, most: usize) -> Vec<(&str, &str)> {
        let ready = |node: &Node| node.ready == Some(true);
        let mut nodes: Vec<_> = self
            .nodes
            .iter()
            .filter(|node| !ready(node))
            .map(|node| (&*node.name, &*node.reason))
            .collect();
        nodes.sort_unstable();
        nodes.truncate(most);
        nodes
    }
}

impl Cache for Nodes {
    type Object = SlimNode;
    const WATCHED: Watched = Watched::Nodes;

    fn begin(&mut self) {
        self.nodes.begin();
    }

    fn see(&mut self, object: &SlimNode, found: &mut Vec<Found>) {
        let (uid, new) = (uid(&object.metadata), Node::of(object));
        if self.nodes.is_listed() {
            differences(self.nodes.get(uid), &new, object, found);
        }
        self.nodes.put(uid, new);
    }

    fn gone(&mut self, object: &SlimNode, found: &mut Vec<Found>) {
        if let Some(node) = self.nodes.remove(uid(&object.metadata)) {
            found.push(deleted(&node));
        }
    }

    fn sweep(&mut self, found: &mut Vec<Found>) -> bool {
        let swept = self.nodes.sweep();
        if self.nodes.is_listed() {
            found.extend(swept.iter().map(deleted));
        }
        !swept.is_empty()
    }

    fn is_listed(&self) -> bool {
        self.nodes.is_listed()
    }

    fn count(&self) -> usize {
        self.nodes.len()
    }
}

impl Node {
    fn of(object: &SlimNode) -> Self {
        let condition = readiness(object);
        Self {
            name: object.metadata.name.as_deref().unwrap_or_default().into(),
            ready: condition.map(|condition| condition.status == "True"),
            reason: condition
                .and_then(|found| found.reason.as_deref())
                .unwrap_or_default()
                .into(),
            allocatable: Amount::read(&object.status.allocatable),
        }
    }
}

fn readiness(object: &SlimNode) -> Option<&Condition> {
    let conditions = &object.status.conditions;
    conditions.iter().find(|found| found.kind == "Ready")
}

fn deleted(node: &Node) -> Found {
    let now = Timestamp::now();
    Found::New(Happening::new(EventType::NodeDeleted, "", &node.name, now))
}

fn differences(old: Option<&Node>, new: &Node, object: &SlimNode, found: &mut Vec<Found>) {
    let now = Timestamp::now();
    if old.is_none() {
        let created = object.metadata.creation_timestamp.as_ref();
        let at = created.map_or(now, |time| time.0);
        let created = Happening::new(EventType::NodeCreated, "", &new.name, at);
        found.push(Found::New(created));
    }
    let (Some(ready), Some(condition)) = (new.ready, readiness(object)) else {
        return;
    };
    // Every node begins its life as one that is not ready.
    if ready == old.and_then(|old| old.ready).unwrap_or(false) {
        return;
    }
    let kind = if ready {
        EventType::NodeReady
    } else {
        EventType::NodeNotReady
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let at = condition.last_transition_time.unwrap_or(now);
    let happening = Happening::new(kind, "", &new.name, at)
        .because(&text(&condition.reason))
        .with("message", &text(&condition.message));
    found.push(Found::New(happening));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, ready: Option<&str>) -> SlimNode {
        let conditions: Vec<_> = ready.iter().map(|status| {
            json!({"type": "Ready", "status": status, "reason": "KubeletNotReady", "message": "m"})
        }).collect();
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi"}, "conditions": conditions},
        }))
        .unwrap()
    }

    fn kinds(found: &mut Vec<Found>) -> Vec<EventType> {
        let all = found.drain(..).filter_map(|found| match found {
            Found::New(happening) => Some(happening.key.kind),
            Found::Placed { .. } => None,
        });
        all.collect()
    }

    #[test]
    fn nodes_come_change_and_go() {
        let (mut nodes, mut found) = (Nodes::default(), Vec::new());
        nodes.begin();
        nodes.see(&node("a", Some("True")), &mut found);
        nodes.see(&node("b", Some("Unknown")), &mut found);
        while nodes.sweep(&mut found) {}
        assert_eq!(kinds(&mut found), []);
        assert_eq!((nodes.count(), nodes.ready()), (2, 1));
        assert_eq!(nodes.not_ready(8), [("b", "KubeletNotReady")]);
        assert_eq!(nodes.allocatable().cpu, 8000);

        nodes.see(&node("a", Some("Unknown")), &mut found);
        nodes.see(&node("a", Some("False")), &mut found);
        nodes.see(&node("a", Some("True")), &mut found);
        assert_eq!(
            kinds(&mut found),
            [EventType::NodeNotReady, EventType::NodeReady]
        );

        nodes.see(&node("c", None), &mut found);
        nodes.see(&node("c", Some("False")), &mut found);
        assert_eq!(kinds(&mut found), [EventType::NodeCreated]);
        nodes.see(&node("c", Some("True")), &mut found);
        assert_eq!(kinds(&mut found), [EventType::NodeReady]);
        nodes.gone(&node("c", None), &mut found);
        nodes.gone(&node("c", None), &mut found);
        assert_eq!(kinds(&mut found), [EventType::NodeDeleted]);
    }

    #[test]
    fn a_list_that_is_read_again_tells_what_differs() {
        let (mut nodes, mut found) = (Nodes::default(), Vec::new());
        nodes.begin();
        nodes.see(&node("gone before the list was complete", None), &mut found);
        nodes.begin();
        for name in ["a", "b"] {
            nodes.see(&node(name, Some("True")), &mut found);
        }
        while nodes.sweep(&mut found) {}
        assert_eq!((kinds(&mut found), nodes.count()), (vec![], 2));
        nodes.begin();
        nodes.see(&node("a", Some("False")), &mut found);
        nodes.see(&node("c", Some("True")), &mut found);
        while nodes.sweep(&mut found) {}
        let expected = [
            EventType::NodeNotReady,
            EventType::NodeCreated,
            EventType::NodeReady,
            EventType::NodeDeleted,
        ];
        assert_eq!(kinds(&mut found), expected);
        assert_eq!(nodes.count(), 2);
    }
}
