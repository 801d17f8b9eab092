//! The indexes behind the directory's lock. Nothing here waits or fails.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::{AuthError, DirectoryError, Grant};
use crate::gateway::store::{ClusterRecord, Contents, TokenRecord};
use crate::wire::token::{ClusterId, ClusterName, TokenId};

/// A token and what it turns into.
#[derive(Debug)]
pub(super) struct TokenEntry {
    pub(super) record: Arc<TokenRecord>,
    grant: Arc<Grant>,
}

impl TokenEntry {
    pub(super) fn new(record: Arc<TokenRecord>) -> Self {
        let grant = Arc::new(Grant::of(&record));
        if record.revoked_at.is_some() {
            grant.ended.cancel();
        }
        Self { record, grant }
    }

    pub(super) fn live_grant(&self, now: Timestamp) -> Result<Arc<Grant>, AuthError> {
        if self.record.revoked_at.is_some() {
            return Err(AuthError::Revoked);
        }
        match self.record.expires_at {
            Some(at) if at <= now => Err(AuthError::Expired { at }),
            // A sweep may have run with a later `now`: its verdict stands.
            Some(at) if self.grant.ended.is_cancelled() => Err(AuthError::Expired { at }),
            _ => Ok(Arc::clone(&self.grant)),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Tables {
    by_id: HashMap<ClusterId, Arc<ClusterRecord>>,
    by_name: BTreeMap<ClusterName, Arc<ClusterRecord>>,
    tokens: HashMap<TokenId, TokenEntry>,
    /// Live tokens that will expire, the next one first, so that a sweep looks at no other.
    expiring: BTreeSet<(Timestamp, TokenId)>,
}

impl From<Contents> for Tables {
    fn from(contents: Contents) -> Self {
        let mut tables = Self::default();
        contents
            .clusters
            .into_iter()
            .for_each(|cluster| tables.add_cluster(Arc::new(cluster)));
        contents
            .tokens
            .into_iter()
            .for_each(|token| tables.put_token(TokenEntry::new(Arc::new(token))));
        tables
    }
}

impl Tables {
    pub(super) fn token(&self, id: TokenId) -> Option<&TokenEntry> {
        self.tokens.get(&id)
    }

    pub(super) fn tokens(&self) -> Vec<Arc<TokenRecord>> {
        let mut tokens: Vec<_> = self
            .tokens
            .values()
            .map(|entry| Arc::clone(&entry.record))
            .collect();
        tokens.sort_unstable_by_key(|token| token.id);
        tokens
    }

    pub(super) fn cluster_by_id(&self, id: &str) -> Option<Arc<ClusterRecord>> {
        self.by_id.get(id).map(Arc::clone)
    }

    pub(super) fn cluster_by_name(&self, name: &str) -> Option<Arc<ClusterRecord>> {
        self.by_name.get(name).map(Arc::clone)
    }

    pub(super) fn clusters(&self) -> Vec<Arc<ClusterRecord>> {
        self.by_name.values().map(Arc::clone).collect()
    }

    pub(super) fn cluster_names(&self) -> impl Iterator<Item = &ClusterName> {
        self.by_name.keys()
    }

    /// The cluster that has this name and, if one is given, this id; `None` when both are free.
    pub(super) fn matching_cluster(
        &self,
        name: &ClusterName,
        id: Option<&ClusterId>,
    ) -> Result<Option<Arc<ClusterRecord>>, DirectoryError> {
        let named = self.by_name.get(name);
        let with_id = id.and_then(|id| self.by_id.get(id));
        let Some(found) = named.or(with_id) else {
            return Ok(None);
        };
        if found.name == *name && id.is_none_or(|id| found.id == *id) {
            return Ok(Some(Arc::clone(found)));
        }
        Err(DirectoryError::Conflict {
            name: found.name.clone(),
            id: found.id.clone(),
        })
    }

    pub(super) fn add_cluster(&mut self, cluster: Arc<ClusterRecord>) {
        self.by_name
            .insert(cluster.name.clone(), Arc::clone(&cluster));
        self.by_id.insert(cluster.id.clone(), cluster);
    }

    pub(super) fn remove_cluster(&mut self, id: &ClusterId) {
        if let Some(cluster) = self.by_id.remove(id) {
            self.by_name.remove(&cluster.name);
        }
    }

    pub(super) fn put_token(&mut self, entry: TokenEntry) {
        let record = &entry.record;
        if let (Some(at), None) = (record.expires_at, record.revoked_at) {
            self.expiring.insert((at, record.id));
        }
        self.tokens.insert(record.id, entry);
    }

    /// Shows a revocation: new requests see it at once, live streams through [`Grant::ended`].
    pub(super) fn revoke(&mut self, record: Arc<TokenRecord>) {
        if let Some(at) = record.expires_at {
            self.expiring.remove(&(at, record.id));
        }
        if let Some(entry) = self.tokens.get_mut(&record.id) {
            entry.grant.ended.cancel();
            entry.record = record;
        }
    }

    pub(super) fn any_due(&self, now: Timestamp) -> bool {
        self.expiring.first().is_some_and(|(at, _)| *at <= now)
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some((at, id)) = self.expiring.pop_first() {
            if at > now {
                self.expiring.insert((at, id));
                return;
            }
            if let Some(entry) = self.tokens.get(&id) {
                entry.grant.ended.cancel();
            }
        }
    }
}
