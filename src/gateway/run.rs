//! The gateway as a whole: start, drain, end.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::admin_socket::{AdminSocket, AdminSocketError};
use super::api;
use super::config::GatewayConfig;
use super::directory::Directory;
use super::face::{self, Face};
use super::hosts::Hosts;
use super::kept::Kept;
use super::metrics::{self, Metrics};
use super::ports;
use super::quic;
use super::shared::{MAILBOX, Mail, Shared};
use super::store::StoreError;
use super::tls::{Certificate, Source, TlsError};
use super::worker::{self, Listeners};
use crate::admin::{AdminAddresses, AdminError, AdminServer, Beat, Failing, Watchdog};
use crate::config::{Live, Problems, Settings};
use crate::process;

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
    /// The metrics do not go together; a fault of this program.
    #[error("can not set up the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Probes and metrics can not be served.
    #[error(transparent)]
    Admin(#[from] AdminError),
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
    quic: Option<quic::Listener>,
    background: Vec<AbortOnDropHandle<()>>,
    admin: Option<AdminServer>,
    addresses: AdminAddresses,
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
        let mut registry = metrics::registry();
        let (kept, writers) = Kept::open(&config.state_dir, &mut registry)?;
        let Kept {
            directory, history, ..
        } = kept.clone();
        let hosts = Hosts::new(&config.domain, &config.public_url(), &config.hosts);
        let source = Source::new(&config, &hosts);
        let (tls, certificate) = source.load()?;
        let metrics = Metrics::new(registry, &directory, &certificate)?;
        metrics.runtimes().add("main", Handle::current());
        let socket = AdminSocket::bind(&config.state_dir)?;
        let threads = config
            .threads
            .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        let (mailboxes, boxes): (Vec<_>, Vec<_>) =
            (0..threads).map(|_| mpsc::channel(MAILBOX)).unzip();
        let Bound {
            listeners,
            address,
            http_address,
        } = bind(&config, threads)?;
        let shared = Arc::new(Shared::new(config, hosts, kept, metrics, tls, mailboxes));
        let watchdog = Watchdog::default();
        let (admin, store) = serve_face(live.clone(), &shared, &certificate, watchdog.clone())?;
        let quic = quic::Listener::start(&shared, &certificate, address, &watchdog);
        let mut workers = Vec::new();
        for (index, (listeners, mailbox)) in listeners.into_iter().zip(boxes).enumerate() {
            let beat = watchdog.watch(format!("worker-{index}"));
            workers.push(spawn(index, Arc::clone(&shared), listeners, mailbox, beat)?);
        }
        let mut background = Vec::from(writers.start(Arc::clone(&shared.fleet)));
        background.extend([
            spawn_beside(source.watch(certificate)),
            spawn_beside(sweep(Arc::clone(&directory), shared.kill.clone())),
            spawn_beside(face::watch_store(Arc::clone(&directory), store)),
            spawn_beside(watchdog.watch("main").beside(pending())),
            spawn_beside(socket.serve(api::router(directory, history), shared.drain.clone())),
        ]);
        let http_addr = http_address.map(tracing::field::display);
        tracing::info!(addr = %address, http_addr, workers = threads, domain = shared.config.domain, "gateway listening");
        Ok(Self {
            address,
            shared,
            workers,
            quic,
            background,
            addresses: admin.addresses(),
            admin: Some(admin),
            config: live,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its probes and metrics are.
    #[must_use]
    pub fn admin_addresses(&self) -> AdminAddresses {
        self.addresses
    }

    /// Who exists and who may do what.
    #[must_use]
    pub fn directory(&self) -> &Arc<Directory> {
        &self.shared.directory
    }

    /// What the gateway measures.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// Takes no new work, tells agents to go elsewhere, waits for requests under way up to the
    /// configured time, then ends.
    pub async fn shutdown(mut self) {
        let grace = self.config.get().drain_timeout.0;
        tracing::info!(grace_s = grace.as_secs(), "gateway drains");
        self.shared.start_drain();
        let workers = std::mem::take(&mut self.workers);
        let mut workers = std::pin::pin!(futures_util::future::join_all(workers));
        if timeout(grace, workers.as_mut()).await.is_err() {
            tracing::warn!(
                "requests were still under way when the drain's time was up; they are cut"
            );
            self.shared.kill.cancel();
            workers.await;
        }
        // Until here it received for the carriers that were draining.
        drop(self.quic.take());
        self.background.clear();
        // The last to go: probes are answered while requests end.
        if let Some(admin) = self.admin.take() {
            admin.shutdown().await;
        }
        tracing::info!("gateway stopped");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shared.drain.cancel();
        self.shared.kill.cancel();
    }
}

/// Starts what answers probes; what the store's check finds out is to be put into the sender.
fn serve_face(
    live: Live<GatewayConfig>,
    shared: &Arc<Shared>,
    certificate: &Arc<Certificate>,
    watchdog: Watchdog,
) -> Result<(AdminServer, watch::Sender<Option<Failing>>), GatewayError> {
    // It has just been read whole.
    let (sender, store) = watch::channel(None);
    let face = Face {
        config: live,
        shared: Arc::clone(shared),
        certificate: Arc::clone(certificate),
        store,
    };
    let config = &shared.config;
    let admin = AdminServer::start(&config.admin, &config.monitoring, Arc::new(face), watchdog)?;
    let runtimes = shared.metrics.runtimes();
    runtimes.add("admin", admin.runtime().clone());
    Ok((admin, sender))
}

fn spawn_beside(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
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

/// Every address that the workers accept at.
struct Bound {
    listeners: Vec<Listeners>,
    address: SocketAddr,
    http_address: Option<SocketAddr>,
}

fn bind(config: &GatewayConfig, threads: usize) -> Result<Bound, GatewayError> {
    let (tls, address) = listen(config.listen, threads)?;
    let (mut plain, http_address) = match config.http_listen {
        Some(wanted) => listen(wanted, threads).map(|(all, at)| (all, Some(at)))?,
        None => (Vec::new(), None),
    };
    let ports = ports::bind(&config.ports, threads)
        .map_err(|(address, source)| GatewayError::Listen { address, source })?;
    let listeners = tls.into_iter().zip(ports).map(|(tls, ports)| Listeners {
        tls,
        plain: plain.pop(),
        ports,
    });
    Ok(Bound {
        listeners: listeners.collect(),
        address,
        http_address,
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
    listeners: Listeners,
    mailbox: mpsc::Receiver<Mail>,
    beat: Beat,
) -> Result<oneshot::Receiver<()>, GatewayError> {
    let (ended, end) = oneshot::channel();
    let ending = Ending(index, Arc::clone(&shared));
    let runtime = move || -> io::Result<()> {
        let runtime = process::data_runtime()?;
        runtime.block_on(beat.beside(worker::run(index, shared, listeners, mailbox)))
    };
    thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            let _ending = ending;
            if let Err(error) = runtime() {
                tracing::error!(%error, worker = index, "a worker has failed");
            }
            drop(ended);
        })
        .map_err(GatewayError::Worker)?;
    Ok(end)
}

/// Says that a worker has ended, however that came about.
struct Ending(usize, Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.1.worker_ended(self.0);
    }
}

async fn sweep(directory: Arc<Directory>, stop: CancellationToken) {
    directory.sweep_until(stop).await;
}
