//! `/v1/tokens`: as on the admin socket, for whoever has the scope `admin` for all clusters.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use http::StatusCode;

use super::Platform;
use super::caller::Caller;
use super::openapi::Failure;
use crate::gateway::api::tokens::{
    self, CreateToken, CreatedToken, TokenPage, TokenQuery, TokenSummary,
};
use crate::gateway::api::{body, field, unreadable};
use crate::wire::error::ApiError;

/// Makes a token. Its text is in the answer and nowhere else. An agent's also registers its cluster where that is new.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", operation_id = "tokens.create", request_body = CreateToken,
    responses((status = 201, body = CreatedToken), (status = "4XX", body = Failure), (status = "5XX", body = Failure)))]
pub(super) async fn post(
    State(platform): State<Platform>,
    caller: Caller,
    request: Result<Json<CreateToken>, JsonRejection>,
) -> Result<(StatusCode, Json<CreatedToken>), ApiError> {
    caller.is_operator()?;
    let created = tokens::create(&platform.shared.directory, &body(request)?).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Lists tokens, also those that have ended, by id.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", operation_id = "tokens.list", params(TokenQuery),
    responses((status = 200, body = TokenPage), (status = "4XX", body = Failure)))]
pub(super) async fn list(
    State(platform): State<Platform>,
    caller: Caller,
    query: Result<Query<TokenQuery>, QueryRejection>,
) -> Result<Json<TokenPage>, ApiError> {
    caller.is_operator()?;
    let Query(query) = query.map_err(|e| unreadable(e.status(), e.body_text()))?;
    Ok(Json(tokens::list(&platform.shared.directory, &query)))
}

/// Revokes a token; its streams end within a second.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "tokens", operation_id = "tokens.revoke",
    params(("id" = String, Path, description = "The token's public id")),
    responses((status = 200, body = TokenSummary), (status = "4XX", body = Failure)))]
pub(super) async fn delete(
    State(platform): State<Platform>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<TokenSummary>, ApiError> {
    caller.is_operator()?;
    let id = id.parse().map_err(|e| field("id", "token id", &e))?;
    Ok(Json(tokens::revoke(&platform.shared.directory, id).await?))
}
