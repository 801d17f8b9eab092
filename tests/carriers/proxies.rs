//! The way to the gateway by a proxy for HTTP.

use crate::{
    common::{
        agent::{Agent, AgentConfig, Diagnosis},
        free_port,
        gateway::Gateway,
        process::log_message,
    },
    fixture::{Cluster, GatewayOf, Tunnel, agent, demo, shared_gateway, sockets_to, until},
    origin::Origin,
    programs::{squid_tls, tinyproxy, tinyproxy_at},
};
use serde_json::json;
use std::net::SocketAddr;

/// An agent that is not started, and what makes a tunnel of it.
struct Prepared {
    cluster: Cluster,
    token: String,
    config: AgentConfig,
    _origin: Origin,
}

impl Prepared {
    async fn new(gateway: &Gateway) -> Self {
        let (origin, cluster) = (Origin::echo().await, Cluster::new());
        let config = agent(gateway, &cluster, &[demo(&origin)]);
        let token = gateway.user_token("u", "viewer", &cluster.name, "tunnel:demo");
        Self {
            cluster,
            token,
            config,
            _origin: origin,
        }
    }

    /// Starts it with these variables; a request must pass, and another.
    async fn serve(self, gateway: GatewayOf, variables: &[(&str, &str)]) -> (Tunnel, Origin) {
        let mut agent = self.config.spawn_with(variables);
        agent
            .process
            .wait_line("tunnel ready", log_message("tunnel ready"));
        let tunnel = Tunnel {
            cluster: self.cluster,
            gateway,
            agent,
            token: self.token,
            subject: "u".to_owned(),
        };
        for body in ["once", "twice"] {
            assert_eq!(tunnel.ask(tunnel.post("/", body)).await.text(), body);
        }
        (tunnel, self._origin)
    }

    /// Starts it by the shared gateway.
    async fn shared(self, variables: &[(&str, &str)]) -> (Tunnel, Origin) {
        self.serve(GatewayOf::All(shared_gateway()), variables)
            .await
    }
}

/// Waits for the log to say why there is no connection, and that it says no secret.
fn why(agent: &mut Agent, secret: &str) -> String {
    let why = agent.process.wait_line("a reason", |line| {
        let told = ["agent refused", "gateway unreachable"];
        told.iter().find_map(|message| log_message(message)(line))
    });
    assert!(!agent.process.output().contains(secret));
    why
}

