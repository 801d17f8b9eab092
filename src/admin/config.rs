//! The `admin` and `monitoring` sections that both programs have.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Listen, Path, Secret, Violation};

/// The `admin` section: probes, `/info` and `/config`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// Where probes, `/info` and `/config` are served.
    pub listen: Listen,
    /// When set, `/info` and `/config` want it as a bearer token; without one they answer loopback
    /// and private addresses only.
    pub token: Option<Secret>,
    /// A file that holds the token instead; read again when it changes.
    pub token_file: Option<PathBuf>,
}

/// The `monitoring` section.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MonitoringConfig {
    /// Whether anything is measured for others to read.
    pub enabled: bool,
    /// Metrics for Prometheus.
    pub prometheus: PrometheusConfig,
}

/// The `monitoring.prometheus` section.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrometheusConfig {
    /// Whether `/metrics` is served.
    pub enabled: bool,
    /// Where.
    pub listen: Listen,
}

impl AdminConfig {
    /// The defaults of a program whose probes are at `port`.
    #[must_use]
    pub const fn at(port: u16) -> Self {
        Self {
            listen: Listen::port(port),
            token: None,
            token_file: None,
        }
    }

    /// Adds what no single value shows.
    pub fn violations(&self, found: &mut Vec<Violation>) {
        if self.token.is_some() && self.token_file.is_some() {
            let path = Path::dotted("admin.token");
            found.push(Violation::new(path, "goes without token_file").help("keep one of them"));
        }
        if self
            .token
            .as_ref()
            .is_some_and(|token| token.expose().trim().is_empty())
        {
            found.push(Violation::new(
                Path::dotted("admin.token"),
                "must not be empty",
            ));
        }
    }
}

impl MonitoringConfig {
    /// The defaults of a program whose metrics are at `port`.
    #[must_use]
    pub const fn at(port: u16) -> Self {
        Self {
            enabled: true,
            prometheus: PrometheusConfig {
                enabled: true,
                listen: Listen::port(port),
            },
        }
    }
}
