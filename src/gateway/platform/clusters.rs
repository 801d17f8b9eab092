//! `/v1/clusters`: register, list, look at, change, remove.

mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use http::header::CACHE_CONTROL;
use http::{HeaderName, StatusCode};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Platform;
use super::caller::Caller;
use super::openapi::Failure;
use super::page::{Page, PageQuery};
use crate::gateway::api::{body, field, unreadable};
use crate::gateway::directory::NewToken;
use crate::gateway::store::ClusterRecord;
use crate::wire::error::{ApiError, ErrorCode};
pub(super) use view::Cluster;

/// Registers a cluster.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCluster {
    /// `^[a-z0-9-]+$`, at most 63 characters; unique.
    #[schema(example = "production-cluster")]
    name: String,
    /// `^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$`; generated when missing.
    #[serde(default)]
    id: Option<String>,
}

/// A cluster that was registered, and what its agent needs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Enrolled {
    #[serde(flatten)]
    cluster: Cluster,
    /// The agent's token; it is shown only here.
    agent_token: String,
    /// How to start the agent. It asks for the token on its standard input.
    install: Install,
}

/// Lines for a shell.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Install {
    /// In the cluster, with `kubectl` of whoever may install it there; the token is read from standard input.
    kubernetes: String,
    /// On a machine that has a kubeconfig; the token is read from the file.
    binary: String,
}

/// Registers a cluster and makes a token for its agent.
#[utoipa::path(post, path = "/v1/clusters", tag = "clusters", operation_id = "clusters.create", request_body = NewCluster,
    responses((status = 201, body = Enrolled, description = "Registered"),
        (status = 409, body = Failure, description = "The name or the id is taken"),
        (status = "4XX", body = Failure), (status = "5XX", body = Failure)))]
pub(super) async fn post(
    State(platform): State<Platform>,
    caller: Caller,
    request: Result<Json<NewCluster>, JsonRejection>,
) -> Result<(StatusCode, [(HeaderName, &'static str); 1], Json<Enrolled>), ApiError> {
    caller.is_operator()?;
    let request = body(request)?;
    let name = request
        .name
        .parse()
        .map_err(|e| field("cluster_name", "cluster name", &e))?;
    let id = request.id.as_deref().map(str::parse).transpose();
    let id = id.map_err(|e| field("cluster_id", "cluster id", &e))?;
    let directory = &platform.shared.directory;
    let ensured = directory.ensure_cluster(name, id).await?;
    let cluster = ensured.cluster;
    if !ensured.created {
        return Err(ApiError::new(
            ErrorCode::Conflict,
            format!("cluster '{}' is registered already; POST /v1/tokens makes a new token for its agent", cluster.name),
        )
        .with_detail("cluster", cluster.name.as_str())
        .with_detail("cluster_id", cluster.id.as_str()));
    }
    let new = NewToken::Agent {
        cluster: cluster.id.clone(),
        expires_at: None,
    };
    let (_, token) = directory.create_token(new).await?;
    let enrolled = Enrolled {
        install: Install::of(&platform, &cluster),
        cluster: Cluster::of(&platform, &cluster),
        agent_token: token.expose_secret().to_owned(),
    };
    Ok((
        StatusCode::CREATED,
        [(CACHE_CONTROL, "no-store")],
        Json(enrolled),
    ))
}

impl Install {
    fn of(platform: &Platform, cluster: &ClusterRecord) -> Self {
        let url = platform.shared.config.public_url();
        let (name, id) = (&cluster.name, &cluster.id);
        Self {
            kubernetes: format!(
                "kubectl -n pipeops-system create secret generic pipeops-agent --from-literal=PIPEOPS_API_URL={url} \
                 --from-literal=CLUSTER_NAME={name} --from-literal=CLUSTER_ID={id} --from-file=PIPEOPS_TOKEN=/dev/stdin"
            ),
            binary: format!(
                "pipeops-agent --api-url {url} --cluster-name {name} --cluster-id {id} --token-file ./agent.token"
            ),
        }
    }
}

/// Lists clusters that the token may read, by name.
#[utoipa::path(get, path = "/v1/clusters", tag = "clusters", operation_id = "clusters.list", params(PageQuery),
    responses((status = 200, body = Page<Cluster>), (status = "4XX", body = Failure)))]
