//! Where a value comes from: every layer over the one before, and a variable for every key.

use pipeops_tunnel::agent::config::AgentConfig;
use pipeops_tunnel::config::{Origin, Path, variable};
use pipeops_tunnel::gateway::config::GatewayConfig;
use serde_json::{Value, json};

use crate::program::{Key, Program, file, keys, load, value};

/// A value that the key may have, and not its default; as text and as a value.
fn other(key: &Key) -> (String, Value) {
    let (schema, default) = (&key.schema, &key.schema["default"]);
    let is = |kind: &str| schema["type"] == kind || schema["type"][0] == kind;
    let text = |text: &str| (text.to_owned(), json!(text));
    if is("boolean") {
        let other = default != true;
        return (other.to_string(), json!(other));
    }
    if is("integer") {
        let other = schema["maximum"]
            .as_u64()
            .map_or(7, |most| (most - 1).min(7))
            .max(schema["minimum"].as_u64().unwrap_or(0));
        return (other.to_string(), json!(other));
    }
    if is("array") && schema["items"].get("properties").is_some() {
        let item = if schema["items"]["properties"].get("allow").is_some() {
            json!([{"listen": "127.0.0.1:7", "cluster": "c", "service": "s", "allow": ["10.0.0.0/8"]}])
        } else {
            json!([{"name": "x", "local_addr": "h:1"}])
        };
        return (item.to_string(), item);
    }
    if let Some(values) = schema["items"]["enum"].as_array() {
        let reversed: Value = values.iter().rev().cloned().collect();
        return (reversed.to_string(), reversed);
    }
    if is("array") {
        return ("[a, b]".to_owned(), json!(["a", "b"]));
    }
    if is("object") {
        return ("{a: b}".to_owned(), json!({"a": "b"}));
    }
    if let Some(values) = schema["enum"].as_array() {
        let other = values.iter().find(|value| *value != default).unwrap();
        return text(other.as_str().unwrap());
    }
    match schema["format"].as_str() {
        Some("period") => text("77s"),
        Some("listen" | "address") => text("127.0.0.1:77"),
        Some("log-filter") => text("trace"),
        Some("https-url") => text("https://other.example"),
        _ => text("other"),
    }
}

/// The value as the configuration shows it: secrets are not, and items have their own defaults.
fn assert_shows(shown: &Value, set: &Value, key: &Key) {
    if key.schema["writeOnly"] == true {
        assert_eq!(shown, "***REDACTED***", "{}", key.path);
    } else if let (Some(shown), Some(set)) =
        (shown.get(0), set.get(0).filter(|set| set.is_object()))
    {
        for (name, value) in set.as_object().unwrap() {
            assert_eq!(&shown[name], value, "{}", key.path);
        }
    } else {
        assert_eq!(shown, set, "{}", key.path);
    }
}

fn every_key_has_a_variable<T: Program>() {
    let leaves = keys::<T>()
        .into_iter()
        .filter(|key| !key.section && !key.path.to_string().contains("[]"));
    let mut seen = 0;
    for key in leaves {
        let path = key.path.to_string();
        let (text, set) = other(&key);
        let before = value(&T::default(), &path);
        let name = variable(&key.path);
        let loaded = load::<T>(&[], &[(&name, &text)])
            .unwrap_or_else(|problems| panic!("{name}={text}\n{problems}"));
        let after = value(&loaded.config, &path);
        assert_ne!(before, after, "{name} changes nothing");
        assert_shows(&after, &set, &key);
        assert_eq!(loaded.origin(&key.path), Origin::Variable(name));
        seen += 1;
    }
    assert!(seen >= 14, "only {seen} keys");
}

#[test]
fn one_rule_reaches_every_key() {
    every_key_has_a_variable::<AgentConfig>();
    every_key_has_a_variable::<GatewayConfig>();
}

/// `path: value` as YAML.
fn nested(path: &str, value: &Value) -> String {
    let mut nested = value.clone();
    for name in path.split('.').rev() {
        nested = json!({name: nested});
    }
    nested.to_string()
}

