//! A configuration as a tree of values, each of which knows where it comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde_json::{Map, Number};

/// Where in a file a key or value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The bytes that it takes.
    pub bytes: Range<usize>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File(Mark),
    /// The environment variable of this name.
    Variable(String),
    /// The flag of this name, without its dashes.
    Flag(&'static str),
}

impl Origin {
    /// Where in the file.
    pub(super) fn mark(&self) -> Option<&Mark> {
        match self {
            Self::File(mark) => Some(mark),
            Self::Default | Self::Variable(_) | Self::Flag(_) => None,
        }
    }
}

/// A value and its origin. May hold secrets, so `Debug` shows neither.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
    /// Where the value is written, when it stands here by an alias.
    pub(super) anchored: Option<Mark>,
}

/// What a node holds.
#[derive(Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(BTreeMap<String, Entry>),
}

/// A key's place, and what it stands for.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: Origin,
    pub(super) node: Node,
}

impl Node {
    pub(super) fn new(origin: Origin, value: Value) -> Self {
        Self {
            origin,
            value,
            anchored: None,
        }
    }

    /// A tree whose every value has this origin.
    pub(super) fn from_json(json: &serde_json::Value, origin: &Origin) -> Self {
        use serde_json::Value as Json;
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(value) => Value::Number(value.clone()),
            Json::String(value) => Value::Text(value.clone()),
            Json::Array(items) => Value::List(
                items
                    .iter()
                    .map(|item| Self::from_json(item, origin))
                    .collect(),
            ),
            Json::Object(map) => Value::Map(
                map.iter()
                    .map(|(key, value)| {
                        (
                            key.clone(),
                            Entry::new(origin.clone(), Self::from_json(value, origin)),
                        )
                    })
                    .collect(),
            ),
        };
        Self::new(origin.clone(), value)
    }

    /// The values alone.
    pub(super) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(value) => Json::Number(value.clone()),
            Value::Text(value) => Json::String(value.clone()),
            Value::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Value::Map(map) => Json::Object(Map::from_iter(
                map.iter()
                    .map(|(key, entry)| (key.clone(), entry.node.to_json())),
            )),
        }
    }

    /// Lays another tree over this one: maps key by key, anything else as a whole.
    pub(super) fn merge(&mut self, over: Self) {
        let Self {
            origin,
            value,
            anchored,
        } = over;
        match (&mut self.value, value) {
            (Value::Map(base), Value::Map(over)) => {
                // So that a problem with the map as a whole is shown where somebody wrote it.
                if self.origin.mark().is_none() {
                    self.origin = origin;
                }
                for (key, entry) in over {
                    match base.get_mut(&key) {
                        Some(there) => {
                            there.key = entry.key;
                            there.node.merge(entry.node);
                        }
                        None => drop(base.insert(key, entry)),
                    }
                }
            }
            (_, value) => {
                *self = Self {
                    origin,
                    value,
                    anchored,
                }
            }
        }
    }

    /// The node of a path such as `tunnel.forwards[1].name`.
    pub(super) fn get(&self, path: &Path) -> Option<&Self> {
        path.0
            .iter()
            .try_fold(self, |node, step| match (step, &node.value) {
                (Step::Key(key), Value::Map(map)) => map.get(key).map(|entry| &entry.node),
                (Step::Index(at), Value::List(items)) => items.get(*at),
                _ => None,
            })
    }

    /// Lays a value over what is at a path of names; maps on the way are made where they are missing.
    pub(super) fn lay(&mut self, path: &Path, node: Self) {
        let origin = node.origin.clone();
        let nest = |inner: Self, name: &str| {
            let entry = Entry::new(origin.clone(), inner);
            let map = BTreeMap::from([(name.to_owned(), entry)]);
            Self::new(origin.clone(), Value::Map(map))
        };
        let names: Vec<&str> = path.names().collect();
        self.merge(names.iter().rev().fold(node, |node, name| nest(node, name)));
    }

    /// Puts a value in the place of what is at a path of names.
    pub(super) fn set(&mut self, path: &Path, node: Self) {
        let Some((name, parent)) = path.split_last() else {
            *self = node;
            return;
        };
        if let Some(Value::Map(map)) = self.get_mut(&parent).map(|parent| &mut parent.value) {
            map.insert(name, Entry::new(node.origin.clone(), node));
        }
    }

    fn get_mut(&mut self, path: &Path) -> Option<&mut Self> {
        path.names()
            .try_fold(self, |node, name| match &mut node.value {
                Value::Map(map) => map.get_mut(name).map(|entry| &mut entry.node),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Text(_)
                | Value::List(_) => None,
            })
    }

    /// How many values it is made of.
    pub(super) fn count(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Self::count).sum(),
            Value::Map(map) => map.values().map(|entry| entry.node.count()).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => 0_usize,
        }
    }
}

