//! What is counted is what was sent, on both programs.

use crate::{
    common::{face::Face, gateway::Gateway, sum::Seeded},
    fixture::{Form, Tunnel, demo},
    origin::Origin,
    scrape::{Samples, until},
    wire::{Wire, within},
};

fn bytes(program: &str, service: &str, direction: &str) -> String {
    format!(
        "pipeops_{program}_service_bytes_total{{direction=\"{direction}\",service=\"{service}\"}}"
    )
}

fn outcome(program: &str, service: &str, outcome: &str) -> String {
    format!("pipeops_{program}_requests_total{{outcome=\"{outcome}\",service=\"{service}\"}}")
}

struct Faces {
    agent: Face,
    gateway: Face,
}

fn tunnel(origin: &Origin) -> (Tunnel, Faces) {
    let mut tunnel = Tunnel::own(Gateway::start(), &[demo(origin)]);
    let faces = Faces {
        agent: tunnel.agent.face(),
        gateway: tunnel.own_gateway().face(),
    };
    (tunnel, faces)
}

impl Faces {
    /// Asserts that both programs have counted these bytes of bodies towards the target and back.
    async fn agree(&self, up: f64, down: f64) {
        let (agent, gateway) = (
            Samples::of(self.agent.metrics).await,
            Samples::of(self.gateway.metrics).await,
        );
        let counted = [
            gateway.get(&bytes("gateway", "demo", "sent")),
            agent.get(&bytes("agent", "demo", "received")),
            gateway.get(&bytes("gateway", "demo", "received")),
            agent.get(&bytes("agent", "demo", "sent")),
        ];
        assert_eq!(counted, [up, up, down, down]);
        assert_eq!(agent.get("pipeops_tunnel_bytes_received"), up);
        assert_eq!(agent.get("pipeops_tunnel_bytes_sent"), down);
        let carrier = "pipeops_agent_carrier_bytes_total{direction=\"sent\",kind=\"tls\"}";
        assert!(agent.get(carrier) > down);
    }
}

