//! No secret gets out: a canary in each secret field, which the schema knows, appears nowhere.

use pipeops_tunnel::agent::config::AgentConfig;
use pipeops_tunnel::config::cli::{ConfigCommand, Format, Show};
use pipeops_tunnel::config::{Secret, Settings};
use pipeops_tunnel::gateway::config::GatewayConfig;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::program::{Program, file, inputs, keys, load, read};

const CANARY: &str = "c4n4ry";

/// A name that says that the value is to be kept to oneself.
fn sounds_secret(name: &str) -> bool {
    let secret = [
        "token",
        "password",
        "passwd",
        "secret",
        "key",
        "credential",
        "authorization",
        "bearer",
        "cookie",
    ];
    secret.iter().any(|word| name.contains(word)) && !name.ends_with("_file")
}

fn secrets<T: Settings>() -> Vec<String> {
    let keys = keys::<T>().into_iter();
    keys.filter(|key| key.schema["writeOnly"] == true)
        .map(|key| key.path.to_string())
        .collect()
}

fn names_are_honest<T: Settings>() {
    for key in keys::<T>() {
        let secret = key.schema["writeOnly"] == true;
        // A URL with a password in it.
        let proxy = key.path.to_string() == "pipeops.proxy.url";
        let sounds = proxy || sounds_secret(key.path.field());
        assert_eq!(sounds, secret, "{}", key.path);
    }
}

#[test]
fn what_sounds_like_a_secret_is_one() {
    names_are_honest::<AgentConfig>();
    names_are_honest::<GatewayConfig>();
    let agents = ["pipeops.token", "pipeops.proxy.url", "admin.token"];
    assert_eq!(secrets::<AgentConfig>(), agents);
    assert_eq!(secrets::<GatewayConfig>(), ["admin.token"]);
}

fn set(tree: &mut Value, path: &str, value: &Value) {
    let mut here = tree;
    for name in path.split('.') {
        here = &mut here[name];
    }
    *here = value.clone();
}

/// Everything that a program says about a configuration, whatever it thinks of it.
fn said<T: Program>(text: &str) -> String {
    let file = file(text);
    let args = ["--config", file.path().to_str().unwrap()];
    let inputs = inputs::<T>(&args, &[]);
    let mut said = format!("{inputs:?}");
    match load::<T>(&args, &[]) {
        Ok(loaded) => {
            said += &format!("{loaded:?} {:?}", loaded.config);
            said += &serde_json::to_string(&loaded.config).unwrap();
            if let Err(problems) = loaded.validate() {
                said += &format!("{problems} {problems:?} {}", problems.to_json());
            }
        }
        Err(problems) => said += &format!("{problems} {problems:?} {}", problems.to_json()),
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for output in [Format::Text, Format::Json] {
        let commands = [
            ConfigCommand::Config(Show::Print { output }),
            ConfigCommand::Validate {
                strict: false,
                json: output == Format::Json,
            },
        ];
        for command in commands {
            let answer = runtime
                .block_on(command.run::<T>(&inputs, T::command()))
                .unwrap();
            said += &answer.out;
            said += &answer.err;
        }
    }
    said
}

fn never_shown<T: Program>() {
    let secrets = secrets::<T>();
    // Text that YAML reads as text, number, list, map or not at all; around a word that nothing else says.
    let wrapped = prop_oneof![
        Just(json!(CANARY)),
        Just(json!([CANARY])),
        Just(json!({CANARY: {"x": CANARY}})),
        "[ -~]{0,6}".prop_map(|before| json!(format!("{before}{CANARY}"))),
        "\\PC{0,6}".prop_map(|after| json!(format!("{CANARY}\n{CANARY}{after}"))),
    ];
    let place = prop::sample::select(secrets);
    let mut runner = TestRunner::new(Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let strategy = (
        place,
        wrapped,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        0..40_usize,
    );
    let done = runner.run(&strategy, |(path, value, mistyped, broken, lines, cut)| {
        let mut tree = json!({"log": {"level": 5}});
        let path = if mistyped { format!("{path}s") } else { path };
        // The keys of a value with a wrong type are shown in a path; what must not be is what they hold.
        let value = if value.is_object() {
            json!({"x": {"y": CANARY}})
        } else {
            value
        };
        set(&mut tree, &path, &value);
        let mut text = match lines {
            true => format!("{tree:#}"),
            false => tree.to_string(),
        };
        if broken {
            let kept = text.chars().count().saturating_sub(cut);
            text = text.chars().take(kept).collect();
            text.push_str(" ]{\n");
        }
        let said = said::<T>(&text);
        prop_assert!(!said.contains(CANARY), "{}\n{}", text, said);
        Ok(())
    });
    done.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_canary_is_never_shown() {
    never_shown::<AgentConfig>();
    never_shown::<GatewayConfig>();
}

#[test]
fn in_force_and_never_shown() {
    for path in secrets::<AgentConfig>() {
        let mut tree = json!({"pipeops": {"api_url": "https://x"}});
        set(&mut tree, &path, &json!(CANARY));
        let loaded = read::<AgentConfig>(tree.to_string()).unwrap();
        let config = &loaded.config;
        let all = [
            &config.admin.token,
            &config.pipeops.token,
            &config.pipeops.proxy.url,
        ];
        let in_force = |secret: &&Secret| secret.expose() == CANARY;
        assert_eq!(
            all.into_iter().flatten().filter(in_force).count(),
            1,
            "{path}"
        );
        let shown = said::<AgentConfig>(&tree.to_string());
        assert!(
            shown.contains("***REDACTED***") && !shown.contains(CANARY),
            "{shown}"
        );
    }
}

#[test]
fn a_secret_in_a_variable_is_not_shown() {
    let variables = [
        ("PIPEOPS_TOKEN", CANARY),
        ("PIPEOPS__ADMIN__TOKEN", CANARY),
        ("PIPEOPS__ADMIN__TOKN", CANARY),
    ];
    let inputs = inputs::<AgentConfig>(&[], &variables);
    assert!(!format!("{inputs:?}").contains(CANARY));
    let problems = load::<AgentConfig>(&[], &variables).unwrap_err();
    assert!(!format!("{problems} {problems:?}").contains(CANARY));
    let loaded = load::<AgentConfig>(&[], &variables[..2]).unwrap();
    assert!(!format!("{loaded:?}").contains(CANARY));
}
