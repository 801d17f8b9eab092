//! How the agent is, for its log, its probes and the program around it.

use std::sync::Arc;

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

/// The agent as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The control channel.
    pub connection: Connection,
    /// Data carriers that are up.
    pub carriers: usize,
    /// Services that are configured.
    pub services: usize,
    /// Takes no new requests.
    pub draining: bool,
}

impl Status {
    /// Whether requests can reach this agent.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.connection == Connection::Connected && self.carriers > 0 && !self.draining
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
        Self {
            connection: Connection::Connecting,
            carriers: 0,
            services: 0,
            draining: false,
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

    /// Notes a carrier that came or went.
    pub(super) fn carriers(&self, count: usize) {
        self.change(|status| status.carriers = count);
    }

    /// Notes that the agent is on its way out.
    pub(super) fn draining(&self) {
        self.change(|status| status.draining = true);
    }

    fn change(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            if *status == before {
                return false;
            }
            if status.is_ready() != before.is_ready() {
                let message = if status.is_ready() {
                    "tunnel ready"
                } else {
                    "tunnel not ready"
                };
                tracing::info!(
                    carriers = status.carriers,
                    draining = status.draining,
                    "{message}"
                );
            }
            true
        });
    }
}
