//! Holds a tree of values against a schema, and tells everything that is wrong with it.
//!
//! Knows exactly the keywords that [`super::schema()`] makes. The reasons quote no value.

use std::collections::BTreeMap;

use serde_json::Value as Schema;

use super::formats::{matches, named};
use super::schema::{allows, child, is_secret};
use super::tree::{Entry, Node, Origin, Path, Value};

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) path: Path,
    pub(super) origin: Origin,
    pub(super) reason: String,
    pub(super) help: Option<String>,
}

impl Finding {
    /// What is in the file comes first, in its order.
    pub(super) fn order(&self) -> (bool, Option<usize>, &Path) {
        let at = self.origin.mark().map(|mark| mark.bytes.start);
        (at.is_none(), at, &self.path)
    }
}

/// Everything that is wrong with a tree.
pub(super) fn check(schema: &Schema, root: &Node) -> Vec<Finding> {
    let mut checker = Checker {
        findings: Vec::new(),
    };
    checker.node(schema, root, &Path::default());
    checker.findings
}

struct Checker {
    findings: Vec<Finding>,
}

impl Checker {
    fn say(&mut self, path: &Path, origin: &Origin, reason: String, help: Option<String>) {
        self.findings.push(Finding {
            path: path.clone(),
            origin: origin.clone(),
            reason,
            help,
        });
    }

    fn node(&mut self, schema: &Schema, node: &Node, path: &Path) {
        if !kinds(&node.value).iter().any(|kind| allows(schema, kind)) {
            let (reason, help) = wrong_type(schema, &node.value);
            return self.say(path, &node.origin, reason, help);
        }
        match &node.value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => {
                if let Some(reason) = out_of_range(schema, number.as_f64().unwrap_or_default()) {
                    self.say(path, &node.origin, reason, None);
                }
            }
            Value::Text(text) => {
                if let Some(reason) = bad_text(schema, text) {
                    self.say(path, &node.origin, reason, example(schema));
                }
            }
            Value::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    if let Some(schema) = schema.get("items") {
                        self.node(schema, item, &path.index(at));
                    }
                }
            }
            Value::Map(map) => self.map(schema, node, map, path),
        }
    }

    fn map(&mut self, schema: &Schema, node: &Node, map: &BTreeMap<String, Entry>, path: &Path) {
        for (key, entry) in map {
            let path = path.key(key);
            match child(schema, key) {
                Some(schema) => self.node(schema, &entry.node, &path),
                None => self.say(
                    &path,
                    &entry.key,
                    "there is no such key".to_owned(),
                    Some(which_keys(schema, key)),
                ),
            }
        }
        let required = schema.get("required").and_then(Schema::as_array);
        for name in required.into_iter().flatten().filter_map(Schema::as_str) {
            if !map.contains_key(name) {
                self.say(
                    &path.key(name),
                    &node.origin,
                    "is required".to_owned(),
                    None,
                );
            }
        }
    }
}

/// The types that a value has; a whole number is a number, too.
fn kinds(value: &Value) -> &'static [&'static str] {
    match value {
        Value::Null => &["null"],
        Value::Bool(_) => &["boolean"],
        Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() == 0.0) => {
            &["integer", "number"]
        }
        Value::Number(_) => &["number"],
        Value::Text(_) => &["string"],
        Value::List(_) => &["array"],
        Value::Map(_) => &["object"],
    }
}

fn wrong_type(schema: &Schema, value: &Value) -> (String, Option<String>) {
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::Text(_) => "text",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    };
    let expected = [
        ("object", "a map of settings"),
        ("array", "a list"),
        ("boolean", "true or false"),
        ("integer", "a whole number"),
        ("number", "a number"),
        ("string", "text"),
    ];
    let expected = expected
        .iter()
        .find(|(kind, _)| allows(schema, kind))
        .map_or("nothing", |(_, name)| *name);
    let reason = match (named(schema), schema.get("enum")) {
        (Some(format), _) => format.must.to_owned(),
        (None, Some(values)) => one_of(values),
        (None, None) => format!("must be {expected}, not {found}"),
    };
    let quotable = matches!(value, Value::Bool(_) | Value::Number(_));
    let help = match value {
        _ if quotable && expected == "text" && named(schema).is_none() => {
            Some("put it in quotes".to_owned())
        }
        Value::Null => Some("leave the key out to get its default".to_owned()),
        Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            example(schema)
        }
    };
    (reason, help)
}

fn one_of(values: &Schema) -> String {
    let values: Vec<&str> = values
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Schema::as_str)
        .collect();
    format!("must be one of {}", values.join(", "))
}

fn out_of_range(schema: &Schema, number: f64) -> Option<String> {
    let bound = |name| schema.get(name).filter(|bound| bound.is_number());
    let (least, most) = (bound("minimum"), bound("maximum"));
    let value = |bound: &Schema| bound.as_f64().unwrap_or_default();
    let fits = least.is_none_or(|least| number >= value(least))
        && most.is_none_or(|most| number <= value(most));
    if fits {
        return None;
    }
    Some(match (least, most) {
        (Some(least), Some(most)) => format!("must be from {least} to {most}"),
        (Some(least), None) => format!("must be at least {least}"),
        (None, Some(most)) => format!("must be at most {most}"),
        (None, None) => return None,
    })
}

fn bad_text(schema: &Schema, text: &str) -> Option<String> {
    let length = |name| schema.get(name).and_then(Schema::as_u64);
    let characters = text.chars().count() as u64;
    if length("minLength").is_some_and(|least| characters < least) {
        return Some("must not be empty".to_owned());
    }
    if let Some(most) = length("maxLength").filter(|most| characters > *most) {
        return Some(format!("must have at most {most} characters"));
    }
    if let Some(values) = schema.get("enum").and_then(Schema::as_array)
        && !values.iter().any(|value| value == text)
    {
        return schema.get("enum").map(one_of);
    }
    if let Some(format) = named(schema).filter(|format| !(format.accepts)(text)) {
        return Some(format.must.to_owned());
    }
    let pattern = schema.get("pattern").and_then(Schema::as_str)?;
    (!matches(pattern, text)).then(|| format!("must match pattern {pattern}"))
}

/// From the schema's `examples`.
fn example(schema: &Schema) -> Option<String> {
    let example = schema.get("examples")?.get(0)?;
    let example = example
        .as_str()
        .map_or_else(|| example.to_string(), str::to_owned);
    (!is_secret(schema)).then(|| format!("for example: {example}"))
}

fn which_keys(schema: &Schema, wanted: &str) -> String {
    let keys: Vec<&str> = schema
        .get("properties")
        .and_then(Schema::as_object)
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    match similar(wanted, keys.iter().copied()) {
        Some(meant) => format!("did you mean '{meant}'?"),
        None => format!("the keys here are {}", keys.join(", ")),
    }
}

/// The known name that a mistyped one was probably meant to be.
pub(super) fn similar<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase().replace('-', "_");
    let allowed = wanted.chars().count().div_ceil(3);
    known
        .map(|name| {
            let far = strsim::damerau_levenshtein(&wanted, &name.to_lowercase());
            (far, name)
        })
        .filter(|(far, _)| *far <= allowed)
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_names_are_guessed() {
        let keys = ["cluster_name", "cluster_id", "namespace", "labels"];
        let guess = |wanted| similar(wanted, keys.into_iter());
        assert_eq!(guess("clustr_name"), Some("cluster_name"));
        assert_eq!(guess("cluster-id"), Some("cluster_id"));
        assert_eq!(guess("Labels"), Some("labels"));
        assert_eq!(guess("zone"), None);
        assert_eq!(guess(""), None);
    }
}
