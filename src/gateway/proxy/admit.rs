//! Who asks, and whether they may.

use std::sync::Arc;

use http::HeaderMap;

use super::{Admitted, ClusterRef, Route};
use crate::gateway::directory::Grant;
use crate::gateway::record::Record;
use crate::gateway::service::Client;
use crate::gateway::store::ClusterAccess;
use crate::gateway::worker::Worker;
use crate::metrics::Request;
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::head::{Identity, RequestHead};
use crate::wire::token::TokenKind;

/// Authenticates a request and checks that its token allows the cluster and the service.
pub(super) fn admit(
    worker: &Worker,
    headers: &HeaderMap,
    route: &Route<'_>,
) -> Result<Admitted, ApiError> {
    let grant = worker.authenticate(headers)?;
    let directory = &worker.shared.directory;
    let (named, cluster) = match route.cluster {
        ClusterRef::Id(id) => (id, directory.cluster_by_id(id)),
        ClusterRef::Name(name) => (name, directory.cluster_by_name(name)),
    };
    let tunnel = format!("tunnel:{}", route.path.service);
    let scope = route.scope.unwrap_or(&tunnel);
    let Some(cluster) = cluster else {
        return Err(unknown_cluster(worker, &grant, named));
    };
    grant
        .authorize(&cluster, scope)
        .inspect_err(|denied| worker.auth_failed(denied.into()))?;
    let role = grant.role.ok_or_else(|| {
        ApiError::new(
            ErrorCode::Forbidden,
            "the token has no role; create a new one",
        )
    })?;
    let identity = Identity {
        subject: grant.subject.to_string(),
        role: role.as_str().to_owned(),
        token_id: grant.token_id.to_string(),
    };
    Ok(Admitted {
        grant,
        cluster,
        identity,
    })
}

/// A token for all clusters learns that there is none; any other learns nothing.
fn unknown_cluster(worker: &Worker, grant: &Grant, named: &str) -> ApiError {
    if grant.kind == TokenKind::User && grant.clusters == ClusterAccess::All {
        return ApiError::new(
            ErrorCode::ClusterUnknown,
            format!("no cluster '{named}' is registered at this gateway; check its name"),
        );
    }
    let denied = grant.no_such_cluster();
    worker.auth_failed((&denied).into());
    denied.into()
}

impl Admitted {
    /// Starts the log's record of the request.
    pub(super) fn record(
        &self,
        worker: &Worker,
        client: &Client,
        route: &Route<'_>,
        head: &RequestHead,
    ) -> Record {
        let counted = Request::begin(&worker.shared.metrics.tunnel, &head.service);
        let known = worker.shared.fleet.entry(self.cluster.id.as_str());
        counted.goes_to(Arc::clone(&known.traffic));
        Record {
            request_id: route.id.to_owned(),
            peer: client.peer,
            subject: self.identity.subject.clone(),
            token_id: self.identity.token_id.clone(),
            cluster: self.cluster.id.to_string(),
            service: head.service.clone(),
            method: head.method.clone(),
            path: head.target.split('?').next().unwrap_or_default().to_owned(),
            status: None,
            counted,
            reason: None,
        }
    }
}
