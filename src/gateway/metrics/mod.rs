//! What the gateway measures besides the tunnel that both programs share.

mod labels;
mod store;

use std::sync::Arc;

use prometheus::proto::MetricFamily;
use prometheus::{Histogram, IntCounter, IntGauge};

use super::directory::Directory;
use super::tls::Certificate;
use crate::metrics::{Kind, Registry, Runtimes, Table, Tunnel, timestamp};
pub(super) use labels::{AuthFailure, HttpVersion, QuicResult, StatusClass, TlsResult};
pub(super) use store::MeteredStore;

/// The prefix of all names.
const PREFIX: &str = "pipeops_gateway";

/// Upper bounds for the time to a stream: from one that is kept to one that waits for an agent.
const OPEN: [f64; 12] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0,
];

/// Everything that the gateway measures. Shared by its threads.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    runtimes: Runtimes,
    pub(super) tunnel: Arc<Tunnel>,
    pub(super) http_requests: Table<IntCounter, (HttpVersion, StatusClass)>,
    pub(super) auth_failures: Table<IntCounter, AuthFailure>,
    pub(super) tls_handshakes: Table<IntCounter, TlsResult>,
    pub(super) quic_handshakes: Table<IntCounter, QuicResult>,
    pub(super) connections: IntGauge,
    pub(super) connections_limit: IntGauge,
    /// Who was in no fixed port's allow-list.
    pub(super) port_refusals: IntCounter,
    pub(super) agents: IntGauge,
    pub(super) draining: IntGauge,
    /// From a request that is admitted to a stream that the agent has.
    pub(super) open: Histogram,
}

/// A registry for the gateway, in which the store counts before there is anything else.
pub(super) fn registry() -> Registry {
    Registry::new(PREFIX)
}

impl Metrics {
    /// Adds to `registry` all that a gateway measures.
    pub(super) fn new(
        mut registry: Registry,
        directory: &Arc<Directory>,
        certificate: &Arc<Certificate>,
    ) -> prometheus::Result<Arc<Self>> {
        let services =
            "services that an agent has answered for, at most 100; `other` for all others";
        let tunnel = Tunnel::new(&mut registry, services)?;
        let runtimes = Runtimes::new(&mut registry)?;
        known(&mut registry, directory, certificate)?;
        Ok(Arc::new(Self {
            tunnel,
            http_requests: registry.counters(
                "http_requests_total",
                "Requests of any kind that were answered, by HTTP version and class of status.",
            )?,
            auth_failures: registry.counters(
                "auth_failures_total",
                "Tokens and tickets that were refused, or did not allow what was asked.",
            )?,
            tls_handshakes: registry
                .counters("tls_handshakes_total", "TLS handshakes of accepted connections.")?,
            quic_handshakes: registry.counters(
                "quic_handshakes_total",
                "QUIC connections that were begun, by what became of them.",
            )?,
            connections: registry.gauge(
                "connections",
                "Connections that are served; one that has switched to another protocol no longer counts.",
            )?,
            connections_limit: registry.gauge(
                "connections_limit",
                "Connections that may be served at once; more wait in the system's queue.",
            )?,
            port_refusals: registry.counter(
                "port_refusals_total",
                "Connections, and senders of datagrams, that a fixed port turned away: not in its allow-list.",
            )?,
            agents: registry.gauge("agents", "Agents that are connected.")?,
            draining: registry.gauge("draining", "1 while no new work is taken.")?,
            open: registry.histogram(
                "stream_open_seconds",
                "From an admitted request to a stream that the agent has, waiting for a carrier included.",
                &OPEN,
            )?,
            registry,
            runtimes,
        }))
    }

    /// The values of all metrics, by name.
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// Every metric that there is.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The runtimes whose tasks are counted.
    #[must_use]
    pub fn runtimes(&self) -> &Runtimes {
        &self.runtimes
    }
}

fn known(
    registry: &mut Registry,
    directory: &Arc<Directory>,
    certificate: &Arc<Certificate>,
) -> prometheus::Result<()> {
    registry.computed(Kind::Gauge, "up", "Always 1.", || 1.0)?;
    let directory = Arc::clone(directory);
    registry.computed(
        Kind::Gauge,
        "clusters",
        "Clusters that are registered.",
        move || f64::from(u32::try_from(directory.cluster_count()).unwrap_or(u32::MAX)),
    )?;
    let certificate = Arc::clone(certificate);
    registry.computed(
        Kind::Gauge,
        "certificate_expiry_timestamp_seconds",
        "When the certificate that is served ends; NaN where it does not say so.",
        move || {
            let validity = certificate.validity();
            validity.map_or(f64::NAN, |validity| timestamp(*validity.end()))
        },
    )
}

/// Holds a gauge up by one.
#[derive(Debug)]
pub(super) struct Held(IntGauge);

impl Held {
    pub(super) fn one(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}
