//! The commands, as processes.

use std::process::{Command, Output};

use pipeops_tunnel::agent::config::AgentConfig;
use pipeops_tunnel::gateway::config::GatewayConfig;
use serde_json::{Value, json};

use crate::common::temp_dir;
use crate::program::{file, read};

const AGENT: &str = env!("CARGO_BIN_EXE_pipeops-agent");
const GATEWAY: &str = env!("CARGO_BIN_EXE_pipeops-gateway");

const GOOD: &str = "agent: {cluster_name: prod}\npipeops: {api_url: 'https://localhost:1', token: canary}\ntunnel:\n  forwards:\n  - {name: grafana, local_addr: 'g:80', prefix: keep}\n  - name: db\n    local_addr: d:1\nlog: {level: 'info,pipeops_tunnel::mux=debug'}\n";

fn run(program: &str, args: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let command = Command::new(program)
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .output();
    let Output {
        status,
        stdout,
        stderr,
    } = command.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_valid_file_gets_the_contracts_three_lines() {
    let file = file(GOOD);
    let (code, out, err) = run(
        AGENT,
        &["validate", "--config", file.path().to_str().unwrap()],
        &[],
    );
    assert_eq!(
        out,
        "✓ Configuration is valid\n✓ All required fields present\n✓ All values within acceptable ranges\n"
    );
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let (code, out, _) = run(GATEWAY, &["--self-signed", "validate", "--json"], &[]);
    assert_eq!(
        (code, serde_json::from_str::<Value>(&out).unwrap()),
        (Some(0), json!({"valid": true}))
    );
}

#[test]
fn a_bad_file_is_told_as_compilers_do() {
    let file =
        file("agent:\n  cluster_name: Not Good\npipeops: {token: canary canary, api_ur: canary}\n");
    let path = file.path().to_str().unwrap();
    let (code, out, err) = run(
        AGENT,
        &["validate", "--config", path],
        &[("LOG_FORMAT", "xml")],
    );
    assert_eq!((code, out.as_str()), (Some(1), ""));
    insta::assert_snapshot!("validate", err.replace(path, "config.yaml"));
}

#[test]
fn the_contracts_error_comes_out_as_json() {
    let file = file("agent:\n  cluster_name: Not Good\nlog: {level: 5}\n");
    let path = file.path().to_str().unwrap();
    let (code, out, err) = run(AGENT, &["validate", "--json", "--config", path], &[]);
    assert_eq!((code, err.as_str()), (Some(1), ""));
    let error = &serde_json::from_str::<Value>(&out).unwrap()["error"];
    assert_eq!(error["code"], "INVALID_REQUEST");
    assert_eq!(error["message"], "Invalid cluster name");
    let details = &error["details"];
    assert_eq!(details["field"], "cluster_name");
    assert_eq!(details["reason"], "must match pattern ^[a-z0-9-]+$");
    assert_eq!(details["path"], "agent.cluster_name");
    assert_eq!(
        (&details["file"], &details["line"], &details["column"]),
        (&json!(path), &json!(2), &json!(17))
    );
    assert_eq!(details["problems"].as_array().unwrap().len(), 2);
    assert_eq!(details["problems"][1]["path"], "log.level");
}

#[test]
fn running_with_a_bad_file_ends_at_once() {
    let file = file("agent: {cluster_name: Not Good}");
    let (code, _, err) = run(AGENT, &["--config", file.path().to_str().unwrap()], &[]);
    assert_eq!(code, Some(2));
    assert!(
        err.starts_with("error: agent.cluster_name: must match pattern"),
        "{err}"
    );
    let (code, _, err) = run(GATEWAY, &[], &[]);
    assert_eq!(code, Some(2));
    assert!(
        err.starts_with("error: tls: set cert_file and key_file"),
        "{err}"
    );
}

#[test]
fn strict_looks_at_files_and_names() {
    let folder = temp_dir("strict");
    let at = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (empty, word) = (at("empty", ""), at("word", "canary"));
    let yaml = format!(
        "pipeops:\n  api_url: https://no-such-host.invalid\n  token_file: {empty}\n  ca_file: {word}\nadmin:\n  token_file: /nowhere/token\nkubernetes:\n  kubeconfig: {word}\ntunnel:\n  forwards:\n  - {{name: a, local_addr: 'a:1', authorization_file: /nowhere/a}}\n"
    );
    let file = file(&yaml);
    let path = file.path().to_str().unwrap();
    assert_eq!(run(AGENT, &["validate", "--config", path], &[]).0, Some(0));
    let (code, _, err) = run(AGENT, &["validate", "--strict", "--config", path], &[]);
    assert_eq!(code, Some(1));
    assert!(!err.contains("canary"), "{err}");
    for told in [
        "pipeops.api_url: the host 'no-such-host.invalid' is not found",
        "pipeops.token_file: ",
        "pipeops.ca_file: ",
        "admin.token_file: ",
        "kubernetes.kubeconfig: ",
        "tunnel.forwards[0].authorization_file: ",
    ] {
        assert!(err.contains(&format!("error: {told}")), "{told}\n{err}");
    }
    let args = [
        "--tls-cert",
        &word,
        "--tls-key",
        &word,
        "validate",
        "--strict",
    ];
    let (code, _, err) = run(GATEWAY, &args, &[]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("error: tls.cert_file: ") && err.contains("error: tls.key_file: "),
        "{err}"
    );
    assert!(err.contains("--> flag --tls-cert"), "{err}");
}

#[test]
fn what_is_printed_is_valid_and_the_same() {
    let file = file(GOOD);
    let path = file.path().to_str().unwrap();
    let variables = [
        ("CLUSTER_NAME", "by-variable"),
        ("PIPEOPS__AGENT__LABELS__REGION", "1"),
    ];
    let args = ["--config", path, "--admin-listen", ":1", "config", "print"];
    let (code, out, err) = run(AGENT, &args, &variables);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    insta::assert_snapshot!("print", out.replace(path, "config.yaml"));
    let again = read::<AgentConfig>(&out).unwrap();
    assert!(again.validate().is_ok());
    let (_, json, _) = run(
        AGENT,
        &[&args[..], &["--output", "json"]].concat(),
        &variables,
    );
    let json: Value = serde_json::from_str(&json).unwrap();
    let origin = |path: &str| &json[path]["origin"];
    assert_eq!(
        origin("agent.cluster_name"),
        &json!({"kind": "variable", "variable": "CLUSTER_NAME"})
    );
    assert_eq!(
        origin("admin.listen"),
        &json!({"kind": "flag", "flag": "--admin-listen"})
    );
    assert_eq!(origin("log.format"), &json!({"kind": "default"}));
    assert_eq!(
        origin("log.level"),
        &json!({"kind": "file", "file": path, "line": 8, "column": 14})
    );
    assert_eq!(json["tunnel.forwards[0].prefix"]["value"], "keep");
    assert_eq!(json["agent.labels.region"]["value"], "1");
    assert_eq!(json["pipeops.token"]["value"], "***REDACTED***");
    let config = serde_json::to_value(&again.config).unwrap();
    for (path, entry) in json.as_object().unwrap() {
        let pointer = format!("/{}", path.replace(['.', '['], "/").replace(']', ""));
        assert_eq!(config.pointer(&pointer), Some(&entry["value"]), "{path}");
    }
    let (_, out, _) = run(GATEWAY, &["--self-signed", "config", "print"], &[]);
    assert!(read::<GatewayConfig>(out).unwrap().validate().is_ok());
}

#[test]
fn each_program_says_which_build_it_is() {
    for (name, program) in [("pipeops-agent", AGENT), ("pipeops-gateway", GATEWAY)] {
        let (code, out, _) = run(program, &["version"], &[]);
        assert_eq!(code, Some(0));
        assert!(
            out.starts_with(&format!("{name} {} (commit ", env!("CARGO_PKG_VERSION"))),
            "{out}"
        );
        let (_, out, _) = run(program, &["version", "--output", "json"], &[]);
        let out: Value = serde_json::from_str(&out).unwrap();
        let keys: Vec<_> = out.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["version", "git_commit", "build_date", "rustc"]);
        assert_eq!(
            run(program, &["--version"], &[]).1,
            format!("{name} {}\n", env!("CARGO_PKG_VERSION"))
        );
    }
}

