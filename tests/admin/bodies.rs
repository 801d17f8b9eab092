//! Each endpoint of the API reference, to the field.

use crate::{
    client::{ask, assert_golden, get, json},
    common::face::Face,
    fixture::{GatewayOf, Tunnel, demo},
    origin::Origin,
};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// The beginning of `/info`, and all of `/version`.
const BUILD: &str = r#"{"version":"<version>","git_commit":"<build>","build_date":"<time>","go_version":"rustc <version>""#;

fn faces(tunnel: &mut Tunnel) -> [Face; 2] {
    [tunnel.agent.face(), tunnel.own_gateway().face()]
}

async fn tunnel() -> Tunnel {
    let origin = Origin::echo().await;
    let gateway = crate::common::gateway::Gateway::start();
    Tunnel::own(gateway, &[demo(&origin)])
}

async fn golden(addr: SocketAddr, path: &str, body: &str) {
    let answer = get(addr, path).await;
    assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
    assert_eq!(answer.head.get("content-type"), Some("application/json"));
    assert_eq!(answer.head.get("cache-control"), Some("no-store"));
    assert_eq!(answer.head.get("x-content-type-options"), Some("nosniff"));
    assert_golden(&answer.text(), body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_says_what_the_reference_says() {
    let mut tunnel = tunnel().await;
    let at = tunnel.agent.face().admin;
    golden(at, "/healthz", r#"{"status":"ok","timestamp":"<time>"}"#).await;
    golden(
        at,
        "/readyz",
        r#"{"status":"ready","checks":{"api_connection":"ok","kubernetes":"ok","tunnel":"ok"},"timestamp":"<time>"}"#,
    )
    .await;
    golden(
        at,
        "/livez",
        r#"{"status":"alive","components":{"api_client":{"status":"healthy","last_ping":"<time>"},"tunnel_manager":{"status":"healthy","active_tunnels":<int>},"kubernetes_client":{"status":"healthy","cluster_reachable":false}},"uptime_seconds":<int>}"#,
    )
    .await;
    let (name, id) = (&tunnel.cluster.name, &tunnel.cluster.id);
    let features = r#"{"monitoring":true,"tunneling":true,"auto_scaling":false}"#;
    let info = format!(
        r#"{BUILD},"cluster_name":"{name}","cluster_id":"{id}","kubernetes_version":null,"features":{features}}}"#
    );
    golden(at, "/info", &info).await;
    golden(at, "/version", &format!("{BUILD}}}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_speaks_the_same_language() {
    let mut tunnel = tunnel().await;
    let at = tunnel.own_gateway().face().admin;
    golden(at, "/healthz", r#"{"status":"ok","timestamp":"<time>"}"#).await;
    golden(
        at,
        "/readyz",
        r#"{"status":"ready","checks":{"listener":"ok","store":"ok","certificate":"ok"},"timestamp":"<time>"}"#,
    )
    .await;
    golden(
        at,
        "/livez",
        r#"{"status":"alive","components":{"listener":{"status":"healthy","workers":<int>},"agents":{"status":"healthy","connected":1},"store":{"status":"healthy","clusters":1},"certificate":{"status":"healthy","not_after":"<time>"}},"uptime_seconds":<int>}"#,
    )
    .await;
    let features = r#"{"monitoring":true,"tunneling":true,"auto_scaling":false}"#;
    let info = format!(
        r#"{BUILD},"domain":"pipeops.localhost","public_url":"<text>","workers":<int>,"agents_connected":1,"clusters":1,"features":{features}}}"#
    );
    golden(at, "/info", &info).await;
    golden(at, "/version", &format!("{BUILD}}}")).await;
    let config = json(&get(at, "/config").await);
    assert_eq!(config["domain"], "pipeops.localhost");
    assert_eq!(config["admin"]["listen"], "127.0.0.1:0");
}

/// Fails unless `is` has everything of `like`, with values of the same kind.
fn assert_like(is: &Value, like: &Value, path: &str) {
    match (is, like) {
        (Value::Object(is), Value::Object(like)) => {
            for (name, like) in like {
                let is = is.get(name).unwrap_or_else(|| panic!("no {path}.{name}"));
                assert_like(is, like, &format!("{path}.{name}"));
            }
        }
        (Value::Array(is), Value::Array(like)) => {
            for (n, is) in is.iter().enumerate() {
                assert_like(is, &like[0], &format!("{path}[{n}]"));
            }
        }
        (Value::String(_), Value::String(_)) | (Value::Bool(_), Value::Bool(_)) => {}
        _ => panic!("{path} is {is}, not like {like}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agents_configuration_reads_as_the_reference_has_it_and_hides_the_token() {
    let gateway = GatewayOf::Test(Box::new(crate::common::gateway::Gateway::start()));
    let cluster = crate::fixture::Cluster::new();
    let token = gateway.agent_token(&cluster.name, &cluster.id);
    let canary = token.clone();
    let forward = json!({"name": "kubernetes-api", "local_addr": "localhost:6443"});
    let agent = crate::fixture::agent(&gateway, &cluster, &[forward]).edit(|config| {
        config["agent"]["labels"] = json!({"environment": "production", "region": "us-east-1"});
        let platform = config["pipeops"].as_object_mut().unwrap();
        platform.remove("token_file");
        platform.insert("token".to_owned(), canary.into());
    });
    let mut agent = agent.start();
    let answer = get(agent.face().admin, "/config").await;
    let text = answer.text();
    assert!(!text.contains(&token), "{text}");
    let reference = json!({
        "agent": {
            "cluster_name": "production-cluster",
            "namespace": "pipeops-system",
            "labels": {"environment": "production", "region": "us-east-1"},
        },
        "pipeops": {
            "api_url": "https://api.pipeops.sh", "token": "***REDACTED***", "timeout": "30s",
        },
        "tunnel": {
            "enabled": true,
            "forwards": [{"name": "kubernetes-api", "local_addr": "localhost:6443"}],
        },
        "monitoring": {"enabled": true, "prometheus": {"enabled": true}},
    });
    let config = json(&answer);
    assert_like(&config, &reference, "");
    assert_eq!(config["pipeops"]["token"], "***REDACTED***");
    assert_eq!(config["pipeops"]["timeout"], "30s");
    assert_eq!(config["tunnel"]["forwards"][0]["name"], "kubernetes-api");
    let at = |section: &str| text.find(&format!("\"{section}\":{{")).unwrap();
    let order = ["agent", "pipeops", "tunnel", "monitoring"].map(at);
    assert!(order.is_sorted() && order[0] == 1, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_aliases_and_verbose_answer_alike() {
    let mut tunnel = tunnel().await;
    for face in faces(&mut tunnel) {
        let at = face.admin;
        let paths = [
            "/healthz", "/readyz", "/livez", "/version", "/health", "/ready",
        ];
        for path in paths {
            let (whole, head) = (get(at, path).await, ask(at, "HEAD", path, "").await);
            assert_eq!((whole.status(), head.status()), (200, 200), "{path}");
            assert_eq!(head.body.bytes, b"");
            assert_eq!(
                head.head.get("content-length").unwrap(),
                whole.body.bytes.len().to_string()
            );
        }
        assert_eq!(
            ask(face.metrics, "HEAD", "/metrics", "").await.status(),
            200
        );
        let health = get(at, "/healthz?verbose").await;
        let kind = Some("text/plain; charset=utf-8");
        assert_eq!(health.head.get("content-type"), kind);
        assert!(
            health.text().ends_with(" ok\nhealthz check passed\n"),
            "{}",
            health.text()
        );
    }
    let [agent, gateway] = faces(&mut tunnel);
    let ready = "[+]api_connection ok\n[+]kubernetes ok\n[+]tunnel ok\nreadyz check passed\n";
    assert_eq!(get(agent.admin, "/ready?verbose").await.text(), ready);
    assert!(
        get(agent.admin, "/livez?verbose")
            .await
            .text()
            .starts_with("[+]agent ok\n")
    );
    let live = get(gateway.admin, "/livez?verbose").await.text();
    assert!(
        live.contains("[+]worker-0 ok\n") && live.contains("[+]main ok\n"),
        "{live}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_at_their_own_port_alone() {
    let mut tunnel = tunnel().await;
    for face in faces(&mut tunnel) {
        let answer = get(face.metrics, "/metrics").await;
        assert_eq!(answer.status(), 200);
        assert!(
            answer
                .head
                .get("content-type")
                .unwrap()
                .starts_with("text/plain")
        );
        assert!(answer.text().contains("\nprocess_"), "{}", answer.text());
        assert_eq!(get(face.admin, "/metrics").await.code(), "NOT_FOUND");
        assert_eq!(get(face.metrics, "/readyz").await.code(), "NOT_FOUND");
    }
}
