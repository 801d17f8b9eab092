//! What the trial prints once it runs: where everything is, and lines to paste into a shell.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::run::DEMO;
use super::shell;
use crate::admin::AdminAddresses;
use crate::agent::cluster::Cluster;
use crate::agent::config::KUBERNETES;

/// Where everything is; shown as a table and lines that work as they are printed.
#[derive(Debug)]
pub struct Summary {
    /// What is different from what one would expect.
    pub(super) notes: Vec<String>,
    /// Where this machine reaches the gateway.
    pub(super) address: SocketAddr,
    /// Where each program tells how it is.
    pub(super) agent: AdminAddresses,
    pub(super) gateway: AdminAddresses,
    /// The cluster's own host.
    pub(super) host: String,
    /// The cluster's name.
    pub(super) cluster: String,
    /// The demo service itself.
    pub(super) demo: SocketAddr,
    pub(super) kubernetes: Kubernetes,
    pub(super) user_token: PathBuf,
    pub(super) folder: PathBuf,
}

/// The cluster behind the tunnel.
#[derive(Debug)]
pub(super) enum Kubernetes {
    Served {
        cluster: Cluster,
        allow_write: bool,
        kubeconfig: PathBuf,
    },
    /// None, and why.
    Absent(String),
}

impl Summary {
    /// The host form of a service's URL.
    fn url(&self, service: &str) -> String {
        format!("https://{}:{}/{service}", self.host, self.address.port())
    }

    /// The path form, which needs no name to be resolved.
    fn path_url(&self, service: &str) -> String {
        format!(
            "https://{}/v1/clusters/{}/tunnel/{service}",
            self.address, self.cluster
        )
    }

    /// The beginning of every curl line. curl finds *.localhost on loopback by itself.
    fn curl(&self, flags: &str) -> String {
        let ca = shell::path(&self.folder.join("ca.crt"));
        let token = shell::path(&self.user_token);
        let (host, port, ip) = (&self.host, self.address.port(), self.address.ip());
        let resolve = if ip.is_loopback() {
            String::new()
        } else {
            format!(" --resolve {host}:{port}:{ip}")
        };
        format!("curl {flags}--cacert {ca}{resolve} -H \"Authorization: Bearer $(cat {token})\"")
    }

    fn table(&self) -> Vec<(&'static str, String)> {
        let served = matches!(self.kubernetes, Kubernetes::Served { .. });
        let mut rows = vec![
            ("Gateway", format!("https://{}", self.address)),
            ("Cluster", self.cluster.clone()),
            (
                "Services",
                format!("{DEMO:<12}{}/  (built in, {})", self.url(DEMO), self.demo),
            ),
        ];
        if served {
            rows.push(("", format!("{KUBERNETES:<12}{}/", self.url(KUBERNETES))));
        }
        rows.extend(self.kubernetes.rows());
        rows.push(("Probes", format!("{:<12}{}", "agent", face(self.agent))));
        rows.push(("", format!("{:<12}{}", "gateway", face(self.gateway))));
        rows.push(("State", self.folder.display().to_string()));
        rows
    }

    /// Each line to paste, after what it shows.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let (demo, path) = (self.url(DEMO), self.path_url(DEMO));
        let curl = |flags, url: String| format!("{} {}", self.curl(flags), shell::word(&url));
        let mut lines = vec![
            (
                "the demo service, at the cluster's own host",
                curl("", format!("{demo}/")),
            ),
            (
                "the same by the path form, which needs no DNS",
                curl("", format!("{path}/")),
            ),
            (
                "an event each second, until Ctrl-C",
                curl("-N ", format!("{demo}/events")),
            ),
            (
                "1 GiB, thrown away",
                curl("-o /dev/null ", format!("{demo}/download?bytes=1073741824")),
            ),
        ];
        for (what, at) in [
            ("how the agent is", self.agent),
            ("how the gateway is", self.gateway),
        ] {
            lines.push((what, format!("curl http://{}/readyz", at.admin)));
        }
        if let Some(at) = self.agent.metrics {
            let line = format!("curl http://{at}/metrics");
            lines.push(("what the agent measures", line));
        }
        if let Kubernetes::Served { kubeconfig, .. } = &self.kubernetes {
            let kubeconfig = shell::path(kubeconfig);
            lines.push((
                "your cluster",
                format!("kubectl --kubeconfig {kubeconfig} get nodes"),
            ));
        }
        lines
    }
}

