//! What the gateway's threads share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::agents::AgentHandle;
use super::audit::AuditLog;
use super::config::GatewayConfig;
use super::deployments::Deployments;
use super::directory::Directory;
use super::fleet::Fleet;
use super::hosts::Hosts;
use super::kept::Kept;
use super::metrics::Metrics;
use super::probe::Probes;
use super::quic;
use super::tickets::{AgentKey, Tickets};
use super::upgrade::Arrival;
use crate::admin::Failing;
use crate::mux::Budget;
use crate::wire::control::WantCarrier;

/// Mail that may wait for a worker; senders wait beyond it.
pub(super) const MAILBOX: usize = 1024;

/// What workers tell each other.
#[derive(Debug)]
pub(super) enum Mail {
    /// An agent has connected to some worker.
    AgentUp(AgentHandle),
    /// It takes no new requests.
    AgentDraining(AgentKey),
    /// Its control channel has ended.
    AgentGone(AgentKey),
    /// It would like to open a carrier.
    AgentWants(AgentKey, WantCarrier),
    /// A carrier for the worker that gets this.
    Carrier(Box<Arrival>),
    /// A QUIC connection that has begun, for the worker that gets this.
    Quic(Box<quic::Arrival>),
}

/// Shared by all workers and the main thread.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: GatewayConfig,
    pub(super) hosts: Hosts,
    pub(super) directory: Arc<Directory>,
    pub(super) fleet: Arc<Fleet>,
    pub(super) deployments: Arc<Deployments>,
    pub(super) audit: AuditLog,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tls: Arc<rustls::ServerConfig>,
    pub(super) tickets: Arc<Tickets>,
    pub(super) probes: Probes,
    /// What agents may send that no client has read.
    pub(super) budget: Arc<Budget>,
    pub(super) mailboxes: Vec<mpsc::Sender<Mail>>,
    /// Cancelled when the gateway is to take no new work.
    pub(super) drain: CancellationToken,
    /// Cancelled when what still runs is to be cut.
    pub(super) kill: CancellationToken,
    generations: AtomicU64,
    draining: OnceLock<Timestamp>,
    lost: OnceLock<Failing>,
}

impl Shared {
    pub(super) fn new(
        config: GatewayConfig,
        hosts: Hosts,
        kept: Kept,
        metrics: Arc<Metrics>,
        tls: Arc<rustls::ServerConfig>,
        mailboxes: Vec<mpsc::Sender<Mail>>,
    ) -> Self {
        let budget = Arc::new(Budget::of_mib(config.receive_memory_mib));
        Self {
            config,
            budget,
            hosts,
            directory: kept.directory,
            fleet: Arc::default(),
            deployments: kept.deployments,
            audit: kept.audit,
            metrics,
            tls,
            tickets: Arc::default(),
            probes: Probes::default(),
            mailboxes,
            drain: CancellationToken::new(),
            kill: CancellationToken::new(),
            generations: AtomicU64::new(1),
            draining: OnceLock::new(),
            lost: OnceLock::new(),
        }
    }

    pub(super) fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes that QUIC carriers can be opened.
    pub(super) fn has_quic(&self) {
        self.tickets.has_quic();
    }

    /// Takes no new work from now on; whoever asks learns it before anybody is turned away.
    pub(super) fn start_drain(&self) {
        self.draining.get_or_init(Timestamp::now);
        self.metrics.draining.set(1);
        self.drain.cancel();
    }

    pub(super) fn draining_since(&self) -> Option<Timestamp> {
        self.draining.get().copied()
    }

    /// Notes that a worker has ended; one that does so without being told to is missed.
    pub(super) fn worker_ended(&self, index: usize) {
        if !self.drain.is_cancelled() {
            let reason = format!("worker {index} has failed; see the log");
            self.lost
                .get_or_init(|| Failing::new(reason, Timestamp::now()));
        }
    }

    /// Why not all workers accept connections.
    pub(super) fn lost_worker(&self) -> Option<Failing> {
        self.lost.get().cloned()
    }

    /// Tells every worker; one that has ended needs no mail.
    pub(super) async fn broadcast(&self, mail: impl Fn() -> Mail) {
        for mailbox in &self.mailboxes {
            drop(mailbox.send(mail()).await);
        }
    }
}
