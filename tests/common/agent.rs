//! `pipeops-agent` as a process.

use super::{
    face::{self, Face},
    gateway::Gateway,
    process::{Process, Tail, log_message},
    temp_dir,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pipeops-agent");

/// With `PIPEOPS_TEST_CARRIER=quic` all tests run over QUIC.
const CARRIER: &str = "PIPEOPS_TEST_CARRIER";

/// What an agent is told; [`AgentConfig::start`] runs it.
#[derive(Debug)]
pub struct AgentConfig {
    dir: PathBuf,
    yaml: Value,
}

impl AgentConfig {
    /// An agent of this cluster, with a new token, that serves nothing yet.
    pub fn new(gateway: &Gateway, cluster: &str, id: &str) -> Self {
        let dir = temp_dir("agent");
        let token = dir.join("token");
        fs::write(&token, gateway.agent_token(cluster, id)).unwrap();
        let api_url = format!("https://localhost:{}", gateway.addr.port());
        let mut yaml = json!({
            "agent": {"cluster_name": cluster, "cluster_id": id},
            "pipeops": {"api_url": api_url, "token_file": token, "ca_file": gateway.ca()},
            "tunnel": {"forwards": []},
            "kubernetes": {"enabled": false},
            "log": {"level": "info", "format": "json"},
        });
        face::anywhere(&mut yaml);
        let config = Self { dir, yaml };
        match std::env::var(CARRIER) {
            Ok(kind) => config.carriers(&[&kind]),
            Err(_) => config,
        }
    }

    /// With the cluster of this kubeconfig, users' requests made as their role's account.
    pub fn kubernetes(mut self, kubeconfig: &Path) -> Self {
        self.yaml["kubernetes"] = json!({
            "enabled": true, "kubeconfig": kubeconfig, "identity": "impersonate", "read_only": false,
        });
        self
    }

    /// With another service, as an entry of `tunnel.forwards`.
    pub fn forward(mut self, entry: Value) -> Self {
        self.yaml["tunnel"]["forwards"]
            .as_array_mut()
            .unwrap()
            .push(entry);
        self
    }

    /// With these kinds of carrier, best first.
    pub fn carriers(self, kinds: &[&str]) -> Self {
        self.edit(|yaml| yaml["tunnel"]["carriers"] = json!({"prefer": kinds}))
    }

    /// Changed in any other way.
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.yaml);
        self
    }

    /// Starts it and waits until its tunnel is usable.
    pub fn start(self) -> Agent {
        let mut agent = self.spawn();
        let ready = log_message("tunnel ready");
        agent.process.wait_line("tunnel ready", ready);
        agent
    }

    /// Starts it.
    pub fn spawn(self) -> Agent {
        self.spawn_with(&[])
    }

    /// Starts it with these variables.
    pub fn spawn_with(self, variables: &[(&str, &str)]) -> Agent {
        let mut command = self.command(&[]);
        let process = Process::spawn("agent", command.envs(variables.iter().copied()));
        Agent { process }
    }

    /// The program with this configuration and these arguments.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(self.write()).args(args);
        // Whatever proxy leads out of this machine, the gateway is on it.
        for name in ["https_proxy", "all_proxy", "http_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command
    }

    /// Writes the configuration, and answers its file.
    pub fn write(&self) -> PathBuf {
        let file = self.dir.join("config.yaml");
        fs::write(&file, self.yaml.to_string()).unwrap();
        file
    }

    /// The file with its token.
    pub fn token_file(&self) -> PathBuf {
        self.dir.join("token")
    }
}

/// What `pipeops-agent doctor --output json` says.
#[derive(Debug)]
pub struct Diagnosis {
    pub code: Option<i32>,
    pub report: Value,
    pub stderr: String,
}

impl Diagnosis {
    /// Runs the command. It waits for nobody for long.
    pub fn of(command: &mut Command) -> Self {
        let out = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        let report = serde_json::from_slice(&out.stdout);
        Self {
            code: out.status.code(),
            report: report.unwrap_or_else(|error| panic!("{error}: {stderr}")),
            stderr,
        }
    }

    /// The only finding about this component whose target holds this.
    pub fn finding(&self, component: &str, target: &str) -> &Value {
        let checks = self.report["checks"].as_array().unwrap();
        let about = |check: &&Value| {
            check["component"] == component && check["target"].as_str().unwrap().contains(target)
        };
        let found: Vec<_> = checks.iter().filter(about).collect();
        assert_eq!(found.len(), 1, "{component} {target}: {:#}", self.report);
        found[0]
    }

    /// The status of that finding.
    pub fn status(&self, component: &str) -> &str {
        self.finding(component, "")["status"].as_str().unwrap()
    }

    /// Fails unless a request was carried by each kind of carrier that there is.
    pub fn assert_carries(&self) {
        for kind in ["tls", "websocket"] {
            let status = &self.finding("carrier", kind)["status"];
            assert_eq!(status, "ok", "{kind}: {:#}", self.report);
        }
    }

    /// The details of that finding.
    pub fn details(&self, component: &str) -> &str {
        self.finding(component, "")["details"].as_str().unwrap()
    }
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    pub process: Process,
}

impl Agent {
    /// Where it tells how it is.
    pub fn face(&mut self) -> Face {
        Face::of(&mut self.process)
    }

    pub fn tail(&self) -> Tail {
        self.process.tail()
    }
}
