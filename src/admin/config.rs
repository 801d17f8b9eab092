//! The `admin` and `monitoring` sections that both programs have.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, Listen, Secret};

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

    /// Checks what the types can not.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for the first value that does not go.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (field, reason) = match &self.token {
            Some(_) if self.token_file.is_some() => ("admin.token", "goes without token_file"),
            Some(token) if token.expose().trim().is_empty() => ("admin.token", "must not be empty"),
            _ => return Ok(()),
        };
        Err(ConfigError::Invalid {
            field,
            reason: reason.to_owned(),
        })
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
