//! The JSON Schema of a configuration type, and how to find one's way in it.

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::formats;
use super::settings::Settings;

/// The schema (draft 2020-12) of a program's file: every key with its description and default, and
/// nothing required that has one.
#[must_use]
pub fn schema<T: Settings>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
    });
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    let default = serde_json::to_value(T::default()).unwrap_or_default();
    tidy(&mut schema, Some(&default));
    schema["title"] = json!(format!("Configuration of {}", T::PROGRAM));
    schema
}

/// Brings what schemars makes into the few forms that the checker, the reference page and editors
/// need to know.
fn tidy(schema: &mut Value, default: Option<&Value>) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    join_description(object);
    object.remove("title");
    if object
        .get("format")
        .is_some_and(|format| !formats::is_known(format))
    {
        object.remove("format");
    }
    fold_nullable(object);
    fold_variants(object);
    if let Some(items) = object.get_mut("items") {
        tidy(items, None);
    }
    if let Some(values) = object.get_mut("additionalProperties") {
        tidy(values, None);
    }
    let defaults = default.and_then(Value::as_object);
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties {
            tidy(property, defaults.and_then(|defaults| defaults.get(name)));
        }
    }
    if let Some(defaults) = defaults {
        forget_required(object, defaults);
    }
    if let Some(default) = default.filter(|default| !default.is_null()) {
        set_default(object, default);
    } else if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
}

/// Sections have none of their own: those of their keys say the same.
fn set_default(object: &mut Map<String, Value>, default: &Value) {
    object.remove("default");
    if !object.contains_key("properties") {
        object.insert("default".to_owned(), default.clone());
    }
}

/// A doc comment's lines are one sentence.
fn join_description(object: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = object.get_mut("description") {
        let paragraphs: Vec<String> = text
            .split("\n\n")
            .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        *text = paragraphs.join("\n\n");
    }
}

/// `anyOf` a schema and null becomes that schema with null among its types.
fn fold_nullable(object: &mut Map<String, Value>) {
    let Some(Value::Array(ways)) = object.get("anyOf") else {
        return;
    };
    let null = json!({"type": "null"});
    let others: Vec<&Value> = ways.iter().filter(|way| **way != null).collect();
    let [Value::Object(only)] = others[..] else {
        return;
    };
    let mut only = only.clone();
    if let Some(kind) = only.get_mut("type") {
        *kind = json!([kind.clone(), "null"]);
    }
    object.remove("anyOf");
    for (key, value) in only {
        object.entry(key).or_insert(value);
    }
}

/// Variants with descriptions of their own become one `enum`, described together.
fn fold_variants(object: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = object.get("oneOf") else {
        return;
    };
    let mut values = Vec::new();
    let mut text = String::new();
    for variant in variants {
        let Some(value) = variant.get("const").and_then(Value::as_str) else {
            return;
        };
        let means = variant
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let means: Vec<&str> = means.split_whitespace().collect();
        text.push_str(&format!("\n\n`{value}`: {}", means.join(" ")));
        values.push(json!(value));
    }
    object.remove("oneOf");
    object.insert("type".to_owned(), json!("string"));
    object.insert("enum".to_owned(), Value::Array(values));
    if let Some(Value::String(description)) = object.get_mut("description") {
        description.push_str(&text);
    }
}

fn forget_required(object: &mut Map<String, Value>, defaults: &Map<String, Value>) {
    if let Some(Value::Array(required)) = object.get_mut("required") {
        required.retain(|name| {
            name.as_str()
                .is_none_or(|name| !defaults.contains_key(name))
        });
        if required.is_empty() {
            object.remove("required");
        }
    }
}

/// The schema of a key of a map; `None` for a key that it does not have.
pub(super) fn child<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    property(schema, key).or_else(|| {
        schema
            .get("additionalProperties")
            .filter(|values| values.is_object())
    })
}

/// The schema of a key that is named in it.
pub(super) fn property<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(key)
}

/// Whether a value may be of this type.
pub(super) fn allows(schema: &Value, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(only)) => only == kind,
        Some(Value::Array(kinds)) => kinds.iter().any(|one| one == kind),
        _ => false,
    }
}

/// Whether the value is never shown.
pub(super) fn is_secret(schema: &Value) -> bool {
    schema.get("writeOnly") == Some(&Value::Bool(true))
}

/// The names of all keys, and of those that hold secrets.
pub(super) fn names(schema: &Value) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let (mut known, mut secret) = (BTreeSet::new(), BTreeSet::new());
    collect(schema, &mut known, &mut secret);
    (known, secret)
}

fn collect<'a>(schema: &'a Value, known: &mut BTreeSet<&'a str>, secret: &mut BTreeSet<&'a str>) {
    if let Some(items) = schema.get("items") {
        collect(items, known, secret);
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        known.insert(name);
        if is_secret(property) {
            secret.insert(name);
        }
        collect(property, known, secret);
    }
}
