//! The gateway's configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::{AdminConfig, MonitoringConfig};
use crate::config::{ConfigError, LogConfig, Period};

/// Everything that an operator sets.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Address of the public listener; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The domain of the host form, `tunnel-{cluster-id}.{domain}`; the platform API is served
    /// at the domain itself and at `api.{domain}`.
    pub domain: String,
    /// How clients reach the platform API, for kubeconfigs; by default `https://{domain}`.
    pub public_url: Option<String>,
    /// Further host names (or addresses) of the platform API and of agents' connections.
    pub hosts: Vec<String>,
    /// Folder of the store, the admin socket and a self-signed CA.
    pub state_dir: PathBuf,
    /// The certificate.
    pub tls: TlsConfig,
    /// Worker threads; by default one per core.
    pub threads: Option<usize>,
    /// Probes, `/info` and `/config`.
    pub admin: AdminConfig,
    /// What is measured, and where it is read.
    pub monitoring: MonitoringConfig,
    /// How long a drain waits for requests that are under way.
    pub drain_timeout: Period,
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

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            domain: "pipeops.localhost".to_owned(),
            public_url: None,
            hosts: Vec::new(),
            state_dir: PathBuf::from("/var/lib/pipeops-gateway"),
            tls: TlsConfig::default(),
            threads: None,
            admin: AdminConfig::at(8081),
            monitoring: MonitoringConfig::at(9092),
            drain_timeout: Period::from_secs(30),
            log: LogConfig::default(),
        }
    }
}

impl GatewayConfig {
    /// Checks what the types can not.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for the first value that does not go.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let invalid = |field, reason: &str| {
            Err(ConfigError::Invalid {
                field,
                reason: reason.to_owned(),
            })
        };
        if self.domain.is_empty() || self.domain.contains(['/', ':', '*', ' ']) {
            return invalid("domain", "give a bare DNS name such as pipeops.example.com");
        }
        if self.threads == Some(0) {
            return invalid("threads", "must be at least 1");
        }
        match (
            &self.tls.cert_file,
            &self.tls.key_file,
            self.tls.self_signed,
        ) {
            (Some(_), Some(_), false) | (None, None, true) => {}
            (None, None, false) => {
                return invalid(
                    "tls",
                    "set cert_file and key_file, or self_signed: true for a trial",
                );
            }
            (Some(_), Some(_), true) => {
                return invalid("tls.self_signed", "goes without cert_file and key_file");
            }
            _ => return invalid("tls", "cert_file and key_file go together"),
        }
        self.admin.validate()?;
        if let Some(url) = &self.public_url
            && !url.starts_with("https://")
        {
            return invalid("public_url", "must start with https://");
        }
        Ok(())
    }

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
