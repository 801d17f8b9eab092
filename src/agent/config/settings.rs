//! Where the agent's configuration comes from, and what in it no single value shows.

use http::Uri;

use super::{AgentConfig, KUBERNETES, Protocol};
use crate::agent::dial::{Route, place};
use crate::config::{
    ADMIN_LISTEN, ADMIN_TOKEN, Flag, LOG_FORMAT, LOG_LEVEL, LogConfig, METRICS_LISTEN,
    MONITORING_ENABLED, Named, Path, Settings, Violation, Ways,
};
use crate::wire::head::COMMANDS;

/// The token, in either form.
const TOKEN: Ways = &[&["pipeops.token"], &["pipeops.token_file"]];

/// The proxy's URL.
const PROXY: &str = "pipeops.proxy.url";

impl Settings for AgentConfig {
    const PROGRAM: &'static str = "pipeops-agent";
    const FILES: &'static [&'static str] = &["/config/config.yaml", "/etc/pipeops/config.yaml"];
    const FILE_VARIABLE: &'static str = "PIPEOPS_AGENT_CONFIG";
    // The token has no flag: every user of a machine sees arguments.
    const NAMED: &'static [Named] = &[
        Named::both(
            "pipeops.api_url",
            "PIPEOPS_API_URL",
            Flag::new(
                "api-url",
                "URL",
                "The gateway, such as https://pipeops.example.com",
            ),
        ),
        Named::variable("pipeops.token", "PIPEOPS_TOKEN"),
        Named::both(
            "pipeops.token_file",
            "PIPEOPS_TOKEN_FILE",
            Flag::new(
                "token-file",
                "FILE",
                "A file with the agent's token, read again for each connection",
            ),
        ),
        Named::both(
            "pipeops.ca_file",
            "PIPEOPS_CA_FILE",
            Flag::new(
                "ca-file",
                "FILE",
                "The only CA that may have signed the gateway's certificate, PEM [default: the system's]",
            ),
        ),
        Named::both(
            "agent.cluster_name",
            "CLUSTER_NAME",
            Flag::new(
                "cluster-name",
                "NAME",
                "The cluster's name, for logs; the gateway knows it by the token",
            ),
        ),
        Named::both(
            "agent.cluster_id",
            "CLUSTER_ID",
            Flag::new(
                "cluster-id",
                "ID",
                "The cluster's id; with it, the gateway refuses the token of another cluster",
            ),
        ),
        Named::flag(
            "kubernetes.kubeconfig",
            Flag::new(
                "kubeconfig",
                "FILE",
                "Reach Kubernetes by this file [default: $KUBECONFIG, ~/.kube/config or the pod's account]",
            ),
        ),
        ADMIN_LISTEN,
        METRICS_LISTEN,
        MONITORING_ENABLED,
        LOG_LEVEL,
        LOG_FORMAT,
    ];
    const ALTERNATIVES: &'static [Ways] = &[TOKEN, ADMIN_TOKEN];
    const LIVE: &'static [&'static str] = &[
        "agent.labels",
        "tunnel.forwards",
        "kubernetes.identity",
        "kubernetes.read_only",
        "kubernetes.response_timeout",
        "admin.token",
        "admin.token_file",
        "drain_timeout",
        "log.level",
    ];

    fn log(&self) -> &LogConfig {
        &self.log
    }

    fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        self.check_platform(&mut found);
        self.admin.violations(&mut found);
        self.check_carriers(&mut found);
        self.check_forwards(&mut found);
        for (path, period) in [
            ("pipeops.timeout", self.pipeops.timeout),
            (
                "kubernetes.response_timeout",
                self.kubernetes.response_timeout,
            ),
        ] {
            found.extend(period.check_wait(Path::dotted(path)));
        }
        found.extend(self.drain_timeout.check_most(Path::dotted("drain_timeout")));
        found
    }

    fn bad_files(&self) -> Vec<Violation> {
        self.check_files()
    }

    fn remote(&self) -> Option<(Path, String, u16)> {
        let uri: Uri = self.pipeops.api_url.as_ref()?.parse().ok()?;
        let host = uri.host()?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(443);
        let variable = |name: &str| std::env::var(name).ok();
        let route = Route::find(&self.pipeops.proxy, &place(&host, port), port, variable);
        // The proxy finds the gateway; its own name is ours to find.
        if let Ok(Route::Proxied(proxy)) = route {
            return Some((Path::dotted(PROXY), proxy.host, proxy.port));
        }
        Some((Path::dotted("pipeops.api_url"), host, port))
    }
}

impl AgentConfig {
    fn check_platform(&self, found: &mut Vec<Violation>) {
        let (url, token) = (
            Path::dotted("pipeops.api_url"),
            Path::dotted("pipeops.token"),
        );
        if self.pipeops.api_url.is_none() {
            found.push(
                Violation::new(url, "is required: the gateway's URL, https://…")
                    .help("set it here, by --api-url or by PIPEOPS_API_URL"),
            );
        }
        if let Err(error) = Route::find(&self.pipeops.proxy, "gateway:443", 443, |_| None) {
            let why = error.to_string();
            let why = why.trim_start_matches("pipeops.proxy.url: ");
            found.push(Violation::new(Path::dotted(PROXY), why));
        }
        match (&self.pipeops.token, &self.pipeops.token_file) {
            (None, None) => found.push(
                Violation::new(
                    Path::dotted("pipeops.token_file"),
                    "is required: the agent's token",
                )
                .help("set it here, by --token-file, or give the token itself in PIPEOPS_TOKEN"),
            ),
            (Some(_), Some(_)) => {
                found.push(
                    Violation::new(token, "goes without token_file").help("keep one of them"),
                );
            }
            _ => {}
        }
    }

    fn check_carriers(&self, found: &mut Vec<Violation>) {
        let prefer = &self.tunnel.carriers.prefer;
        let path = Path::dotted("tunnel.carriers.prefer");
        if prefer.is_empty() {
            found.push(
                Violation::new(path.clone(), "names no kind").help("leave it out for all kinds"),
            );
        }
        for (at, kind) in prefer.iter().enumerate() {
            if prefer.iter().take(at).any(|before| before == kind) {
                found.push(Violation::new(path.index(at), "is there already"));
            }
        }
    }

    fn check_forwards(&self, found: &mut Vec<Violation>) {
        let mut names = vec![KUBERNETES, COMMANDS];
        for (at, forward) in self.tunnel.forwards.iter().enumerate() {
            let path = Path::dotted("tunnel.forwards").index(at);
            if names.contains(&forward.name.as_str()) {
                let reason = if [KUBERNETES, COMMANDS].contains(&forward.name.as_str()) {
                    "is built in: choose another name"
                } else {
                    "another forward has this name"
                };
                found.push(Violation::new(path.key("name"), reason));
            }
            names.push(&forward.name);
            found.extend(
                forward
                    .response_timeout
                    .check_wait(path.key("response_timeout")),
            );
            found.extend(forward.idle_timeout.check_wait(path.key("idle_timeout")));
            let raw = matches!(forward.protocol, Protocol::Tcp | Protocol::Udp);
            if raw && forward.authorization_file.is_some() {
                found.push(
                    Violation::new(path.key("authorization_file"), "is of no use here").help(
                        "tcp and udp have no headers: clients bring the service's own credentials",
                    ),
                );
            }
            if forward.insecure_skip_verify && forward.ca_file.is_some() {
                found.push(
                    Violation::new(path.key("insecure_skip_verify"), "goes without ca_file").help(
                        "a CA is of no use where any certificate is accepted; keep one of them",
                    ),
                );
            }
        }
    }
}