/// Another value than [`other`]'s, for the layer below it.
fn below(key: &Key) -> (String, Value) {
    let is = |kind: &str| key.schema["type"] == kind || key.schema["type"][0] == kind;
    match key.schema.get("default") {
        Some(Value::String(default)) => (default.clone(), json!(default)),
        Some(default) => (default.to_string(), default.clone()),
        None if is("integer") => ("3".to_owned(), json!(3)),
        None if key.schema["format"] == "https-url" => {
            ("https://a.example".to_owned(), json!("https://a.example"))
        }
        None => ("below".to_owned(), json!("below")),
    }
}

/// The file says `in_file`, variables and flags come on top, and the value is [`other`]'s.
fn assert_wins<T: Program>(
    key: &Key,
    in_file: &Value,
    variables: &[(&str, &str)],
    flag: Option<&str>,
) -> Origin {
    let path = key.path.to_string();
    let file = file(nested(&path, in_file));
    let args: Vec<&str> = ["--config", file.path().to_str().unwrap()]
        .into_iter()
        .chain(flag)
        .collect();
    let loaded = load::<T>(&args, variables).unwrap_or_else(|problems| panic!("{problems}"));
    assert_shows(&value(&loaded.config, &path), &other(key).1, key);
    loaded.origin(&key.path)
}

/// For each key with names of its own: the file wins over the default, the variable over it, the rule's over that, the
/// flag over all.
fn each_layer_wins<T: Program>() {
    for named in T::NAMED {
        let mut all = keys::<T>().into_iter();
        let key = &all.find(|key| key.path.to_string() == named.path).unwrap();
        let ((text, set), (low_text, low)) = (other(key), below(key));
        let rule = variable(&key.path);
        let by_rule = Origin::Variable(rule.clone());
        assert!(matches!(
            assert_wins::<T>(key, &set, &[], None),
            Origin::File(_)
        ));
        assert_eq!(
            assert_wins::<T>(key, &low, &[(&rule, &text)], None),
            by_rule
        );
        if let Some(own) = named.variable {
            let by_own = Origin::Variable(own.to_owned());
            assert_eq!(assert_wins::<T>(key, &low, &[(own, &text)], None), by_own);
            let both = [(own, low_text.as_str()), (&rule, &text)];
            assert_eq!(assert_wins::<T>(key, &low, &both, None), by_rule);
        }
        if let Some(flag) = named.flag {
            let argument = format!("--{}={text}", flag.name);
            let origin = assert_wins::<T>(key, &low, &[(&rule, &low_text)], Some(&argument));
            assert_eq!(origin, Origin::Flag(flag.name));
        }
    }
}

#[test]
fn each_layer_wins_over_those_before() {
    each_layer_wins::<AgentConfig>();
    each_layer_wins::<GatewayConfig>();
}

#[test]
fn maps_are_merged_and_lists_replaced() {
    let file = file(
        "admin: {token: x}\nagent: {labels: {a: file, b: file}}\ntunnel: {forwards: [{name: a, local_addr: 'a:1'}]}\n",
    );
    let args = ["--config", file.path().to_str().unwrap()];
    let variables = [
        ("PIPEOPS__AGENT__LABELS", "{b: map, c: map}"),
        ("PIPEOPS__AGENT__LABELS__C", "own"),
        (
            "PIPEOPS__TUNNEL__FORWARDS",
            "[{name: grafana, local_addr: \"g:80\"}]",
        ),
    ];
    let config = load::<AgentConfig>(&args, &variables).unwrap().config;
    assert_eq!(config.admin.listen.to_string(), ":8080");
    assert_eq!(
        value(&config, "agent.labels"),
        json!({"a": "file", "b": "map", "c": "own"})
    );
    let names: Vec<_> = config
        .tunnel
        .forwards
        .iter()
        .map(|forward| forward.name.as_str())
        .collect();
    assert_eq!(names, ["grafana"]);
}

