//! The bundle for a support ticket: what is in it, and what is in none of it.

use super::command;
use crate::{
    common::{agent::AgentConfig, temp_dir},
    fixture::{Cluster, agent, shared_gateway},
    origin::Origin,
};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
};

/// What must be nowhere.
const CANARIES: [&str; 8] = [
    "canary-admin-token",
    "canary-basic",
    "canary-proxy",
    "canary-kube-token",
    "canary-kube-password",
    "Y2FuYXJ5LWtleQ==",
    "canary-exec-env",
    "canary-token-file",
];

async fn run(config: &AgentConfig, bundle: &Path) -> Output {
    let mut command = command(config, &["--bundle", bundle.to_str().unwrap()]);
    command.env("HTTPS_PROXY", "http://user:canary-proxy@127.0.0.1:1");
    command.env("NO_PROXY", "localhost");
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn entries(bundle: &Path) -> Vec<(String, String)> {
    let mut zip = zip::ZipArchive::new(File::open(bundle).unwrap()).unwrap();
    let mut entries = Vec::new();
    for n in 0..zip.len() {
        let mut entry = zip.by_index(n).unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        entries.push((entry.name().unwrap().into_owned(), text));
    }
    entries
}

/// A kubeconfig with every kind of credential, of a cluster that is not there.
fn kubeconfig(dir: &Path) -> PathBuf {
    fs::write(dir.join("kube-token"), "canary-token-file").unwrap();
    let users = json!([
        {"name": "a", "user": {"token": "canary-kube-token", "username": "u", "password": "canary-kube-password"}},
        {"name": "b", "user": {"client-certificate-data": "Y2VydA==", "client-key-data": "Y2FuYXJ5LWtleQ=="}},
        {"name": "c", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "false",
            "interactiveMode": "Never", "env": [{"name": "X", "value": "canary-exec-env"}]}}},
        {"name": "d", "user": {"tokenFile": dir.join("kube-token")}},
    ]);
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x", "users": users,
        "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "a"}}],
    });
    let file = dir.join("kubeconfig");
    fs::write(&file, config.to_string()).unwrap();
    file
}

/// An agent on this machine that repeats whatever it is told, and more.
async fn gossip() -> Origin {
    Origin::answering(|head, _| {
        let raw = String::from_utf8_lossy(&head.raw).into_owned();
        let body = json!({"heard": raw, "knows": CANARIES}).to_string();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    })
    .await
}

fn leaky(dir: &Path, local: &Origin) -> AgentConfig {
    let authorization = dir.join("authorization");
    fs::write(&authorization, "Basic canary-basic").unwrap();
    let forward =
        json!({"name": "f", "local_addr": "127.0.0.1:1", "authorization_file": authorization});
    let kubeconfig = kubeconfig(dir);
    agent(shared_gateway(), &Cluster::new(), &[forward]).edit(|yaml| {
        yaml["admin"] = json!({"listen": local.addr.to_string(), "token": "canary-admin-token"});
        yaml["monitoring"] = json!({"enabled": true, "prometheus": {"enabled": true, "listen": local.addr.to_string()}});
        yaml["kubernetes"] = json!({"enabled": true, "kubeconfig": kubeconfig});
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn it_holds_what_a_ticket_needs_and_no_secret() {
    let dir = temp_dir("bundle");
    let local = gossip().await;
    let config = leaky(&dir, &local);
    let token = fs::read_to_string(config.token_file()).unwrap();
    let bundle = dir.join("ticket.zip");
    let out = run(&config, &bundle).await;
    assert_eq!(out.status.code(), Some(1), "no cluster answers");
    assert_eq!(
        fs::metadata(&bundle).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let entries = entries(&bundle);
    let names: Vec<_> = entries.iter().map(|(name, _)| name.as_str()).collect();
    let all = [
        "README.txt",
        "table.txt",
        "doctor.json",
        "version.txt",
        "config.json",
        "readyz.json",
        "livez.json",
        "info.json",
        "metrics.txt",
    ];
    assert_eq!(names, all);
    let text = |name: &str| &entries.iter().find(|(entry, _)| entry == name).unwrap().1;
    let found: Value = serde_json::from_str(text("doctor.json")).unwrap();
    assert_eq!(
        found["summary"]["failed"], 2,
        "kubernetes and the forward: {found:#}"
    );
    assert!(text("README.txt").contains("metrics.txt"));
    assert!(text("version.txt").starts_with("pipeops-agent "));
    assert!(
        text("info.json").contains("GET /info"),
        "what the agent said is there"
    );
    assert!(
        text("info.json").contains("Bearer ***REDACTED***"),
        "it was asked with its token"
    );
    let config: Value = serde_json::from_str(text("config.json")).unwrap();
    assert_eq!(config["admin"]["token"], "***REDACTED***");
    assert_eq!(config["tunnel"]["forwards"][0]["name"], "f");

    let shown = [out.stdout, out.stderr].concat();
    let mut everything = vec![("the output".to_owned(), String::from_utf8(shown).unwrap())];
    everything.extend(entries);
    for (name, text) in everything {
        for canary in CANARIES.into_iter().chain([token.trim()]) {
            assert!(!text.contains(canary), "{canary} is in {name}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_can_not_use_it_does_not_tell() {
    let dir = temp_dir("bundle");
    let config = agent(shared_gateway(), &Cluster::new(), &[]).edit(|yaml| {
        yaml["pipeops"]["api_url"] = "https://user:canary-url@localhost:1".into();
    });
    let bundle = dir.join("refused.zip");
    let out = run(&config, &bundle).await;
    assert_eq!(out.status.code(), Some(1));
    let shown = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
    assert!(shown.contains("pipeops.api_url: must be a URL"), "{shown}");
    let bundled = entries(&bundle).into_iter().map(|(_, text)| text);
    for text in bundled.chain([shown]) {
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_replaces_nothing() {
    let dir = temp_dir("bundle");
    let bundle = dir.join("there.zip");
    fs::write(&bundle, "mine").unwrap();
    let config = agent(shared_gateway(), &Cluster::new(), &[]);
    let out = run(&config, &bundle).await;
    assert_eq!(out.status.code(), Some(2));
    assert!(out.stdout.is_empty());
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("is there already"), "{said}");
    assert_eq!(fs::read(&bundle).unwrap(), b"mine");
}
