//! Agents that are none of ours: Python's `websockets` and Node's `ws`, with the reference's own messages.

use crate::common::{DEADLINE, gateway::Gateway, root, temp_dir};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
};

/// A connected one; it ends when it is dropped.
#[derive(Debug)]
pub struct Stranger {
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

/// What it is made of.
#[derive(Debug, Clone, Copy)]
pub enum Language {
    Python,
    Node,
}

impl Language {
    fn command(self) -> Command {
        let (program, script) = match self {
            Self::Python => ("/usr/bin/python3", "agent.py"),
            Self::Node => ("node", "agent.js"),
        };
        let mut command = Command::new(program);
        // Where Debian has its modules for Node.
        command.env("NODE_PATH", "/usr/share/nodejs");
        command.arg(root().join("tests/platform").join(script));
        command
    }
}

impl Stranger {
    /// Connects as the agent of a cluster; `instance` names its process.
    pub fn connect(gateway: &Gateway, cluster: &str, id: &str, instance: Option<&str>) -> Self {
        Self::connect_by(Language::Python, gateway, cluster, id, instance)
    }

    pub fn connect_by(
        language: Language,
        gateway: &Gateway,
        cluster: &str,
        id: &str,
        instance: Option<&str>,
    ) -> Self {
        let token = temp_dir("stranger").join("token");
        fs::write(&token, gateway.agent_token(cluster, id)).unwrap();
        let url = format!("wss://localhost:{}/v1/agent/connect", gateway.addr.port());
        let mut command = language.command();
        command.arg(url).arg(gateway.ca()).arg(token).arg(id);
        if let Some(instance) = instance {
            command.args(["X-PipeOps-Instance", instance, "X-PipeOps-Protocol", "2"]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 and node");
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .all(|line| sender.send(line).is_ok())
        });
        Self {
            input: child.stdin.take(),
            child,
            lines,
        }
    }

    pub fn say(&mut self, message: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    /// Says something in an envelope.
    pub fn tell(&mut self, kind: &str, payload: &Value) {
        let message = json!({"type": kind, "id": format!("py-{kind}"), "timestamp": "2024-01-15T10:30:45Z", "payload": payload});
        self.say(&message);
    }

    /// The next message of this type; others are passed over.
    pub fn hear(&self, kind: &str) -> Value {
        loop {
            let line = self
                .lines
                .recv_timeout(DEADLINE)
                .unwrap_or_else(|e| panic!("no {kind}: {e}"));
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// Messages of this type that have come so far.
    pub fn heard(&self, kind: &str) -> usize {
        let lines = self
            .lines
            .try_iter()
            .map(|line| serde_json::from_str::<Value>(&line).unwrap());
        lines.filter(|message| message["type"] == kind).count()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(self.input.take());
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
