//! What agents and the gateway say when something is wrong between them, and
//! what nonsense on the gateway's port does to others: nothing.

use crate::{
    common::{agent::Agent, free_port, gateway::Gateway, process::log_message, temp_dir},
    fixture::{Cluster, Form, Tunnel, agent, connect, demo, shared_gateway, tls, until},
    origin::Origin,
    wire::within,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use std::{fs, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The first event with this message.
async fn event(agent: &Agent, message: &str) -> Value {
    until(message, || {
        let log = agent.process.output();
        let found = log.lines().find_map(log_message(message));
        found.ok_or_else(|| agent.tail().to_string())
    })
    .await
    .parse()
    .unwrap()
}

fn count(agent: &Agent, message: &str) -> usize {
    let log = agent.process.output();
    log.lines().filter_map(log_message(message)).count()
}

/// It goes on, with patience: not more than a few attempts in some seconds.
async fn stays_up_calmly(agent: &mut Agent, message: &str) {
    let before = count(agent, message);
    tokio::time::sleep(Duration::from_secs(8)).await;
    let more = count(agent, message) - before;
    assert!(more < 8, "{more} attempts in 8 s\n{}", agent.tail());
    assert!(
        agent.process.is_running(),
        "the agent ended\n{}",
        agent.tail()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_said_and_tried_again_with_patience() {
    let gateway = shared_gateway();
    let cluster = Cluster::new();
    let user = gateway.user_token("user", "admin", &clusters_name(gateway, &cluster), "admin");
    for token in [
        "pipeops_agent_aaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "garbage",
        &user,
    ] {
        let file = temp_dir("token").join("token");
        fs::write(&file, token).unwrap();
        let mut agent = agent(gateway, &cluster, &[])
            .edit(|yaml| yaml["pipeops"]["token_file"] = json!(file))
            .spawn();
        let event = event(&agent, "agent refused").await;
        assert!(
            event["reason"]
                .as_str()
                .is_some_and(|reason| reason.len() > 10),
            "{event}"
        );
        assert!(
            !agent
                .process
                .output()
                .contains(token.rsplit('_').next().unwrap()),
            "the token is in the log"
        );
        stays_up_calmly(&mut agent, "agent refused").await;
    }
}

/// The cluster's name, once the gateway knows it.
fn clusters_name(gateway: &Gateway, cluster: &Cluster) -> String {
    gateway.agent_token(&cluster.name, &cluster.id);
    cluster.name.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_replaced_in_its_file_is_used() {
    let gateway = shared_gateway();
    let cluster = Cluster::new();
    let good = gateway.agent_token(&cluster.name, &cluster.id);
    let file = temp_dir("token").join("token");
    fs::write(&file, "\n").unwrap();
    let config =
        agent(gateway, &cluster, &[]).edit(|yaml| yaml["pipeops"]["token_file"] = json!(file));
    let agent = config.spawn();
    tokio::time::sleep(Duration::from_secs(1)).await;
    fs::write(&file, format!("{good}\n")).unwrap();
    // A refusal is tried again after up to a minute.
    for _ in 0..3 {
        if count(&agent, "tunnel ready") > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    event(&agent, "tunnel ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_another_cluster_is_refused_and_said() {
    let gateway = shared_gateway();
    let (own, other) = (Cluster::new(), Cluster::new());
    gateway.agent_token(&other.name, &other.id);
    let agent = agent(gateway, &own, &[])
        .edit(|yaml| yaml["agent"]["cluster_id"] = json!(other.id))
        .spawn();
    let event = event(&agent, "agent refused").await;
    assert!(
        event["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("cluster")),
        "{event}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untrusted_certificate_is_said_and_no_token_is_sent() {
    let gateway = shared_gateway();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let other = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let ca = temp_dir("ca").join("ca.crt");
    fs::write(&ca, other.pem()).unwrap();
    let config =
        agent(gateway, &Cluster::new(), &[]).edit(|yaml| yaml["pipeops"]["ca_file"] = json!(ca));
    let mut agent = config.spawn();
    let event = event(&agent, "bad gateway certificate").await;
    assert!(
        event["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("certificate")),
        "{event}"
    );
    stays_up_calmly(&mut agent, "bad gateway certificate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_said() {
    let gateway = shared_gateway();
    let url = format!("https://ip6-localhost:{}", gateway.addr.port());
    let config =
        agent(gateway, &Cluster::new(), &[]).edit(|yaml| yaml["pipeops"]["api_url"] = json!(url));
    let agent = config.spawn();
    until("the agent to say what is wrong", || {
        // Where the name does not lead here, nobody answers.
        let said = count(&agent, "bad gateway certificate") + count(&agent, "gateway unreachable");
        if said > 0 {
            Ok(())
        } else {
            Err(agent.tail().to_string())
        }
    })
    .await;
    assert_eq!(count(&agent, "tunnel ready"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_gateway_is_said_and_tried_again() {
    let gateway = shared_gateway();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let no_tls = Origin::raw(|mut conn| async move {
        drop(conn.try_send("SSH-2.0-OpenSSH_9.6\r\n").await);
    })
    .await;
    for port in [
        free_port(),
        silent.local_addr().unwrap().port(),
        no_tls.addr.port(),
    ] {
        let url = format!("https://localhost:{port}");
        let config = agent(gateway, &Cluster::new(), &[])
            .edit(|yaml| yaml["pipeops"]["api_url"] = json!(url));
        let mut agent = config.spawn();
        let event = event(&agent, "gateway unreachable").await;
        assert!(
            event["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains(&port.to_string())),
            "{event}"
        );
        stays_up_calmly(&mut agent, "gateway unreachable").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_cluster_without_an_agent_is_said_to_have_none() {
    let origin = Origin::echo().await;
    let mut tunnel = Tunnel::to(&origin);
    let lone = Cluster::new();
    tunnel.gateway.agent_token(&lone.name, &lone.id);
    tunnel.token = tunnel
        .gateway
        .user_token("lone", "viewer", &lone.name, "tunnel:demo");
    tunnel.cluster = lone;
    for form in crate::fixture::FORMS {
        let mut client = tunnel.connect(form).await;
        let answer = client.ask(tunnel.head(form, "GET", "/", "")).await;
        assert_eq!(
            (answer.status(), answer.code().as_str()),
            (503, "AGENT_NOT_CONNECTED")
        );
        assert!(answer.message().contains("agent"), "{}", answer.message());
    }
}

/// A request that must work while something else goes on.
async fn assert_served(tunnel: &Tunnel) {
    let answer = tunnel.ask(tunnel.post("/", "unharmed")).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "unharmed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_gateways_port_disturbs_nobody() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let addr = tunnel.gateway.addr;
    let mut long = vec![0x16, 3, 1, 0xff, 0xff];
    long.extend(crate::common::sum::Seeded::bytes(1, 100_000));
    let garbage: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\0\0\0\0",
        &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0],
        &[0x16, 3, 3, 0xff, 0xff],
        &[0xff; 1000],
        &long,
        b"SSH-2.0-OpenSSH\r\n",
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        drop(stream.write_all(bytes).await);
        assert_served(&tunnel).await;
        drop(stream.shutdown().await);
        let mut answer = Vec::new();
        drop(within("the gateway to close", stream.read_to_end(&mut answer)).await);
        assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1 200"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_inside_tls_disturbs_nobody() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let gateway = &tunnel.gateway;
    let name = tunnel.hostname(Form::Host);
    for alpn in [&b"http/1.1"[..], b"h2"] {
        for garbage in [
            &b"\0\0\0\0\0\0\0\0\0\0\0\0"[..],
            &[0xff; 100_000],
            b"\r\n\r\n\r\n\r\n",
            b"GET\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\xff\xff\x04\0\0\0\0\0",
        ] {
            let mut stream = tls(gateway.addr, &gateway.ca(), &name, alpn).await.unwrap();
            drop(stream.write_all(garbage).await);
            assert_served(&tunnel).await;
            drop(stream.shutdown().await);
            let mut answer = Vec::new();
            drop(within("the gateway to close", stream.read_to_end(&mut answer)).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_and_slow_connections_disturb_nobody() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let addr = tunnel.gateway.addr;
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(TcpStream::connect(addr).await.unwrap());
    }
    assert_served(&tunnel).await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut client = tunnel.connect(Form::Host).await;
        client.send("GET /demo/ HTTP/1.1\r\nHost: ").await;
        slow.push(client);
    }
    for byte in b"tunnel-slow" {
        for client in &mut slow {
            client.send([*byte]).await;
        }
        assert_served(&tunnel).await;
    }
    // Those that never began TLS are let go in time.
    for mut stream in held {
        let mut buffer = [0; 100];
        let closed = within("an idle connection to be closed", stream.read(&mut buffer)).await;
        assert!(matches!(closed, Ok(0) | Err(_)));
    }
    assert_served(&tunnel).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_never_ends_is_let_go_in_time() {
    let gateway = shared_gateway();
    let mut client = connect(gateway, "localhost").await;
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n").await;
    // The limit is a minute; a byte now and then does not lengthen it.
    let ends = async {
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if client.try_send("X").await.is_err() {
                return;
            }
            let mut byte = [0];
            let read =
                tokio::time::timeout(Duration::from_millis(10), client.io.read(&mut byte)).await;
            if read.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(180), ends)
        .await
        .expect("a slow head is cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_stops_for_a_while_hurts_its_own_cluster_only() {
    let origin = Origin::echo().await;
    let (good, bad) = (Tunnel::to(&origin), Tunnel::with(&[demo(&origin)]));
    bad.agent.process.signal("STOP");
    assert_served(&good).await;
    bad.agent.process.signal("CONT");
    assert_served(&bad).await;
}
