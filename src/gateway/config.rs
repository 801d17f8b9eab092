//! The gateway's configuration.

mod ports;
mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::{AdminConfig, MonitoringConfig};
use crate::config::{LogConfig, Period};
pub use ports::{PortConfig, PortProtocol};

/// Everything that an operator sets.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Address of the public listener; port 0 takes a free one.
    #[schemars(extend("format" = "address", "examples" = ["0.0.0.0:8443"]))]
    pub listen: SocketAddr,
    /// Address of a second listener, without TLS, for requests that a load balancer in front of it took by TLS;
    /// by default there is none. It takes no agents. Tokens cross it in clear text: keep it where the load balancer
    /// alone can reach it. Nothing that the load balancer adds is believed.
    #[schemars(extend("format" = "address", "examples" = ["127.0.0.1:8000"]))]
    pub http_listen: Option<SocketAddr>,
    /// The domain of the host form, `tunnel-{cluster-id}.{domain}`; the platform API is served
    /// at the domain itself and at `api.{domain}`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$"), length(max = 253), extend("examples" = ["pipeops.example.com"]))]
    pub domain: String,
    /// How clients reach the platform API, for kubeconfigs; by default `https://{domain}`.
    #[schemars(extend("format" = "https-url"))]
    pub public_url: Option<String>,
    /// Further host names (or addresses) of the platform API and of agents' connections.
    #[schemars(inner(regex(pattern = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9:.-]+)$")))]
    pub hosts: Vec<String>,
    /// Folder of the store, the admin socket and a self-signed CA.
    pub state_dir: PathBuf,
    /// The certificate.
    pub tls: TlsConfig,
    /// Carriers over QUIC.
    pub quic: QuicConfig,
    /// Ports that lead to one service each, without a token: none unless they are asked for here.
    pub ports: Vec<PortConfig>,
    /// Worker threads; by default one per core.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<usize>,
    /// Probes, `/info` and `/config`.
    pub admin: AdminConfig,
    /// What is measured, and where it is read.
    pub monitoring: MonitoringConfig,
    /// How long a drain waits for requests that are under way.
    pub drain_timeout: Period,
    /// MiB that all agents together may send that no client has read yet. Each stream takes 64 KiB of
    /// it from the start; one for which there is nothing left is refused.
    #[schemars(range(min = 16, max = 1048576))]
    pub receive_memory_mib: u32,
    /// Logs.
    pub log: LogConfig,
}

/// The `tls` section: a certificate from files, or one of our own making.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// Certificate chain, PEM; read again when it changes.
    pub cert_file: Option<PathBuf>,
    /// Its key, PEM.
    pub key_file: Option<PathBuf>,
    /// A CA that clients must be given, for kubeconfigs, when a public one did not sign.
    pub ca_file: Option<PathBuf>,
    /// Make a CA and a certificate under the state folder instead.
    pub self_signed: bool,
}

/// The `quic` section: agents' carriers over UDP, beside those over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QuicConfig {
    /// Whether agents may open them, on the UDP port of the listener's number. A host that has no
    /// such port serves without, and says so in the log.
    pub enabled: bool,
}

impl Default for QuicConfig {
    fn default() -> Self {
        Self { enabled: true }
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            http_listen: None,
            domain: "pipeops.localhost".to_owned(),
            public_url: None,
            hosts: Vec::new(),
            state_dir: PathBuf::from("/var/lib/pipeops-gateway"),
            tls: TlsConfig::default(),
            quic: QuicConfig::default(),
            ports: Vec::new(),
            threads: None,
            admin: AdminConfig::at(8081),
            monitoring: MonitoringConfig::at(9092),
            drain_timeout: Period::from_secs(30),
            receive_memory_mib: 1024,
            log: LogConfig::default(),
        }
    }
}

impl GatewayConfig {
    /// The URL of the platform API.
    #[must_use]
    pub fn public_url(&self) -> String {
        let url = self
            .public_url
            .clone()
            .unwrap_or_else(|| match self.listen.port() {
                443 => format!("https://{}", self.domain),
                port => format!("https://{}:{port}", self.domain),
            });
        url.trim_end_matches('/').to_owned()
    }

    /// Where clients find the CA that signed the gateway's certificate, if not a public one.
    #[must_use]
    pub fn ca_file(&self) -> Option<PathBuf> {
        if self.tls.self_signed {
            return Some(self.state_dir.join("ca.crt"));
        }
        self.tls.ca_file.clone()
    }
}
