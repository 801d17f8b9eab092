//! The operator's API: tokens and clusters as JSON under `/v1`, and a backup of the store.
//!
//! It asks for no identity: whoever can reach it is the operator, so only the admin socket serves it. The same
//! operations, without HTTP, are what the command line runs when no gateway does.

pub mod clusters;
mod error;
mod store;
pub mod tokens;

use std::sync::Arc;
use std::time::Duration;

pub(super) use error::{field, unreadable};

use axum::Json;
use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};

use super::directory::Directory;
use super::store::History;
use crate::wire::error::{ApiError, ErrorCode};

/// Bytes of a request body. A token for a thousand named clusters fits.
pub const MAX_BODY_BYTES: usize = 64 << 10;
/// The whole of a request, its body and the disk included.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// The routes, for a listener that only operators reach.
pub fn router(directory: Arc<Directory>, history: Arc<dyn History>) -> Router {
    let backup = Router::new()
        .route("/v1/store/backup", get(store::backup))
        .with_state(history);
    Router::new()
        .route("/v1/tokens", get(tokens::get_all).post(tokens::post))
        .route("/v1/tokens/{id}", delete(tokens::delete))
        .route("/v1/clusters", get(clusters::get_all).post(clusters::post))
        .merge(backup)
        .fallback(async || {
            ApiError::new(
                ErrorCode::NotFound,
                "no such path: see /v1/tokens, /v1/clusters and /v1/store/backup",
            )
        })
        .method_not_allowed_fallback(async || {
            ApiError::new(
                ErrorCode::MethodNotAllowed,
                "this path does not take this method",
            )
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(under_deadline))
        .with_state(directory)
}

async fn under_deadline(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(REQUEST_DEADLINE, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        let message = "the gateway did not finish in time; whether the change was made is not known: look, then try again";
        ApiError::new(ErrorCode::Unavailable, message).into_response()
    })
}

/// A body that was read, or the contract's error for one that can't be.
pub(super) fn body<T>(read: Result<Json<T>, JsonRejection>) -> Result<T, ApiError> {
    read.map(|Json(value)| value)
        .map_err(|rejection| unreadable(rejection.status(), rejection.body_text()))
}
