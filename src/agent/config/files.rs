//! Whether the files that the configuration names are there, and what they should be.

use std::path::Path as FilePath;

use kube::config::Kubeconfig;

use super::AgentConfig;
use crate::agent::dial::{client_config, read_secret};
use crate::config::{Path, Violation};

impl AgentConfig {
    pub(super) fn check_files(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut look = |path: Path, file: Option<&FilePath>, check: Check| {
            if let Some(Err(error)) = file.map(check) {
                found.push(Violation::new(path, error));
            }
        };
        let key = Path::dotted;
        look(
            key("pipeops.token_file"),
            self.pipeops.token_file.as_deref(),
            secret,
        );
        look(key("pipeops.ca_file"), self.pipeops.ca_file.as_deref(), ca);
        let proxy_ca = self.pipeops.proxy.ca_file.as_deref();
        look(key("pipeops.proxy.ca_file"), proxy_ca, ca);
        look(
            key("admin.token_file"),
            self.admin.token_file.as_deref(),
            secret,
        );
        let kubeconfig = self.kubernetes.kubeconfig.as_deref();
        look(
            key("kubernetes.kubeconfig"),
            kubeconfig,
            readable_kubeconfig,
        );
        for (at, forward) in self.tunnel.forwards.iter().enumerate() {
            let path = Path::dotted("tunnel.forwards").index(at);
            look(path.key("ca_file"), forward.ca_file.as_deref(), ca);
            let authorization = forward.authorization_file.as_deref();
            look(path.key("authorization_file"), authorization, secret);
        }
        found
    }
}

type Check = fn(&FilePath) -> Result<(), String>;

fn secret(file: &FilePath) -> Result<(), String> {
    read_secret(file)
        .map(drop)
        .map_err(|error| error.to_string())
}

fn ca(file: &FilePath) -> Result<(), String> {
    client_config(Some(file), &[])
        .map(drop)
        .map_err(|error| error.to_string())
}

/// The error of the parser may quote a key, so the text says only that it is not one.
fn readable_kubeconfig(file: &FilePath) -> Result<(), String> {
    if let Err(error) = std::fs::metadata(file) {
        return Err(format!("{}: {error}", file.display()));
    }
    Kubeconfig::read_from(file)
        .map(drop)
        .map_err(|_| format!("{}: this is not a kubeconfig", file.display()))
}
