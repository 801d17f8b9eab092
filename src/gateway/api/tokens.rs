//! `/v1/tokens`: create, list, revoke.

mod types;

pub use types::{
    ClusterRef, CreateToken, CreatedToken, TokenPage, TokenQuery, TokenStatus, TokenSummary,
};

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;

use super::body;
use super::clusters::{self, CreateCluster};
use super::error::{field, unreadable};
use crate::gateway::directory::{Directory, NewToken};
use crate::gateway::store::ClusterAccess;
use crate::wire::error::ApiError;
use crate::wire::token::{ClusterName, NameError, Scope, ScopeError, TokenId};

/// Tokens on a page unless asked otherwise.
pub const DEFAULT_PAGE: usize = 100;
/// The most tokens on a page: about 400 KiB of JSON.
pub const MAX_PAGE: usize = 1000;

/// Makes a token; for an agent also its cluster, when that is new.
///
/// # Errors
/// 400 for a field that breaks its rule, 404 for a cluster that a user's token names in vain, 409 for an id that
/// belongs to another cluster.
pub async fn create(
    directory: &Arc<Directory>,
    request: &CreateToken,
) -> Result<CreatedToken, ApiError> {
    let (new, cluster_created) = resolve(directory, request).await?;
    let (record, token) = directory.create_token(new).await?;
    let summary = TokenSummary::of(&record, directory, Timestamp::now());
    Ok(CreatedToken {
        token,
        cluster_created,
        summary,
    })
}

async fn resolve(
    directory: &Arc<Directory>,
    request: &CreateToken,
) -> Result<(NewToken, bool), ApiError> {
    match request {
        CreateToken::Agent {
            cluster,
            cluster_id,
            expires_at,
        } => {
            let wanted = CreateCluster {
                name: cluster.clone(),
                id: cluster_id.clone(),
            };
            let ensured = clusters::ensure(directory, &wanted).await?;
            let cluster = ensured.cluster.id.clone();
            Ok((
                NewToken::Agent {
                    cluster,
                    expires_at: *expires_at,
                },
                ensured.created,
            ))
        }
        CreateToken::User {
            subject,
            role,
            clusters,
            all_clusters,
            scopes,
            expires_at,
        } => {
            let new = NewToken::User {
                subject: subject
                    .parse()
                    .map_err(|e: NameError| field("subject", "subject", &e))?,
                role: *role,
                clusters: access(directory, clusters, *all_clusters)?,
                scopes: parse_scopes(scopes)?,
                expires_at: *expires_at,
            };
            Ok((new, false))
        }
    }
}

fn access(directory: &Directory, names: &[String], all: bool) -> Result<ClusterAccess, ApiError> {
    match (names, all) {
        ([], true) => Ok(ClusterAccess::All),
        ([], false) => Err(field(
            "clusters",
            "clusters",
            &"name at least one, or set all_clusters",
        )),
        (_, true) => Err(field(
            "clusters",
            "clusters",
            &"must be empty with all_clusters",
        )),
        (names, false) => names
            .iter()
            .map(|name| cluster_id(directory, name))
            .collect::<Result<_, _>>()
            .map(ClusterAccess::List),
    }
}

fn cluster_id(
    directory: &Directory,
    name: &str,
) -> Result<crate::wire::token::ClusterId, ApiError> {
    let name: ClusterName = name
        .parse()
        .map_err(|e| field("cluster_name", "cluster name", &e))?;
    Ok(directory.require_cluster(&name)?.id.clone())
}

fn parse_scopes(scopes: &[String]) -> Result<Vec<Scope>, ApiError> {
    if scopes.is_empty() {
        return Ok(vec![Scope::all_tunnels()]);
    }
    let parsed: Result<_, ScopeError> = scopes.iter().map(|scope| scope.parse()).collect();
    parsed.map_err(|e| field("scopes", "scope", &e))
}

/// A page of tokens, by id, from after `query.cursor` on.
pub fn list(directory: &Directory, query: &TokenQuery) -> TokenPage {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let tokens = directory.list_tokens();
    let start = query
        .cursor
        .map_or(0, |after| tokens.partition_point(|token| token.id <= after));
    let rest = tokens.get(start..).unwrap_or_default();
    let now = Timestamp::now();
    let items: Vec<_> = rest
        .iter()
        .take(limit)
        .map(|token| TokenSummary::of(token, directory, now))
        .collect();
    let next_cursor = items
        .last()
        .map(|token| token.id)
        .filter(|_| rest.len() > limit);
    TokenPage { items, next_cursor }
}

/// Revokes a token; its live streams end.
///
/// # Errors
/// 404 when there is no such token.
pub async fn revoke(directory: &Arc<Directory>, id: TokenId) -> Result<TokenSummary, ApiError> {
    let record = directory.revoke_token(id).await?;
    Ok(TokenSummary::of(&record, directory, Timestamp::now()))
}

pub(super) async fn post(
    State(directory): State<Arc<Directory>>,
    request: Result<Json<CreateToken>, JsonRejection>,
) -> Result<(StatusCode, Json<CreatedToken>), ApiError> {
    Ok((
        StatusCode::CREATED,
        Json(create(&directory, &body(request)?).await?),
    ))
}

pub(super) async fn get_all(
    State(directory): State<Arc<Directory>>,
    query: Result<Query<TokenQuery>, QueryRejection>,
) -> Result<Json<TokenPage>, ApiError> {
    let Query(query) = query.map_err(|e| unreadable(e.status(), e.body_text()))?;
    Ok(Json(list(&directory, &query)))
}

pub(super) async fn delete(
    State(directory): State<Arc<Directory>>,
    Path(id): Path<String>,
) -> Result<Json<TokenSummary>, ApiError> {
    let id = id.parse().map_err(|e| field("id", "token id", &e))?;
    Ok(Json(revoke(&directory, id).await?))
}
