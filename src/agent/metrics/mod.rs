//! What the agent measures besides the tunnel that both programs share.
//!
//! Names that begin with `pipeops_` are the contract's; so are `up`, `connected`,
//! `start_time_seconds`, `memory_bytes`, `cpu_seconds_total` and `goroutines`.

mod api;
mod stopwatch;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, IntCounter};
use rustix::time::ClockId;
use tokio::sync::watch;

use super::config::{AgentConfig, KUBERNETES};
use super::reports;
use super::status::{Connection, Status};
use crate::metrics::{
    CarrierKind, Direction, Kind, Registry, Runtimes, Table, Tunnel, label, timestamp,
};
use api::ApiMeters;
pub(super) use api::{ApiError, Endpoint};
pub(super) use stopwatch::Stopwatch;

/// Upper bounds for connecting to a target.
const CONNECT: [f64; 11] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0,
];

/// Everything that the agent measures. Shared by its threads.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    runtimes: Runtimes,
    pub(super) tunnel: Arc<Tunnel>,
    pub(super) api: ApiMeters,
    pub(super) targets: Arc<TargetMeters>,
    pub(super) kubernetes_requests: IntCounter,
    pub(super) reconnects: Table<IntCounter, Disconnect>,
    /// Carriers of a kind that was not the first one tried.
    pub(super) fallbacks: Table<IntCounter, CarrierKind>,
    pub(super) climbs: Table<IntCounter, Climb>,
    pub(super) reports: Arc<reports::Meters>,
}

/// Connections to targets.
#[derive(Debug)]
pub(super) struct TargetMeters {
    /// How they went.
    pub(super) connects: Table<IntCounter, Connect>,
    /// How long those took that came about, TLS included.
    pub(super) seconds: Histogram,
}

label! {
    /// Why the connection to the gateway is made anew.
    pub(super) Disconnect as "reason" {
        /// The gateway drains.
        Drain = "drain",
        /// The gateway closed it.
        Closed = "closed",
        /// It broke.
        Lost = "lost",
        /// Nothing was heard for too long.
        Silent = "silent",
        /// Nothing could be written for too long.
        Stalled = "stalled",
    }
}

label! {
    /// How it went to take a better kind of carrier.
    pub(super) Climb as "result" {
        /// It took the other's place.
        Ok = "ok",
        /// The other one stays.
        Failed = "failed",
    }
}

label! {
    /// How connecting to a target went.
    pub(super) Connect as "result" {
        /// Connected.
        Ok = "ok",
        /// Nobody listens there, or the name is not known.
        Refused = "refused",
        /// No connection in time.
        TimedOut = "timed_out",
        /// The TLS handshake failed.
        Tls = "tls",
    }
}

impl Metrics {
    /// The metrics of an agent with this configuration, whose state is told by `status`.
    pub(super) fn new(
        config: &AgentConfig,
        status: watch::Receiver<Status>,
        connected: Arc<Stopwatch>,
    ) -> prometheus::Result<Arc<Self>> {
        let mut registry = Registry::new("pipeops_agent");
        let services = "the configured services, and `other`";
        let tunnel = Tunnel::new(&mut registry, services)?;
        admit(&tunnel, config);
        let runtimes = Runtimes::new(&mut registry)?;
        state(&mut registry, status, connected)?;
        totals(&mut registry, &tunnel)?;
        resources(&mut registry, runtimes.clone())?;
        Ok(Arc::new(Self {
            api: ApiMeters::new(&mut registry)?,
            reports: Arc::new(reports::Meters::new(&mut registry)?),
            targets: Arc::new(TargetMeters::new(&mut registry)?),
            kubernetes_requests: registry.counter(
                "pipeops_kubernetes_api_requests_total",
                "Requests to the cluster's API that were sent for users of the tunnel.",
            )?,
            reconnects: registry.counters(
                "reconnects_total",
                "Connections to the gateway that had been up and ended, so that a new one is made.",
            )?,
            fallbacks: registry.counters(
                "carrier_fallbacks_total",
                "Data carriers that came up by this kind because a better one did not work in time.",
            )?,
            climbs: registry.counters(
                "carrier_climbs_total",
                "Attempts to replace a data carrier by one of a better kind.",
            )?,
            registry,
            runtimes,
            tunnel,
        }))
    }

