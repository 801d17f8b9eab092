//! Readiness through the life of an agent: what fails, why, and since when.

use crate::{
    client::{get, json, until},
    common::{
        agent::{Agent, AgentConfig},
        gateway::Gateway,
        temp_dir,
    },
    fixture::{Cluster, agent, demo, shared_gateway},
    origin::Origin,
    wire::{Answer, response},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The checks that fail, with reason and time.
fn failures(answer: &Answer) -> BTreeMap<String, (String, jiff::Timestamp)> {
    let body = json(answer);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let failures = body["failures"].as_array().unwrap().iter().map(|failure| {
        let since = text(&failure["since"]).parse().unwrap();
        (text(&failure["check"]), (text(&failure["reason"]), since))
    });
    let failures: BTreeMap<_, _> = failures.collect();
    for (name, outcome) in body["checks"].as_object().unwrap() {
        let expected = if failures.contains_key(name) {
            "failed"
        } else {
            "ok"
        };
        assert_eq!(outcome, expected, "{name}: {body}");
    }
    assert_eq!(body["status"], "not_ready");
    failures
}

fn names(answer: &Answer) -> Vec<String> {
    failures(answer).into_keys().collect()
}

fn saying(reason: &'static str) -> impl Fn(&Answer) -> bool {
    move |answer| answer.text().contains(reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_gateway_it_says_that_nobody_answers() {
    let mut agent = agent(shared_gateway(), &Cluster::new(), &[])
        .edit(|config| config["pipeops"]["api_url"] = "https://127.0.0.1:1".into())
        .spawn();
    let at = agent.face().admin;
    let answer = until(at, "/readyz", 503, saying("can not be reached")).await;
    assert_eq!(names(&answer), ["api_connection", "tunnel"]);
    let first = failures(&answer);
    // The time is that of the outage, not of the last attempt.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let later = failures(&get(at, "/readyz").await);
    assert_eq!(first["api_connection"].1, later["api_connection"].1);
    assert_eq!(first["tunnel"].1, later["tunnel"].1);
    let verbose = get(at, "/readyz?verbose").await;
    assert_eq!(verbose.status(), 503);
    let text = verbose.text();
    assert!(text.starts_with("[-]api_connection failed: "), "{text}");
    assert!(
        text.contains("\n[+]kubernetes ok\n[-]tunnel failed: "),
        "{text}"
    );
    assert!(text.ends_with("\nreadyz check failed\n"), "{text}");
    let live = json(&get(at, "/livez").await);
    assert_eq!(live["status"], "alive", "an agent alone is well");
    assert_eq!(
        live["components"]["api_client"],
        json!({"status": "unhealthy", "last_ping": null})
    );
    assert_eq!(live["components"]["tunnel_manager"]["status"], "unhealthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_told_in_the_gateways_words() {
    let dir = temp_dir("token");
    let file = dir.join("token");
    fs::write(&file, "not-a-token-of-this-gateway").unwrap();
    let mut agent = agent(shared_gateway(), &Cluster::new(), &[])
        .edit(|config| config["pipeops"]["token_file"] = file.to_str().unwrap().into())
        .spawn();
    let at = agent.face().admin;
    let answer = until(at, "/readyz", 503, saying("refuses this agent")).await;
    assert_eq!(names(&answer), ["api_connection", "tunnel"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_gone_and_comes_back_is_noticed() {
    let origin = Origin::echo().await;
    let mut gateway = Gateway::start();
    let cluster = Cluster::new();
    let mut agent = agent(&gateway, &cluster, &[demo(&origin)]).start();
    let at = agent.face().admin;
    let ready = until(at, "/readyz", 200, |_| true).await;
    assert_eq!(json(&ready).get("failures"), None);
    let before = jiff::Timestamp::now();
    gateway.process.signal("KILL");
    let answer = until(at, "/readyz", 503, saying("can not be reached")).await;
    let failed = failures(&answer);
    let second = jiff::SignedDuration::from_secs(1);
    for (name, (_, since)) in &failed {
        assert!(*since >= before - second, "{name}: {since} before {before}");
    }
    assert!(failed.contains_key("api_connection"), "{failed:?}");
    gateway.process.wait_exit(crate::wire::DEADLINE);
    gateway.restart();
    until(at, "/readyz", 200, |_| true).await;
}

fn without_carriers(config: AgentConfig) -> Agent {
    let config = config.edit(|config| config["tunnel"]["enabled"] = false.into());
    config.spawn()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_the_tunnel_says_so_and_is_ready() {
    let origin = Origin::echo().await;
    let mut gateway = Gateway::start();
    let cluster = Cluster::new();
    let mut agent = without_carriers(agent(&gateway, &cluster, &[demo(&origin)]));
    let at = agent.face().admin;
    until(at, "/readyz", 200, |_| true).await;
    gateway.process.wait_text("tunnel.enabled is false");
    let info = json(&get(at, "/info").await);
    assert_eq!(info["features"]["tunneling"], false);
    let live = json(&get(at, "/livez").await);
    assert_eq!(
        live["components"]["tunnel_manager"],
        json!({"status": "healthy", "active_tunnels": 0})
    );
    origin.assert_untouched("no carrier");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clusters_api_is_asked_and_its_outage_told() {
    let well = Arc::new(AtomicBool::new(true));
    let is_well = Arc::clone(&well);
    let version = r#"{"major":"1","minor":"28","gitVersion":"v1.28.4","gitCommit":"x","gitTreeState":"clean","buildDate":"2024-01-01T00:00:00Z","goVersion":"go1.21.5","compiler":"gc","platform":"linux/amd64"}"#;
    let api = Origin::answering(move |_, _| {
        if is_well.load(Ordering::SeqCst) {
            response("200 OK", "Content-Type: application/json\r\n", version)
        } else {
            response("500 Internal Server Error", "", "")
        }
    })
    .await;
    let kubeconfig = temp_dir("kubeconfig").join("config");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", api.addr)}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    });
    fs::write(&kubeconfig, text.to_string()).unwrap();
    let cluster = Cluster::new();
    let mut agent = agent(shared_gateway(), &cluster, &[])
        .kubernetes(&kubeconfig)
        .spawn();
    let at = agent.face().admin;
    until(at, "/readyz", 200, |_| true).await;
    let info = json(&get(at, "/info").await);
    assert_eq!(info["kubernetes_version"], "v1.28.4");
    let reachable = |answer: &Answer| json(answer)["components"]["kubernetes_client"].clone();
    let live = get(at, "/livez").await;
    assert_eq!(
        reachable(&live),
        json!({"status": "healthy", "cluster_reachable": true})
    );
    well.store(false, Ordering::SeqCst);
    let answer = until(at, "/readyz", 503, |_| true).await;
    assert_eq!(names(&answer), ["kubernetes"]);
    let live = get(at, "/livez").await;
    assert_eq!(live.status(), 200, "a restart would not mend the cluster");
    assert_eq!(
        reachable(&live),
        json!({"status": "unhealthy", "cluster_reachable": false})
    );
    well.store(true, Ordering::SeqCst);
    until(at, "/readyz", 200, |_| true).await;
}
