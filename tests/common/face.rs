//! Where a program under test answers probes and shows its metrics.

use super::process::{Process, log_field};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Addresses from a program's log.
#[derive(Debug, Clone, Copy)]
pub struct Face {
    pub admin: SocketAddr,
    pub metrics: SocketAddr,
}

/// Has a program listen on free ports, before a test says anything else.
pub fn anywhere(config: &mut Value) {
    config["admin"] = json!({"listen": "127.0.0.1:0"});
    config["monitoring"] = json!({
        "enabled": true, "prometheus": {"enabled": true, "listen": "127.0.0.1:0"},
    });
}

impl Face {
    /// Waits until the program has said where they are.
    pub fn of(process: &mut Process) -> Self {
        process.wait_line("admin listening", |line| {
            let at = |name| log_field(line, name)?.parse().ok();
            (log_field(line, "message")? == "admin listening").then(|| Self {
                admin: at("addr").unwrap(),
                metrics: at("metrics_addr").unwrap(),
            })
        })
    }
}