#[tokio::test]
async fn bodies_are_counted_to_the_byte_on_both_programs() {
    let origin = Origin::echo().await;
    let (tunnel, faces) = tunnel(&origin);
    let body = Seeded::bytes(1, 3_000_001);
    let answer = tunnel.ask(tunnel.post("/", &body)).await;
    assert_eq!(answer.body.bytes, body);
    faces.agree(3_000_001.0, 3_000_001.0).await;

    // By now the stream is kept, and the service known.
    let chunked = tunnel.head(Form::Host, "POST", "/", "Transfer-Encoding: chunked\r\n");
    let request = format!("{chunked}5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    assert_eq!(tunnel.ask(request).await.text(), "hello world");
    tunnel.ask(tunnel.head(Form::Host, "HEAD", "/", "")).await;
    faces.agree(3_000_012.0, 3_000_012.0).await;
    for (program, face) in [("agent", faces.agent), ("gateway", faces.gateway)] {
        let complete = outcome(program, "demo", "complete");
        until(face.metrics, &complete, |count| count == 3.0).await;
        let samples = Samples::of(face.metrics).await;
        assert_eq!(
            samples.get(&format!("pipeops_{program}_requests_active")),
            0.0
        );
        assert!(samples.get(&format!("pipeops_{program}_streams_opened_total")) >= 1.0);
        let first = format!("pipeops_{program}_first_byte_seconds_count{{service=\"demo\"}}");
        assert_eq!(samples.get(&first), 3.0);
    }
    let gateway = Samples::of(faces.gateway.metrics).await;
    assert_eq!(
        gateway.get("pipeops_gateway_stream_open_seconds_count"),
        3.0
    );
    assert_eq!(gateway.get("pipeops_gateway_agents"), 1.0);
    assert_eq!(gateway.get("pipeops_gateway_clusters"), 1.0);
    let answered = "pipeops_gateway_http_requests_total{status=\"2xx\",version=\"1.1\"}";
    assert_eq!(gateway.get(answered), 3.0);
    let agent = Samples::of(faces.agent.metrics).await;
    assert!(agent.get("pipeops_agent_target_connects_total{result=\"ok\"}") >= 1.0);
}

#[tokio::test]
async fn upgraded_connections_count_while_they_are_open() {
    let (origin, mut accepted) = Origin::accepting().await;
    let (tunnel, faces) = tunnel(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: test\r\n";
    client
        .send(tunnel.head(Form::Host, "GET", "/", upgrade))
        .await;
    let mut target = accepted.next().await;
    target.head().await;
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n";
    target.send(switch).await;
    assert_eq!(client.head().await.status(), 101);
    client.send(vec![1; 70_000]).await;
    within("bytes up", target.exactly(70_000)).await;
    target.send(vec![2; 30_000]).await;
    within("bytes down", client.exactly(30_000)).await;
    faces.agree(70_000.0, 30_000.0).await;
    let active = "pipeops_gateway_requests_active";
    assert_eq!(Samples::of(faces.gateway.metrics).await.get(active), 1.0);
    drop((client, target));
    until(faces.gateway.metrics, active, |count| count == 0.0).await;
}

#[tokio::test]
async fn names_of_services_come_from_agents_and_never_from_clients() {
    let origin = Origin::echo().await;
    let (mut tunnel, faces) = tunnel(&origin);
    let cluster = tunnel.cluster.name.clone();
    tunnel.token = tunnel
        .gateway
        .user_token("any@example.com", "viewer", &cluster, "tunnel:*");
    let request = tunnel.get("/").replace(" /demo/", " /invented/");
    let answer = tunnel.ask(request).await;
    assert_eq!(answer.code(), "SERVICE_UNKNOWN");
    let unknown = "errors_total{code=\"SERVICE_UNKNOWN\"}";
    for (program, face) in [("agent", faces.agent), ("gateway", faces.gateway)] {
        let refused = outcome(program, "other", "refused");
        until(face.metrics, &refused, |count| count == 1.0).await;
        let text = crate::scrape::metrics(face.metrics, crate::scrape::TEXT).await;
        assert!(!text.contains("invented"), "{text}");
        let samples = Samples::of(face.metrics).await;
        assert_eq!(samples.get(&format!("pipeops_{program}_{unknown}")), 1.0);
    }
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let origin = Origin::echo().await;
    let (mut tunnel, faces) = tunnel(&origin);
    let good = std::mem::replace(&mut tunnel.token, "nonsense".to_owned());
    assert_eq!(tunnel.ask(tunnel.get("/")).await.status(), 401);
    tunnel.token = good;
    let scope = tunnel.get("/").replace(" /demo/", " /other/");
    assert_eq!(tunnel.ask(scope).await.status(), 403);
    let samples = Samples::of(faces.gateway.metrics).await;
    let failures = |why| format!("pipeops_gateway_auth_failures_total{{reason=\"{why}\"}}");
    assert_eq!(samples.get(&failures("malformed")), 1.0);
    assert_eq!(samples.get(&failures("scope")), 1.0);
    assert_eq!(samples.get(&failures("unknown")), 0.0);
}

#[tokio::test]
async fn a_target_that_refuses_is_counted_where_it_is_seen() {
    let origin = Origin::echo().await;
    let (tunnel, faces) = tunnel(&origin);
    drop(origin);
    let request = tunnel.get("/");
    tunnel.ask_until(&request, 502).await;
    let agent = Samples::of(faces.agent.metrics).await;
    let refused = "pipeops_agent_target_connects_total{result=\"refused\"}";
    assert!(agent.get(refused) >= 1.0);
    let code = "pipeops_agent_errors_total{code=\"TARGET_REFUSED\"}";
    assert!(agent.get(code) >= 1.0);
    let gateway = outcome("gateway", "demo", "refused");
    until(faces.gateway.metrics, &gateway, |count| count >= 1.0).await;
}

#[tokio::test]
async fn a_round_trip_on_the_control_channel_is_timed() {
    let origin = Origin::echo().await;
    let (_tunnel, faces) = tunnel(&origin);
    for (program, face) in [("agent", faces.agent), ("gateway", faces.gateway)] {
        let count = format!("pipeops_{program}_control_round_trip_seconds_count");
        until(face.metrics, &count, |count| count >= 1.0).await;
    }
}

#[tokio::test]
async fn handshakes_that_come_to_nothing_are_told_apart() {
    let origin = Origin::echo().await;
    let (tunnel, faces) = tunnel(&origin);
    let handshakes =
        |result| format!("pipeops_gateway_tls_handshakes_total{{result=\"{result}\"}}");
    let connect = || tokio::net::TcpStream::connect(tunnel.gateway.addr);
    Wire::new(connect().await.unwrap())
        .send("GET / HTTP/1.1\r\n\r\n")
        .await;
    until(faces.gateway.metrics, &handshakes("protocol"), |n| n == 1.0).await;
    drop(connect().await.unwrap());
    until(faces.gateway.metrics, &handshakes("closed"), |n| n == 1.0).await;
    // The agent's control channel and carrier.
    let samples = Samples::of(faces.gateway.metrics).await;
    assert!(samples.get(&handshakes("ok")) >= 2.0);
}
