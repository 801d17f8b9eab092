//! `pipeops-agent doctor`, as a process, against gateways that are well and that are not.

mod bundle;
mod disturbs;
mod trouble;

use crate::{
    common::{
        agent::{AgentConfig, Diagnosis},
        free_port,
        gateway::Gateway,
    },
    fixture::{Cluster, agent, demo, shared_gateway},
    origin::Origin,
};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

/// An agent's configuration whose admin server is not another program's.
fn config(gateway: &Gateway, forwards: &[Value]) -> AgentConfig {
    agent(gateway, &Cluster::new(), forwards).edit(|yaml| {
        yaml["admin"] = json!({"listen": format!("127.0.0.1:{}", free_port())});
    })
}

/// The doctor's command.
fn command(config: &AgentConfig, args: &[&str]) -> Command {
    let mut command = config.command(&["doctor"]);
    command.args(args);
    command
}

/// Runs it beside the test's own servers.
async fn diagnose(mut command: Command) -> Diagnosis {
    command.args(["--output", "json"]);
    tokio::task::spawn_blocking(move || Diagnosis::of(&mut command))
        .await
        .unwrap()
}

async fn doctor(config: &AgentConfig) -> Diagnosis {
    diagnose(command(config, &[])).await
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_in_order() {
    let origin = Origin::echo().await;
    let config = config(shared_gateway(), &[demo(&origin)]);
    chmod(&config.token_file(), 0o600);
    let found = doctor(&config).await;
    for component in [
        "config", "dns", "tcp", "tls", "proxy", "token", "clock", "forward",
    ] {
        assert_eq!(found.status(component), "ok", "{:#}", found.report);
    }
    found.assert_carries();
    assert_eq!(found.status("kubernetes"), "skipped");
    assert_eq!(found.status("agent"), "skipped");
    assert!(
        found
            .details("tls")
            .contains("TLS 1.3, trusted; certificate")
    );
    assert!(found.details("token").contains("accepted, for cluster c"));
    assert_eq!(
        (found.code, &found.report["summary"]["failed"]),
        (Some(0), &json!(0))
    );
    assert!(
        origin.seen().is_empty(),
        "a forward's target sees a connection and no request"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_has_a_row_for_each_an_action_for_each_and_a_sum() {
    let config = config(
        shared_gateway(),
        &[json!({"name": "gone", "local_addr": format!("127.0.0.1:{}", free_port())})],
    );
    chmod(&config.token_file(), 0o644);
    let mut command = command(&config, &[]);
    let out = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let mut lines = text.lines();
    let words: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(words, ["COMPONENT", "TARGET", "STATUS", "DETAILS"]);
    assert!(
        text.contains("mode 0644: every user of this machine may read it"),
        "{text}"
    );
    assert!(text.contains("→ file "), "{text}");
    assert!(text.contains("→ forward gone 127.0.0.1:"), "{text}");
    let last = lines.next_back().unwrap();
    assert!(last.starts_with("Something has failed: "), "{text}");
    assert!(last.contains("1 warning, 1 failed"), "{text}");
    assert_eq!(out.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_none_is_said_and_nothing_else_is_looked_at() {
    let config = config(shared_gateway(), &[]).edit(|yaml| yaml["tunnel"]["forwards"] = json!(7));
    let found = doctor(&config).await;
    assert_eq!((found.status("config"), found.code), ("failed", Some(1)));
    assert_eq!(found.report["checks"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_on_this_machine_is_asked() {
    for (status, body, expected) in [
        ("200 OK", r#"{"status":"ready","checks":{}}"#, "ok"),
        (
            "503 Service Unavailable",
            r#"{"status":"not ready","checks":{"tunnel":"no carrier since 10:30","kubernetes":"ok"}}"#,
            "failed",
        ),
        ("404 Not Found", "<html>", "warning"),
    ] {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        let local = Origin::answering(move |_, _| answer.clone().into_bytes()).await;
        let addr = local.addr.to_string();
        let config = agent(shared_gateway(), &Cluster::new(), &[])
            .edit(|yaml| yaml["admin"] = json!({"listen": addr}));
        let found = doctor(&config).await;
        assert_eq!(found.status("agent"), expected, "{:#}", found.report);
        if expected == "failed" {
            assert!(
                found.details("agent").contains("tunnel: no carrier since"),
                "{}",
                found.details("agent")
            );
        }
        assert!(local.saw("GET /readyz "));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_not_there_is_named_without_its_password() {
    let config = config(shared_gateway(), &[]);
    let proxied = |no_proxy: &str| {
        let mut command = command(&config, &[]);
        command.env("HTTPS_PROXY", "http://user:s3cret-word@127.0.0.1:1");
        command.env("NO_PROXY", no_proxy);
        command
    };
    let found = diagnose(proxied("example.com")).await;
    assert_eq!((found.status("tcp"), found.code), ("failed", Some(1)));
    assert_eq!(found.finding("tcp", "")["target"], "127.0.0.1:1");
    assert_eq!(found.status("proxy"), "skipped");
    assert!(!found.report.to_string().contains("s3cret-word"));
    let found = diagnose(proxied("localhost")).await;
    assert_eq!((found.status("proxy"), found.code), ("ok", Some(0)));
    let details = found.details("proxy");
    assert!(
        details.contains("NO_PROXY leaves the gateway out"),
        "{details}"
    );
}
