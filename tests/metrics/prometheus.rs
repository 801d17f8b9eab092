//! A real Prometheus scrapes both programs in both formats.

use crate::{
    common::{free_port, gateway::Gateway, process::Process, temp_dir},
    fixture::{Form, Tunnel, demo},
    origin::Origin,
    scrape::{TEXT, connect, get},
    wire::DEADLINE,
};
use serde_json::{Value, json};
use std::{
    fs,
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Passes scrapes on to a program, which is asked for the text format: this Prometheus can not be
/// told to.
struct TextProxy {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for TextProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TextProxy {
    async fn to(program: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(async move { drop(pass(client, program).await) });
            }
        });
        Self { addr, task }
    }
}

/// One scrape; the program closes the connection after it.
async fn pass(mut client: TcpStream, program: SocketAddr) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let drops = ["accept:", "accept-encoding:", "connection:"];
    let kept = head.trim_end().lines().filter(|line| {
        let line = line.to_ascii_lowercase();
        !drops.iter().any(|name| line.starts_with(name))
    });
    let kept: Vec<_> = kept.collect();
    let head = format!(
        "{}\r\nAccept: {TEXT}\r\nConnection: close\r\n\r\n",
        kept.join("\r\n")
    );
    let mut server = connect(program).await;
    server.write_all(head.as_bytes()).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// A Prometheus at a port and with a folder of its own.
struct Prometheus {
    process: Process,
    addr: SocketAddr,
}

impl Prometheus {
    fn start(jobs: &[(&str, SocketAddr)]) -> Self {
        let dir = temp_dir("prometheus");
        let scrapes = jobs
            .iter()
            .map(|(name, addr)| json!({"job_name": name, "static_configs": [{"targets": [addr]}]}));
        let config = json!({
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s"},
            "scrape_configs": scrapes.collect::<Vec<_>>(),
        });
        fs::write(dir.join("prometheus.yml"), config.to_string()).unwrap();
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new("prometheus");
        command
            .arg(format!(
                "--config.file={}",
                dir.join("prometheus.yml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.join("data").display()
            ))
            .arg(format!("--web.listen-address={addr}"));
        let mut process = Process::spawn("prometheus", &mut command);
        process.wait_text("Server is ready to receive web requests");
        Self { process, addr }
    }

    async fn api(&self, path: &str) -> Value {
        let answer = get(self.addr, &format!("/api/v1/{path}"), "*/*").await;
        let body: Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(body["status"], "success", "{body}");
        body["data"].clone()
    }

    /// The values of a query by job.
    async fn query(&self, query: &str) -> Vec<(String, f64)> {
        let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let data = self.api(&format!("query?query={query}")).await;
        let results = data["result"].as_array().unwrap().iter();
        let values = results.map(|result| {
            let job = result["metric"]["job"].as_str().unwrap_or_default();
            (
                job.to_owned(),
                result["value"][1].as_str().unwrap().parse().unwrap(),
            )
        });
        values.collect()
    }

    /// Asks until each of these jobs has a value above zero.
    async fn until_above_zero(&self, query: &str, jobs: &[&str]) {
        let end = Instant::now() + DEADLINE;
        loop {
            let values = self.query(query).await;
            let above = |job: &&str| {
                values
                    .iter()
                    .any(|(name, value)| name == job && *value > 0.0)
            };
            if jobs.iter().all(above) {
                return;
            }
            let targets = self.api("targets").await;
            assert!(Instant::now() < end, "{query}: {values:?}\n{targets:#}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

const AGENT: [&str; 2] = ["agent-open", "agent-text"];
const GATEWAY: [&str; 2] = ["gateway-open", "gateway-text"];

/// An origin whose answer goes on, a little at a time, for as long as anybody reads.
async fn endless() -> Origin {
    Origin::raw(|mut conn| async move {
        conn.head().await;
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        let chunk = crate::wire::chunk(&[7; 16 * 1024]);
        while conn.try_send(&chunk).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test]
async fn tunnel_bytes_move_while_a_download_runs() {
    let origin = endless().await;
    let mut tunnel = Tunnel::own(Gateway::start(), &[demo(&origin)]);
    let (agent, gateway) = (
        tunnel.agent.face().metrics,
        tunnel.own_gateway().face().metrics,
    );
    let proxies = (TextProxy::to(agent).await, TextProxy::to(gateway).await);
    let prometheus = Prometheus::start(&[
        (AGENT[0], agent),
        (AGENT[1], proxies.0.addr),
        (GATEWAY[0], gateway),
        (GATEWAY[1], proxies.1.addr),
    ]);
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get("/")).await;
    assert_eq!(client.head().await.status(), 200);
    let download = tokio::spawn(async move { while client.chunk().await.is_some() {} });

    let both = [AGENT, GATEWAY].concat();
    prometheus.until_above_zero("up", &both).await;
    let moving = "rate(pipeops_tunnel_bytes_sent[20s])";
    prometheus.until_above_zero(moving, &AGENT).await;
    let moving =
        r#"rate(pipeops_gateway_service_bytes_total{service="demo",direction="received"}[20s])"#;
    prometheus.until_above_zero(moving, &GATEWAY).await;
    assert!(!download.is_finished(), "the download runs");
    download.abort();

    for query in crate::catalogue::queries() {
        prometheus.query(&query).await;
    }
    let bound = r#"pipeops_api_request_duration_seconds_bucket{le="1.0"}"#;
    assert_eq!(prometheus.query(bound).await.len(), 2, "one spelling");
    let metadata = prometheus
        .api("metadata?metric=pipeops_tunnel_bytes_sent")
        .await;
    let kinds = metadata["pipeops_tunnel_bytes_sent"].as_array().unwrap();
    for kind in ["unknown", "counter"] {
        assert!(
            kinds.iter().any(|entry| entry["type"] == kind),
            "{metadata}"
        );
    }
}