fn direct(tunnel: &Tunnel) -> usize {
    sockets_to(tunnel.agent.process.pid(), tunnel.gateway.addr)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_go_by_the_proxy_that_a_variable_names() {
    let proxy = tinyproxy(None);
    let url = format!("http://{}", proxy.addr);
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let prepared = Prepared::new(shared_gateway()).await;
        let (tunnel, _origin) = prepared.shared(&[(name, &url)]).await;
        assert_eq!(direct(&tunnel), 0, "{name}");
        assert!(sockets_to(tunnel.agent.process.pid(), proxy.addr) >= 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_and_a_password_in_the_key_are_used_and_not_shown() {
    let proxy = tinyproxy(Some(("ada", "s3cretword")));
    let mut prepared = Prepared::new(shared_gateway()).await;
    let url = format!("http://ada:s3cretword@{}", proxy.addr);
    prepared.config = prepared
        .config
        .edit(|yaml| yaml["pipeops"]["proxy"] = json!({"url": url}));
    // The key comes first: nobody listens at the variable's.
    let dead = format!("http://127.0.0.1:{}", free_port());
    let (tunnel, _origin) = prepared.shared(&[("HTTPS_PROXY", &dead)]).await;
    assert_eq!(direct(&tunnel), 0);
    assert!(!tunnel.agent.process.output().contains("s3cretword"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_wants_another_password_is_told_from_a_gateway_that_refuses() {
    let proxy = tinyproxy(Some(("ada", "s3cretword")));
    for (user, expected) in [
        (
            "ada:wr0ng@",
            "does not accept the user and password in its URL (401",
        ),
        ("", "wants a user and a password (407"),
    ] {
        let prepared = Prepared::new(shared_gateway()).await;
        let url = format!("http://{user}{}", proxy.addr);
        let mut agent = prepared.config.spawn_with(&[("HTTPS_PROXY", &url)]);
        let why = why(&mut agent, "wr0ng");
        assert!(why.contains(expected), "{why}");
        assert!(
            why.contains(&format!("the proxy http://{}", proxy.addr)),
            "{why}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_is_used_for_whom_no_proxy_names() {
    let dead = format!("http://127.0.0.1:{}", free_port());
    let port = shared_gateway().addr.port();
    for list in ["example.com, localhost", "*", &format!("localhost:{port}")] {
        let prepared = Prepared::new(shared_gateway()).await;
        let variables = [("HTTPS_PROXY", dead.as_str()), ("NO_PROXY", list)];
        let (tunnel, _origin) = prepared.shared(&variables).await;
        assert!(direct(&tunnel) >= 2, "{list}");
    }
    let mut prepared = Prepared::new(shared_gateway()).await;
    prepared.config = prepared
        .config
        .edit(|yaml| yaml["pipeops"]["proxy"] = json!({"no_proxy": "localhost"}));
    prepared.shared(&[("HTTPS_PROXY", &dead)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_may_speak_tls() {
    let proxy = squid_tls("ada", "s3cret:word");
    let url = format!("https://ada:s3cret%3Aword@localhost:{}", proxy.addr.port());
    let mut untrusting = Prepared::new(shared_gateway())
        .await
        .config
        .spawn_with(&[("HTTPS_PROXY", &url)]);
    let why = why(&mut untrusting, "s3cret");
    assert!(
        why.contains("the certificate of the proxy https://localhost:"),
        "{why}"
    );
    assert!(why.contains("pipeops.proxy.ca_file"), "{why}");
    let mut prepared = Prepared::new(shared_gateway()).await;
    let ca = proxy.ca();
    prepared.config = prepared
        .config
        .edit(|yaml| yaml["pipeops"]["proxy"] = json!({"url": url, "ca_file": ca}));
    let (tunnel, _origin) = prepared.shared(&[]).await;
    assert_eq!(direct(&tunnel), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_dies_and_comes_back_is_used_again() {
    let mut proxy = tinyproxy(None);
    let url = format!("http://{}", proxy.addr);
    let prepared = Prepared::new(shared_gateway()).await;
    let (mut tunnel, _origin) = prepared.shared(&[("HTTPS_PROXY", &url)]).await;
    proxy.process.signal("KILL");
    proxy.process.wait_exit(crate::common::DEADLINE);
    let why = why(&mut tunnel.agent, "nothing");
    assert!(
        why.contains("can not connect to the proxy http://127.0.0.1:"),
        "{why}"
    );
    let _again = tinyproxy_at(proxy.addr, None);
    let answer = tunnel.ask_until(&tunnel.get("/"), 200).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_the_proxy_does_not_reach_is_not_the_proxys_fault() {
    let proxy = tinyproxy(None);
    let gone = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let prepared = Prepared::new(shared_gateway()).await;
    let config = prepared.config.edit(|yaml| {
        yaml["pipeops"]["api_url"] = json!(format!("https://localhost:{}", gone.port()));
    });
    let url = format!("http://{}", proxy.addr);
    let mut agent = config.spawn_with(&[("HTTPS_PROXY", &url)]);
    let why = why(&mut agent, "nothing");
    assert!(
        why.contains(&format!("can not reach localhost:{} (5", gone.port())),
        "{why}"
    );
    assert!(why.contains("check that the gateway runs"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_proxy_is_noticed_and_told() {
    // Greets before it is spoken to, and never ends its greeting.
    let babble =
        Origin::raw(
            |mut conn| async move { while conn.try_send("x".repeat(4096)).await.is_ok() {} },
        )
        .await;
    let url = format!("http://{}", babble.addr);
    let prepared = Prepared::new(shared_gateway()).await;
    let why = why(
        &mut prepared.config.spawn_with(&[("HTTPS_PROXY", &url)]),
        "nothing",
    );
    assert!(why.contains("does not answer as a proxy does"), "{why}");
}

async fn diagnose(config: &AgentConfig, proxy: &str) -> Diagnosis {
    let mut command = config.command(&["doctor", "--output", "json"]);
    command.env("HTTPS_PROXY", proxy);
    tokio::task::spawn_blocking(move || Diagnosis::of(&mut command))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_goes_the_same_way_and_says_where_it_ends() {
    let proxy = tinyproxy(Some(("ada", "s3cretword")));
    let prepared = Prepared::new(shared_gateway()).await;
    let good = format!("http://ada:s3cretword@{}", proxy.addr);
    let found = diagnose(&prepared.config, &good).await;
    for component in ["dns", "tcp", "proxy", "tls", "token", "clock"] {
        assert_eq!(found.status(component), "ok", "{:#}", found.report);
    }
    let details = found.details("proxy");
    assert!(
        details.contains(&format!("http://{} (HTTPS_PROXY) leads to it", proxy.addr)),
        "{details}"
    );
    assert!(!found.report.to_string().contains("s3cretword"));
    found.assert_carries();
    let found = diagnose(&prepared.config, &format!("http://{}", proxy.addr)).await;
    assert_eq!(
        (found.status("proxy"), found.status("tls")),
        ("failed", "skipped")
    );
    assert!(found.details("proxy").contains("407"), "{:#}", found.report);
    let dead = format!("http://127.0.0.1:{}", free_port());
    let found = diagnose(&prepared.config, &dead).await;
    assert_eq!(
        (found.status("tcp"), found.status("proxy")),
        ("failed", "skipped")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_hangs_does_not_hold_the_agent_for_ever() {
    let (silent, _held) = Origin::accepting().await;
    let url = format!("http://{}", silent.addr);
    let prepared = Prepared::new(shared_gateway()).await;
    let config = prepared
        .config
        .edit(|yaml| yaml["pipeops"]["timeout"] = json!("1s"));
    let mut agent = config.spawn_with(&[("HTTPS_PROXY", &url)]);
    let why = why(&mut agent, "nothing");
    assert!(
        why.contains("does not lead to localhost:") && why.contains("within 1s"),
        "{why}"
    );
    until("another try", || {
        let tries = silent.connections();
        (tries > 1).then_some(()).ok_or(format!("{tries} tries"))
    })
    .await;
}
