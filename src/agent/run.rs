//! The agent as a whole: start, drain, end.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::carrier::Carriers;
use super::cluster_check::ClusterCheck;
use super::config::AgentConfig;
use super::connect;
use super::controller::Controller;
use super::dial::Dialer;
use super::face::Face;
use super::metrics::Metrics;
use super::status::{Reporter, Status};
use super::target::Targets;
use crate::admin::{AdminAddresses, AdminError, AdminServer, Beat, Watchdog};
use crate::config::{Live, Problems, Settings};
use crate::mux::Budget;
use crate::process;

/// A gateway is given this long to hear of a drain before carriers close.
const DRAIN_NOTICE: Duration = Duration::from_secs(2);

/// Requests that were on their way when the gateway heard of the drain arrive within this.
const DRAIN_SETTLE: Duration = Duration::from_millis(300);

/// How often what needs no hurry is looked at: requests that may have been given up, connections that
/// nobody uses.
const LOOK: Duration = Duration::from_secs(1);

/// Why the agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The configuration is not sound.
    #[error(transparent)]
    Config(#[from] Problems),
    /// A URL, CA or target can not be used as it is configured.
    #[error("{0}")]
    Setup(String),
    /// The metrics do not go together; a fault of this program.
    #[error("can not set up the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Probes and metrics can not be served.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The thread or runtime could not be made.
    #[error("can not start the agent's thread: {0}")]
    Thread(#[from] io::Error),
}

/// A running agent. Dropped without [`Agent::shutdown`], it ends at once.
#[derive(Debug)]
pub struct Agent {
    reporter: Reporter,
    status: watch::Receiver<Status>,
    metrics: Arc<Metrics>,
    admin: Option<AdminServer>,
    addresses: AdminAddresses,
    drain: CancellationToken,
    kill: CancellationToken,
    ended: Option<oneshot::Receiver<()>>,
    config: Live<AgentConfig>,
}

impl Agent {
    /// Starts an agent on a thread of its own. That no gateway answers is not an error. What can
    /// change while it runs follows a [`Live`] configuration.
    ///
    /// # Errors
    /// [`AgentError`], which says what to change.
    pub fn start(config: impl Into<Live<AgentConfig>>) -> Result<Self, AgentError> {
        let live = config.into();
        let config = live.get();
        config.validate()?;
        let dialer =
            Dialer::new(&config.pipeops).map_err(|error| AgentError::Setup(error.to_string()))?;
        let (reporter, status) = Reporter::new(config.services());
        let metrics = Metrics::new(&config, status.clone(), reporter.connected())?;
        if let Ok(main) = Handle::try_current() {
            metrics.runtimes().add("main", main);
        }
        let (drain, kill) = (CancellationToken::new(), CancellationToken::new());
        let watchdog = Watchdog::default();
        let admin = serve_face(live.clone(), status.clone(), &metrics, watchdog.clone())?;
        let (end, ended) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let follows = live.clone();
        let tokens = (drain.clone(), kill.clone());
        let told = (reporter.clone(), Arc::clone(&metrics));
        let beat = watchdog.watch("agent");
        thread::Builder::new()
            .name("agent".to_owned())
            .spawn(move || {
                if let Err(error) = thread_main(follows, dialer, told, tokens, beat, &ready) {
                    tracing::error!(%error, "the agent has failed");
                }
                drop(end);
            })?;
        match started.recv() {
            Ok(Ok(())) => Ok(Self {
                reporter,
                status,
                metrics,
                addresses: admin.addresses(),
                admin: Some(admin),
                drain,
                kill,
                ended: Some(ended),
                config: live,
            }),
            Ok(Err(reason)) => Err(AgentError::Setup(reason)),
            Err(_) => Err(AgentError::Setup(
                "the agent's thread ended at once".to_owned(),
            )),
        }
    }

    /// How the agent is, now and from now on.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Where its probes and metrics are.
    #[must_use]
    pub fn admin_addresses(&self) -> AdminAddresses {
        self.addresses
    }

    /// What the agent measures.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Tells the gateway, waits for requests under way up to the configured time, then ends.
    pub async fn shutdown(mut self) {
        let grace = self.config.get().drain_timeout.0;
        tracing::info!(grace_s = grace.as_secs(), "agent drains");
        // Whoever asks learns it before the gateway does.
        self.reporter.draining();
        self.drain.cancel();
        let Some(mut ended) = self.ended.take() else {
            return;
        };
        if timeout(grace + DRAIN_NOTICE, &mut ended).await.is_err() {
            tracing::warn!(
                "requests were still under way when the drain's time was up; they are cut"
            );
            self.kill.cancel();
            // The thread's end is what is waited for; it sends nothing.
            drop(ended.await);
        }
        // The last to go: probes are answered while requests end.
        if let Some(admin) = self.admin.take() {
            admin.shutdown().await;
        }
        tracing::info!("agent stopped");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill.cancel();
    }
}

/// Starts what answers probes, with what it goes by.
fn serve_face(
    live: Live<AgentConfig>,
    status: watch::Receiver<Status>,
    metrics: &Arc<Metrics>,
    watchdog: Watchdog,
) -> Result<AdminServer, AgentError> {
    let config = live.get();
    let served = config.kubernetes.enabled;
    let cluster = served.then(|| ClusterCheck::start(&config.kubernetes));
    let face = Face {
        config: live,
        status,
        metrics: Arc::clone(metrics),
        cluster: cluster.transpose()?,
    };
    let (own, monitoring) = (&config.admin, &config.monitoring);
    let admin = AdminServer::start(own, monitoring, Arc::new(face), watchdog)?;
    metrics.runtimes().add("admin", admin.runtime().clone());
    Ok(admin)
}

fn thread_main(
    live: Live<AgentConfig>,
    dialer: Dialer,
    told: (Reporter, Arc<Metrics>),
    (drain, kill): (CancellationToken, CancellationToken),
    beat: Beat,
    ready: &std::sync::mpsc::Sender<Result<(), String>>,
) -> io::Result<()> {
    let runtime = process::data_runtime()?;
    runtime.block_on(beat.beside(async {
        let metrics = &told.1;
        metrics.runtimes().add("agent", Handle::current());
        let config = live.get();
        let targets = match Targets::new(&config, &metrics.targets) {
            Ok(targets) => targets,
            Err(error) => {
                drop(ready.send(Err(error.to_string())));
                return;
            }
        };
        let meters = Arc::clone(&metrics.reports);
        let controller = match Controller::start(&live, meters, drain.clone()) {
            Ok(controller) => controller,
            Err(error) => {
                drop(ready.send(Err(format!(
                    "can not start the controller's thread: {error}"
                ))));
                return;
            }
        };
        let shared = Rc::new(Shared::new(
            config,
            dialer,
            told,
            (targets, controller),
            drain,
        ));
        drop(ready.send(Ok(())));
        tokio::select! {
            () = kill.cancelled() => {}
            () = connect::run(Rc::clone(&shared)) => {}
            () = drained(&shared) => {}
            () = follow(live, &shared) => {}
            never = look(&shared) => match never {},
        }
    }));
    Ok(())
}

/// Takes up what changes in the configuration. Requests under way keep the target that they have.
async fn follow(mut live: Live<AgentConfig>, shared: &Shared) {
    loop {
        let config = live.changed().await;
        match Targets::new(&config, &shared.metrics.targets) {
            Ok(targets) => {
                shared.metrics.admit_services(&config);
                shared.reporter.services(config.services());
                drop(shared.targets.replace(Rc::new(targets)));
            }
            Err(error) => tracing::error!(%error, "the services stay as they were"),
        }
    }
}

/// Tells every [`LOOK`] all who have something to look at, and lets go of what nobody has used.
async fn look(shared: &Shared) -> Infallible {
    loop {
        sleep(LOOK).await;
        shared.looks.notify_waiters();
        shared.targets().expire();
    }
}

/// Resolves when the agent was told to drain and nothing is under way any more.
async fn drained(shared: &Shared) {
    shared.draining.cancelled().await;
    // Without a connection there is nobody to tell and nothing under way.
    drop(timeout(DRAIN_NOTICE, shared.drain_told.cancelled()).await);
    // Commands are given up; their results leave while the rest settles.
    shared.controller.idle().await;
    sleep(DRAIN_SETTLE).await;
    shared.idle().await;
    shared.carriers.close().await;
}

/// What everything on the agent's thread shares.
pub(super) struct Shared {
    /// As it was at the start; for what changes only by a restart.
    pub(super) config: Arc<AgentConfig>,
    pub(super) dialer: Dialer,
    pub(super) reporter: Reporter,
    pub(super) metrics: Arc<Metrics>,
    targets: RefCell<Rc<Targets>>,
    /// Cancelled when no new requests are wanted.
    pub(super) draining: CancellationToken,
    /// Cancelled when the gateway has been told so.
    pub(super) drain_told: CancellationToken,
    pub(super) carriers: Carriers,
    /// What the gateway may send that no target has read.
    pub(super) budget: Arc<Budget>,
    /// Told every [`LOOK`]: one timer, where one for each request would cost a system call each.
    pub(super) looks: Notify,
    /// Names this process to the gateway.
    pub(super) instance: String,
    /// Works in the cluster, on a thread of its own.
    pub(super) controller: Controller,
    active: Cell<usize>,
    became_idle: Notify,
}

impl Shared {
    pub(super) fn new(
        config: Arc<AgentConfig>,
        dialer: Dialer,
        (reporter, metrics): (Reporter, Arc<Metrics>),
        (targets, controller): (Targets, Controller),
        draining: CancellationToken,
    ) -> Self {
        let carriers = Carriers::new(&config.tunnel.carriers, &dialer);
        let budget = Arc::new(Budget::of_mib(config.tunnel.receive_memory_mib));
        Self {
            budget,
            config,
            dialer,
            reporter,
            metrics,
            targets: RefCell::new(Rc::new(targets)),
            draining,
            drain_told: CancellationToken::new(),
            carriers,
            looks: Notify::new(),
            instance: instance(),
            controller,
            active: Cell::new(0),
            became_idle: Notify::new(),
        }
    }

    /// What can be reached now.
    pub(super) fn targets(&self) -> Rc<Targets> {
        Rc::clone(&self.targets.borrow())
    }

    /// Counts a request as under way until the guard is dropped.
    pub(super) fn begin(self: &Rc<Self>) -> Active {
        self.active.set(self.active.get() + 1);
        Active(Rc::clone(self))
    }

    async fn idle(&self) {
        while self.active.get() > 0 {
            self.became_idle.notified().await;
        }
    }
}

/// A name that no other process has; without randomness, one that none has that starts at another time.
fn instance() -> String {
    let mut random = [0; 16];
    match getrandom::fill(&mut random) {
        Ok(()) => data_encoding::HEXLOWER.encode(&random),
        Err(_) => jiff::Timestamp::now().as_nanosecond().to_string(),
    }
}

/// A request under way.
pub(super) struct Active(Rc<Shared>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get() - 1);
        if self.0.active.get() == 0 {
            self.0.became_idle.notify_waiters();
        }
    }
}
