//! The agent as its admin server shows it.

use std::sync::Arc;

use prometheus::proto::MetricFamily;
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use super::cluster_check::ClusterCheck;
use super::config::AgentConfig;
use super::metrics::Metrics;
use super::status::{Connection, Status};
use crate::admin::{AdminConfig, Build, Check, Component, Failing, Features, Program, seconds};
use crate::config::Live;

/// What there is to say of a running agent.
pub(super) struct Face {
    pub(super) config: Live<AgentConfig>,
    pub(super) status: watch::Receiver<Status>,
    pub(super) metrics: Arc<Metrics>,
    /// Unless the cluster's API is not served.
    pub(super) cluster: Option<ClusterCheck>,
}

#[derive(Serialize)]
struct Info<'a> {
    #[serde(flatten)]
    build: Build,
    cluster_name: Option<&'a str>,
    cluster_id: Option<&'a str>,
    kubernetes_version: Option<String>,
    features: Features,
}

impl Face {
    fn kubernetes(&self) -> Option<Failing> {
        self.cluster.as_ref().and_then(ClusterCheck::failing)
    }

    /// The control channel; an agent that drains is none to send requests to.
    fn api_connection(status: &Status) -> Option<Failing> {
        let reason = match &status.connection {
            Connection::Connected => {
                let since = status.draining?;
                return Some(Failing::new("the agent drains: it shuts down", since));
            }
            Connection::Connecting => {
                "the connection to the gateway is not up yet, or was just lost".to_owned()
            }
            Connection::Refused(why) | Connection::BadCertificate(why) => why.clone(),
            Connection::Unreachable(why) => format!("the gateway can not be reached: {why}"),
        };
        Some(Failing::new(reason, status.connection_since))
    }

    /// A carrier of whatever kind.
    fn tunnel(&self, status: &Status) -> Option<Failing> {
        let down = self.config.get().tunnel.enabled && status.carriers == 0;
        let reason = "no data connection to the gateway is open";
        down.then(|| Failing::new(reason, status.carriers_since))
    }
}

impl Program for Face {
    fn checks(&self) -> Vec<Check> {
        let status = self.status.borrow();
        vec![
            Check::new("api_connection", Self::api_connection(&status)),
            Check::new("kubernetes", self.kubernetes()),
            Check::new("tunnel", self.tunnel(&status)),
        ]
    }

    fn components(&self) -> Vec<Component> {
        let status = self.status.borrow();
        let reachable = self.cluster.is_some() && self.kubernetes().is_none();
        vec![
            Component {
                name: "api_client",
                healthy: status.is_connected(),
                fields: vec![("last_ping", json!(status.heard.map(seconds)))],
            },
            Component {
                name: "tunnel_manager",
                healthy: self.tunnel(&status).is_none(),
                fields: vec![("active_tunnels", json!(status.active_tunnels()))],
            },
            Component {
                name: "kubernetes_client",
                healthy: self.kubernetes().is_none(),
                fields: vec![("cluster_reachable", json!(reachable))],
            },
        ]
    }

    fn info(&self) -> serde_json::Result<Vec<u8>> {
        let status = self.status.borrow();
        let (config, known) = (self.config.get(), status.known_as.as_ref());
        let name = known.map(|known| known.cluster_name.as_str());
        let id = known.map(|known| known.cluster_id.as_str());
        serde_json::to_vec(&Info {
            build: Build::THIS,
            cluster_name: config.agent.cluster_name.as_deref().or(name),
            cluster_id: config.agent.cluster_id.as_deref().or(id),
            kubernetes_version: self.cluster.as_ref().and_then(ClusterCheck::version),
            features: Features {
                monitoring: config.monitoring.enabled,
                tunneling: config.tunnel.enabled,
                auto_scaling: false,
            },
        })
    }

    fn config(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&*self.config.get())
    }

    fn admin(&self) -> AdminConfig {
        self.config.get().admin.clone()
    }

    fn metrics(&self) -> Vec<MetricFamily> {
        self.metrics.gather()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn failing(change: impl FnOnce(&mut AgentConfig, &mut Status)) -> Vec<(String, String)> {
        let (mut config, mut status) = (AgentConfig::default(), Status::default());
        change(&mut config, &mut status);
        let status = watch::channel(status).1;
        let face = Face {
            metrics: Metrics::new(&config, status.clone(), Arc::default()).unwrap(),
            config: config.into(),
            status,
            cluster: None,
        };
        let checks = face.checks().into_iter();
        let failing = checks.filter_map(|check| Some((check.name.into(), check.failing?.reason)));
        failing.collect()
    }

    fn up(status: &mut Status) {
        status.connection = Connection::Connected;
        status.carriers = 1;
    }

    #[test]
    fn an_agent_that_is_up_fails_nothing() {
        assert_eq!(failing(|_, status| up(status)), []);
    }

    #[test]
    fn each_check_says_what_is_its_own() {
        let names = |failing: Vec<(String, String)>| -> Vec<String> {
            failing.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(failing(|_, _| {})), ["api_connection", "tunnel"]);
        let connected = failing(|_, status| status.connection = Connection::Connected);
        assert_eq!(names(connected), ["tunnel"]);
        let without = failing(|config, status| {
            config.tunnel.enabled = false;
            status.connection = Connection::Connected;
        });
        assert_eq!(without, []);
        let draining = failing(|_, status| {
            up(status);
            status.draining = Some(Timestamp::now());
        });
        assert_eq!(draining[0].1, "the agent drains: it shuts down");
    }

    #[test]
    fn a_refusal_is_told_in_the_gateways_words() {
        let refused = failing(|_, status| {
            up(status);
            status.connection = Connection::Refused("401: no such token".to_owned());
        });
        let expected = ("api_connection".to_owned(), "401: no such token".to_owned());
        assert_eq!(refused, [expected]);
    }
}