pub(super) async fn list(
    State(platform): State<Platform>,
    caller: Caller,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Page<Cluster>>, ApiError> {
    let Query(query) = query.map_err(|e| unreadable(e.status(), e.body_text()))?;
    let after = query.cursor.as_deref().unwrap_or_default();
    let mut readable = platform.shared.directory.list_clusters();
    readable.retain(|cluster| {
        cluster.name.as_str() > after && caller.grant.authorize(cluster, "read").is_ok()
    });
    if readable.is_empty() && after.is_empty() {
        caller.grant.authorize_any("read")?;
    }
    let more = readable.len() > query.limit();
    readable.truncate(query.limit());
    let next_cursor = readable
        .last()
        .filter(|_| more)
        .map(|cluster| cluster.name.to_string());
    let items = readable
        .iter()
        .map(|cluster| Cluster::of(&platform, cluster))
        .collect();
    Ok(Json(Page { items, next_cursor }))
}

/// One cluster: whether its agent is connected, and what it last said.
#[utoipa::path(get, path = "/v1/clusters/{name}", tag = "clusters", operation_id = "clusters.get",
    params(("name" = String, Path, description = "The cluster's name")),
    responses((status = 200, body = Cluster), (status = "4XX", body = Failure)))]
pub(super) async fn get(
    State(platform): State<Platform>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Cluster>, ApiError> {
    let cluster = caller.cluster(&platform, &name, "read")?;
    Ok(Json(Cluster::of(&platform, &cluster)))
}

/// What may be changed of a cluster; what is missing stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClusterChange {
    /// A sentence for people, at most 500 characters; empty for none.
    description: Option<String>,
    /// Replaces all labels: at most 32, keys and values of at most 63 characters.
    labels: Option<BTreeMap<String, String>>,
}

/// Changes a cluster's description and labels.
#[utoipa::path(patch, path = "/v1/clusters/{name}", tag = "clusters", operation_id = "clusters.update", request_body = ClusterChange,
    params(("name" = String, Path, description = "The cluster's name")),
    responses((status = 200, body = Cluster), (status = "4XX", body = Failure), (status = "5XX", body = Failure)))]
pub(super) async fn patch(
    State(platform): State<Platform>,
    caller: Caller,
    Path(name): Path<String>,
    request: Result<Json<ClusterChange>, JsonRejection>,
) -> Result<Json<Cluster>, ApiError> {
    let cluster = caller.cluster(&platform, &name, "admin")?;
    let change = body(request)?;
    if change
        .description
        .as_ref()
        .is_some_and(|text| text.chars().count() > 500)
    {
        return Err(field(
            "description",
            "description",
            &"must have at most 500 characters",
        ));
    }
    if change
        .labels
        .as_ref()
        .is_some_and(|labels| !are_labels(labels))
    {
        let rule =
            "must be at most 32, with keys and values of at most 63 characters, and no key empty";
        return Err(field("labels", "labels", &rule));
    }
    let directory = &platform.shared.directory;
    let changed = directory
        .update_cluster(&cluster.id, |record| {
            if let Some(text) = change.description {
                record.description = Some(text).filter(|text| !text.is_empty());
            }
            if let Some(labels) = change.labels {
                record.labels = labels;
            }
        })
        .await?;
    Ok(Json(Cluster::of(&platform, &changed)))
}

fn are_labels(labels: &BTreeMap<String, String>) -> bool {
    let fits = |text: &String| text.chars().count() <= 63;
    labels.len() <= 32
        && labels
            .iter()
            .all(|(key, value)| !key.is_empty() && fits(key) && fits(value))
}

/// Removes a cluster: its agent is disconnected, and its agent's tokens are revoked. What runs in it stays as it is.
#[utoipa::path(delete, path = "/v1/clusters/{name}", tag = "clusters", operation_id = "clusters.delete",
    params(("name" = String, Path, description = "The cluster's name")),
    responses((status = 204, description = "Removed"), (status = "4XX", body = Failure)))]
pub(super) async fn delete(
    State(platform): State<Platform>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let cluster = caller.cluster(&platform, &name, "admin")?;
    remove(&platform, &cluster).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(platform: &Platform, cluster: &Arc<ClusterRecord>) -> Result<(), ApiError> {
    platform
        .shared
        .directory
        .remove_cluster(&cluster.id)
        .await?;
    platform.shared.fleet.forget(cluster.id.as_str());
    platform.shared.deployments.forget(&cluster.id);
    Ok(())
}
