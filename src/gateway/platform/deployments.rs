//! `/v1/clusters/{name}/deployments`: have manifests applied, look at what came of it, have it deleted.

mod request;
mod view;
mod watch;

use axum::Json;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use super::Platform;
use super::caller::Caller;
use super::events::last_event_id;
use super::openapi::Failure;
use super::page::{Page, PageQuery};
use super::sse;
use crate::gateway::api::{field, unreadable};
use crate::gateway::deployments::DeploymentError;
use crate::gateway::fleet::Known;
use crate::gateway::store::{
    Added, ClusterRecord, DeploymentId, DeploymentRecord, DeploymentState,
};
use crate::wire::error::{ApiError, ErrorCode};
use request::NewDeployment;
pub(super) use view::{Change, Deployment};

/// Has manifests applied in a cluster. The body is `{"project_id", "manifest", "namespace"}`, whose `manifest` is YAML or JSON of one or
/// more documents; or one Kubernetes object as JSON, whose namespace and label `pipeops.io/project` say the rest. Nothing is
/// applied unless the cluster's API takes all of it. The answer does not wait for the end: see `watch`.
/// With `Idempotency-Key`, the same request again within 24 h answers with the deployment that is there.
#[utoipa::path(post, path = "/v1/clusters/{name}/deployments", tag = "deployments", operation_id = "deployments.create",
    params(("name" = String, Path, description = "The cluster's name"), ("Idempotency-Key" = Option<String>, Header)),
    request_body = NewDeployment,
    responses((status = 202, body = Deployment, description = "It is under way"),
        (status = 200, body = Deployment, description = "It was asked for before"),
        (status = "4XX", body = Failure), (status = "5XX", body = Failure)))]
pub(super) async fn post(
    State(platform): State<Platform>,
    caller: Caller,
    Path(name): Path<String>,
    fields: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let cluster = caller.cluster(&platform, &name, "deploy")?;
    let body = body.map_err(|e| unreadable(e.status(), e.body_text()))?;
    let (record, manifest) = request::read(&caller, &cluster, &fields, &body)?;
    refuse_without_agent(&platform, &cluster)?;
    let id = record.id;
    let (status, record) = match platform
        .shared
        .deployments
        .create(record.clone(), manifest)
        .await?
    {
        Added::New => (StatusCode::ACCEPTED, record),
        Added::Existing(existing) if existing.idempotency == record.idempotency => (
            StatusCode::OK,
            current(&platform, &cluster, existing.id).await?,
        ),
        Added::Existing(existing) => {
            return Err(ApiError::new(
                ErrorCode::Conflict,
                "this Idempotency-Key was used for another request within the last 24 h",
            )
            .with_detail("deployment", existing.id.as_str()));
        }
        Added::NoCluster => return Err(caller.grant.no_such_cluster().into()),
    };
    let place = format!("/v1/clusters/{name}/deployments/{id}");
    let shown = Json(Deployment::of(&record, &cluster));
    Ok((status, [(header::LOCATION, place)], shown).into_response())
}

/// The same as `deployments`.
#[utoipa::path(post, path = "/v1/clusters/{name}/deploy", tag = "deployments", operation_id = "deploy",
    params(("name" = String, Path, description = "The cluster's name"), ("Idempotency-Key" = Option<String>, Header)),
    request_body = NewDeployment,
    responses((status = 202, body = Deployment, description = "It is under way"), (status = "4XX", body = Failure), (status = "5XX", body = Failure)))]
pub(super) async fn deploy(
    platform: State<Platform>,
    caller: Caller,
    name: Path<String>,
    fields: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    post(platform, caller, name, fields, body).await
}

/// Lists a cluster's deployments, the newest first.
#[utoipa::path(get, path = "/v1/clusters/{name}/deployments", tag = "deployments", operation_id = "deployments.list",
    params(("name" = String, Path, description = "The cluster's name"), PageQuery),
    responses((status = 200, body = Page<Deployment>), (status = "4XX", body = Failure)))]
pub(super) async fn list(
    State(platform): State<Platform>,
    caller: Caller,
    Path(name): Path<String>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Page<Deployment>>, ApiError> {
    let cluster = readable(&platform, &caller, &name)?;
    let Query(query) = query.map_err(|e| unreadable(e.status(), e.body_text()))?;
    let before = query.cursor.as_deref().map(str::parse).transpose();
    let before = before.map_err(|e| field("cursor", "cursor", &e))?;
    let (id, limit) = (cluster.id.clone(), query.limit().min(MOST));
    let deployments = &platform.shared.deployments;
    let mut records = deployments
        .blocking(move |history| history.list_deployments(&id, before, limit + 1))
        .await?;
    let more = records.len() > limit;
    records.truncate(limit);
    let next_cursor = records
        .last()
        .filter(|_| more)
        .map(|record| record.id.to_string());
    let items = records
        .iter()
        .map(|record| Deployment::of(record, &cluster).short())
        .collect();
    Ok(Json(Page { items, next_cursor }))
}

/// Deployments on a page; each may have hundreds of objects.
const MOST: usize = 100;

/// One deployment: how far it is, its objects, and what it went through.
#[utoipa::path(get, path = "/v1/clusters/{name}/deployments/{id}", tag = "deployments", operation_id = "deployments.get",
    params(("name" = String, Path, description = "The cluster's name"), ("id" = String, Path, description = "The deployment's id")),
    responses((status = 200, body = Deployment), (status = "4XX", body = Failure)))]
pub(super) async fn get(
    State(platform): State<Platform>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
) -> Result<Json<Deployment>, ApiError> {
    let cluster = readable(&platform, &caller, &name)?;
    let record = current(&platform, &cluster, parse(&id)?).await?;
    Ok(Json(Deployment::of(&record, &cluster)))
}