/// Where a program tells how it is.
fn face(at: AdminAddresses) -> String {
    let metrics = at.metrics.map(|at| format!("  http://{at}/metrics"));
    let paths = "{healthz,readyz,livez,info,config}";
    format!("http://{}/{paths}{}", at.admin, metrics.unwrap_or_default())
}

impl Kubernetes {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let (cluster, allow_write) = match self {
            Self::Absent(why) => return vec![("Kubernetes", format!("none: {why}"))],
            Self::Served {
                cluster,
                allow_write,
                ..
            } => (cluster, *allow_write),
        };
        let context = cluster.context.as_ref().map_or_else(
            || "the pod's own account".to_owned(),
            |context| format!("context {context}"),
        );
        let user = cluster
            .user
            .as_deref()
            .unwrap_or("whoever the kubeconfig says");
        let may = if allow_write {
            "requests may change it (--allow-write)"
        } else {
            "read-only (--allow-write lets changes pass)"
        };
        vec![
            (
                "Kubernetes",
                format!("{} ({context}, {})", cluster.server, cluster.version),
            ),
            ("", format!("as {user}, {may}")),
        ]
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "The PipeOps tunnel is up: gateway, agent and a demo service in this process.\n"
        )?;
        for (name, value) in self.table() {
            writeln!(f, "  {name:<12}{value}")?;
        }
        for note in &self.notes {
            writeln!(f, "\n  Note: {note}.")?;
        }
        writeln!(f, "\nPaste into another terminal:\n")?;
        for (what, line) in self.lines() {
            writeln!(f, "# {what}\n{line}\n")?;
        }
        writeln!(f, "Ctrl-C ends it.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face_at(admin: u16, metrics: u16) -> AdminAddresses {
        AdminAddresses {
            admin: SocketAddr::from(([127, 0, 0, 1], admin)),
            metrics: Some(SocketAddr::from(([127, 0, 0, 1], metrics))),
        }
    }

    fn summary(address: &str, kubernetes: Kubernetes) -> Summary {
        Summary {
            notes: Vec::new(),
            agent: face_at(8080, 9091),
            gateway: face_at(8081, 9092),
            address: address.parse().unwrap(),
            host: "tunnel-dev.pipeops.localhost".to_owned(),
            cluster: "dev".to_owned(),
            demo: "127.0.0.1:40000".parse().unwrap(),
            kubernetes,
            user_token: PathBuf::from("/a b/user.token"),
            folder: PathBuf::from("/a b"),
        }
    }

    #[test]
    fn paths_are_quoted_and_both_forms_shown() {
        let shown = summary(
            "127.0.0.1:8443",
            Kubernetes::Absent("no kubeconfig".to_owned()),
        )
        .to_string();
        assert!(
            shown.contains("  Kubernetes  none: no kubeconfig\n"),
            "{shown}"
        );
        let line = "curl --cacert '/a b/ca.crt' -H \"Authorization: Bearer $(cat '/a b/user.token')\" \
                    https://tunnel-dev.pipeops.localhost:8443/demo/\n";
        assert!(shown.contains(line), "{shown}");
        assert!(
            shown.contains("https://127.0.0.1:8443/v1/clusters/dev/tunnel/demo/\n"),
            "{shown}"
        );
        assert!(!shown.contains("kubectl"), "{shown}");
    }

    #[test]
    fn a_served_cluster_says_which_and_as_whom() {
        let cluster = Cluster {
            server: "https://10.0.0.1:6443".to_owned(),
            context: Some("home".to_owned()),
            version: "v1.36.3".to_owned(),
            user: Some("alice".to_owned()),
        };
        let kubeconfig = PathBuf::from("/s/dev.kubeconfig");
        let kubernetes = Kubernetes::Served {
            cluster,
            allow_write: false,
            kubeconfig,
        };
        let shown = summary("10.1.2.3:8443", kubernetes).to_string();
        assert!(
            shown.contains("https://10.0.0.1:6443 (context home, v1.36.3)\n"),
            "{shown}"
        );
        assert!(shown.contains("as alice, read-only"), "{shown}");
        assert!(
            shown.contains("--resolve tunnel-dev.pipeops.localhost:8443:10.1.2.3 "),
            "{shown}"
        );
        assert!(
            shown.contains("\nkubectl --kubeconfig /s/dev.kubeconfig get nodes\n"),
            "{shown}"
        );
    }
}
