//! The figures for heartbeats: how much of what the nodes can give is used.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, timeout};

use super::cache::Cache;
use super::core::Core;
use super::pods::Amount;
use super::slim::NodeMetrics;
use crate::wire::control::UsageSource;

/// What all of an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Nodes in one page of it.
const PAGE: u32 = 500;

/// Pages: more nodes than any cluster has. A server that always has one more is not asked for ever.
const MAX_PAGES: usize = 40;

/// A measurement counts for this long where no newer one can be had: metrics-server makes one every 15 s.
const STALE: Duration = Duration::from_secs(60);

/// Figures about the cluster for heartbeats.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::agent) struct Usage {
    /// `cpu_usage`, `memory_usage` and `active_pods`, as far as they are known.
    pub(in crate::agent) metrics: BTreeMap<String, f64>,
    /// Where the former two come from.
    pub(in crate::agent) source: Option<UsageSource>,
}

/// What the nodes measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    used: Amount,
    /// What the nodes that measured can give.
    of: Amount,
    at: Instant,
}

impl Measured {
    /// Adds up what nodes measured, of those that are known.
    fn add_up(nodes: &[NodeMetrics], core: &Core, at: Instant) -> Option<Self> {
        let can_give = core.nodes.by_name();
        let nothing = (Amount::default(), Amount::default());
        let (used, of) = nodes.iter().fold(nothing, |(used, of), node| {
            let Some(allocatable) = can_give.get(node.name_any().as_str()) else {
                return (used, of);
            };
            (used.plus(Amount::read(&node.usage)), of.plus(*allocatable))
        });
        (of != Amount::default()).then_some(Self { used, of, at })
    }
}

/// Asks what the nodes measured. Where nobody measures, or not for a while, nothing is known of it.
pub(super) async fn measure(client: &Client) -> Result<Vec<NodeMetrics>, NotMeasured> {
    match timeout(ANSWER, ask(client)).await {
        Ok(Ok(nodes)) => Ok(nodes),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 403 | 404) => {
            Err(NotMeasured::NotServed)
        }
        Ok(Err(_)) | Err(_) => Err(NotMeasured::NotNow),
    }
}

/// Why there is no measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotMeasured {
    /// The cluster has none, or not for us.
    NotServed,
    /// It should have.
    NotNow,
}

async fn ask(client: &Client) -> Result<Vec<NodeMetrics>, kube::Error> {
    let api: Api<NodeMetrics> = Api::all(client.clone());
    let mut nodes = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    for _ in 0..MAX_PAGES {
        let page = api.list(&params).await?;
        nodes.extend(page.items);
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => params = params.continue_token(&token),
            _ => break,
        }
    }
    Ok(nodes)
}

impl Core {
    /// Takes in what the nodes measured.
    pub(super) fn measured(&mut self, answer: Result<Vec<NodeMetrics>, NotMeasured>, now: Instant) {
        match answer {
            Ok(nodes) => self.measured = Measured::add_up(&nodes, self, now),
            Err(NotMeasured::NotServed) => self.measured = None,
            Err(NotMeasured::NotNow) => {
                let fresh = |measured: &Measured| now.duration_since(measured.at) <= STALE;
                self.measured = self.measured.filter(fresh);
            }
        }
    }

    /// The figures as they are now.
    pub(super) fn usage(&self) -> Usage {
        let mut metrics = BTreeMap::new();
        if self.pods.is_listed() {
            metrics.insert("active_pods".to_owned(), number(self.pods.running()));
        }
        let requested = (self.pods.is_listed() && self.nodes.is_listed()).then(|| {
            (
                self.pods.requested(),
                self.nodes.allocatable(),
                UsageSource::Requested,
            )
        });
        let measured = self.measured.map(|m| (m.used, m.of, UsageSource::Measured));
        let mut source = None;
        if let Some((used, of, from)) = measured.or(requested)
            && of.cpu > 0
            && of.memory > 0
        {
            metrics.insert("cpu_usage".to_owned(), share(used.cpu, of.cpu));
            metrics.insert("memory_usage".to_owned(), share(used.memory, of.memory));
            source = Some(from);
        }
        Usage { metrics, source }
    }
}

/// 0 to 1: what runs beside the pods may take more than is there for pods.
fn share(used: u64, of: u64) -> f64 {
    (number(used) / number(of)).min(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn number(value: u64) -> f64 {
    value as f64
}
