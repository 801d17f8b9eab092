//! How long what is kept is kept. Each removal is a part of some transaction and bounded in it.

use jiff::{SignedDuration, Timestamp};
use redb::{ReadableTable, WriteTransaction};
use serde::Deserialize;

use super::RedbStore;
use super::fault::{Fault, decode};
use super::tables::{CLUSTERS, Deployments};
use crate::gateway::store::{DeploymentId, StoreError};
use crate::wire::token::ClusterId;

/// Deployments of one cluster that are kept: five a day for over three months. With manifests of 10 KiB that is 5 MiB
/// on the disk. Those that have not ended are kept beyond it.
pub const KEEP_DEPLOYMENTS: usize = 500;
/// How long a deployment that has ended is kept, from when it was made: a month's worth of questions.
pub const KEEP_FINISHED: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long a repeated request is recognised: longer than any client repeats one by itself.
pub const KEEP_KEYS: SignedDuration = SignedDuration::from_hours(24);
/// Removals of each kind in one transaction: with the largest manifests that is 64 MiB of pages given back, some 100 ms.
const AT_ONCE: usize = 64;

/// What is above all ids of a cluster in the index: they begin with a letter.
pub(super) const LAST: &str = "~";

/// The part of a deployment that says where it belongs.
#[derive(Deserialize)]
struct Place {
    cluster: ClusterId,
}

impl Deployments<'_> {
    /// Removes some of what is beyond its time or number, after one was added to this cluster.
    pub(super) fn trim(&mut self, cluster: &str, now: Timestamp) -> Result<(), Fault> {
        self.trim_keys(now)?;
        self.trim_cluster(cluster)?;
        self.trim_old(now).map(drop)
    }

    fn trim_keys(&mut self, now: Timestamp) -> Result<(), Fault> {
        let before = before(now, KEEP_KEYS);
        let mut due = Vec::new();
        for row in self.key_ages.range(..before.as_str())?.take(AT_ONCE) {
            due.push(row?.0.value().to_owned());
        }
        due.iter().try_for_each(|id| self.remove_key(id))
    }

    fn trim_cluster(&mut self, cluster: &str) -> Result<(), Fault> {
        let count = self
            .by_cluster
            .range((cluster, "")..(cluster, LAST))?
            .count();
        let excess = count.saturating_sub(KEEP_DEPLOYMENTS);
        let mut due = Vec::new();
        for row in self
            .by_cluster
            .range((cluster, "")..(cluster, LAST))?
            .take(excess)
        {
            let id = row?.0.value().1.to_owned();
            if due.len() < AT_ONCE && self.unfinished.get(id.as_str())?.is_none() {
                due.push(id);
            }
        }
        due.iter().try_for_each(|id| self.remove(cluster, id))
    }

    /// Removes some deployments that are too old, and answers how many.
    fn trim_old(&mut self, now: Timestamp) -> Result<usize, Fault> {
        let before = before(now, KEEP_FINISHED);
        let mut due = Vec::new();
        for row in self.records.range(..before.as_str())? {
            let (id, json) = row?;
            if self.unfinished.get(id.value())?.is_none() {
                let place: Place = decode(id.value(), json.value())?;
                due.push((place.cluster, id.value().to_owned()));
            }
            if due.len() == AT_ONCE {
                break;
            }
        }
        for (cluster, id) in &due {
            self.remove(cluster.as_str(), id)?;
        }
        Ok(due.len())
    }
}

/// The least id that is younger than this.
fn before(now: Timestamp, age: SignedDuration) -> DeploymentId {
    DeploymentId::first_at(now.saturating_sub(age).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Removes some deployments of a cluster, with the last of them the cluster, and answers whether that was all.
pub(super) fn remove_cluster(txn: &WriteTransaction, id: &ClusterId) -> Result<bool, Fault> {
    let mut deployments = Deployments::open(txn)?;
    let mut due = Vec::new();
    let range = (id.as_str(), "")..(id.as_str(), LAST);
    for row in deployments.by_cluster.range(range)?.take(AT_ONCE) {
        due.push(row?.0.value().1.to_owned());
    }
    for deployment in &due {
        deployments.remove(id.as_str(), deployment)?;
    }
    if due.len() == AT_ONCE {
        return Ok(false);
    }
    txn.open_table(CLUSTERS)?.remove(id.as_str())?;
    Ok(true)
}

impl RedbStore {
    pub(super) fn prune_old(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut pruned = 0;
        loop {
            let some = self.write(|txn| Deployments::open(txn)?.trim_old(now))?;
            pruned += some;
            if some < AT_ONCE {
                return Ok(pruned);
            }
        }
    }
}