impl Entry {
    pub(super) fn new(key: Origin, node: Node) -> Self {
        Self { key, node }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Node(..)")
    }
}

/// A place in a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    /// The path of names with dots between them, as in `log.level`.
    #[must_use]
    pub fn dotted(text: &str) -> Self {
        Self(
            text.split('.')
                .filter(|name| !name.is_empty())
                .map(|name| Step::Key(name.to_owned()))
                .collect(),
        )
    }

    /// This path and a key below it.
    #[must_use]
    pub fn key(&self, name: &str) -> Self {
        self.with(Step::Key(name.to_owned()))
    }

    /// This path and an item of the list there.
    #[must_use]
    pub fn index(&self, at: usize) -> Self {
        self.with(Step::Index(at))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The path one step up; the root's is the root.
    #[must_use]
    pub fn parent(&self) -> Self {
        let mut steps = self.0.clone();
        steps.pop();
        Self(steps)
    }

    /// Whether this is the whole configuration.
    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The names on it, without the places in lists.
    pub(super) fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.iter().filter_map(|step| match step {
            Step::Key(name) => Some(name.as_str()),
            Step::Index(_) => None,
        })
    }

    fn split_last(&self) -> Option<(String, Self)> {
        match self.0.split_last()? {
            (Step::Key(name), rest) => Some((name.clone(), Self(rest.to_vec()))),
            (Step::Index(_), _) => None,
        }
    }

    /// The last name on it.
    #[must_use]
    pub fn field(&self) -> &str {
        self.names().next_back().unwrap_or_default()
    }

    /// Whether this is `other` or below it.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(name) if at == 0 => f.write_str(name)?,
                Step::Key(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(json: &serde_json::Value) -> Node {
        Node::from_json(json, &Origin::Default)
    }

    #[test]
    fn maps_merge_and_the_rest_is_replaced() {
        let mut base = node(&json!({"a": {"x": 1, "y": [1, 2]}, "b": "kept"}));
        base.merge(node(&json!({"a": {"y": [3], "z": null}, "c": {"n": true}})));
        let merged = json!({"a": {"x": 1, "y": [3], "z": null}, "b": "kept", "c": {"n": true}});
        assert_eq!(base.to_json(), merged);
        base.merge(node(&json!({"a": 5})));
        assert_eq!(base.to_json()["a"], json!(5));
    }

    #[test]
    fn paths_are_followed_and_written() {
        let tree = node(&json!({"t": {"f": [{"n": 1}, {"n": 2}]}}));
        let path = Path::dotted("t.f").index(1).key("n");
        assert_eq!(path.to_string(), "t.f[1].n");
        assert_eq!(tree.get(&path).unwrap().to_json(), json!(2));
        assert_eq!((path.field(), path.parent().field()), ("n", "f"));
        assert!(path.is_within(&Path::dotted("t")) && !path.is_within(&Path::dotted("t.n")));
        let mut tree = node(&json!({"a": 1, "b": {"c": {"d": 1}}}));
        tree.lay(&Path::dotted("a.b"), node(&json!("x")));
        tree.set(&Path::dotted("b.c"), node(&json!({"e": 2})));
        assert_eq!(
            tree.to_json(),
            json!({"a": {"b": "x"}, "b": {"c": {"e": 2}}})
        );
    }
}