#[test]
fn completions_and_pages_know_every_command() {
    for (name, program) in [("pipeops-agent", AGENT), ("pipeops-gateway", GATEWAY)] {
        for shell in ["bash", "zsh", "fish"] {
            let (code, out, _) = run(program, &["completions", shell], &[]);
            assert!(
                code == Some(0) && out.contains("admin-listen") && out.contains("validate"),
                "{shell}"
            );
        }
        assert!(run(program, &["man"], &[]).1.contains("admin\\-listen"));
        let folder = temp_dir("man");
        let (code, _, err) = run(program, &["man", "--dir", folder.to_str().unwrap()], &[]);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        for page in ["", "-validate", "-config-print", "-version", "-completions"] {
            assert!(
                folder.join(format!("{name}{page}.1")).exists(),
                "{name}{page}"
            );
        }
    }
}

#[test]
fn the_help_names_what_sets_a_flag() {
    for (program, line) in [
        (AGENT, "[env: PIPEOPS_API_URL]"),
        (
            GATEWAY,
            "[default: pipeops.localhost] [env: PIPEOPS_GATEWAY_DOMAIN]",
        ),
    ] {
        let (code, out, _) = run(program, &["--help"], &[]);
        assert!(out.starts_with("The "), "{out}");
        let out = out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            code == Some(0) && out.contains(line) && out.contains("--metrics-listen"),
            "{out}"
        );
    }
}
