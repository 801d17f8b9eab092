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
        Self { dir, yaml }
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
        let file = self.dir.join("config.yaml");
        fs::write(&file, self.yaml.to_string()).unwrap();
        let process = Process::spawn("agent", Command::new(PROGRAM).arg("--config").arg(file));
        Agent { process }
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
