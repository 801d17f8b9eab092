//! The gateway as a whole: start, drain, end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::admin_socket::{AdminSocket, AdminSocketError};
use super::api;
use super::config::GatewayConfig;
use super::directory::Directory;
use super::hosts::Hosts;
use super::shared::{MAILBOX, Mail, Shared};
use super::store::{RedbStore, StoreError};
use super::tls::{Source, TlsError};
use super::worker;
use crate::config::{Live, Problems, Settings};

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The configuration is not sound.
    #[error(transparent)]
    Config(#[from] Problems),
    /// No certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No admin socket.
    #[error(transparent)]
    AdminSocket(#[from] AdminSocketError),
    /// The state folder can not be made.
    #[error("can not make the state folder {}: {source}", path.display())]
    StateDir {
        /// Which folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The address can not be listened on.
    #[error("can not listen on {address}: {source}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A worker's thread or runtime could not be made.
    #[error("can not start a worker: {0}")]
    Worker(io::Error),
}

/// A running gateway. Dropped without [`Gateway::shutdown`], it ends at once.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    shared: Arc<Shared>,
    workers: Vec<oneshot::Receiver<()>>,
    background: Vec<AbortOnDropHandle<()>>,
    config: Live<GatewayConfig>,
}

impl Gateway {
    /// Starts a gateway; it serves from when this returns. Needs a runtime for what is not on a
    /// worker: certificates, tokens that end, the admin socket. What can change while it runs follows
    /// a [`Live`] configuration.
    ///
    /// # Errors
    /// [`GatewayError`], which says what to change.
    pub fn start(config: impl Into<Live<GatewayConfig>>) -> Result<Self, GatewayError> {
        let live = config.into();
        let config = GatewayConfig::clone(&live.get());
        config.validate()?;
        make_state_dir(&config)?;
        let directory = Directory::open(Arc::new(RedbStore::open(&config.state_dir)?))?;
        let hosts = Hosts::new(&config.domain, &config.public_url(), &config.hosts);
        let source = Source::new(&config, &hosts);
        let (tls, certificate) = source.load()?;
        let admin = AdminSocket::bind(&config.state_dir)?;
        let threads = config
            .threads
            .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        let (mailboxes, boxes): (Vec<_>, Vec<_>) =
            (0..threads).map(|_| mpsc::channel(MAILBOX)).unzip();
        let (listeners, address) = listen(config.listen, threads)?;
        let shared = Arc::new(Shared::new(
            config,
            hosts,
            Arc::clone(&directory),
            tls,
            mailboxes,
        ));
        let mut workers = Vec::new();
        for (index, (listener, mailbox)) in listeners.into_iter().zip(boxes).enumerate() {
            workers.push(spawn(index, Arc::clone(&shared), listener, mailbox)?);
        }
        let background = vec![
            AbortOnDropHandle::new(tokio::spawn(source.watch(certificate))),
            AbortOnDropHandle::new(tokio::spawn(sweep(
                Arc::clone(&directory),
                shared.kill.clone(),
            ))),
            AbortOnDropHandle::new(tokio::spawn(
                admin.serve(api::router(directory), shared.drain.clone()),
            )),
        ];
        tracing::info!(addr = %address, workers = threads, domain = shared.config.domain, "gateway listening");
        Ok(Self {
            address,
            shared,
            workers,
            background,
            config: live,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who exists and who may do what.
    #[must_use]
    pub fn directory(&self) -> &Arc<Directory> {
        &self.shared.directory
    }

    /// Takes no new work, tells agents to go elsewhere, waits for requests under way up to the
    /// configured time, then ends.
    pub async fn shutdown(mut self) {
        let grace = self.config.get().drain_timeout.0;
        tracing::info!(grace_s = grace.as_secs(), "gateway drains");
        self.shared.drain.cancel();
        let workers = std::mem::take(&mut self.workers);
        let mut workers = std::pin::pin!(futures_util::future::join_all(workers));
        if timeout(grace, workers.as_mut()).await.is_err() {
            tracing::warn!(
                "requests were still under way when the drain's time was up; they are cut"
            );
            self.shared.kill.cancel();
            workers.await;
        }
        self.background.clear();
        tracing::info!("gateway stopped");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shared.drain.cancel();
        self.shared.kill.cancel();
    }
}

fn make_state_dir(config: &GatewayConfig) -> Result<(), GatewayError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.state_dir)
        .map_err(|source| GatewayError::StateDir {
            path: config.state_dir.clone(),
            source,
        })
}

/// Binds one listener for each worker, all at one address.
fn listen(
    wanted: SocketAddr,
    count: usize,
) -> Result<(Vec<std::net::TcpListener>, SocketAddr), GatewayError> {
    let failed = |source| GatewayError::Listen {
        address: wanted,
        source,
    };
    worker::probe(wanted).map_err(failed)?;
    let first = worker::bind(wanted).map_err(failed)?;
    let address = first.local_addr().map_err(failed)?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(worker::bind(address).map_err(failed)?);
    }
    Ok((listeners, address))
}

fn spawn(
    index: usize,
    shared: Arc<Shared>,
    listener: std::net::TcpListener,
    mailbox: mpsc::Receiver<Mail>,
) -> Result<oneshot::Receiver<()>, GatewayError> {
    let (ended, end) = oneshot::channel();
    let runtime = move || -> io::Result<()> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())?;
        runtime.block_on(worker::run(index, shared, listener, mailbox))
    };
    thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            if let Err(error) = runtime() {
                tracing::error!(%error, worker = index, "a worker has failed");
            }
            drop(ended);
        })
        .map_err(GatewayError::Worker)?;
    Ok(end)
}

async fn sweep(directory: Arc<Directory>, stop: CancellationToken) {
    directory.sweep_until(stop).await;
}