/// Follows a deployment (server-sent events): what it went through so far, then each change, as an event `status` with the body below;
/// at its end an event `end` or `error`. With `Last-Event-ID`, a reader goes on where it was.
#[utoipa::path(get, path = "/v1/clusters/{name}/deployments/{id}/watch", tag = "deployments", operation_id = "deployments.watch",
    params(("name" = String, Path, description = "The cluster's name"), ("id" = String, Path, description = "The deployment's id"),
        ("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, body = Change, content_type = "text/event-stream"), (status = "4XX", body = Failure)))]
pub(super) async fn watch(
    State(platform): State<Platform>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
    fields: HeaderMap,
) -> Result<Response, ApiError> {
    let cluster = readable(&platform, &caller, &name)?;
    let id = parse(&id)?;
    // Subscribed to first: what changes between the two is seen twice rather than never.
    let news = platform.shared.deployments.watch(id);
    let record = current(&platform, &cluster, id).await?;
    let reader = watch::Reader::new(record, news, last_event_id(&fields), &caller, &platform);
    Ok(sse::response(reader, watch::Reader::next))
}

/// Gives a deployment up that is under way. What was applied stays.
#[utoipa::path(post, path = "/v1/clusters/{name}/deployments/{id}/cancel", tag = "deployments", operation_id = "deployments.cancel",
    params(("name" = String, Path, description = "The cluster's name"), ("id" = String, Path, description = "The deployment's id")),
    responses((status = 202, body = Deployment), (status = "4XX", body = Failure)))]
pub(super) async fn cancel(
    State(platform): State<Platform>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Deployment>), ApiError> {
    let cluster = caller.cluster(&platform, &name, "deploy")?;
    let record = current(&platform, &cluster, parse(&id)?).await?;
    if !record.state.is_finished() {
        platform.shared.deployments.cancel(record.id).await?;
    }
    Ok((
        StatusCode::ACCEPTED,
        Json(Deployment::of(&record, &cluster)),
    ))
}

/// Has the objects of a deployment deleted that carry its project's labels; the record stays, as `pruned`.
#[utoipa::path(delete, path = "/v1/clusters/{name}/deployments/{id}", tag = "deployments", operation_id = "deployments.delete",
    params(("name" = String, Path, description = "The cluster's name"), ("id" = String, Path, description = "The deployment's id")),
    responses((status = 202, body = Deployment, description = "They are being deleted"),
        (status = 409, body = Failure, description = "It is under way"), (status = "4XX", body = Failure), (status = "5XX", body = Failure)))]
pub(super) async fn delete(
    State(platform): State<Platform>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Deployment>), ApiError> {
    let cluster = caller.cluster(&platform, &name, "deploy")?;
    let record = current(&platform, &cluster, parse(&id)?).await?;
    if record.state == DeploymentState::Pruned {
        return Ok((StatusCode::OK, Json(Deployment::of(&record, &cluster))));
    }
    if !record.state.is_finished() {
        return Err(ApiError::new(
            ErrorCode::Conflict,
            "the deployment is under way: wait until it has ended, or POST to its `cancel`",
        )
        .with_detail("status", record.state.as_str()));
    }
    refuse_without_agent(&platform, &cluster)?;
    let requested_by = caller.as_requester()?;
    let record = DeploymentRecord {
        requested_by,
        ..record
    };
    let record = platform.shared.deployments.prune(record).await?;
    Ok((
        StatusCode::ACCEPTED,
        Json(Deployment::of(&record, &cluster)),
    ))
}

fn parse(id: &str) -> Result<DeploymentId, ApiError> {
    id.parse().map_err(|e| field("id", "deployment id", &e))
}

/// The cluster, for who may read it or deploy to it.
fn readable(
    platform: &Platform,
    caller: &Caller,
    name: &str,
) -> Result<std::sync::Arc<ClusterRecord>, ApiError> {
    let read = caller.cluster(platform, name, "read");
    read.or_else(|error| caller.cluster(platform, name, "deploy").map_err(|_| error))
}

async fn current(
    platform: &Platform,
    cluster: &ClusterRecord,
    id: DeploymentId,
) -> Result<DeploymentRecord, ApiError> {
    let record = platform.shared.deployments.get(id).await?;
    let record = record.filter(|record| record.cluster == cluster.id);
    record.ok_or_else(|| {
        ApiError::new(
            ErrorCode::NotFound,
            format!("cluster '{}' has no deployment '{id}'", cluster.name),
        )
    })
}

/// A command that no agent can take now is refused at once: a pipeline should not wait for what may never come.
fn refuse_without_agent(platform: &Platform, cluster: &ClusterRecord) -> Result<(), ApiError> {
    let known = platform.shared.fleet.cluster(cluster.id.as_str());
    if known.as_deref().is_some_and(Known::is_here) {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::AgentNotConnected,
        format!(
            "no agent of cluster '{}' is connected; check that pipeops-agent runs in the cluster and can reach the gateway",
            cluster.name
        ),
    ))
}

impl From<DeploymentError> for ApiError {
    fn from(error: DeploymentError) -> Self {
        let message = error.to_string();
        match error {
            DeploymentError::TooMany => Self::new(ErrorCode::TooManyRequests, message),
            DeploymentError::Stopping => Self::new(ErrorCode::Unavailable, message),
            DeploymentError::Store(error) => {
                tracing::error!(%error, "the store failed");
                Self::new(
                    ErrorCode::Internal,
                    "the gateway's store failed; its log says why",
                )
            }
        }
    }
}
