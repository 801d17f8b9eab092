//! What is made from the types, and kept in the repository so that people and editors find it.

use std::path::PathBuf;

use pipeops_tunnel::agent::config::AgentConfig;
use pipeops_tunnel::config::{FORMATS, Settings, schema};
use pipeops_tunnel::gateway::config::GatewayConfig;
use serde_json::Value;

use crate::common::root;
use crate::page::page;
use crate::program::{Program, keys, read};

/// The file has this content; with `PIPEOPS_BLESS` it gets it.
fn assert_generated(file: &str, content: &str) {
    let path: PathBuf = root().join(file);
    if std::env::var_os("PIPEOPS_BLESS").is_some() {
        std::fs::write(&path, content).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == content,
        "{file} is not what the types make: PIPEOPS_BLESS=1 cargo test --test config generated"
    );
}

#[test]
fn the_schemas_are_those_of_the_types() {
    let text = |schema: Value| format!("{schema:#}\n");
    assert_generated("proto/config.schema.json", &text(schema::<AgentConfig>()));
    assert_generated(
        "proto/gateway-config.schema.json",
        &text(schema::<GatewayConfig>()),
    );
}

#[test]
fn the_page_is_that_of_the_types() {
    assert_generated("docs/configuration.md", &page());
}

/// Keywords that the checker knows, or that only describe.
const KNOWN: [&str; 19] = [
    "$schema",
    "additionalProperties",
    "default",
    "description",
    "enum",
    "examples",
    "format",
    "items",
    "maxLength",
    "maximum",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
    "writeOnly",
    "const",
];

fn subschemas<'a>(schema: &'a Value, found: &mut Vec<&'a Value>) {
    found.push(schema);
    for values in ["items", "additionalProperties"] {
        if let Some(schema) = schema.get(values).filter(|schema| schema.is_object()) {
            subschemas(schema, found);
        }
    }
    for (_, schema) in schema["properties"].as_object().into_iter().flatten() {
        subschemas(schema, found);
    }
}

fn a_sound_schema<T: Program>() {
    let schema = schema::<T>();
    assert!(jsonschema::meta::is_valid(&schema), "{schema:#}");
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let mut all = Vec::new();
    subschemas(&schema, &mut all);
    for schema in all {
        for (keyword, value) in schema.as_object().unwrap() {
            assert!(
                KNOWN.contains(&keyword.as_str()) && keyword != "const",
                "the checker passes over {keyword}"
            );
            if keyword == "format" {
                assert!(FORMATS.iter().any(|format| format.name == value), "{value}");
            }
        }
        if let Some(properties) = schema["properties"].as_object() {
            assert_eq!(schema["additionalProperties"], false, "{properties:?}");
        }
        if schema["type"] == "integer" || schema["type"][0] == "integer" {
            assert!(
                schema.get("minimum").is_some() && schema.get("maximum").is_some(),
                "{schema}"
            );
        }
    }
    for key in keys::<T>() {
        let about = key.schema["description"].as_str().unwrap_or_default();
        assert!(
            about.ends_with('.') || about.contains("\n\n`"),
            "{} has no description",
            key.path
        );
    }
}

#[test]
fn the_schemas_are_sound() {
    a_sound_schema::<AgentConfig>();
    a_sound_schema::<GatewayConfig>();
}

/// Each example in a schema, and each default, is accepted there.
fn examples_are_good<T: Program>() {
    let default = serde_json::to_value(T::default()).unwrap();
    assert!(read::<T>(default.to_string()).is_ok());
    let validator = jsonschema::validator_for(&schema::<T>()).unwrap();
    assert!(validator.is_valid(&default));
    for key in keys::<T>() {
        let validator = jsonschema::validator_for(&key.schema).unwrap();
        for example in key.schema["examples"].as_array().into_iter().flatten() {
            assert!(validator.is_valid(example), "{}: {example}", key.path);
        }
    }
}

#[test]
fn defaults_and_examples_are_valid() {
    examples_are_good::<AgentConfig>();
    examples_are_good::<GatewayConfig>();
}

/// What the program needs to be told is all that its defaults lack.
#[test]
fn with_the_least_that_is_needed_the_defaults_are_sound() {
    let agent =
        read::<AgentConfig>("pipeops: {api_url: 'https://g.example', token_file: /t}").unwrap();
    assert!(agent.validate().is_ok() && agent.config.validate().is_ok());
    let gateway = read::<GatewayConfig>("tls: {self_signed: true}").unwrap();
    assert!(gateway.validate().is_ok());
}

fn names_are_sound<T: Settings>() {
    let paths: Vec<String> = keys::<T>().iter().map(|key| key.path.to_string()).collect();
    let ways = T::ALTERNATIVES
        .iter()
        .flat_map(|ways| ways.iter().copied().flatten());
    let named = T::NAMED.iter().map(|named| &named.path);
    for path in named.chain(T::LIVE).chain(ways) {
        assert!(
            paths.iter().any(|known| known == path),
            "there is no key {path}"
        );
    }
}

#[test]
fn every_name_is_that_of_a_key() {
    names_are_sound::<AgentConfig>();
    names_are_sound::<GatewayConfig>();
}
