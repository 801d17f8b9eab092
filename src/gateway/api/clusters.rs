//! `/v1/clusters`: register and list.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::body;
use super::error::field;
use crate::gateway::directory::{Directory, EnsuredCluster};
use crate::gateway::store::ClusterRecord;
use crate::wire::error::ApiError;

/// `POST /v1/clusters`: registers a cluster; naming one that exists returns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateCluster {
    /// `^[a-z0-9-]+$`, at most 63 characters.
    pub name: String,
    /// `^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$`; generated when missing.
    #[serde(default)]
    pub id: Option<String>,
}

/// `GET /v1/clusters`: all of them, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterList {
    /// The clusters.
    pub items: Vec<ClusterRecord>,
}

/// Registers a cluster.
///
/// # Errors
/// 400 for a bad name or id, 409 when they belong to others.
pub async fn ensure(
    directory: &Arc<Directory>,
    request: &CreateCluster,
) -> Result<EnsuredCluster, ApiError> {
    let name = request
        .name
        .parse()
        .map_err(|e| field("cluster_name", "cluster name", &e))?;
    let id = request.id.as_deref().map(str::parse).transpose();
    let id = id.map_err(|e| field("cluster_id", "cluster id", &e))?;
    Ok(directory.ensure_cluster(name, id).await?)
}

/// All clusters.
pub fn list(directory: &Directory) -> ClusterList {
    ClusterList {
        items: directory
            .list_clusters()
            .iter()
            .map(|cluster| ClusterRecord::clone(cluster))
            .collect(),
    }
}

pub(super) async fn post(
    State(directory): State<Arc<Directory>>,
    request: Result<Json<CreateCluster>, JsonRejection>,
) -> Result<(StatusCode, Json<ClusterRecord>), ApiError> {
    let ensured = ensure(&directory, &body(request)?).await?;
    let status = if ensured.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(ClusterRecord::clone(&ensured.cluster))))
}

pub(super) async fn get_all(State(directory): State<Arc<Directory>>) -> Json<ClusterList> {
    Json(list(&directory))
}