#[test]
fn what_kubernetes_puts_into_pods_is_no_setting() {
    let variables = [
        ("PIPEOPS_AGENT_SERVICE_HOST", "10.0.0.1"),
        ("PIPEOPS_AGENT_SERVICE_PORT", "8080"),
        ("PIPEOPS_AGENT_PORT", "tcp://10.0.0.1:8080"),
        ("PIPEOPS_AGENT_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("PIPEOPS_GATEWAY_PORT", "tcp://10.0.0.2:443"),
        ("PIPEOPS_GATEWAY_SERVICE_PORT_HTTPS", "443"),
        ("PIPEOPS__ODD_SERVICE_HOST", "10.0.0.3"),
        ("PIPEOPS__ODD_PORT_443_TCP", "tcp://10.0.0.3:443"),
        ("PIPEOPS_UNHEARD_OF", "x"),
        ("LOG_LEVEL", ""),
        ("PIPEOPS__LOG__LEVEL", ""),
    ];
    let agent = load::<AgentConfig>(&[], &variables).unwrap().config;
    assert_eq!(
        serde_json::to_value(agent).unwrap(),
        serde_json::to_value(AgentConfig::default()).unwrap()
    );
    let gateway = load::<GatewayConfig>(&[], &variables).unwrap().config;
    assert_eq!(
        serde_json::to_value(gateway).unwrap(),
        serde_json::to_value(GatewayConfig::default()).unwrap()
    );
}

#[test]
fn what_is_wrong_with_a_variable_or_a_flag_names_it() {
    let variables = [
        ("PIPEOPS__TUNNEL__ENABLED", "maybe"),
        ("PIPEOPS__TUNNEL__FORWARDS", "[{name: a"),
        ("PIPEOPS__TUNEL__ENABLED", "canary"),
        ("PIPEOPS__PIPEOPS__TOKN", "canary"),
        ("CLUSTER_NAME", "canary NOT A NAME"),
        ("PIPEOPS__AGENT__LABELS", "[canary]"),
    ];
    let problems = load::<AgentConfig>(&["--admin-listen", "canary"], &variables).unwrap_err();
    let text = problems.to_string();
    assert!(!text.contains("canary"), "{text}");
    insta::assert_snapshot!("variables", text);
}

/// One way to say something replaces the other way of the layers below, and never that of its own.
#[test]
fn ways_take_each_others_place() {
    let file = file("pipeops: {token_file: /of/file}\nadmin: {token: of-file}\n");
    let args = ["--config", file.path().to_str().unwrap()];
    let variables = [
        ("PIPEOPS__PIPEOPS__TOKEN", "of-env "),
        ("PIPEOPS__ADMIN__TOKEN_FILE", "/of/env"),
    ];
    let config = load::<AgentConfig>(&args, &variables).unwrap().config;
    assert_eq!(config.pipeops.token.unwrap().expose(), "of-env");
    assert_eq!(
        (config.pipeops.token_file, config.admin.token.is_none()),
        (None, true)
    );
    let both = [
        ("PIPEOPS_TOKEN", "x"),
        ("PIPEOPS_TOKEN_FILE", "/x"),
        ("PIPEOPS_API_URL", "https://x"),
    ];
    let problems = load::<AgentConfig>(&[], &both)
        .unwrap()
        .validate()
        .unwrap_err();
    assert_eq!(
        problems.list()[0].variable.as_deref(),
        Some("PIPEOPS_TOKEN")
    );
    assert_eq!(problems.list().len(), 1);
    let flag = load::<AgentConfig>(&["--token-file", "/flag"], &both[..1]).unwrap();
    assert!(flag.config.pipeops.token.is_none());
    assert_eq!(flag.origin(&Path::dotted("pipeops.token")), Origin::Default);
}

#[test]
fn the_file_that_is_named_most_exactly_is_read() {
    let (by_flag, by_variable) = (file("drain_timeout: 1s"), file("drain_timeout: 2s"));
    let path = |file: &tempfile::NamedTempFile| file.path().to_str().unwrap().to_owned();
    let (flag, variable) = (path(&by_flag), path(&by_variable));
    let drain = |args: &[&str], variables: &[(&str, &str)]| {
        let loaded = load::<AgentConfig>(args, variables).unwrap();
        loaded.config.drain_timeout.to_string()
    };
    let variables = [("PIPEOPS_AGENT_CONFIG", variable.as_str())];
    assert_eq!(drain(&["--config", &flag], &variables), "1s");
    assert_eq!(drain(&[], &variables), "2s");
    assert_eq!(drain(&[], &[("PIPEOPS_AGENT_CONFIG", "")]), "30s");
    assert_eq!(drain(&["validate", "--config", &flag], &[]), "1s");
}