    /// Counts what this configuration serves under its own name, too.
    pub(super) fn admit_services(&self, config: &AgentConfig) {
        admit(&self.tunnel, config);
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

    /// The runtimes whose tasks count as the agent's.
    #[must_use]
    pub fn runtimes(&self) -> &Runtimes {
        &self.runtimes
    }
}

fn state(
    registry: &mut Registry,
    status: watch::Receiver<Status>,
    connected: Arc<Stopwatch>,
) -> prometheus::Result<()> {
    let started = timestamp(Timestamp::now());
    let gauge = Kind::Gauge;
    registry.computed(gauge, "up", "Agent running status", || 1.0)?;
    registry.computed(
        gauge,
        "start_time_seconds",
        "Unix timestamp of agent start time",
        move || started,
    )?;
    let now = status.clone();
    registry.computed(
        gauge,
        "connected",
        "Connection status to PipeOps API",
        move || f64::from(u8::from(now.borrow().connection == Connection::Connected)),
    )?;
    registry.computed(
        gauge,
        "pipeops_tunnel_active",
        "Active tunnel count: services that the gateway can reach, none while no data carrier is up",
        move || count(status.borrow().active_tunnels()),
    )?;
    registry.computed(
        Kind::Counter,
        "connected_seconds_total",
        "Time that the control channel was up.",
        move || connected.elapsed().as_secs_f64(),
    )
}

fn totals(registry: &mut Registry, tunnel: &Arc<Tunnel>) -> prometheus::Result<()> {
    let of = |direction| {
        let tunnel = Arc::clone(tunnel);
        move || total(&tunnel, direction)
    };
    registry.computed(
        Kind::Counter,
        "pipeops_tunnel_bytes_sent",
        "Total bytes sent through tunnels: bodies, of all services, towards the gateway",
        of(Direction::Sent),
    )?;
    registry.computed(
        Kind::Counter,
        "pipeops_tunnel_bytes_received",
        "Total bytes received through tunnels: bodies, of all services, from the gateway",
        of(Direction::Received),
    )
}

fn resources(registry: &mut Registry, runtimes: Runtimes) -> prometheus::Result<()> {
    registry.computed(
        Kind::Gauge,
        "memory_bytes",
        "Agent memory usage: the process's resident set",
        resident_bytes,
    )?;
    registry.computed(
        Kind::Counter,
        "cpu_seconds_total",
        "Total CPU time consumed",
        || {
            let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
            Duration::try_from(time).unwrap_or_default().as_secs_f64()
        },
    )?;
    registry.computed(
        Kind::Gauge,
        "goroutines",
        "Number of goroutines: live asynchronous tasks of all the agent's runtimes",
        move || count(runtimes.alive_tasks()),
    )
}

/// The process's resident set, by proc_pid_statm(5); 0 where there is none.
fn resident_bytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    count(pages.unwrap_or(0) * rustix::param::page_size())
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn count(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn total(tunnel: &Tunnel, direction: Direction) -> f64 {
    tunnel.services.total(direction) as f64
}

fn admit(tunnel: &Tunnel, config: &AgentConfig) {
    for forward in &config.tunnel.forwards {
        tunnel.services.admit(&forward.name);
    }
    if config.kubernetes.enabled {
        tunnel.services.admit(KUBERNETES);
    }
}

impl TargetMeters {
    pub(super) fn new(registry: &mut Registry) -> prometheus::Result<Self> {
        Ok(Self {
            connects: registry.counters(
                "target_connects_total",
                "New connections to targets, by how connecting went.",
            )?,
            seconds: registry.histogram(
                "target_connect_seconds",
                "Time to a new connection to a target, TLS included.",
                &CONNECT,
            )?,
        })
    }
}
