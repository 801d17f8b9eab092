//! `pipeops-gateway` as a process, and its command line.

use super::{
    face::{self, Face},
    free_port,
    process::{Process, Tail, log_message},
    temp_dir,
};
use serde_json::{Value, json};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pipeops-gateway");
/// The wildcard domain of the host form.
pub const DOMAIN: &str = "pipeops.localhost";

/// A gateway with a self-signed certificate and a state folder of its own.
#[derive(Debug)]
pub struct Gateway {
    pub process: Process,
    dir: PathBuf,
    pub addr: SocketAddr,
}

impl Gateway {
    /// Starts it and waits until it listens.
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// [`Self::start`], with changes to its configuration.
    pub fn start_with(change: impl FnOnce(&mut Value)) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], free_port())), change)
    }

    /// [`Self::start_with`], at this address.
    pub fn start_at(addr: SocketAddr, change: impl FnOnce(&mut Value)) -> Self {
        let dir = temp_dir("gateway");
        let mut config = json!({
            "listen": addr, "domain": DOMAIN, "public_url": format!("https://localhost:{}", addr.port()),
            "hosts": ["localhost", "127.0.0.1"], "state_dir": dir.join("state"), "tls": {"self_signed": true},
            "log": {"level": "info", "format": "json"}, "drain_timeout": "30s",
        });
        face::anywhere(&mut config);
        change(&mut config);
        fs::write(dir.join("config.yaml"), config.to_string()).unwrap();
        Self {
            process: Self::run(&dir),
            dir,
            addr,
        }
    }

    /// Starts it again after its end, at the same address, with the same state.
    pub fn restart(&mut self) {
        self.process = Self::run(&self.dir);
    }

    fn run(dir: &Path) -> Process {
        let mut process = Process::spawn(
            "gateway",
            Command::new(PROGRAM)
                .arg("--config")
                .arg(dir.join("config.yaml")),
        );
        process.wait_line("gateway listening", log_message("gateway listening"));
        process
    }

    pub fn ca(&self) -> PathBuf {
        self.dir.join("state/ca.crt")
    }

    /// Where it tells how it is.
    pub fn face(&mut self) -> Face {
        Face::of(&mut self.process)
    }

    pub fn tail(&self) -> Tail {
        self.process.tail()
    }

    /// Runs a command of the gateway's program with this gateway's config.
    pub fn command(&self, args: &[&str]) -> Output {
        Command::new(PROGRAM)
            .args(args)
            .arg("--config")
            .arg(self.dir.join("config.yaml"))
            .output()
            .unwrap()
    }

    /// Runs a command that must succeed and answers its trimmed output.
    pub fn cli(&self, args: &[&str]) -> String {
        let out = self.command(args);
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(
            out.status.success(),
            "pipeops-gateway {args:?}: {stderr}\n{}",
            self.tail()
        );
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    pub fn agent_token(&self, cluster: &str, id: &str) -> String {
        self.cli(&[
            "token",
            "create",
            "agent",
            "--cluster",
            cluster,
            "--cluster-id",
            id,
        ])
    }

    pub fn user_token(&self, subject: &str, role: &str, cluster: &str, scope: &str) -> String {
        let who = [
            "token",
            "create",
            "user",
            "--subject",
            subject,
            "--role",
            role,
        ];
        self.cli(
            &[
                &who[..],
                &["--cluster", cluster, "--scope", scope, "--expires", "1h"],
            ]
            .concat(),
        )
    }

    /// Revokes every token of this subject.
    pub fn revoke(&self, subject: &str) {
        let listed: Value =
            serde_json::from_str(&self.cli(&["token", "list", "-o", "json"])).unwrap();
        let tokens = listed
            .as_array()
            .or_else(|| listed["tokens"].as_array())
            .expect("a list of tokens");
        let mine: Vec<_> = tokens.iter().filter(|t| t["subject"] == subject).collect();
        assert!(!mine.is_empty(), "no token of {subject} in {listed}");
        for token in mine {
            self.cli(&[
                "token",
                "revoke",
                token["id"].as_str().expect("a token's id"),
            ]);
        }
    }

    /// A kubeconfig (path form) as the gateway's own command writes it.
    pub fn kubeconfig(&self, cluster: &str, role: &str, subject: &str) -> PathBuf {
        let file = temp_dir("kubeconfig").join("config");
        let out = file.display().to_string();
        self.cli(&[
            "kubeconfig",
            cluster,
            "--role",
            role,
            "--subject",
            subject,
            "--out",
            &out,
        ]);
        file
    }

    /// The server of the path form.
    pub fn path_server(&self, cluster: &str) -> String {
        format!(
            "https://localhost:{}/v1/clusters/{cluster}/tunnel/kubernetes",
            self.addr.port()
        )
    }

    /// The server of the host form.
    pub fn host_server(&self, id: &str) -> String {
        format!(
            "https://tunnel-{id}.{DOMAIN}:{}/kubernetes",
            self.addr.port()
        )
    }
}
