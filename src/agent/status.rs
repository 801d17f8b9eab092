//! How the agent is, for its log, its probes and the program around it.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use super::metrics::Stopwatch;

/// The connection to the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// Not connected yet, or again under way.
    Connecting,
    /// The control channel is up.
    Connected,
    /// The gateway refuses the token or the cluster's id; retried slowly.
    Refused(String),
    /// The gateway's certificate is not to be trusted; retried slowly.
    BadCertificate(String),
    /// Nobody answers, or not as a gateway does; retried for ever.
    Unreachable(String),
}

/// The cluster as the gateway knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAs {
    /// Its id.
    pub cluster_id: String,
    /// Its name.
    pub cluster_name: String,
}

/// The agent as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The control channel.
    pub connection: Connection,
    /// From when on that is up, or is not.
    pub connection_since: Timestamp,
    /// Data carriers that are up.
    pub carriers: usize,
    /// Services that are configured.
    pub services: usize,
    /// From when on there is one, or none.
    pub carriers_since: Timestamp,
    /// From when on it takes no new requests.
    pub draining: Option<Timestamp>,
    /// When the gateway was last heard on the control channel.
    pub heard: Option<Timestamp>,
    /// What the gateway last called this cluster.
    pub known_as: Option<KnownAs>,
}

impl Status {
    /// Whether requests can reach this agent.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_connected() && self.carriers > 0 && self.draining.is_none()
    }

    /// Whether the control channel is up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connection == Connection::Connected
    }
}

impl Status {
    /// Services that the gateway can reach: a tunnel is a service by its name, as the contract has
    /// it, and without a carrier there is none. How busy they are does not matter.
    #[must_use]
    pub fn active_tunnels(&self) -> usize {
        if self.carriers > 0 { self.services } else { 0 }
    }
}

impl Default for Status {
    fn default() -> Self {
        let now = Timestamp::now();
        Self {
            connection: Connection::Connecting,
            connection_since: now,
            carriers: 0,
            services: 0,
            carriers_since: now,
            draining: None,
            heard: None,
            known_as: None,
        }
    }
}

/// Where changes are told; each is logged once.
#[derive(Debug, Clone)]
pub(super) struct Reporter {
    status: watch::Sender<Status>,
    connected: Arc<Stopwatch>,
}

impl Reporter {
    pub(super) fn new(services: usize) -> (Self, watch::Receiver<Status>) {
        let (status, receiver) = watch::channel(Status {
            services,
            ..Status::default()
        });
        let connected = Arc::default();
        (Self { status, connected }, receiver)
    }

    /// The time during which the control channel was up.
    pub(super) fn connected(&self) -> Arc<Stopwatch> {
        Arc::clone(&self.connected)
    }

    /// Notes how the connection is.
    pub(super) fn connection(&self, now: Connection) {
        self.connected.run(now == Connection::Connected);
        self.change(|status| status.connection = now);
    }

    /// Notes how many services are configured.
    pub(super) fn services(&self, count: usize) {
        self.change(|status| status.services = count);
    }

    /// Notes a carrier that came or went.
    pub(super) fn carriers(&self, count: usize) {
        self.change(|status| status.carriers = count);
    }

    /// Notes that the agent is on its way out.
    pub(super) fn draining(&self) {
        self.change(|status| {
            status.draining.get_or_insert_with(Timestamp::now);
        });
    }

    /// Notes what the gateway calls this cluster.
    pub(super) fn known_as(&self, name: KnownAs) {
        self.change(|status| status.known_as = Some(name));
    }

    /// Notes a sign of the gateway's life. Too common to wake whoever waits for a change.
    pub(super) fn heard(&self) {
        self.status.send_if_modified(|status| {
            status.heard = Some(Timestamp::now());
            false
        });
    }

    fn change(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            if *status == before {
                return false;
            }
            let now = Timestamp::now();
            if status.is_connected() != before.is_connected() {
                status.connection_since = now;
            }
            if (status.carriers > 0) != (before.carriers > 0) {
                status.carriers_since = now;
            }
            if status.is_ready() != before.is_ready() {
                let message = if status.is_ready() {
                    "tunnel ready"
                } else {
                    "tunnel not ready"
                };
                tracing::info!(
                    carriers = status.carriers,
                    draining = status.draining.is_some(),
                    "{message}"
                );
            }
            true
        });
    }
}
