//! The thirteen names that users were promised: exact, with their types, with live values.

use crate::{
    common::gateway::Gateway,
    fixture::{Tunnel, demo},
    origin::Origin,
    scrape::{OPENMETRICS, Samples, TEXT, get, metrics, until},
};
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

const CONTRACT: [(&str, &str); 13] = [
    ("pipeops_agent_up", "gauge"),
    ("pipeops_agent_connected", "gauge"),
    ("pipeops_agent_start_time_seconds", "gauge"),
    ("pipeops_api_requests_total", "counter"),
    ("pipeops_api_request_duration_seconds", "histogram"),
    ("pipeops_api_errors_total", "counter"),
    ("pipeops_tunnel_active", "gauge"),
    ("pipeops_tunnel_bytes_sent", "counter"),
    ("pipeops_tunnel_bytes_received", "counter"),
    ("pipeops_kubernetes_api_requests_total", "counter"),
    ("pipeops_agent_memory_bytes", "gauge"),
    ("pipeops_agent_cpu_seconds_total", "counter"),
    ("pipeops_agent_goroutines", "gauge"),
];

#[tokio::test]
async fn every_name_is_there_with_its_type_and_a_sample_in_both_formats() {
    let origin = Origin::echo().await;
    let mut tunnel = Tunnel::to(&origin);
    let face = tunnel.agent.face();
    let (text, open) = (
        metrics(face.metrics, TEXT).await,
        metrics(face.metrics, OPENMETRICS).await,
    );
    for (name, kind) in CONTRACT {
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}");
        let sample = match kind {
            "histogram" => format!("\n{name}_count "),
            _ => format!("\n{name}"),
        };
        assert!(text.contains(&sample), "{name} in {text}");
        assert!(open.contains(&sample), "{name} in {open}");
    }
    assert!(open.contains("# TYPE pipeops_tunnel_bytes_sent unknown\n"));
    assert!(open.contains("# TYPE pipeops_api_requests counter\n"));
    for bound in ["0.1", "0.5", "1.0", "+Inf"] {
        let bucket = format!("pipeops_api_request_duration_seconds_bucket{{le=\"{bound}\"}} ");
        assert!(text.contains(&bucket) && open.contains(&bucket), "{bucket}");
    }
}

#[tokio::test]
async fn the_values_are_the_agents() {
    let origin = Origin::echo().await;
    let mut tunnel = Tunnel::own(Gateway::start(), &[demo(&origin)]);
    let face = tunnel.agent.face();
    let samples = Samples::of(face.metrics).await;
    assert_eq!(samples.get("pipeops_agent_up"), 1.0);
    assert_eq!(samples.get("pipeops_agent_connected"), 1.0);
    let request = |endpoint, status| {
        format!(
            "pipeops_api_requests_total{{endpoint=\"/v1/agent/{endpoint}\",method=\"GET\",status=\"{status}\"}}"
        )
    };
    assert_eq!(samples.get(&request("connect", "101")), 1.0);
    assert!(samples.get(&request("carrier", "101")) >= 1.0);
    assert!(samples.get("pipeops_api_request_duration_seconds_count") >= 2.0);
    assert!(samples.get("pipeops_agent_memory_bytes") > 1e6);
    assert!(samples.get("pipeops_agent_cpu_seconds_total") > 0.0);
    // The control channel, the carrier and its driver at the least.
    assert!(samples.get("pipeops_agent_goroutines") >= 3.0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let started = samples.get("pipeops_agent_start_time_seconds");
    assert!((now.as_secs_f64() - started).abs() < 600.0, "{started}");

    let livez: Value =
        serde_json::from_str(&get(face.admin, "/livez", "*/*").await.text()).unwrap();
    let active = &livez["components"]["tunnel_manager"]["active_tunnels"];
    assert_eq!(active.as_f64(), Some(samples.get("pipeops_tunnel_active")));
    assert_eq!(active, 1);

    // Disconnected is something else than idle.
    tunnel.own_gateway().process.signal("KILL");
    until(face.metrics, "pipeops_agent_connected", |v| v == 0.0).await;
    until(face.metrics, "pipeops_tunnel_active", |v| v == 0.0).await;
    let errors = "pipeops_api_errors_total{type=\"unreachable\"}";
    until(face.metrics, errors, |v| v >= 1.0).await;
    let samples = Samples::of(face.metrics).await;
    assert!(samples.get(&request("connect", "error")) >= 1.0);
    let reconnects = ["closed", "lost"].map(|why| {
        samples.get(&format!(
            "pipeops_agent_reconnects_total{{reason=\"{why}\"}}"
        ))
    });
    assert_eq!(reconnects.iter().sum::<f64>(), 1.0);
    assert!(samples.get("pipeops_agent_connected_seconds_total") > 0.0);
}
