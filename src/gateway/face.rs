//! The gateway as its admin server shows it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prometheus::proto::MetricFamily;
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::config::GatewayConfig;
use super::directory::Directory;
use super::shared::Shared;
use super::tls::Certificate;
use crate::admin::{AdminConfig, Build, Check, Component, Failing, Features, Program, seconds};
use crate::config::Live;

/// How often the store is read to see whether it can be.
const STORE_EVERY: Duration = Duration::from_secs(10);

/// How long that may take: a disk that is busy is slow, one that is gone never answers.
const STORE_ANSWER: Duration = Duration::from_secs(5);

/// What there is to say of a running gateway.
pub(super) struct Face {
    pub(super) config: Live<GatewayConfig>,
    pub(super) shared: Arc<Shared>,
    pub(super) certificate: Arc<Certificate>,
    /// Why the store can not be read.
    pub(super) store: watch::Receiver<Option<Failing>>,
}

#[derive(Serialize)]
struct Info<'a> {
    #[serde(flatten)]
    build: Build,
    domain: &'a str,
    public_url: String,
    workers: usize,
    agents_connected: i64,
    clusters: usize,
    features: Features,
}

impl Face {
    fn listener(&self) -> Option<Failing> {
        if let Some(since) = self.shared.draining_since() {
            return Some(Failing::new("the gateway drains: it shuts down", since));
        }
        self.shared.lost_worker()
    }

    fn store(&self) -> Option<Failing> {
        self.store.borrow().clone()
    }

    fn certificate(&self, now: Timestamp) -> Option<Failing> {
        let validity = self.certificate.validity()?;
        let (from, until) = (*validity.start(), *validity.end());
        if now < from {
            let reason = format!("the certificate is not valid before {}", seconds(from));
            return Some(Failing::new(reason, self.certificate.loaded()));
        }
        let reason = "the certificate has expired";
        (now > until).then(|| Failing::new(reason, until))
    }
}

impl Program for Face {
    fn checks(&self) -> Vec<Check> {
        vec![
            Check::new("listener", self.listener()),
            Check::new("store", self.store()),
            Check::new("certificate", self.certificate(Timestamp::now())),
        ]
    }

    fn components(&self) -> Vec<Component> {
        let until = self.certificate.validity().map(|v| seconds(*v.end()));
        vec![
            Component {
                name: "listener",
                healthy: self.listener().is_none(),
                fields: vec![("workers", json!(self.shared.mailboxes.len()))],
            },
            Component {
                name: "agents",
                healthy: true,
                fields: vec![("connected", json!(self.shared.metrics.agents.get()))],
            },
            Component {
                name: "store",
                healthy: self.store().is_none(),
                fields: vec![("clusters", json!(self.shared.directory.cluster_count()))],
            },
            Component {
                name: "certificate",
                healthy: self.certificate(Timestamp::now()).is_none(),
                fields: vec![("not_after", json!(until))],
            },
        ]
    }

    fn info(&self) -> serde_json::Result<Vec<u8>> {
        let (shared, config) = (&self.shared, &self.shared.config);
        serde_json::to_vec(&Info {
            build: Build::THIS,
            domain: &config.domain,
            public_url: config.public_url(),
            workers: shared.mailboxes.len(),
            agents_connected: shared.metrics.agents.get(),
            clusters: shared.directory.cluster_count(),
            features: Features {
                monitoring: config.monitoring.enabled,
                tunneling: true,
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
        self.shared.metrics.gather()
    }
}

/// Reads the store now and then, until nobody wants to know.
pub(super) async fn watch_store(
    directory: Arc<Directory>,
    failing: watch::Sender<Option<Failing>>,
) {
    let mut ticks = interval(STORE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut read = std::pin::pin!(directory.check_store());
        let answer = match timeout(STORE_ANSWER, read.as_mut()).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => {
                let slow = format!("the store was not read within {} s", STORE_ANSWER.as_secs());
                note(&failing, Err(slow));
                // Never two at once: each holds a thread.
                read.await.map_err(|error| error.to_string())
            }
        };
        note(&failing, answer);
    }
}

fn note(failing: &watch::Sender<Option<Failing>>, answer: Result<(), String>) {
    failing.send_modify(|failing| {
        *failing = answer.err().map(|reason| {
            if failing.is_none() {
                tracing::error!(reason, "the store can not be read");
            }
            let since = failing
                .as_ref()
                .map_or_else(Timestamp::now, |known| known.since);
            Failing::new(reason, since)
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_of_the_store_begins_once() {
        let (sender, receiver) = watch::channel(None);
        note(&sender, Err("slow".to_owned()));
        let first = receiver.borrow().clone().unwrap();
        note(&sender, Err("gone".to_owned()));
        let second = receiver.borrow().clone().unwrap();
        assert_eq!(
            (second.reason.as_str(), second.since),
            ("gone", first.since)
        );
        note(&sender, Ok(()));
        assert_eq!(*receiver.borrow(), None);
    }
}
