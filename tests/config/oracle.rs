//! Our checker and the `jsonschema` crate agree on what a schema accepts: over the tables of bad files, and over files
//! made at random from the schema, with mistakes in them.

use std::cell::Cell;

use jsonschema::Validator;
use pipeops_tunnel::agent::config::AgentConfig;
use pipeops_tunnel::config::{FORMATS, Settings, schema};
use pipeops_tunnel::gateway::config::GatewayConfig;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use crate::program::{Program, read};
use crate::{bad_agent, bad_gateway};

fn validator<T: Settings>() -> Validator {
    let mut options = jsonschema::options().should_validate_formats(true);
    for format in FORMATS {
        options = options.with_format(format.name, format.accepts);
    }
    options.build(&schema::<T>()).unwrap()
}

fn refuses_all<T: Program>(cases: &[(&str, &str)]) {
    let validator = validator::<T>();
    for (name, text) in cases {
        let options = serde_saphyr::options! { strict_booleans: true };
        let value: Value = serde_saphyr::from_str_with_options(text, options).unwrap();
        assert!(
            !validator.is_valid(&value),
            "{name}: jsonschema accepts {value}"
        );
        assert!(read::<T>(text).is_err(), "{name}: we accept {value}");
    }
}

#[test]
fn the_tables_are_refused_by_both() {
    refuses_all::<AgentConfig>(bad_agent::VALUES);
    refuses_all::<GatewayConfig>(bad_gateway::VALUES);
}

fn anything() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1000..1000_i32).prop_map(|n| json!(f64::from(n) / 4.0)),
        "[ -~]{0,12}".prop_map(Value::from),
        select(vec![
            "30s",
            ":80",
            "h:80",
            "[::1]:80",
            "0.0.0.0:1",
            "info",
            "a-b",
            "https://x",
            "-",
            "ä€"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[a-z_]{1,8}", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
    .boxed()
}

/// What a schema asks for, most of the time.
fn fitting(schema: &Value) -> BoxedStrategy<Value> {
    let right = match schema["type"]
        .as_str()
        .or_else(|| schema["type"][0].as_str())
    {
        Some("object") => object(schema),
        Some("array") => prop::collection::vec(fitting(&schema["items"]), 0..3)
            .prop_map(Value::from)
            .boxed(),
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("integer") => (-2..1100_i64).prop_map(Value::from).boxed(),
        _ => text(schema),
    };
    prop_oneof![12 => right, 1 => anything()].boxed()
}

fn text(schema: &Value) -> BoxedStrategy<Value> {
    let mut good: Vec<Value> = schema["examples"].as_array().cloned().unwrap_or_default();
    good.extend(schema["enum"].as_array().cloned().unwrap_or_default());
    good.extend(schema.get("default").cloned());
    good.extend(["a", "a-b", "x".repeat(64).as_str()].map(Value::from));
    prop_oneof![6 => select(good), 1 => "[a-zA-Z0-9:./ -]{0,20}".prop_map(Value::from)].boxed()
}

fn object(schema: &Value) -> BoxedStrategy<Value> {
    let Some(properties) = schema["properties"].as_object() else {
        let values = fitting(&schema["additionalProperties"]);
        return prop::collection::hash_map("[a-z./-]{1,8}", values, 0..3)
            .prop_map(|map| json!(map))
            .boxed();
    };
    let required = |name: &str| {
        schema["required"]
            .as_array()
            .is_some_and(|names| names.iter().any(|one| one == name))
    };
    let keys: Vec<_> = properties
        .iter()
        .map(|(name, schema)| {
            let there = if required(name) { 0.95 } else { 0.3 };
            (
                Just(name.clone()),
                prop::option::weighted(there, fitting(schema)),
            )
        })
        .collect();
    let strange = prop::option::weighted(0.03, ("[a-z_]{1,8}", anything()));
    (keys, strange)
        .prop_map(|(keys, strange)| {
            let keys = keys
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)));
            Value::Object(Map::from_iter(keys.chain(strange)))
        })
        .boxed()
}

fn agree<T: Program>() {
    let validator = validator::<T>();
    let (good, bad) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    });
    let done = runner.run(&fitting(&schema::<T>()), |value| {
        prop_assume!(!value.is_null());
        let (ours, theirs) = (read::<T>(value.to_string()), validator.is_valid(&value));
        let told = ours
            .as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default();
        prop_assert_eq!(ours.is_ok(), theirs, "{}\n{}", value, told);
        let count = if theirs { &good } else { &bad };
        count.set(count.get() + 1);
        Ok(())
    });
    done.unwrap_or_else(|error| panic!("{error}"));
    assert!(
        good.get() > 20 && bad.get() > 20,
        "{good:?} were good and {bad:?} bad: that shows little"
    );
}

#[test]
fn random_files_are_judged_alike() {
    agree::<AgentConfig>();
    agree::<GatewayConfig>();
}
