//! `/v1/audit`, and what of requests is written there: every change that is asked for, and every program that is run.

mod entry;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Platform;
use super::caller::Caller;
use super::openapi::Failure;
use super::page::{MOST, Page};
use crate::gateway::api::{field, unreadable};
use crate::gateway::store::{AuditOutcome, AuditQuery, AuditRecord};
use crate::wire::error::ApiError;
use crate::wire::token::ClusterId;
use entry::{Entry, EntryQuery};

/// What a program is called with is kept up to this.
const MOST_QUERY: usize = 1024;

/// Something that a request wants to have done.
pub(super) struct Deed {
    action: &'static str,
    cluster: Option<ClusterId>,
    target: String,
    details: Map<String, Value>,
}

impl Deed {
    /// None for what only looks.
    pub(super) fn of(platform: &Platform, request: &Request) -> Option<Self> {
        let path = request.uri().path();
        let parts: Vec<&str> = path.split('/').skip(2).collect();
        let (action, name, target) = match (request.method(), parts.as_slice()) {
            (&Method::POST, ["clusters"]) => ("cluster.create", None, ""),
            (&Method::PATCH, ["clusters", name]) => ("cluster.update", Some(name), *name),
            (&Method::DELETE, ["clusters", name]) => ("cluster.delete", Some(name), *name),
            (&Method::POST, ["clusters", name, "deploy" | "deployments"]) => {
                ("deployment.create", Some(name), "")
            }
            (&Method::DELETE, ["clusters", name, "deployments", id]) => {
                ("deployment.delete", Some(name), *id)
            }
            (&Method::POST, ["clusters", name, "deployments", id, "cancel"]) => {
                ("deployment.cancel", Some(name), *id)
            }
            (&Method::GET, ["clusters", name, "exec"]) => (
                "exec",
                Some(name),
                request.uri().query().unwrap_or_default(),
            ),
            (&Method::POST, ["tokens"]) => ("token.create", None, ""),
            (&Method::DELETE, ["tokens", id]) => ("token.revoke", None, *id),
            (&Method::GET | &Method::HEAD | &Method::OPTIONS, _) => return None,
            _ => ("unknown", None, path),
        };
        let cluster = name.and_then(|name| platform.shared.directory.cluster_by_name(name));
        let mut details = Map::new();
        if let Some(name) = name.filter(|_| cluster.is_none()) {
            details.insert("cluster_name".to_owned(), Value::from(*name));
        }
        Some(Self {
            action,
            cluster: cluster.map(|cluster| cluster.id.clone()),
            target: target.chars().take(MOST_QUERY).collect(),
            details,
        })
    }

    /// What is written down of it. What ran was let in: what came of it is in the access log.
    pub(super) fn entry(self, caller: &Caller, status: StatusCode) -> AuditRecord {
        let outcome = match status.as_u16() {
            ..400 => AuditOutcome::Allowed,
            400..500 => AuditOutcome::Refused,
            _ => AuditOutcome::Failed,
        };
        AuditRecord {
            sequence: 0,
            at: Timestamp::now(),
            subject: Some(caller.grant.subject.clone()),
            token_id: Some(caller.grant.token_id),
            peer: caller.origin.peer.to_string(),
            request_id: caller.origin.request_id.clone(),
            action: self.action.to_owned(),
            cluster: self.cluster,
            target: self.target,
            outcome,
            status: status.as_u16(),
            details: self.details,
        }
    }
}

/// Lists what was done through this API, the newest first. A page may be shorter than asked for and have a next one all the same.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", operation_id = "audit.list", params(EntryQuery),
    responses((status = 200, body = Page<Entry>), (status = "4XX", body = Failure)))]
pub(super) async fn list(
    State(platform): State<Platform>,
    caller: Caller,
    query: Result<Query<EntryQuery>, QueryRejection>,
) -> Result<Json<Page<Entry>>, ApiError> {
    caller.is_operator()?;
    let Query(which) = query.map_err(|e| unreadable(e.status(), e.body_text()))?;
    let cluster = which
        .cluster
        .map(|name| caller.cluster(&platform, &name, "admin"))
        .transpose()?;
    let subject = which.subject.as_deref().map(str::parse).transpose();
    let query = AuditQuery {
        before: which.cursor,
        limit: which.limit.unwrap_or(100).clamp(1, MOST),
        cluster: cluster.map(|cluster| cluster.id.clone()),
        subject: subject.map_err(|e| field("subject", "subject", &e))?,
    };
    let deployments = &platform.shared.deployments;
    let page = deployments
        .blocking(move |history| history.list_audit(&query))
        .await?;
    Ok(Json(Page {
        items: page.items.into_iter().map(Entry::from).collect(),
        next_cursor: page.next.map(|next| next.to_string()),
    }))
}
