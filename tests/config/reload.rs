//! Running programs whose configuration changes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::common::gateway::Gateway;
use crate::common::process::{Process, log_field, log_message};
use crate::common::temp_dir;
use crate::fixture::{Cluster, connect, demo, shared_gateway, until};
use crate::origin::Origin;
use crate::wire::{Answer, response};

const AGENT: &str = env!("CARGO_BIN_EXE_pipeops-agent");
const GATEWAY: &str = env!("CARGO_BIN_EXE_pipeops-gateway");

/// A program, and its file as a ConfigMap's volume has it: a link by way of `..data`, which is swapped.
struct Running {
    process: Process,
    folder: PathBuf,
    yaml: Value,
}

impl Running {
    fn start(name: &str, program: &str, yaml: Value) -> Self {
        let folder = temp_dir(name);
        put(&folder, &yaml.to_string());
        let file = folder.join("config.yaml");
        symlink("..data/config.yaml", &file).unwrap();
        let mut command = Command::new(program);
        let process = Process::spawn(name, command.arg("--config").arg(file));
        Self {
            process,
            folder,
            yaml,
        }
    }

    /// Another content, without a signal.
    fn put(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.yaml);
        put(&self.folder, &self.yaml.to_string());
    }

    fn hang_up(&self) {
        self.process.signal("HUP");
    }

    /// Waits for a line with this message, and answers one of its fields.
    fn told(&mut self, message: &str, field: &str) -> String {
        let line = self.process.wait_line(message, log_message(message));
        log_field(&line, field).unwrap_or_default()
    }
}

fn put(folder: &Path, content: &str) {
    let data = tempfile::Builder::new()
        .prefix("..")
        .tempdir_in(folder)
        .unwrap()
        .keep();
    fs::write(data.join("config.yaml"), content).unwrap();
    let next = folder.join("..next");
    symlink(data.file_name().unwrap(), &next).unwrap();
    fs::rename(next, folder.join("..data")).unwrap();
}

/// An agent of a cluster of its own, with these services.
struct Agent {
    running: Running,
    gateway: &'static Gateway,
    cluster: Cluster,
    token: String,
}

impl Agent {
    fn start(forwards: &[Value]) -> Self {
        let (gateway, cluster) = (shared_gateway(), Cluster::new());
        let token = gateway.agent_token(&cluster.name, &cluster.id);
        let mut agent = Self::with_token(gateway, cluster, &token, forwards);
        agent.running.told("tunnel ready", "carriers");
        agent
    }

    fn with_token(
        gateway: &'static Gateway,
        cluster: Cluster,
        token: &str,
        forwards: &[Value],
    ) -> Self {
        let file = temp_dir("token").join("token");
        fs::write(&file, token).unwrap();
        let yaml = json!({
            "agent": {"cluster_name": cluster.name},
            "pipeops": {
                "api_url": format!("https://localhost:{}", gateway.addr.port()),
                "token_file": file,
                "ca_file": gateway.ca(),
            },
            "tunnel": {"forwards": forwards},
            "kubernetes": {"enabled": false},
            "admin": {"listen": "127.0.0.1:0"},
            "monitoring": {"prometheus": {"listen": "127.0.0.1:0"}},
            "log": {"level": "info", "format": "json"},
        });
        let subject = format!("{}@example.com", cluster.name);
        let token = gateway.user_token(&subject, "viewer", &cluster.name, "tunnel:*");
        Self {
            running: Running::start("agent", AGENT, yaml),
            gateway,
            cluster,
            token,
        }
    }

    fn request(&self, service: &str) -> String {
        let (host, port) = (self.cluster.host(), self.gateway.addr.port());
        format!(
            "GET /{service}/x HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {}\r\n\r\n",
            self.token
        )
    }

    async fn ask(&self, service: &str) -> Answer {
        let mut client = connect(self.gateway, &self.cluster.host()).await;
        client.ask(self.request(service)).await
    }

