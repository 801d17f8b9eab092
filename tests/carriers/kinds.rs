//! Which kind of carrier an agent comes by.

use crate::{
    common::{
        agent::{Agent, AgentConfig},
        gateway::Gateway,
        process::{log_field, log_message},
        sum::Seeded,
    },
    fixture::{Cluster, Form, GatewayOf, Tunnel, agent, demo, shared_gateway},
    origin::Origin,
    programs::{Mux, Program, nginx},
    scrape::Samples,
    wire::response,
};
use serde_json::json;

/// A cluster's agent, not yet started, that comes by this nginx.
pub fn behind(
    nginx: &Program,
    gateway: &Gateway,
    cluster: &Cluster,
    origin: &Origin,
) -> AgentConfig {
    agent(gateway, cluster, &[demo(origin)]).edit(|yaml| {
        yaml["pipeops"]["api_url"] = json!(format!("https://localhost:{}", nginx.addr.port()));
        yaml["pipeops"]["ca_file"] = json!(nginx.ca());
    })
}

/// Starts the agent and waits until its tunnel is usable.
pub fn tunnel(gateway: GatewayOf, cluster: Cluster, config: AgentConfig) -> Tunnel {
    let token = gateway.user_token("u", "viewer", &cluster.name, "tunnel:demo");
    Tunnel {
        cluster,
        gateway,
        agent: config.start(),
        token,
        subject: "u".to_owned(),
    }
}

/// The kinds of the carriers that came up, in that order.
pub fn kinds(agent: &Agent) -> Vec<String> {
    let log = agent.process.output();
    let up = log
        .lines()
        .filter(|line| log_message("carrier up")(line).is_some());
    up.filter_map(|line| log_field(line, "kind")).collect()
}

/// A value of the agent's metrics.
pub async fn sample(tunnel: &mut Tunnel, series: &str) -> f64 {
    let face = tunnel.agent.face();
    Samples::of(face.metrics).await.get(series)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_comes_first_where_everything_works() {
    let origin = Origin::echo().await;
    let mut tunnel = Tunnel::to(&origin);
    assert_eq!(tunnel.ask(tunnel.post("/", "x")).await.text(), "x");
    assert!(kinds(&tunnel.agent).iter().all(|kind| kind == "tls"));
    let fallbacks = r#"pipeops_agent_carrier_fallbacks_total{kind="websocket"}"#;
    assert_eq!(sample(&mut tunnel, fallbacks).await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_prefers_is_used() {
    let len = 8 * 1024 * 1024;
    let body = Seeded::bytes(7, len);
    let expected = body.clone();
    let origin = Origin::answering(move |_, sent| {
        let answer: &[u8] = if sent.bytes.is_empty() {
            &body
        } else {
            &sent.bytes
        };
        response("200 OK", "", answer)
    })
    .await;
    let cluster = Cluster::new();
    let config = agent(shared_gateway(), &cluster, &[demo(&origin)]);
    let config = config.edit(|yaml| yaml["tunnel"]["carriers"] = json!({"prefer": ["websocket"]}));
    let mut tunnel = tunnel(GatewayOf::All(shared_gateway()), cluster, config);
    let mut client = tunnel.connect(Form::Host).await;
    let sent = Seeded::bytes(8, len);
    for _ in 0..3 {
        let answer = client.ask(tunnel.get("/")).await;
        assert!(answer.body.bytes == expected, "downloads come as they were");
        let answer = client.ask(tunnel.post("/", &sent)).await;
        assert!(answer.body.bytes == sent, "uploads, too");
    }
    assert!(kinds(&tunnel.agent).iter().all(|kind| kind == "websocket"));
    let carried = r#"pipeops_agent_carrier_bytes_total{direction="sent",kind="websocket"}"#;
    assert!(sample(&mut tunnel, carried).await > 6.0 * 8e6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_passes_where_nothing_else_does() {
    let origin = Origin::echo().await;
    let (gateway, cluster) = (shared_gateway(), Cluster::new());
    let proxy = nginx(gateway.addr, Mux::Removed);
    let config = behind(&proxy, gateway, &cluster, &origin);
    let mut tunnel = tunnel(GatewayOf::All(gateway), cluster, config);
    let body = Seeded::bytes(9, 3_000_000);
    let answer = tunnel.ask(tunnel.post("/", &body)).await;
    assert!(answer.body.bytes == body);
    assert!(kinds(&tunnel.agent).iter().all(|kind| kind == "websocket"));
    let fallbacks = r#"pipeops_agent_carrier_fallbacks_total{kind="websocket"}"#;
    assert!(sample(&mut tunnel, fallbacks).await >= 1.0);
    let refused =
        r#"pipeops_api_requests_total{endpoint="/v1/agent/carrier",method="GET",status="400"}"#;
    assert!(
        sample(&mut tunnel, refused).await >= 1.0,
        "the ticket is still good"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_hangs_is_overtaken_and_not_made_first_again() {
    let origin = Origin::echo().await;
    let (hole, mut held) = Origin::accepting().await;
    let (gateway, cluster) = (Gateway::start(), Cluster::new());
    let proxy = nginx(gateway.addr, Mux::To(hole.addr));
    let config = behind(&proxy, &gateway, &cluster, &origin);
    let mut tunnel = tunnel(GatewayOf::Test(Box::new(gateway)), cluster, config);
    let _first = held.next().await;
    assert_eq!(tunnel.ask(tunnel.post("/", "x")).await.text(), "x");
    let tries = hole.connections();
    // The next carrier does not wait for it: the way that worked is the first.
    tunnel.own_gateway().process.signal("KILL");
    tunnel
        .own_gateway()
        .process
        .wait_exit(crate::common::DEADLINE);
    tunnel.own_gateway().restart();
    assert_eq!(tunnel.ask_until(&tunnel.get("/"), 200).await.status(), 200);
    assert_eq!(hole.connections(), tries, "{}", tunnel.agent.tail());
    assert!(kinds(&tunnel.agent).iter().all(|kind| kind == "websocket"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_no_kind_in_common_says_so() {
    let origin = Origin::echo().await;
    let cluster = Cluster::new();
    let gateway = Gateway::start_with(|config| config["quic"] = json!({"enabled": false}));
    let config = agent(&gateway, &cluster, &[demo(&origin)]).carriers(&["quic"]);
    let mut agent = config.spawn();
    let why = agent
        .process
        .wait_line("a reason", log_message("can not open a carrier"));
    assert!(
        why.contains("tunnel.carriers.prefer has none of them"),
        "{why}"
    );
}
