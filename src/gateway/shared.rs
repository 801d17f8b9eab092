//! What the gateway's threads share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::agents::AgentHandle;
use super::config::GatewayConfig;
use super::directory::Directory;
use super::hosts::Hosts;
use super::probe::Probes;
use super::tickets::{AgentKey, Tickets};
use super::upgrade::CarrierIo;

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
    /// A carrier for the worker that gets this.
    Carrier(AgentKey, Box<CarrierIo>),
}

/// Shared by all workers and the main thread.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: GatewayConfig,
    pub(super) hosts: Hosts,
    pub(super) directory: Arc<Directory>,
    pub(super) tls: Arc<rustls::ServerConfig>,
    pub(super) tickets: Arc<Tickets>,
    pub(super) probes: Probes,
    pub(super) mailboxes: Vec<mpsc::Sender<Mail>>,
    /// Cancelled when the gateway is to take no new work.
    pub(super) drain: CancellationToken,
    /// Cancelled when what still runs is to be cut.
    pub(super) kill: CancellationToken,
    generations: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        config: GatewayConfig,
        hosts: Hosts,
        directory: Arc<Directory>,
        tls: Arc<rustls::ServerConfig>,
        mailboxes: Vec<mpsc::Sender<Mail>>,
    ) -> Self {
        Self {
            config,
            hosts,
            directory,
            tls,
            tickets: Arc::default(),
            probes: Probes::default(),
            mailboxes,
            drain: CancellationToken::new(),
            kill: CancellationToken::new(),
            generations: AtomicU64::new(1),
        }
    }

    pub(super) fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells every worker; one that has ended needs no mail.
    pub(super) async fn broadcast(&self, mail: impl Fn() -> Mail) {
        for mailbox in &self.mailboxes {
            drop(mailbox.send(mail()).await);
        }
    }
}