    /// Asks until the answer has this status.
    async fn ask_until(&self, service: &str, status: u16) {
        let last = std::cell::Cell::new(0);
        for _ in 0..600 {
            last.set(self.ask(service).await.status());
            if last.get() == status {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!(
            "{service} still answers {}\n{}",
            last.get(),
            self.running.process.tail()
        );
    }
}

fn forward(name: &str, origin: &Origin) -> Value {
    json!({"name": name, "local_addr": origin.addr.to_string()})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_forward_is_reachable_once_the_file_has_it() {
    let origin = Origin::mirror().await;
    let mut agent = Agent::start(&[demo(&origin)]);
    assert_eq!(agent.ask("later").await.status(), 404);
    agent.running.put(|yaml| {
        let forwards = yaml["tunnel"]["forwards"].as_array_mut().unwrap();
        forwards.push(forward("later", &origin));
    });
    assert_eq!(
        agent.running.told("configuration changed", "key"),
        "tunnel.forwards"
    );
    agent.ask_until("later", 200).await;
    assert_eq!(agent.ask("demo").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_keeps_its_target() {
    let (origin, mut targets) = Origin::accepting().await;
    let mut agent = Agent::start(&[demo(&origin)]);
    let mut client = connect(agent.gateway, &agent.cluster.host()).await;
    client.send(agent.request("demo")).await;
    let mut target = targets.next().await;
    target.head().await;
    // Once the other service is there, the first has gone.
    let other = Origin::mirror().await;
    let forwards = json!([forward("other", &other)]);
    agent
        .running
        .put(|yaml| yaml["tunnel"]["forwards"] = forwards);
    agent.running.hang_up();
    agent.ask_until("other", 200).await;
    assert_eq!(agent.ask("demo").await.status(), 404);
    target.send(response("200 OK", "", b"late")).await;
    let head = client.head().await;
    assert_eq!(head.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_changes_nothing() {
    let origin = Origin::mirror().await;
    let mut agent = Agent::start(&[demo(&origin)]);
    let good = agent.running.yaml.clone();
    agent.running.put(|yaml| {
        yaml["tunnel"]["forwards"] = json!([{"name": "Not Good", "local_addr": "x:1"}]);
        yaml["pipeops"]["token"] = json!(["canary"]);
    });
    let line = agent
        .running
        .process
        .wait_text("the new configuration is bad");
    assert!(
        line.contains("tunnel.forwards[0].name: must match pattern"),
        "{line}"
    );
    assert!(
        line.contains("pipeops.token: must be text") && !line.contains("canary"),
        "{line}"
    );
    assert_eq!(agent.ask("demo").await.status(), 200);
    // A file that names what is not there is as bad.
    agent.running.put(|yaml| {
        *yaml = good;
        yaml["tunnel"]["forwards"] =
            json!([{"name": "b", "local_addr": "x:1", "protocol": "https", "ca_file": "/nowhere"}]);
    });
    agent
        .running
        .process
        .wait_text("tunnel.forwards[0].ca_file: ");
    assert_eq!(agent.ask("demo").await.status(), 200);
    assert!(agent.running.process.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_named() {
    let mut agent = Agent::start(&[]);
    agent.running.put(|yaml| {
        yaml["pipeops"]["api_url"] = json!("https://other.example");
        yaml["pipeops"]["timeout"] = json!("7s");
        yaml["admin"]["token"] = json!("canary");
    });
    agent.running.hang_up();
    assert_eq!(
        agent
            .running
            .told("restart to apply: pipeops.api_url", "new"),
        "https://other.example"
    );
    assert_eq!(
        agent
            .running
            .told("restart to apply: pipeops.timeout", "old"),
        "30s"
    );
    assert_eq!(
        agent.running.told("configuration changed", "new"),
        "***REDACTED***"
    );
    assert!(!agent.running.process.output().contains("canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_level_follows() {
    let mut agent = Agent::start(&[]);
    let quiet = "configuration read again; nothing has changed";
    agent
        .running
        .put(|yaml| yaml["log"]["level"] = json!("warn"));
    agent.running.hang_up();
    assert_eq!(agent.running.told("configuration changed", "new"), "warn");
    agent.running.hang_up();
    agent
        .running
        .put(|yaml| yaml["pipeops"]["timeout"] = json!("7s"));
    agent
        .running
        .told("restart to apply: pipeops.timeout", "new");
    assert!(!agent.running.process.output().contains(quiet));
    agent.running.put(|yaml| {
        yaml["log"]["level"] = json!("info");
        yaml["pipeops"]["timeout"] = json!("30s");
    });
    agent.running.hang_up();
    // The first line of a level is one that comes after it was set.
    let running = &mut agent.running;
    let pid = running.process.pid().to_string();
    until("an info line", || {
        Command::new("kill").args(["-HUP", &pid]).status().unwrap();
        let output = running.process.output();
        output.contains(quiet).then_some(()).ok_or(output)
    })
    .await;
}

/// A refused agent waits half a minute at least, unless its token is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_mended_token_is_tried_at_once() {
    let (gateway, cluster) = (shared_gateway(), Cluster::new());
    let good = gateway.agent_token(&cluster.name, &cluster.id);
    let bad = format!("pipeops_agent_{}_{}", "a".repeat(16), "a".repeat(52));
    let mut agent = Agent::with_token(gateway, cluster, &bad, &[]);
    agent.running.told("agent refused", "reason");
    let file = agent.running.yaml["pipeops"]["token_file"]
        .as_str()
        .unwrap()
        .to_owned();
    fs::write(file, &good).unwrap();
    agent.running.told(
        "the token has been replaced; connecting with the new one",
        "x",
    );
    agent.running.told("tunnel ready", "carriers");
    assert!(!agent.running.process.output().contains(good.trim()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_follows_its_file() {
    let state = temp_dir("state");
    let yaml = json!({
        "listen": "127.0.0.1:0",
        "state_dir": state,
        "tls": {"self_signed": true},
        "threads": 1,
        "admin": {"listen": "127.0.0.1:0"},
        "monitoring": {"prometheus": {"listen": "127.0.0.1:0"}},
        "log": {"format": "json"},
    });
    let mut gateway = Running::start("gateway", GATEWAY, yaml);
    gateway.told("gateway listening", "addr");
    gateway.put(|yaml| {
        yaml["drain_timeout"] = json!("77s");
        yaml["domain"] = json!("other.example");
    });
    gateway.hang_up();
    assert_eq!(
        gateway.told("configuration changed", "key"),
        "drain_timeout"
    );
    assert_eq!(
        gateway.told("restart to apply: domain", "old"),
        "pipeops.localhost"
    );
    gateway.process.signal("TERM");
    assert_eq!(gateway.told("gateway drains", "grace_s"), "77");
    let ended = gateway.process.wait_exit(crate::common::DEADLINE);
    assert!(ended.success(), "{ended}");
}
